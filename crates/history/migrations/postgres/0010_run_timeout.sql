-- Whether a run has had all the time that its flow allows (`run_timeout`), and stops or has stopped for that.
ALTER TABLE runs ADD COLUMN timed_out BOOLEAN NOT NULL DEFAULT false;
