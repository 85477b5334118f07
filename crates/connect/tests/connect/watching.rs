//! A watched folder, here and in object storage: each file is read once, in the order of its coming, also over restarts; what changes
//! or goes is no harm.

use std::fs;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use mulgil_connect::source::{PartitionReader, Position, Read};
use tokio::time::timeout;

use super::bucket::Storage;
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

/// Options of a folder in the bucket, which has to have a name of its own.
fn bucket_options(place: &str) -> Vec<(&str, &str)> {
    vec![("connector", "filesystem"), ("path", place), ("format", "json"), ("source.monitor-interval", "1 ms")]
}

/// An object with these numbers.
async fn upload(folder: &str, name: &str, numbers: std::ops::Range<i64>) {
    let lines: String = numbers.map(|x| format!("{{\"x\": {x}}}\n")).collect();
    let (calls, name) = (Storage::shared().folder(folder).calls(), name.to_owned());
    tokio::task::spawn_blocking(move || calls.put(&name, lines.into()).unwrap()).await.unwrap();
}

async fn remove(folder: &str, name: &str) {
    let (calls, name) = (Storage::shared().folder(folder).calls(), name.to_owned());
    tokio::task::spawn_blocking(move || calls.remove(&name).unwrap()).await.unwrap();
}

/// A machine that knows nothing.
fn machine() -> Project {
    Project::with_object_storage(Storage::shared().options())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_is_read_once_also_on_another_machine() {
    let definition = table("t", "x BIGINT", &bucket_options("s3://pipelines/watched/once"));
    let project = machine();
    let source = project.connectors.source(&definition).unwrap();
    assert!(!source.is_bounded());
    assert_eq!(source.partitions().await.unwrap(), ["s3://pipelines/watched/once"]);
    // There may be nothing at first.
    let none = project.query(&definition, "SELECT count(*) AS n FROM t").await.unwrap();
    assert!(none.contains("| 0 |"), "{none}");
    let mut reader = source.open(0, 0, &[0], true).await.unwrap();
    assert!(timeout(Duration::from_millis(100), reader.next()).await.is_err());
    upload("watched/once", "b.json", 0..3).await;
    assert_eq!(read(reader.as_mut(), 3).await.0, [0, 1, 2]);
    upload("watched/once", ".c.json.tmp", 50..60).await;
    upload("watched/once", "_d.json", 50..60).await;
    upload("watched/once", "a b%20é.json", 3..6).await;
    let (rows, position) = read(reader.as_mut(), 3).await;
    assert_eq!(rows, [3, 4, 5]);
    // Written anew in place: what has changed is not read again.
    upload("watched/once", "b.json", 100..105).await;
    drop(reader);
    // While nobody looks, objects come and go; another machine goes on.
    remove("watched/once", "a b%20é.json").await;
    upload("watched/once", "deeper/e.json", 6..8).await;
    let other = machine();
    let source = other.connectors.source(&definition).unwrap();
    let mut reader = source.open(0, position, &[0], true).await.unwrap();
    let (rows, end) = read(reader.as_mut(), 2).await;
    assert_eq!(rows, [6, 7]);
    upload("watched/once", "f.json", 8..9).await;
    assert_eq!(read(reader.as_mut(), 1).await.0, [8]);
    let mut reader = source.open(0, end, &[0], true).await.unwrap();
    assert_eq!(read(reader.as_mut(), 1).await.0, [8]);
    // Without following, it is what is there now: the three that were in the order, the one anew, as often as it says now.
    let mut reader = source.open(0, 0, &[0], false).await.unwrap();
    let (all, _) = super::project::drain(reader.as_mut()).await.unwrap();
    assert_eq!(all.iter().map(|rows| rows.num_rows()).sum::<usize>(), 8);
    let found = other.query(&definition, "SELECT count(*) AS n FROM t").await.unwrap();
    assert!(found.contains("| 8 |"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_in_the_middle_of_an_object() {
    let definition = table("t", "x BIGINT", &bucket_options("s3://pipelines/watched/middle"));
    upload("watched/middle", "a.json", 0..20_000).await;
    upload("watched/middle", "b.json", 20_000..20_010).await;
    let mut found = Vec::new();
    let mut position = 0;
    while found.len() < 20_010 {
        let source = machine().connectors.source(&definition).unwrap();
        let mut reader = source.open(0, position, &[0], true).await.unwrap();
        let (rows, behind) = read(reader.as_mut(), 1).await;
        found.extend(rows);
        position = behind;
    }
    assert_eq!(found, (0..20_010).collect::<Vec<_>>());
}

/// Several that watch one folder agree on its order, though each finds what comes by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_one_folder_agree_on_its_order() {
    let definition = table("t", "x BIGINT", &bucket_options("s3://pipelines/watched/shared"));
    let read_all = || {
        let definition = definition.clone();
        async move {
            let project = machine();
            let source = project.connectors.source(&definition).unwrap();
            let mut reader = source.open(0, 0, &[0], true).await.unwrap();
            read(reader.as_mut(), 30).await.0
        }
    };
    let readers: Vec<_> = (0..3).map(|_| tokio::spawn(read_all())).collect();
    for x in 0..30 {
        upload("watched/shared", &format!("{}.json", (x * 7) % 30), x..x + 1).await;
    }
    let mut orders = Vec::new();
    for reader in readers {
        orders.push(reader.await.unwrap());
    }
    orders.push(read_all().await);
    assert!(orders.iter().all(|order| order == &orders[0]), "{orders:?}");
    let mut all = orders.swap_remove(0);
    all.sort_unstable();
    assert_eq!(all, (0..30).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_a_bucket_have_their_values_and_a_lost_ledger_is_said() {
    let definition =
        partitioned_by(table("t", "x BIGINT, day STRING", &bucket_options("s3://pipelines/watched/days")), &["day"]);
    upload("watched/days", "day=1/a.json", 0..2).await;
    let project = machine();
    let source = project.connectors.source(&definition).unwrap();
    let mut reader = source.open(0, 0, &[0, 1], true).await.unwrap();
    let Read::Rows(rows, position) = timeout(LONG, reader.next()).await.unwrap().unwrap() else { panic!("no rows") };
    assert_eq!(rows.column(1).as_string::<i32>().value(1), "1");
    for name in [".mulgil-files/00000001", "day=1/a.json"] {
        remove("watched/days", name).await;
    }
    let mut reader = source.open(0, position | (1 << 32), &[0], true).await.unwrap();
    let error = timeout(LONG, reader.next()).await.unwrap().unwrap_err().to_string();
    assert!(error.starts_with("s3://pipelines/watched/days: its ledger .mulgil-files names 0 files"), "{error}");
    upload("watched/days", "b.json", 0..2).await;
    let mut reader = source.open(0, 0, &[0], true).await.unwrap();
    let error = timeout(LONG, reader.next()).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("b.json is in no partition's folder"), "{error}");
}
