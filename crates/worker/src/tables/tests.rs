//! SQL and transfer tasks over real files and a real lake.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use jiff::tz::TimeZone;
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_connect::writer::Append;
use mulgil_flow::{CopiedRows, DataInterval, Variables, Write, WriteTarget};
use mulgil_sql::catalog::Catalog;
use serde_json::Value;
use tempfile::TempDir;

use super::TableTasks;
use crate::data::{DataTasks, SqlTask, TransferTask};
use crate::log::AttemptLog;

const TABLES: &str = "
CREATE TABLE landing (
  carrier VARCHAR NOT NULL, hour INT NOT NULL, minute INT NOT NULL, flight_date DATE,
  day AS flight_date,
  scheduled AS to_timestamp_millis(CAST(CAST(flight_date AS INT) AS BIGINT) * 86400000 + hour * 3600000 + minute * 60000)
) PARTITIONED BY (flight_date) WITH ('connector' = 'filesystem', 'path' = 'landing', 'format' = 'csv');
CREATE TABLE events (carrier VARCHAR, at TIMESTAMP_LTZ(3), WATERMARK FOR at AS at)
  WITH ('connector' = 'filesystem', 'path' = 'events.csv', 'format' = 'csv');
CREATE TABLE local_events (carrier VARCHAR, at TIMESTAMP(3), WATERMARK FOR at AS at)
  WITH ('connector' = 'filesystem', 'path' = 'local.csv', 'format' = 'csv');
CREATE TABLE raw.flights (carrier VARCHAR, scheduled TIMESTAMP(3), day DATE) PARTITIONED BY (day) WITH ('connector' = 'delta');
CREATE TABLE raw.events (carrier VARCHAR, day DATE) PARTITIONED BY (day) WITH ('connector' = 'delta');
CREATE TABLE mart.counts (carrier VARCHAR, flights BIGINT, day DATE) PARTITIONED BY (day) WITH ('connector' = 'delta');
CREATE TABLE untimed (carrier VARCHAR) WITH ('connector' = 'filesystem', 'path' = 'untimed.csv', 'format' = 'csv');
CREATE TABLE fleet (carrier VARCHAR, planes INT, at TIMESTAMP(3), WATERMARK FOR at AS at)
  WITH ('connector' = 'filesystem', 'path' = 'fleet.csv', 'format' = 'csv');
CREATE TABLE mart.fleet (carrier VARCHAR, planes BIGINT, PRIMARY KEY (carrier) NOT ENFORCED) WITH ('connector' = 'delta');
CREATE TABLE mart.words (carrier VARCHAR, planes VARCHAR) WITH ('connector' = 'delta');
CREATE TABLE history (carrier VARCHAR, planes BIGINT) WITH ('connector' = 'delta');
CREATE TABLE reports (carrier VARCHAR, planes BIGINT) WITH ('connector' = 'filesystem', 'path' = 'reports', 'format' = 'json');
CREATE TABLE report (carrier VARCHAR, planes BIGINT) WITH ('connector' = 'filesystem', 'path' = 'report.csv', 'format' = 'csv');
CREATE TABLE plain (carrier VARCHAR) WITH ('connector' = 'delta');
";

struct Project {
    folder: TempDir,
    tasks: TableTasks,
    session: mulgil_sql::session::Session,
    log: AttemptLog,
}

fn project() -> Project {
    let folder = tempfile::tempdir().unwrap();
    let options = ConnectorsOptions {
        project_dir: folder.path().to_owned(),
        lake_dir: folder.path().join("lake"),
        log: None,
        object_storage: Default::default(),
    };
    let connectors = Arc::new(Connectors::new(options));
    let (catalog, problems) = Catalog::load(&[(PathBuf::from("sources/tables.sql"), TABLES.to_owned())]);
    assert_eq!(problems, []);
    let catalog = Arc::new(catalog);
    let session = mulgil_sql::session::Session::new(catalog.clone(), connectors.clone());
    let tasks = TableTasks::new(connectors, move || catalog.clone());
    let log = AttemptLog::open(&folder.path().join("attempt.log"), []).unwrap();
    Project { folder, tasks, session, log }
}

impl Project {
    fn file(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    async fn rows(&self, sql: &str) -> String {
        let rows = self.session.query(sql).await.unwrap().stream.try_collect::<Vec<_>>().await.unwrap();
        pretty_format_batches(&rows).unwrap().to_string()
    }

    async fn transfer(&self, from: &str, to: &str, day: &str) -> Result<(), String> {
        self.write(from, replace(to), day, 1).await.map(|_| ())
    }

    /// An attempt at a transfer, whose result it gives.
    async fn write(&self, from: &str, target: WriteTarget, day: &str, attempt: u64) -> Result<Value, String> {
        let append = Some(Append { name: format!("f/{day}/land"), attempt });
        let task = TransferTask {
            from: from.to_owned(),
            rows: CopiedRows::Interval,
            target,
            append,
            variables: variables(day),
        };
        self.tasks.transfer(task, &self.log).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("attempt.log")).unwrap()
    }
}

fn replace(table: &str) -> WriteTarget {
    WriteTarget { table: table.to_owned(), write: Write::ReplacePartition { partition: BTreeMap::new() } }
}

fn merge(table: &str, key: &[&str]) -> WriteTarget {
    let key = key.iter().map(|column| (*column).to_owned()).collect();
    WriteTarget { table: table.to_owned(), write: Write::Merge { key } }
}

fn append(table: &str) -> WriteTarget {
    WriteTarget { table: table.to_owned(), write: Write::Append }
}

fn variables(day: &str) -> Arc<Variables> {
    let timezone = TimeZone::get("America/New_York").unwrap();
    let day: jiff::civil::Date = day.parse().unwrap();
    let start = day.to_zoned(timezone.clone()).unwrap().timestamp();
    let end = day.tomorrow().unwrap().to_zoned(timezone.clone()).unwrap().timestamp();
    Arc::new(Variables {
        interval: Some(DataInterval { start, end }),
        timezone,
        run_id: format!("f/{day}"),
        params: BTreeMap::new(),
        connections: BTreeMap::new(),
        secrets: None,
        item: None,
        results: BTreeMap::new(),
    })
}

#[tokio::test]
async fn a_day_is_copied_exactly_and_again_without_doubling() {
    let project = project();
    project.file("landing/flight_date=2013-01-01/a.csv", "carrier,hour,minute\nUA,5,15\nAA,23,59\n");
    // A broken file of another day is never opened.
    project.file("landing/flight_date=2013-01-02/a.csv", "carrier,hour,minute\nUA,x,15\n");
    for _ in 0..2 {
        project.transfer("landing", "raw.flights", "2013-01-01").await.unwrap();
        let rows = project.rows("SELECT carrier, scheduled, day FROM raw.flights ORDER BY carrier").await;
        assert!(rows.contains("| AA      | 2013-01-01T23:59:00 | 2013-01-01 |"), "{rows}");
        assert!(rows.contains("| UA      | 2013-01-01T05:15:00 | 2013-01-01 |"), "{rows}");
        assert_eq!(rows.lines().count(), 6, "{rows}");
    }
    assert!(project.log().contains("2 rows read"), "{}", project.log());
    assert!(
        project.log().contains("2 rows in 1 files") && project.log().contains("to raw.flights day=2013-01-01"),
        "{}",
        project.log()
    );

    let error = project.transfer("landing", "raw.flights", "2013-01-02").await.unwrap_err();
    assert!(error.contains("flight_date=2013-01-02/a.csv:2"), "file and line: {error}");
    let task = SqlTask {
        text: "SELECT carrier, count(*) AS flights, DATE '2013-01-01' AS day FROM raw.flights GROUP BY carrier"
            .to_owned(),
        file: Some("sql/counts.sql".to_owned()),
        target: Some(replace("mart.counts")),
        result: None,
        append: None,
        variables: variables("2013-01-01"),
    };
    project.tasks.sql(task, &project.log).await.unwrap();
    assert!(project.rows("SELECT sum(flights) AS n FROM mart.counts").await.contains("| 2 |"));
}

#[tokio::test]
async fn instants_and_wall_clocks_are_each_compared_in_their_own_way() {
    let project = project();
    // The local day of 2013-07-01 in New York is [04:00Z, 04:00Z) in UTC.
    project.file("events.csv", "carrier,at\nearly,2013-07-01T03:59:59Z\nfirst,2013-07-01T04:00:00Z\nlast,2013-07-02T03:59:59Z\nlate,2013-07-02T04:00:00Z\n");
    project.file("local.csv", "carrier,at\nearly,2013-06-30 23:59:59\nfirst,2013-07-01 00:00:00\nlast,2013-07-01 23:59:59\nlate,2013-07-02 00:00:00\n");
    for from in ["events", "local_events"] {
        project.transfer(from, "raw.events", "2013-07-01").await.unwrap();
        let rows = project
            .rows("SELECT string_agg(carrier, ' ' ORDER BY carrier) AS c, min(day) AS day FROM raw.events")
            .await;
        assert!(rows.contains("| first last | 2013-07-01 |"), "{from}: {rows}");
    }
}

#[tokio::test]
async fn what_cannot_be_copied_is_told_in_a_sentence() {
    let project = project();
    project.file("untimed.csv", "carrier\nUA\n");
    project.file("local.csv", "carrier,at\nUA,2013-07-01 00:00:00\n");
    for (from, to, expected) in [
        ("nowhere", "raw.events", "there is no table nowhere: declare it in sources/; there are "),
        (
            "untimed",
            "raw.events",
            "table untimed does not say which rows belong to an interval: give it an event time with WATERMARK FOR",
        ),
        ("local_events", "plain", "table plain has no partitions to replace"),
        ("local_events", "raw.flights", "table local_events has no column scheduled, which raw.flights wants"),
    ] {
        let error = project.transfer(from, to, "2013-07-01").await.unwrap_err();
        assert!(error.contains(expected), "{from} to {to}: {error}");
    }
    let mut hour = (*variables("2013-07-01")).clone();
    let interval = hour.interval.unwrap();
    hour.interval = Some(DataInterval { end: interval.start + jiff::SignedDuration::from_hours(1), ..interval });
    let task = TransferTask {
        from: "local_events".to_owned(),
        rows: CopiedRows::Interval,
        target: replace("raw.events"),
        append: None,
        variables: Arc::new(hour),
    };
    let error = project.tasks.transfer(task, &project.log).await.unwrap_err();
    assert!(error.contains("is not the whole day 2013-07-01 in America/New_York"), "{error}");
}

#[tokio::test]
async fn a_mistake_in_sql_names_the_file_and_the_place() {
    let project = project();
    let task = |text: &str| SqlTask {
        text: text.to_owned(),
        file: Some("sql/x.sql".to_owned()),
        target: None,
        result: None,
        append: None,
        variables: variables("2013-01-01"),
    };
    let error = project.tasks.sql(task("SELECT 1;\nSELECT carier FROM plain"), &project.log).await.unwrap_err();
    assert!(error.starts_with("sql/x.sql:2:8: "), "{error}");
    let error = project.tasks.sql(task("CREATE TABLE x (a INT) WITH ('connector' = 'print')"), &project.log).await;
    assert!(error.unwrap_err().contains("declare tables in sources/"));
    project
        .tasks
        .sql(task("INSERT INTO plain SELECT 'UA'; INSERT INTO plain SELECT 'AA'"), &project.log)
        .await
        .unwrap();
    assert!(project.rows("SELECT count(*) AS n FROM plain").await.contains("| 2 |"));
}

#[tokio::test]
async fn the_rows_of_the_last_query_are_the_result_where_it_is_asked_for() {
    use mulgil_flow::SqlResult::{Row, Rows};
    let project = project();
    let task = |text: &str, result| SqlTask {
        text: text.to_owned(),
        file: None,
        target: None,
        result,
        append: None,
        variables: variables("2013-01-01"),
    };
    let query = "SELECT 9; SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t(n, word) ORDER BY n";
    let cases = [
        (query, None, None),
        (query, Some(Row), Some(serde_json::json!({"n": 1, "word": "a"}))),
        (query, Some(Rows), Some(serde_json::json!([{"n": 1, "word": "a"}, {"n": 2, "word": null}]))),
        ("SELECT 1 AS n WHERE false", Some(Row), Some(serde_json::Value::Null)),
        ("SELECT 1 AS n WHERE false", Some(Rows), Some(serde_json::json!([]))),
    ];
    for (text, result, expected) in cases {
        let given = project.tasks.sql(task(text, result), &project.log).await;
        assert_eq!(given, Ok(expected), "{text} {result:?}");
    }
    let large = "SELECT repeat('x', 20000) AS x FROM (SELECT unnest(range(0, 100)))";
    let error = project.tasks.sql(task(large, Some(Rows)), &project.log).await.unwrap_err();
    assert!(error.contains("at most 1048576 are kept"), "{error}");
    project.tasks.sql(task(large, Some(Row)), &project.log).await.unwrap();
    let error = project.tasks.sql(task("INSERT INTO plain SELECT 'UA'", Some(Row)), &project.log).await.unwrap_err();
    assert!(error.contains("its last statement is no query"), "{error}");
}

#[tokio::test]
async fn a_merge_puts_the_latest_row_of_a_key_in_place_of_the_one_that_is_there() {
    let project = project();
    project.file("fleet.csv", "carrier,planes,at\nUA,9,2013-01-01 20:00:00\nAA,2,2013-01-01 08:00:00\nUA,1,2013-01-01 08:00:00\nUA,5,2013-01-02 01:00:00\nKE,7,2013-01-02 02:00:00\n");
    let seen = || project.rows("SELECT string_agg(carrier || planes, ' ' ORDER BY carrier) AS seen FROM mart.fleet");
    // The latest by event time, wherever it stands in the file; twice is the same as once. The key is the table's.
    for _ in 0..2 {
        let result = project.write("fleet", merge("mart.fleet", &[]), "2013-01-01", 1).await.unwrap();
        assert_eq!((&result["rows_read"], &result["rows"]), (&3.into(), &2.into()), "{result}");
        let seen = seen().await;
        assert!(seen.contains("| AA2 UA9 |"), "{seen}");
    }
    project.write("fleet", merge("mart.fleet", &["carrier"]), "2013-01-02", 2).await.unwrap();
    let merged = seen().await;
    assert!(merged.contains("| AA2 KE7 UA5 |"), "{merged}");

    project.file("fleet.csv", "carrier,planes,at\n,9,2013-01-01 20:00:00\n");
    for (to, key, expected) in [
        ("mart.fleet", vec!["carrier"], "column \"carrier\" is the key of the merge, but a row has NULL there"),
        ("mart.fleet", vec!["carier"], "there is no key column \"carier\"; did you mean 'carrier'"),
        ("mart.words", vec!["carrier"], "column \"planes\" is STRING, the rows have INT"),
        ("history", vec![], "no key is named; say `key: [COLUMN]`, or declare PRIMARY KEY"),
        ("reports", vec!["carrier"], "rows of files cannot be merged by key"),
    ] {
        let error = project.write("fleet", merge(to, &key), "2013-01-01", 3).await.unwrap_err();
        assert!(error.contains(expected), "{to} by {key:?}: {error}");
    }
    assert_eq!(seen().await, merged);
}

#[tokio::test]
async fn what_a_run_appends_is_there_once_however_often_it_is_tried() {
    let project = project();
    let (first, corrected) =
        ("carrier,planes,at\nUA,9,2013-01-01 20:00:00\n", "carrier,planes,at\nUA,8,2013-01-01 20:00:00\n");
    for table in ["history", "reports"] {
        let sql = format!("SELECT string_agg(carrier || planes, ' ' ORDER BY planes) AS seen FROM {table}");
        let seen = || project.rows(&sql);
        project.file("fleet.csv", first);
        for attempt in 1..3 {
            project.write("fleet", append(table), "2013-01-01", attempt).await.unwrap();
        }
        project.file("fleet.csv", &first.replace("01-01", "01-02"));
        project.write("fleet", append(table), "2013-01-02", 3).await.unwrap();
        assert!(seen().await.contains("| UA9 UA9 |"), "once for each run: {}", seen().await);
        // The source was corrected, and the run is asked for again.
        project.file("fleet.csv", corrected);
        project.write("fleet", append(table), "2013-01-01", 4).await.unwrap();
        assert!(seen().await.contains("| UA8 UA9 |"), "{}", seen().await);
    }
    // Each statement of a task is an append of its own; a task that is not idempotent appends whenever it runs.
    let text = "INSERT INTO plain SELECT 'KE'; INSERT INTO plain SELECT 'KE'";
    for (attempt, expected) in [(Some(1), 2), (Some(2), 2), (None, 4)] {
        let append = attempt.map(|attempt| Append { name: "f/2013-01-01/insert".to_owned(), attempt });
        let task = SqlTask {
            text: text.to_owned(),
            file: None,
            target: None,
            result: None,
            append,
            variables: variables("2013-01-01"),
        };
        project.tasks.sql(task, &project.log).await.unwrap();
        let counted = project.rows("SELECT count(*) AS n FROM plain").await;
        assert!(counted.contains(&format!("| {expected} |")), "{attempt:?}: {counted}");
    }
    let error = project.write("fleet", append("report"), "2013-01-01", 1).await.unwrap_err();
    assert!(error.contains("one file, which cannot tell what a run has appended"), "{error}");
}
