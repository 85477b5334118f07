-- Times are microseconds since 1970-01-01T00:00:00Z. Statuses are the words of mulgil_sched::status. Numbers are as wide
-- as SQLite's, so that one set of statements reads both.

CREATE TABLE flow_versions (
    hash TEXT PRIMARY KEY,
    flow TEXT NOT NULL,
    definition TEXT NOT NULL,
    at_us BIGINT NOT NULL
);

CREATE TABLE flows (
    flow TEXT PRIMARY KEY,
    paused BOOLEAN NOT NULL
);

CREATE TABLE backfills (
    id BIGINT PRIMARY KEY,
    flow TEXT NOT NULL,
    from_us BIGINT NOT NULL,
    to_us BIGINT NOT NULL,
    concurrency BIGINT NOT NULL,
    which TEXT NOT NULL,
    newest_first BOOLEAN NOT NULL,
    planned BIGINT NOT NULL,
    status TEXT NOT NULL,
    created_at_us BIGINT NOT NULL,
    ended_at_us BIGINT
);
CREATE INDEX backfills_of_flow ON backfills (flow, id);
CREATE INDEX backfills_open ON backfills (id) WHERE status = 'running';

CREATE TABLE runs (
    id BIGINT PRIMARY KEY,
    flow TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL REFERENCES flow_versions (hash),
    params TEXT NOT NULL,
    interval_start_us BIGINT,
    interval_end_us BIGINT,
    trigger TEXT NOT NULL,
    backfill BIGINT REFERENCES backfills (id),
    retries BOOLEAN NOT NULL,
    status TEXT NOT NULL,
    -- The place in the grid: the start of the interval, else the time of creation.
    order_us BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    started_at_us BIGINT,
    ended_at_us BIGINT,
    -- The same flow with the same parameters for the same interval is the same run; so no schedule slot doubles.
    UNIQUE (flow, key)
);
CREATE INDEX runs_named ON runs (name);
CREATE INDEX runs_in_grid ON runs (flow, order_us, id);
CREATE INDEX runs_by_status ON runs (flow, status);
CREATE INDEX runs_newest ON runs (flow, id);
CREATE INDEX runs_scheduled ON runs (flow, interval_start_us) WHERE trigger = 'schedule';
CREATE INDEX runs_of_backfill ON runs (backfill, status) WHERE backfill IS NOT NULL;
CREATE INDEX runs_open ON runs (id) WHERE status IN ('queued', 'running', 'cancelling');

CREATE TABLE tasks (
    run BIGINT NOT NULL REFERENCES runs (id),
    task BIGINT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    retries_used BIGINT NOT NULL,
    losses BIGINT NOT NULL,
    not_before_us BIGINT,
    PRIMARY KEY (run, task)
);

CREATE TABLE attempts (
    run BIGINT NOT NULL,
    task BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    epoch BIGINT NOT NULL UNIQUE,
    expires_us BIGINT NOT NULL,
    pid BIGINT,
    start_ticks BIGINT,
    leased_at_us BIGINT NOT NULL,
    started_at_us BIGINT,
    ended_at_us BIGINT,
    error TEXT,
    log TEXT NOT NULL,
    PRIMARY KEY (run, task, attempt),
    FOREIGN KEY (run, task) REFERENCES tasks (run, task)
);
CREATE INDEX attempts_live ON attempts (run, task, attempt) WHERE status IN ('leased', 'running');

-- An attempt that is over never changes again, whoever writes.
CREATE FUNCTION attempts_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'an attempt that is over never changes again';
END $$;
CREATE TRIGGER attempts_are_final BEFORE UPDATE OF status ON attempts
FOR EACH ROW WHEN (OLD.status NOT IN ('leased', 'running'))
EXECUTE FUNCTION attempts_are_final();

CREATE TABLE events (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us BIGINT NOT NULL,
    kind TEXT NOT NULL,
    run BIGINT,
    task BIGINT,
    attempt BIGINT,
    payload TEXT NOT NULL
);
CREATE INDEX events_of_run ON events (run, seq);

-- Who decides: one server at a time, until its lease runs out on this database's clock. Every batch of writes names the epoch and
-- is counted here, in its own transaction.
CREATE TABLE leader (
    is_only BOOLEAN PRIMARY KEY CHECK (is_only),
    epoch BIGINT NOT NULL,
    batch BIGINT NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    machine TEXT NOT NULL,
    pid BIGINT NOT NULL,
    start_ticks BIGINT NOT NULL
) WITH (fillfactor = 50);
INSERT INTO leader VALUES (true, 0, 0, '-infinity', '', '', '', 0, 0);
