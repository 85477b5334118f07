-- Times are microseconds since 1970-01-01T00:00:00Z. Statuses are the words of mulgil_sched::status.

CREATE TABLE flow_versions (
    hash TEXT PRIMARY KEY,
    flow TEXT NOT NULL,
    definition TEXT NOT NULL,
    at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE flows (
    flow TEXT PRIMARY KEY,
    paused INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE backfills (
    id INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    concurrency INTEGER NOT NULL,
    which TEXT NOT NULL,
    newest_first INTEGER NOT NULL,
    planned INTEGER NOT NULL,
    status TEXT NOT NULL,
    created_at_us INTEGER NOT NULL,
    ended_at_us INTEGER
) STRICT;
CREATE INDEX backfills_of_flow ON backfills (flow, id);
CREATE INDEX backfills_open ON backfills (id) WHERE status = 'running';

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL REFERENCES flow_versions (hash),
    params TEXT NOT NULL,
    interval_start_us INTEGER,
    interval_end_us INTEGER,
    trigger TEXT NOT NULL,
    backfill INTEGER REFERENCES backfills (id),
    retries INTEGER NOT NULL,
    status TEXT NOT NULL,
    -- The place in the grid: the start of the interval, else the time of creation.
    order_us INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    started_at_us INTEGER,
    ended_at_us INTEGER,
    -- The same flow with the same parameters for the same interval is the same run; so no schedule slot doubles.
    UNIQUE (flow, key)
) STRICT;
CREATE INDEX runs_named ON runs (name);
CREATE INDEX runs_in_grid ON runs (flow, order_us, id);
CREATE INDEX runs_by_status ON runs (flow, status);
CREATE INDEX runs_scheduled ON runs (flow, interval_start_us) WHERE trigger = 'schedule';
CREATE INDEX runs_of_backfill ON runs (backfill, status) WHERE backfill IS NOT NULL;
CREATE INDEX runs_open ON runs (id) WHERE status IN ('queued', 'running', 'cancelling');

CREATE TABLE tasks (
    run INTEGER NOT NULL REFERENCES runs (id),
    task INTEGER NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    retries_used INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    not_before_us INTEGER,
    PRIMARY KEY (run, task)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run INTEGER NOT NULL,
    task INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL UNIQUE,
    expires_us INTEGER NOT NULL,
    pid INTEGER,
    start_ticks INTEGER,
    leased_at_us INTEGER NOT NULL,
    started_at_us INTEGER,
    ended_at_us INTEGER,
    error TEXT,
    log TEXT NOT NULL,
    PRIMARY KEY (run, task, attempt),
    FOREIGN KEY (run, task) REFERENCES tasks (run, task)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_live ON attempts (run, task, attempt) WHERE status IN ('leased', 'running');

-- An attempt that is over never changes again, whoever writes.
CREATE TRIGGER attempts_are_final BEFORE UPDATE OF status ON attempts
WHEN OLD.status NOT IN ('leased', 'running')
BEGIN
    SELECT RAISE(ABORT, 'an attempt that is over never changes again');
END;

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    run INTEGER,
    task INTEGER,
    attempt INTEGER,
    payload TEXT NOT NULL
) STRICT;
CREATE INDEX events_of_run ON events (run, seq);
