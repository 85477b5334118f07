-- How often what failed runs again once all runs of a backfill have ended, how often it has, and how many had failed the last time.
ALTER TABLE backfills ADD COLUMN rounds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE backfills ADD COLUMN round INTEGER NOT NULL DEFAULT 0;
ALTER TABLE backfills ADD COLUMN failed_before INTEGER NOT NULL DEFAULT 0;
