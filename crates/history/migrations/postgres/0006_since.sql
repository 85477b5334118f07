-- Since when a task has been under way: a task that waits counts its time from here, also after a restart.
ALTER TABLE tasks ADD COLUMN since_us BIGINT;
