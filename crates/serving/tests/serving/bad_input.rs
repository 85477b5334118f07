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

const FILES: &str = "
CREATE TABLE landing (k VARCHAR NOT NULL, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'landing', 'format' = 'FORMAT' IGNORE);
CREATE TABLE mart (k VARCHAR, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'mart', 'format' = 'csv');
";
const GOOD_CSV: &str = "k,n,ts\na,1,2024-02-29T00:00:00\nb,2,2024-02-29T00:00:01\n";
const GOOD_JSON: &str = "{\"k\": \"a\", \"n\": 1, \"ts\": \"2024-02-29T00:00:00\"}\n";

/// A folder with a good file and the one in question, and what is declared over it.
fn landing(format: &str, text: &str, ignore: &str) -> (Project, std::sync::Arc<Catalog>) {
    let project = Project::new();
    let folder = project.dir.path().join("landing");
    std::fs::create_dir(&folder).unwrap();
    let (ending, good) = if format == "csv" { ("csv", GOOD_CSV) } else { ("jsonl", GOOD_JSON) };
    std::fs::write(folder.join(format!("a.{ending}")), good).unwrap();
    std::fs::write(folder.join(format!("b.{ending}")), text).unwrap();
    let catalog = project.catalog(&FILES.replace("FORMAT", format).replace("IGNORE", ignore));
    (project, catalog)
}

/// The files that a reader of the table would see.
fn written(project: &Project) -> usize {
    let Ok(entries) = std::fs::read_dir(project.dir.path().join("mart")) else { return 0 };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    entries.map(name).filter(|name| !name.starts_with(['.', '_'])).count()
}

/// A file that cannot be read to its end stops the stream with the file and the line, and nothing of it is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_stops_the_stream_and_nothing_is_written() {
    let csv = |row: &str| format!("{GOOD_CSV}{row}");
    for (what, format, text, reason) in [
        ("a row that does not parse", "csv", csv("c,three,\n"), "b.csv:4: column \"n\": cannot read \"three\" as INT"),
        ("a row with a field too few", "csv", csv("c,3\n"), "b.csv:4: expected 3 fields, found 2"),
        (
            "a null in a NOT NULL column",
            "csv",
            csv(",3,2024-02-29T00:00:02\n"),
            "b.csv:4: column \"k\": NULL in a NOT NULL column",
        ),
        ("a timestamp out of range", "csv", csv("c,3,300000-01-01T00:00:00\n"), "b.csv:4: column \"ts\": cannot read"),
        (
            "a number out of range",
            "csv",
            csv("c,3000000000,\n"),
            "b.csv:4: column \"n\": cannot read \"3000000000\" as INT",
        ),
        ("an end in the middle of a record", "csv", csv("\"c,3,2024-02-2"), "b.csv:4: expected 3 fields, found 1"),
        ("a row that does not parse", "json", "{\"k\": \"c\", \"n\": }\n".to_owned(), "b.jsonl:1: not JSON"),
        (
            "a null in a NOT NULL column",
            "json",
            "{\"n\": 1}\n".to_owned(),
            "b.jsonl:1: column \"k\": NULL in a NOT NULL column",
        ),
        (
            "an end in the middle of a record",
            "json",
            format!("{GOOD_JSON}{{\"k\": \"c\", \"n\""),
            "b.jsonl:2: not JSON: EOF",
        ),
    ] {
        for insert in [
            "INSERT INTO mart SELECT k, n FROM landing WHERE ts IS NULL OR ts > TIMESTAMP '1970-01-01 00:00:00'",
            "INSERT INTO mart SELECT k, sum(n) FROM TUMBLE(TABLE landing, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY k, window_start, window_end",
        ] {
            let (project, catalog) = landing(format, &text, "");
            let error = stream(&project, &catalog, insert).await.unwrap_err();
            assert!(error.contains(reason), "{what}: {error}");
            assert_eq!(written(&project), 0, "{what}: something was written");
        }
    }
}

/// What a query cannot compute stops it likewise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_computed_stops_the_stream_and_nothing_is_written() {
    for (expression, reason) in
        [("10 / (n - 2)", "ivide by zero"), ("CAST(n * 3000000000 AS INT)", "3000000000"), ("CAST(k AS BIGINT)", "'a'")]
    {
        let (project, catalog) = landing("csv", GOOD_CSV, "");
        let insert = format!("INSERT INTO mart SELECT k, {expression} AS n FROM landing");
        let error = stream(&project, &catalog, &insert).await.unwrap_err();
        assert!(error.contains(reason) && error.contains("cannot evaluate"), "{expression}: {error}");
        assert_eq!(written(&project), 0, "{expression}: something was written");
    }
}

/// The choice to go on without them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_cannot_be_read_are_left_out_where_that_was_asked_for() {
    let text = format!("{GOOD_CSV}c,three,\n,4,\nd,5,2024-02-29T00:00:03\n");
    let (project, catalog) = landing("csv", &text, ", 'csv.ignore-parse-errors' = 'true'");
    let rows = stream(&project, &catalog, "SELECT k, count(n) FROM landing GROUP BY k ORDER BY k").await.unwrap();
    assert_eq!(rows, [["a", "2"], ["b", "2"], ["d", "1"]]);
    // Only the columns that a query asks for are looked at.
    let rows = stream(&project, &catalog, "SELECT k, count(*) FROM landing GROUP BY k ORDER BY k").await.unwrap();
    assert_eq!(rows, [["a", "2"], ["b", "2"], ["c", "1"], ["d", "1"]]);
}

/// A key of 10 MB is a key like any other, through files, an exchange, windows, a join and back into a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_ten_megabytes_is_a_key() {
    let key = "k".repeat(10_000_000);
    let row = |n: usize| format!("{key},{n},2024-02-29T00:00:0{n}\n");
    let (project, catalog) = landing("csv", &format!("k,n,ts\n{}{}x,3,\n", row(1), row(2)), "");
    for (sql, expected) in [
        ("SELECT max(length(k)), max(c) FROM (SELECT k, count(*) AS c FROM landing GROUP BY k) AS q", ["10000000", "2"]),
        (
            "SELECT max(length(k)), max(c) FROM (SELECT k, sum(n) AS c FROM TUMBLE(TABLE landing, DESCRIPTOR(ts), INTERVAL '1' HOUR)
              GROUP BY k, window_start, window_end) AS q",
            ["10000000", "3"],
        ),
        ("SELECT max(length(a.k)), count(*) FROM landing AS a JOIN landing AS b ON a.k = b.k", ["10000000", "7"]),
    ] {
        assert_eq!(stream(&project, &catalog, sql).await.unwrap(), [expected], "{sql}");
    }
    stream(&project, &catalog, "INSERT INTO mart SELECT k, n FROM landing").await.unwrap();
    let lengths = project.batch(&catalog, "SELECT max(length(k)), count(*) FROM mart").await;
    assert_eq!(lengths, [["10000000", "5"]]);
}
