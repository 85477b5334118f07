//! What a stream refuses before it runs, and what it warns of: each with the operator and the remedy.

use mulgil_serving::run::{Mode, RunOptions};
use mulgil_sql::catalog::Catalog;

use crate::fixture::Project;

const TABLES: &str = "
CREATE TABLE events (k VARCHAR, n BIGINT NOT NULL, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
CREATE TABLE more (k VARCHAR, n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'log', 'topic' = 'more', 'format' = 'json');
CREATE TABLE out (k VARCHAR, n BIGINT) WITH ('connector' = 'log', 'topic' = 'out', 'format' = 'json');
";

async fn stream(project: &Project, catalog: &Catalog, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let options = RunOptions { mode: Mode::Stream, parallelism: 2, ..RunOptions::default() };
    project.run(catalog, sql, &options).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_is_refused_by_a_table_that_takes_new_rows_only() {
    let project = Project::new();
    let catalog = project.catalog(TABLES);
    let inserts = [
        "INSERT INTO out SELECT k, count(*) FROM events GROUP BY k",
        "INSERT INTO out SELECT e.k, m.n FROM events AS e LEFT JOIN more AS m ON e.k = m.k",
        "INSERT INTO out SELECT k, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n) AS r FROM events) WHERE r = 1",
    ];
    for insert in inserts {
        let error = stream(&project, &catalog, insert).await.unwrap_err();
        assert!(error.contains("table out takes new rows only") && error.contains("primary key"), "{insert}: {error}");
    }
    let per_window = "INSERT INTO out SELECT k, count(*) FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' HOUR)
                      GROUP BY k, window_start, window_end";
    stream(&project, &catalog, per_window).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_nothing_bounds_is_named_with_the_remedy() {
    let project = Project::new();
    let catalog = project.catalog(TABLES);
    for (sql, operator, remedy) in [
        ("SELECT e.k, m.n FROM events AS e JOIN more AS m ON e.k = m.k", "join", "time attributes"),
        ("SELECT k, count(*) FROM events GROUP BY k", "aggregate", "per window"),
        ("SELECT DISTINCT k FROM events", "distinct", "per window"),
        (
            "SELECT k, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n) AS r FROM events) WHERE r <= 3",
            "keep rows up to row number 3",
            "PARTITION BY",
        ),
    ] {
        let text = stream(&project, &catalog, &format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
        let warning = text.lines().find(|line| line.starts_with("warning: "));
        let warning = warning.unwrap_or_else(|| panic!("no warning: {text}"));
        assert!(warning.contains(operator) && warning.contains(remedy), "{sql}: {warning}");
    }
    for sql in [
        "SELECT k, n + 1 FROM events WHERE n > 3",
        "SELECT count(*) FROM events",
        "SELECT k, count(*) FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY k, window_start, window_end",
        "SELECT e.k FROM events AS e JOIN more AS m ON e.k = m.k AND e.ts BETWEEN m.ts AND m.ts + INTERVAL '1' HOUR",
    ] {
        let text = stream(&project, &catalog, &format!("EXPLAIN {sql}")).await.unwrap().concat().concat();
        assert!(!text.contains("warning: "), "{sql}: {text}");
    }
}

/// Rows that cannot be read stop the stream, with their place; skipping them is a choice, and they are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_no_row_stops_the_stream_and_says_where() {
    for (record, reason) in [
        ("{\"k\": \"a\", \"n\": 1", "EOF"),
        ("{\"k\": \"a\", \"n\": null, \"ts\": null}", "NOT NULL"),
        ("{\"k\": \"a\", \"n\": \"one\", \"ts\": null}", "n"),
        ("{\"k\": \"a\", \"n\": 1, \"ts\": \"300000-01-01T00:00:00\"}", "ts"),
        ("{\"k\": \"a\", \"n\": 9223372036854775808, \"ts\": null}", "n"),
    ] {
        let project = Project::new();
        let catalog = project.catalog(TABLES);
        project.batch(&catalog, "INSERT INTO events VALUES ('a', 1, TIMESTAMP '2024-02-29 00:00:00')").await;
        let poison = mulgil_log::Record { timestamp_ms: 0, key: None, value: record.as_bytes().to_vec().into() };
        project.log.topic("events").unwrap().append(0, &[poison]).await.unwrap();
        let error = stream(&project, &catalog, "SELECT k, n FROM events").await.unwrap_err();
        assert!(error.contains("events") && error.contains(reason), "{record}: {error}");
    }
}
