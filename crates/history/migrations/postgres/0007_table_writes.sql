-- Which table was written for which data interval, last by which run: stored with the success of the task.
CREATE TABLE table_writes (
    table_name text NOT NULL,
    start_us bigint NOT NULL,
    end_us bigint NOT NULL,
    flow text NOT NULL,
    run bigint NOT NULL,
    task text NOT NULL,
    at_us bigint NOT NULL,
    PRIMARY KEY (table_name, start_us, end_us)
);
