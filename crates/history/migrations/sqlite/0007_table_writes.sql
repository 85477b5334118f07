-- Which table was written for which data interval, last by which run: stored with the success of the task.
CREATE TABLE table_writes (
    table_name TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    flow TEXT NOT NULL,
    run INTEGER NOT NULL,
    task TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (table_name, start_us, end_us)
) STRICT, WITHOUT ROWID;
