-- After how many attempts somebody has confirmed that a task which is not idempotent may run once more.
ALTER TABLE tasks ADD COLUMN confirmed BIGINT;
