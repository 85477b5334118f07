-- What a task gave as its result (JSON), and why it stands where it stands, where no attempt says so.
ALTER TABLE tasks ADD COLUMN result TEXT;
ALTER TABLE tasks ADD COLUMN note TEXT;
