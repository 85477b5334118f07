-- What an attempt used, of its process tree and of the machine, and what was found to hold it up (JSON).
ALTER TABLE attempts ADD COLUMN usage TEXT;
