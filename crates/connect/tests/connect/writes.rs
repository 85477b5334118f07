//! Batch writes, the same promises for files and for the lake: whole, idempotent, checked.

use std::fs;

use super::project::{Project, partitioned_by, select, table};
use mulgil_connect::definition::TableDefinition;

const ALL: &str = "SELECT * FROM t ORDER BY x";
const COLUMNS: &str = "x INT NOT NULL, y STRING, at TIMESTAMP, day DATE";

/// The same table as CSV, JSON and Parquet files and in the lake.
fn tables() -> Vec<TableDefinition> {
    let csv = [("connector", "filesystem"), ("path", "out"), ("format", "csv"), ("csv.null-literal", "NULL")];
    let json = [("connector", "filesystem"), ("path", "out"), ("format", "json")];
    let parquet = [("connector", "filesystem"), ("path", "out"), ("format", "parquet")];
    let kinds: [&[(&str, &str)]; 4] = [&csv, &json, &parquet, &[("connector", "delta")]];
    kinds.iter().map(|options| partitioned_by(table("mart.t", COLUMNS, options), &["day"])).collect()
}

fn day(day: &str) -> Vec<(String, String)> {
    vec![("day".to_owned(), day.to_owned())]
}

fn values(rows: &str) -> String {
    format!(
        "SELECT CAST(column1 AS INT) AS x, column2 AS y, CAST(column3 AS TIMESTAMP) AS at, CAST(column4 AS DATE) AS day FROM (VALUES {rows})"
    )
}

#[tokio::test]
async fn a_partition_is_replaced_and_the_others_stay() {
    for table in tables() {
        let project = Project::new();
        let writer = project.connectors.writer(&table).unwrap();
        let first = values("(1, 'a', '2013-01-01T10:00:00.123', '2013-01-01'), (2, NULL, NULL, '2013-01-01')");
        let second = values("(3, '', '2013-01-02T10:00:00', '2013-01-02')");
        let summary = writer.replace_partition(&day("2013-01-01"), select(&first).await).await.unwrap();
        assert_eq!((summary.rows, summary.files), (2, 1));
        assert!(summary.bytes > 20);
        writer.replace_partition(&day("2013-01-02"), select(&second).await).await.unwrap();
        // Again: the same rows; and with other rows: only those.
        writer.replace_partition(&day("2013-01-01"), select(&first).await).await.unwrap();
        let rows = project.query(&table, ALL).await.unwrap();
        insta::allow_duplicates! {
            insta::assert_snapshot!(rows, @r"
            +---+---+-------------------------+------------+
            | x | y | at                      | day        |
            +---+---+-------------------------+------------+
            | 1 | a | 2013-01-01T10:00:00.123 | 2013-01-01 |
            | 2 |   |                         | 2013-01-01 |
            | 3 |   | 2013-01-02T10:00:00     | 2013-01-02 |
            +---+---+-------------------------+------------+
            ");
        }
        let third = values("(9, 'z', NULL, '2013-01-01')");
        writer.replace_partition(&day("2013-01-01"), select(&third).await).await.unwrap();
        let sum = "SELECT count(*) AS n, sum(x) AS s FROM t";
        assert!(project.query(&table, sum).await.unwrap().contains("| 2 | 12 |"));
        // No rows clear the partition.
        let none = format!("{} WHERE false", values("(9, 'z', NULL, '2013-01-01')"));
        writer.replace_partition(&day("2013-01-01"), select(&none).await).await.unwrap();
        assert!(project.query(&table, sum).await.unwrap().contains("| 1 | 3 |"));
        writer.append(select(&first).await).await.unwrap();
        assert!(project.query(&table, sum).await.unwrap().contains("| 3 | 6 |"));
        writer.replace_table(select(&third).await).await.unwrap();
        assert!(project.query(&table, sum).await.unwrap().contains("| 1 | 9 |"));
        writer.replace_table(select(&none).await).await.unwrap();
        assert!(project.query(&table, sum).await.unwrap().contains("| 0 |"));
    }
}

#[tokio::test]
async fn wrong_rows_change_nothing_and_are_named() {
    let good = values("(1, 'a', NULL, '2013-01-01')");
    let cases = [
        ("another day", values("(1, 'a', NULL, '2013-01-01'), (2, 'a', NULL, '2013-01-02')")),
        ("a NULL", values("(NULL, 'a', NULL, '2013-01-01')")),
        ("a missing column", "SELECT 1 AS x, 'a' AS y, DATE '2013-01-01' AS day".to_owned()),
        ("an unknown column", format!("SELECT *, 1 AS z FROM ({good})")),
        ("a type that loses", "SELECT 1.5 AS x, 'a' AS y, NULL AS at, DATE '2013-01-01' AS day".to_owned()),
        ("a number too large", "SELECT 3000000000 AS x, 'a' AS y, NULL AS at, DATE '2013-01-01' AS day".to_owned()),
        ("a query that fails", format!("SELECT CAST(y AS INT) AS x, y, at, day FROM ({good})")),
    ];
    for table in tables() {
        let project = Project::new();
        let writer = project.connectors.writer(&table).unwrap();
        writer.replace_partition(&day("2013-01-01"), select(&good).await).await.unwrap();
        let before = project.query(&table, ALL).await.unwrap();
        let mut messages = Vec::new();
        for (case, rows) in &cases {
            let error = writer.replace_partition(&day("2013-01-01"), select(rows).await).await.unwrap_err();
            messages.push(format!("{case}: {error}"));
            assert_eq!(project.query(&table, ALL).await.unwrap(), before, "{case}");
        }
        for (case, partition) in
            [("no such day", day("2013-02-30")), ("nothing", vec![]), ("other", vec![("dya".into(), "x".into())])]
        {
            let error = writer.replace_partition(&partition, select(&good).await).await.unwrap_err();
            messages.push(format!("{case}: {error}"));
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(messages.join("\n"));
        }
        let hidden = fs::read_dir(project.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let hidden: Vec<_> = hidden.filter(|name| name.to_string_lossy().starts_with(".mulgil-")).collect();
        assert!(hidden.is_empty(), "left behind: {hidden:?}");
    }
}

#[tokio::test]
async fn a_single_file_is_replaced_and_appended_to() {
    let project = Project::new();
    let options = [("connector", "filesystem"), ("path", "reports/day.csv"), ("format", "csv")];
    let table = table("report", "x INT, y STRING", &options);
    let writer = project.connectors.writer(&table).unwrap();
    let read = || fs::read_to_string(project.path("reports/day.csv")).unwrap();
    writer.replace_table(select("SELECT 1 AS x, 'a,b' AS y").await).await.unwrap();
    assert_eq!(read(), "x,y\n1,\"a,b\"\n");
    writer.append(select("SELECT 'c' AS y, 2 AS x").await).await.unwrap();
    assert_eq!(read(), "x,y\n1,\"a,b\"\n2,c\n");
    writer.replace_table(select("SELECT 1 AS x, 'a' AS y WHERE false").await).await.unwrap();
    assert_eq!(read(), "x,y\n");
    fs::remove_file(project.path("reports/day.csv")).unwrap();
    writer.append(select("SELECT 3 AS x, 'd' AS y").await).await.unwrap();
    assert_eq!(read(), "x,y\n3,d\n");
    assert_eq!(fs::read_dir(project.path("reports")).unwrap().count(), 1);
}
