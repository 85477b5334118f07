-- Which run does a task's work, and which task started a run last.
ALTER TABLE tasks ADD COLUMN child INTEGER;
ALTER TABLE runs ADD COLUMN parent_run INTEGER;
ALTER TABLE runs ADD COLUMN parent_task INTEGER;
