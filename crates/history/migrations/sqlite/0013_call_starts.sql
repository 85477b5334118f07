-- Whether a task has started the run that does its work, and did not only find it under way.
ALTER TABLE tasks ADD COLUMN child_started INTEGER;
