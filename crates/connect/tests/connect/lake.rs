//! The lake: many writers at once, other processes beside, other readers, other schemas.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use deltalake_core::kernel::transaction::CommitProperties;
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTableBuilder, ensure_table_uri};
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableDefinition;

use super::project::{Project, partitioned_by, query, rows, select, table};

const COLUMNS: &str = "x INT NOT NULL, s STRING, d DOUBLE, b BOOLEAN, at TIMESTAMP, day DATE, m DECIMAL";

fn raw() -> TableDefinition {
    partitioned_by(table("raw.departures", COLUMNS, &[("connector", "delta")]), &["day"])
}

fn day(number: usize) -> (Vec<(String, String)>, String) {
    let day = format!("2013-{:02}-{:02}", number / 28 + 1, number % 28 + 1);
    let sql = format!(
        "SELECT CAST(value AS INT) AS x, 'row ' || value AS s, value / 4.0 AS d, value % 2 = 0 AS b, \
         TIMESTAMP '{day}T10:00:00.123' AS at, DATE '{day}' AS day, CAST(value AS DECIMAL(10, 2)) AS m \
         FROM generate_series({number}, {number} + 99)"
    );
    (vec![("day".to_owned(), day)], sql)
}

const SUMMARY: &str =
    "SELECT count(*) AS n, sum(x) AS s, count(DISTINCT day) AS days, count(DISTINCT at) AS ats FROM t";

/// Replaces 40 partitions, eight at a time.
async fn replace_all(connectors: &Arc<Connectors>, table: &TableDefinition) {
    let tasks = (0..8).map(|task| {
        let (connectors, table) = (Arc::clone(connectors), table.clone());
        tokio::spawn(async move {
            let writer = connectors.writer(&table).unwrap();
            for number in (task..40).step_by(8) {
                let (partition, sql) = day(number);
                let summary = writer.replace_partition(&partition, select(&sql).await).await.unwrap();
                assert_eq!((summary.rows, summary.files), (100, 1));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_tasks_replace_partitions_of_one_table() {
    let project = Project::new();
    let expected: usize = (0..40).map(|number| (number..number + 100).sum::<usize>()).sum();
    for round in 0..2 {
        replace_all(&project.connectors, &raw()).await;
        let summary = project.query(&raw(), SUMMARY).await.unwrap();
        assert!(summary.contains(&format!("| 4000 | {expected} | 40   | 40  |")), "round {round}: {summary}");
    }
    // Another process sees the same, and the same again after its own write.
    let other = Arc::new(project.reopened());
    assert_eq!(query(&other, &raw(), SUMMARY).await.unwrap(), project.query(&raw(), SUMMARY).await.unwrap());
    let (partition, sql) = day(5);
    let version =
        other.writer(&raw()).unwrap().replace_partition(&partition, select(&sql).await).await.unwrap().version;
    assert_eq!(version, Some(81), "one version a commit, behind the table's creation");
    assert_eq!(query(&other, &raw(), SUMMARY).await.unwrap(), project.query(&raw(), SUMMARY).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_write_the_same_table_do_not_lose_rows() {
    let project = Project::new();
    let (first, second) = (Arc::new(project.reopened()), Arc::new(project.reopened()));
    // Both replace all partitions at the same time: every conflict is made anew, and each partition is there once.
    let table = raw();
    let (one, other) = (replace_all(&first, &table), replace_all(&second, &table));
    tokio::join!(one, other);
    let summary = project.query(&raw(), SUMMARY).await.unwrap();
    assert!(summary.contains("| 4000 |") && summary.contains("| 40   | 40  |"), "{summary}");
}

#[tokio::test]
async fn a_year_is_backfilled_quickly() {
    let project = Project::new();
    let writer = project.connectors.writer(&raw()).unwrap();
    let mut times = Vec::new();
    for number in 0..120 {
        let (partition, sql) = day(number);
        let computed = datafusion::physical_plan::common::collect(select(&sql).await).await.unwrap();
        let started = Instant::now();
        writer.replace_partition(&partition, rows(computed)).await.unwrap();
        times.push(started.elapsed());
    }
    times.sort();
    eprintln!("a commit takes {:?} (median), {:?} (p99)", times[60], times[118]);
    assert!(times[60].as_millis() < 500, "a commit takes {:?}", times[60]);
}

#[tokio::test]
async fn types_survive() {
    let project = Project::new();
    let (partition, sql) = day(0);
    project.connectors.writer(&raw()).unwrap().replace_partition(&partition, select(&sql).await).await.unwrap();
    let types = project.query(&raw(), "SELECT arrow_typeof(at) AS at, arrow_typeof(s) AS s, arrow_typeof(m) AS m, at AS t, m AS v FROM t WHERE x = 7").await.unwrap();
    insta::assert_snapshot!(types, @r"
    +---------------+------+-------------------+-------------------------+------+
    | at            | s    | m                 | t                       | v    |
    +---------------+------+-------------------+-------------------------+------+
    | Timestamp(ms) | Utf8 | Decimal128(10, 2) | 2013-01-01T10:00:00.123 | 7.00 |
    +---------------+------+-------------------+-------------------------+------+
    ");
    let filtered = project.query(&raw(), "SELECT count(*) AS n FROM t WHERE at >= TIMESTAMP '2013-01-01T10:00:00.123' AND day = DATE '2013-01-01' AND s LIKE 'row 1%'").await.unwrap();
    assert!(filtered.contains("| 11 |"), "{filtered}");
    let rows = project.read(&raw()).await.unwrap();
    assert_eq!((rows.num_rows(), rows.schema()), (100, raw().physical_schema()));
}

#[tokio::test]
async fn a_table_that_was_never_written_is_empty() {
    let project = Project::new();
    assert!(project.query(&raw(), SUMMARY).await.unwrap().contains("| 0 |"));
    assert!(!project.path("lake").exists(), "reading makes nothing");
}

#[tokio::test]
async fn another_schema_is_refused_by_column() {
    let project = Project::new();
    let (partition, sql) = day(0);
    project.connectors.writer(&raw()).unwrap().replace_partition(&partition, select(&sql).await).await.unwrap();
    let changed = |from: &str, to: &str, partition: &[&str]| {
        partitioned_by(table("raw.departures", &COLUMNS.replace(from, to), &[("connector", "delta")]), partition)
    };
    let tables = [
        changed("d DOUBLE", "d INT", &["day"]),
        changed("d DOUBLE", "delay DOUBLE", &["day"]),
        changed(", m DECIMAL", "", &["day"]),
        changed("", "", &[]),
    ];
    let mut messages = Vec::new();
    for table in tables {
        messages.push(project.query(&table, "SELECT 1 FROM t").await.unwrap_err().to_string());
        let refused = project.connectors.writer(&table).unwrap().append(select(&sql).await).await.unwrap_err();
        messages.push(refused.to_string());
    }
    insta::assert_snapshot!(messages.join("\n"));
}

/// The interpreter that has the Python package `deltalake`.
fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let python = std::env::var_os("MULGIL_TEST_PYTHON").map_or(venv, PathBuf::from);
    assert!(python.exists(), "no Python at {}; run `make test`, or set MULGIL_TEST_PYTHON", python.display());
    // Python looks for its packages beside the name it is called by, and takes `..` out of it as text.
    python.parent().unwrap().canonicalize().unwrap().join(python.file_name().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn python_reads_the_same_rows() {
    let project = Project::new();
    // Twice, so that there is a checkpoint among the commits.
    replace_all(&project.connectors, &raw()).await;
    replace_all(&project.connectors, &raw()).await;
    let script = r#"
import datetime
import os
import sys
from deltalake import DeltaTable
import pyarrow.compute as pc
table = DeltaTable(sys.argv[1])
rows = table.to_pyarrow_table()
print(table.version(), rows.num_rows, pc.sum(rows["x"]).as_py(), len(set(rows["day"].to_pylist())))
print(",".join(f"{field.name} {field.type}" for field in rows.schema))
one = [row for row in rows.to_pylist() if row["x"] == 7 and str(row["day"]) == "2013-01-01"]
print(one)
print(table.metadata().partition_columns)
day = table.to_pyarrow_table(filters=[("day", "=", datetime.date(2013, 1, 1))])
print(day.num_rows)
# Arrow's own threads may still run while Python takes its libraries down, which now and then ends in
# "terminate called without an active exception" after everything has been said.
sys.stdout.flush()
os._exit(0)
"#;
    let table = project.path("lake/raw/departures");
    let output = Command::new(python()).arg("-c").arg(script).arg(&table).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn another_tool_may_write_the_table() {
    let project = Project::new();
    let table = partitioned_by(table("raw.t", "x INT, day STRING", &[("connector", "delta")]), &["day"]);
    let writer = project.connectors.writer(&table).unwrap();
    let one = vec![("day".to_owned(), "one".to_owned())];
    writer.replace_partition(&one, select("SELECT 1 AS x, 'one' AS day").await).await.unwrap();
    let url = ensure_table_uri(project.path("lake/raw/t").to_string_lossy()).unwrap();
    for day in ["one", "two"] {
        let rows = select(&format!("SELECT CAST(10 AS INT) AS x, '{day}' AS day")).await;
        let rows = datafusion::physical_plan::common::collect(rows).await.unwrap();
        let other = DeltaTableBuilder::from_url(url.clone()).unwrap().load().await.unwrap();
        let write = other.write(rows).with_save_mode(SaveMode::Append);
        write.with_commit_properties(CommitProperties::default()).await.unwrap();
    }
    assert!(project.query(&table, "SELECT sum(x) AS s FROM t").await.unwrap().contains("| 21 |"));
    // The row that the other tool has put into the partition goes with it, though this process had not seen it.
    writer.replace_partition(&one, select("SELECT 2 AS x, 'one' AS day").await).await.unwrap();
    assert!(project.query(&table, "SELECT sum(x) AS s FROM t").await.unwrap().contains("| 12 |"));
}

#[tokio::test]
async fn partition_values_may_be_any_text() {
    let project = Project::new();
    let table =
        partitioned_by(table("raw.t", "x INT, city STRING, day DATE", &[("connector", "delta")]), &["city", "day"]);
    let cities = ["New York", "São Paulo", "a/b", "100%", "x=y", "'quoted'", "a+b&c?d#e", "서울"];
    let sum = "SELECT count(*) AS n, sum(x) AS s, count(DISTINCT city) AS cities FROM t";
    for round in 1..=3 {
        // The second round replaces what is known in memory, the third what was loaded.
        let connectors = if round == 3 { Arc::new(project.reopened()) } else { Arc::clone(&project.connectors) };
        let writer = connectors.writer(&table).unwrap();
        for city in cities {
            let literal = city.replace('\'', "''");
            let sql = format!("SELECT {round} AS x, '{literal}' AS city, DATE '2013-01-01' AS day");
            let partition = vec![("day".to_owned(), "2013-01-01".to_owned()), ("city".to_owned(), city.to_owned())];
            writer.replace_partition(&partition, rows(vec![])).await.unwrap();
            writer.replace_partition(&partition, select(&sql).await).await.unwrap();
        }
        let result = query(&connectors, &table, sum).await.unwrap();
        assert!(result.contains(&format!("| 8 | {} ", round * 8)), "round {round}: {result}");
        let one =
            query(&connectors, &table, "SELECT sum(x) AS s FROM t WHERE city = 'a/b' AND day = DATE '2013-01-01'")
                .await;
        assert!(one.unwrap().contains(&format!("| {round} |")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_stays_quick_behind_many_commits() {
    let project = Project::new();
    let writer = project.connectors.writer(&raw()).unwrap();
    let mut times = Vec::new();
    for number in 0..160 {
        let (partition, sql) = day(number);
        writer.replace_partition(&partition, select(&sql).await).await.unwrap();
        let started = Instant::now();
        let sql = format!("SELECT count(*) AS n FROM t WHERE day = DATE '{}'", partition[0].1);
        let result = project.query(&raw(), &sql).await.unwrap();
        times.push(started.elapsed());
        assert!(result.contains("| 100 |"), "{result}");
    }
    eprintln!("the first read takes {:?}, the 100th {:?}, the last {:?}", times[0], times[100], times[159]);
    let started = Instant::now();
    query(&project.reopened(), &raw(), "SELECT count(*) AS n FROM t").await.unwrap();
    eprintln!("the first read of a new process takes {:?}", started.elapsed());
}
