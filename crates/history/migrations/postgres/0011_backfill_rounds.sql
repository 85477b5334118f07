-- How often what failed runs again once all runs of a backfill have ended, how often it has, and how many had failed the last time.
ALTER TABLE backfills ADD COLUMN rounds BIGINT NOT NULL DEFAULT 0;
ALTER TABLE backfills ADD COLUMN round BIGINT NOT NULL DEFAULT 0;
ALTER TABLE backfills ADD COLUMN failed_before BIGINT NOT NULL DEFAULT 0;
