-- The run that somebody asked for with a key of their own: the same key gives the same run.
CREATE TABLE asked (
    flow TEXT NOT NULL,
    key TEXT NOT NULL,
    run BIGINT NOT NULL,
    -- A hash of what was asked for.
    request TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (flow, key)
);
CREATE INDEX asked_of_run ON asked (run);

-- What is kept no longer is found by its run, and versions by whether a run follows them.
CREATE INDEX table_writes_of_run ON table_writes (run);
CREATE INDEX runs_of_version ON runs (version);
