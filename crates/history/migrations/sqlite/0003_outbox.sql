-- What is told to whom: written with the transition that it tells of, delivered after that.
CREATE TABLE notices (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Tells it from every other, for whoever gets it as well.
    key TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    flow TEXT NOT NULL,
    run INTEGER,
    body TEXT NOT NULL,
    status TEXT NOT NULL,
    tries INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    next_at_us INTEGER,
    ended_at_us INTEGER,
    error TEXT
) STRICT;
CREATE INDEX notices_waiting ON notices (next_at_us) WHERE status = 'waiting';
CREATE INDEX notices_of_run ON notices (run, seq);

-- What is noticed of a run beside its status: one of a kind.
CREATE TABLE alerts (
    run INTEGER NOT NULL REFERENCES runs (id),
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (run, kind)
) STRICT, WITHOUT ROWID;
