-- After how many runs a backfill pauses by itself, and how many of its runs may be active at once while errors come.
ALTER TABLE backfills ADD COLUMN trial INTEGER;
ALTER TABLE backfills ADD COLUMN pace INTEGER;
