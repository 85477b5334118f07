//! What is added to a lake table since a version: each version's rows once, in order, also over restarts; what takes rows out is refused.

use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::source::{PartitionReader, Position, Read};
use tokio::time::timeout;

use super::project::{Project, partitioned_by, select, table};

const LONG: Duration = Duration::from_secs(20);

fn lake(more: &[(&str, &str)]) -> TableDefinition {
    let options: Vec<_> = [("connector", "delta"), ("path", "t")].into_iter().chain(more.iter().copied()).collect();
    partitioned_by(table("t", "x BIGINT, day STRING", &options), &["day"])
}

async fn add(project: &Project, from: i64, to: i64) {
    let sql = format!("SELECT x, concat('d', x % 2) AS day FROM (SELECT unnest(range({from}, {to})) AS x)");
    project.connectors.writer(&lake(&[])).unwrap().append(select(&sql).await).await.unwrap();
}

/// Reads until so many rows have come; `x` and `day` agree.
async fn read(reader: &mut dyn PartitionReader, rows: usize) -> (Vec<i64>, Position) {
    let mut found = Vec::new();
    loop {
        match timeout(LONG, reader.next()).await.expect("rows come").unwrap() {
            Read::Rows(batch, position) => {
                let numbers = batch.column(1).as_primitive::<Int64Type>().values().to_vec();
                for (day, x) in batch.column(0).as_string::<i32>().iter().zip(&numbers) {
                    assert_eq!(day.unwrap(), format!("d{}", x % 2));
                }
                found.extend(numbers);
                if found.len() >= rows {
                    found.sort_unstable();
                    return (found, position);
                }
            }
            Read::Changes(..) => panic!("this is no changelog"),
            Read::Idle => {}
            Read::End => panic!("changes have no end: {found:?}"),
        }
    }
}

#[tokio::test]
async fn each_version_is_read_once_also_over_restarts() {
    let project = Project::new();
    let changes = lake(&[("scan.startup.version", "0"), ("source.monitor-interval", "1 ms")]);
    let source = project.connectors.source(&changes).unwrap();
    assert!(!source.is_bounded());
    // It waits for the table, and for each version.
    let mut reader = source.open(0, 0, &[1, 0], true).await.unwrap();
    assert!(timeout(Duration::from_millis(50), reader.next()).await.is_err());
    add(&project, 0, 10).await;
    assert_eq!(read(reader.as_mut(), 10).await.0, (0..10).collect::<Vec<_>>());
    add(&project, 10, 20_010).await;
    // A restart in the middle of a version.
    let Read::Rows(first, position) = timeout(LONG, reader.next()).await.unwrap().unwrap() else { panic!("no rows") };
    let mut reader = source.open(0, position, &[1, 0], true).await.unwrap();
    let (rest, position) = read(reader.as_mut(), 20_000 - first.num_rows()).await;
    assert_eq!(rest.len() + first.num_rows(), 20_000);
    add(&project, 30_000, 30_003).await;
    let mut reader = source.open(0, position, &[1, 0], true).await.unwrap();
    assert_eq!(read(reader.as_mut(), 3).await.0, [30_000, 30_001, 30_002]);
    // A later version to begin with; without following, it ends at what is there.
    let later = lake(&[("scan.startup.version", "3")]);
    let found = project.read(&later).await.unwrap();
    assert_eq!(found.num_rows(), 3);
}

#[tokio::test]
async fn a_version_that_takes_rows_out_is_refused() {
    let project = Project::new();
    add(&project, 0, 10).await;
    let rows = select("SELECT CAST(7 AS BIGINT) AS x, 'd1' AS day").await;
    project
        .connectors
        .writer(&lake(&[]))
        .unwrap()
        .replace_partition(&[("day".to_owned(), "d1".to_owned())], rows)
        .await
        .unwrap();
    add(&project, 20, 30).await;
    let error = project.read(&lake(&[("scan.startup.version", "0")])).await.unwrap_err().to_string();
    assert!(error.contains("version 2 takes rows out") && error.ends_with("from version 3 on"), "{error}");
    assert_eq!(project.read(&lake(&[("scan.startup.version", "3")])).await.unwrap().num_rows(), 10);
    let refused = project.connectors.check(&lake(&[("source.monitor-interval", "1 s")])).unwrap_err().to_string();
    assert!(refused.contains("does nothing without 'scan.startup.version'"), "{refused}");
}
