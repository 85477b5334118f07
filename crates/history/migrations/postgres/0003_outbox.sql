-- What is told to whom: written with the transition that it tells of, delivered after that.
CREATE TABLE notices (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Tells it from every other, for whoever gets it as well.
    key TEXT NOT NULL UNIQUE,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    flow TEXT NOT NULL,
    run BIGINT,
    body TEXT NOT NULL,
    status TEXT NOT NULL,
    tries BIGINT NOT NULL,
    created_at_us BIGINT NOT NULL,
    next_at_us BIGINT,
    ended_at_us BIGINT,
    error TEXT
);
CREATE INDEX notices_waiting ON notices (next_at_us) WHERE status = 'waiting';
CREATE INDEX notices_of_run ON notices (run, seq);

-- What is noticed of a run beside its status: one of a kind.
CREATE TABLE alerts (
    run BIGINT NOT NULL REFERENCES runs (id),
    kind TEXT NOT NULL,
    text TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (run, kind)
);
