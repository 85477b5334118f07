//! What is promised of rows: chosen by view and by `INSERT`, explained, and refused with the table that is in the way.

use std::path::PathBuf;

use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_serving::run::{Mode, RunOptions};
use mulgil_sql::catalog::Catalog;

use crate::fixture::Project;

const TABLES: &str = "
CREATE TABLE events (k VARCHAR, n INT) WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
CREATE TABLE live (k VARCHAR) WITH ('connector' = 'socket', 'hostname' = '127.0.0.1', 'port' = '9');
CREATE TABLE printed (k VARCHAR) WITH ('connector' = 'print');
";

async fn run(project: &Project, sql: &str, has_checkpoints: bool) -> String {
    let checkpoints = has_checkpoints.then(|| CheckpointOptions::new(project.dir.path().join("checkpoints")));
    let options = RunOptions { mode: Mode::Stream, checkpoints, ..RunOptions::default() };
    let rows = project.run(&project.catalog(TABLES), sql, &options).await;
    rows.map_or_else(|error| error.to_string(), |rows| rows.concat().concat())
}

#[tokio::test]
async fn explain_shows_the_guarantee_and_what_each_table_has_to_do_with_it() {
    let project = Project::new();
    let cases = [
        ("EXPLAIN INSERT INTO printed SELECT k FROM events", true, "guarantee: exactly-once"),
        (
            "EXPLAIN INSERT INTO printed SELECT k FROM events",
            true,
            "source events: can be read again from any position",
        ),
        ("EXPLAIN INSERT INTO printed SELECT k FROM events", true, "sink printed: cannot commit with a checkpoint"),
        ("EXPLAIN INSERT INTO printed SELECT k FROM events", false, "guarantee: at-least-once"),
        ("EXPLAIN INSERT INTO printed SELECT k FROM live", true, "guarantee: at-most-once"),
        ("EXPLAIN INSERT INTO printed SELECT k FROM live", true, "source live: cannot be read again"),
        ("SET 'guarantee' = 'at-most-once'; EXPLAIN INSERT INTO printed SELECT k FROM events", true, "and never again"),
        (
            "CREATE MATERIALIZED TABLE v REFRESH_MODE = CONTINUOUS AS SELECT k FROM events; EXPLAIN CREATE MATERIALIZED \
             TABLE v REFRESH_MODE = CONTINUOUS AS SELECT k FROM events",
            false,
            "guarantee: end-to-end exactly-once",
        ),
    ];
    for (sql, has_checkpoints, expected) in cases {
        let found = run(&project, sql, has_checkpoints).await;
        assert!(found.contains(expected), "{sql}: {found}");
    }
}

#[tokio::test]
async fn what_cannot_be_given_is_refused_before_anything_runs() {
    let project = Project::new();
    let insert = |guarantee: &str, table: &str| {
        format!("SET 'guarantee' = '{guarantee}'; INSERT INTO printed SELECT k FROM {table}")
    };
    let cases = [
        (insert("exactly-once", "live"), true, "source live cannot be read again"),
        (insert("at-least-once", "live"), true, "ask for 'at-most-once'"),
        (insert("end-to-end exactly-once", "events"), true, "sink printed cannot commit with a checkpoint"),
        (insert("exactly-once", "events"), false, "--checkpoints FOLDER"),
        (insert("often", "events"), true, "'often' is no guarantee"),
    ];
    for (sql, has_checkpoints, expected) in cases {
        let found = run(&project, &sql, has_checkpoints).await;
        assert!(found.contains(expected), "{sql}: {found}");
    }
    let view = format!(
        "{TABLES} CREATE MATERIALIZED TABLE v WITH ('guarantee' = 'always') REFRESH_MODE = CONTINUOUS AS SELECT k FROM \
         events;"
    );
    let (_, problems) = Catalog::load_checked(&[(PathBuf::from("project.sql"), view)], &project.connectors);
    assert!(problems[0].to_string().contains("'always' is no guarantee"), "{problems:?}");
}
