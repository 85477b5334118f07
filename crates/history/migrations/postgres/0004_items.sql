-- A task that does an item of another task of its run: whose (its number), and the item (JSON).
ALTER TABLE tasks ADD COLUMN item_of BIGINT;
ALTER TABLE tasks ADD COLUMN item TEXT;
