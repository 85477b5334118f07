//! SQL and transfer tasks over real files and a real lake.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use jiff::tz::TimeZone;
use mulgil_connect::connectors::{Connectors, ConnectorsOptions};
use mulgil_flow::{DataInterval, Variables, Write, WriteTarget};
use mulgil_sql::catalog::Catalog;
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
        let task = TransferTask { from: from.to_owned(), target: replace(to), variables: variables(day) };
        self.tasks.transfer(task, &self.log).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("attempt.log")).unwrap()
    }
}

fn replace(table: &str) -> WriteTarget {
    WriteTarget { table: table.to_owned(), write: Write::ReplacePartition { partition: BTreeMap::new() } }
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
    let task =
        TransferTask { from: "local_events".to_owned(), target: replace("raw.events"), variables: Arc::new(hour) };
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
