-- Which run does a task's work, and which task started a run last.
ALTER TABLE tasks ADD COLUMN child BIGINT;
ALTER TABLE runs ADD COLUMN parent_run BIGINT;
ALTER TABLE runs ADD COLUMN parent_task BIGINT;
