//! A watched folder: each file is read once, in the order of its coming, also over restarts; what changes or goes is no harm.

use std::fs;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use mulgil_connect::source::{PartitionReader, Position, Read};
use tokio::time::timeout;

use super::project::{Project, partitioned_by, table};

const LONG: Duration = Duration::from_secs(20);
const OPTIONS: [(&str, &str); 4] =
    [("connector", "filesystem"), ("path", "in"), ("format", "json"), ("source.monitor-interval", "1 ms")];

/// A file that comes as a whole: written elsewhere, and moved.
fn put(project: &Project, name: &str, numbers: std::ops::Range<i64>) {
    let lines: String = numbers.map(|x| format!("{{\"x\": {x}}}\n")).collect();
    project.file(&format!("elsewhere/{}", name.replace('/', "-")), lines);
    let path = project.path("in").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::rename(project.path("elsewhere").join(name.replace('/', "-")), path).unwrap();
}

/// Reads until so many rows have come.
async fn read(reader: &mut dyn PartitionReader, rows: usize) -> (Vec<i64>, Position) {
    let mut found = Vec::new();
    loop {
        match timeout(LONG, reader.next()).await.expect("rows come").unwrap() {
            Read::Rows(batch, position) => {
                found.extend(batch.column(0).as_primitive::<Int64Type>().values());
                if found.len() >= rows {
                    return (found, position);
                }
            }
            Read::Changes(..) => panic!("this is no changelog"),
            Read::Idle => {}
            Read::End => panic!("a watched folder has no end: {found:?}"),
        }
    }
}

#[tokio::test]
async fn each_file_is_read_once_also_over_restarts() {
    let project = Project::new();
    let definition = table("t", "x BIGINT", &OPTIONS);
    put(&project, "b.json", 0..3);
    let source = project.connectors.source(&definition).unwrap();
    assert!(!source.is_bounded() && source.partitions().await.unwrap().len() == 1);
    let mut reader = source.open(0, 0, &[0], true).await.unwrap();
    assert_eq!(read(reader.as_mut(), 3).await.0, [0, 1, 2]);
    // Names that are hidden, and files that are being written under such, are no data.
    project.file("in/.c.json.tmp", "half a");
    project.file("in/_d.json", "half a");
    put(&project, "a.json", 3..6);
    let (rows, position) = read(reader.as_mut(), 3).await;
    assert_eq!(rows, [3, 4, 5]);
    drop(reader);
    // While nobody looks, files come, and one that was read is archived; another comes under its name.
    fs::remove_file(project.path("in/b.json")).unwrap();
    put(&project, "b.json", 100..104);
    put(&project, "deeper/e.json", 6..8);
    let source = project.connectors.source(&definition).unwrap();
    let mut reader = source.open(0, position, &[0], true).await.unwrap();
    let (rows, end) = read(reader.as_mut(), 2).await;
    assert_eq!(rows, [6, 7]);
    put(&project, "f.json", 8..9);
    assert_eq!(read(reader.as_mut(), 1).await.0, [8]);
    drop(reader);
    // From the position in between, the same comes again.
    let mut reader = source.open(0, end, &[0], true).await.unwrap();
    assert_eq!(read(reader.as_mut(), 1).await.0, [8]);
    // In batch, and without following, it is what is there now.
    let mut reader = source.open(0, end, &[0], false).await.unwrap();
    let (rest, _) = super::project::drain(reader.as_mut()).await.unwrap();
    assert_eq!(rest.iter().map(|rows| rows.num_rows()).sum::<usize>(), 1);
    let found = project.query(&definition, "SELECT count(*) AS n FROM t").await.unwrap();
    assert!(found.contains("| 10 |"), "{found}");
}

#[tokio::test]
async fn a_restart_goes_on_in_the_middle_of_a_file() {
    let project = Project::new();
    let definition = table("t", "x BIGINT", &OPTIONS);
    put(&project, "a.json", 0..20_000);
    let source = project.connectors.source(&definition).unwrap();
    let mut reader = source.open(0, 0, &[0], true).await.unwrap();
    let (rows, position) = read(reader.as_mut(), 1).await;
    let mut reader = source.open(0, position, &[0], true).await.unwrap();
    let rest = read(reader.as_mut(), 20_000 - rows.len()).await.0;
    assert_eq!(rows.into_iter().chain(rest).collect::<Vec<_>>(), (0..20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn partitions_have_their_values_and_a_lost_ledger_is_said() {
    let project = Project::new();
    let definition = partitioned_by(table("t", "x BIGINT, day STRING", &OPTIONS), &["day"]);
    put(&project, "day=1/a.json", 0..2);
    let source = project.connectors.source(&definition).unwrap();
    let mut reader = source.open(0, 0, &[0, 1], true).await.unwrap();
    let Read::Rows(rows, position) = timeout(LONG, reader.next()).await.unwrap().unwrap() else { panic!("no rows") };
    assert_eq!(rows.column(1).as_string::<i32>().value(1), "1");
    put(&project, "day=2/a.json", 2..3);
    assert_eq!(read(reader.as_mut(), 1).await.0, [2]);
    fs::remove_file(project.path("in/.mulgil-files")).unwrap();
    fs::remove_dir_all(project.path("in/day=1")).unwrap();
    fs::remove_dir_all(project.path("in/day=2")).unwrap();
    let mut reader = source.open(0, position | (2 << 32), &[0], true).await.unwrap();
    let error = timeout(LONG, reader.next()).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("it was removed or replaced; start from the beginning"), "{error}");
}

#[test]
fn one_file_cannot_be_watched() {
    let project = Project::new();
    project.file("in", "");
    let refused = project.connectors.source(&table("t", "x BIGINT", &OPTIONS)).err().unwrap().to_string();
    assert!(refused.contains("'source.monitor-interval' watches a folder"), "{refused}");
}
