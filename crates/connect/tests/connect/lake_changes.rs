//! What changes in a lake table: each version's rows once, in order, also over restarts at every place; what is taken out is taken back,
//! so that the changes add up to the table, or is refused where nobody asked for it.

use std::fs;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::{cast, col, lit};
use deltalake_core::{DeltaTable, DeltaTableBuilder, ensure_table_uri};
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::error::ConnectError;
use mulgil_connect::fold::Fold;
use mulgil_connect::source::{PartitionReader, Position, Read};
use mulgil_dataflow::batch::Batch;
use tokio::time::timeout;

use super::project::{Project, partitioned_by, select, table, text};

const LONG: Duration = Duration::from_secs(20);
const ALL: (&str, &str) = ("scan.changelog-mode", "all");

fn lake(more: &[(&str, &str)]) -> TableDefinition {
    let options: Vec<_> = [("connector", "delta"), ("path", "t")].into_iter().chain(more.iter().copied()).collect();
    partitioned_by(table("t", "x BIGINT, day STRING", &options), &["day"])
}

async fn add(project: &Project, from: i64, to: i64) {
    let sql = format!("SELECT x, concat('d', x % 2) AS day FROM (SELECT unnest(range({from}, {to})) AS x)");
    project.connectors.writer(&lake(&[])).unwrap().append(select(&sql).await).await.unwrap();
}

/// Puts the numbers in place of a day.
async fn replace(project: &Project, day: &str, numbers: std::ops::Range<i64>) {
    let sql = format!("SELECT x, '{day}' AS day FROM (SELECT unnest(range({}, {})) AS x)", numbers.start, numbers.end);
    let writer = project.connectors.writer(&lake(&[])).unwrap();
    writer.replace_partition(&[("day".to_owned(), day.to_owned())], select(&sql).await).await.unwrap();
}

/// The table as others have it.
async fn open(project: &Project) -> DeltaTable {
    let url = ensure_table_uri(project.path("t").to_string_lossy()).unwrap();
    DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap()
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
    assert!(!source.is_bounded() && !source.has_changes() && !changes.has_changes());
    // It waits for the table, and for each version.
    let mut reader = source.open(0, 0, &[1, 0], true).await.unwrap();
    assert!(timeout(Duration::from_millis(50), reader.next()).await.is_err());
    add(&project, 0, 10).await;
    assert_eq!(read(reader.as_mut(), 10).await.0, (0..10).collect::<Vec<_>>());
    add(&project, 10, 20_010).await;
    // A restart in the middle of a version.
    let (first, position) = read(reader.as_mut(), 1).await;
    assert!(first.len() < 10_000, "{}", first.len());
    let mut reader = source.open(0, position, &[1, 0], true).await.unwrap();
    let (rest, position) = read(reader.as_mut(), 20_000 - first.len()).await;
    assert_eq!(rest.len() + first.len(), 20_000);
    add(&project, 30_000, 30_003).await;
    let mut reader = source.open(0, position, &[1, 0], true).await.unwrap();
    assert_eq!(read(reader.as_mut(), 3).await.0, [30_000, 30_001, 30_002]);
    // A later version to begin with; without following, it ends at what is there.
    let later = lake(&[("scan.startup.version", "3")]);
    let found = project.read(&later).await.unwrap();
    assert_eq!(found.num_rows(), 3);
}

#[tokio::test]
async fn a_version_that_takes_rows_out_is_refused_unless_it_is_asked_for() {
    let project = Project::new();
    add(&project, 0, 10).await;
    replace(&project, "d1", 7..8).await;
    add(&project, 20, 30).await;
    let error = project.read(&lake(&[("scan.startup.version", "0")])).await.unwrap_err();
    assert!(matches!(&error, ConnectError::LakeVersion { version: 2, .. }) && error.is_of_rows(), "{error:?}");
    let error = error.to_string();
    assert!(
        error.contains("version 2: it takes rows out") && error.ends_with("'scan.startup.version' = '3'"),
        "{error}"
    );
    assert!(error.contains("'scan.changelog-mode' = 'all'"), "{error}");
    assert_eq!(project.read(&lake(&[("scan.startup.version", "3")])).await.unwrap().num_rows(), 10);
    for (option, value, reason) in [
        ("source.monitor-interval", "1 s", "does nothing without 'scan.startup.version'"),
        ("scan.changelog-mode", "some", "'scan.changelog-mode' = 'some' is not known; allowed: insert-only, all"),
    ] {
        let refused = project.connectors.check(&lake(&[(option, value)])).unwrap_err().to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}

/// All changes that there are behind a position, each with the position behind it.
async fn changes(
    project: &Project,
    table: &TableDefinition,
    from: Position,
) -> Result<Vec<(Batch, Position)>, ConnectError> {
    let source = project.connectors.source(table)?;
    assert!(source.has_changes() && table.has_changes() && !source.is_bounded());
    let mut reader = source.open(0, from, &[0, 1], false).await?;
    let mut found = Vec::new();
    loop {
        match timeout(LONG, reader.next()).await.expect("changes come")? {
            Read::Changes(batch, position) => found.push((batch, position)),
            Read::Rows(..) => panic!("this is a changelog"),
            Read::Idle => {}
            Read::End => return Ok(found),
        }
    }
}

fn batches(changes: &[(Batch, Position)]) -> impl Iterator<Item = &Batch> {
    changes.iter().map(|(batch, _)| batch)
}

/// The rows that changes add up to, as text.
fn added_up<'a>(changes: impl Iterator<Item = &'a Batch>) -> Vec<String> {
    let (mut fold, mut schema) = (None, None);
    for batch in changes {
        schema.get_or_insert_with(|| batch.rows.schema());
        fold.get_or_insert_with(|| Fold::new(batch.rows.schema())).add(batch).unwrap();
    }
    let rows: Vec<RecordBatch> = std::iter::from_fn(|| fold.as_mut()?.take(1000).unwrap()).collect();
    let rows = arrow::compute::concat_batches(&schema.unwrap(), &rows).unwrap();
    let mut lines: Vec<String> = text(&rows).lines().skip(3).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The rows of the table as it is, as text.
async fn whole(project: &Project) -> Vec<String> {
    let rows = project.read(&lake(&[])).await.unwrap();
    let mut lines: Vec<String> = text(&rows).lines().skip(3).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A table to which nearly everything has been done that can be done to one.
async fn eventful(project: &Project) -> DeltaTable {
    add(project, 0, 10).await;
    add(project, 5, 20_000).await;
    replace(project, "d1", 3..9_000).await;
    // A value that has to be written otherwise in a path, twice over.
    replace(project, "a/b=c d%2F", 1..5).await;
    replace(project, "d0", 0..0).await;
    let low = || cast(col("x"), arrow::datatypes::DataType::Int64).lt(lit(4_i64));
    let (table, deleted) = open(project).await.delete().with_predicate(low()).await.unwrap();
    assert!(deleted.num_deleted_rows > Some(0), "{deleted:?}");
    let (table, updated) =
        table.update().with_predicate(col("x").eq(lit(7_i64))).with_update("x", lit(70_i64)).await.unwrap();
    assert!(updated.num_updated_rows > 0, "{updated:?}");
    add(project, 100, 110).await;
    add(project, 100, 120).await;
    let mut table = table;
    table.load().await.unwrap();
    let (table, optimized) = table.optimize().await.unwrap();
    assert!(optimized.num_files_removed > 1, "{optimized:?}");
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn all_changes_add_up_to_the_table_also_over_restarts_at_every_place() {
    let project = Project::new();
    let table = eventful(&project).await;
    let expected = whole(&project).await;
    assert!(expected.len() > 9_000 && expected.iter().any(|row| row.contains("a/b=c d%2F")), "{}", expected.len());
    let latest = table.version().unwrap();
    for start in [0, 1, 3, latest - 2, latest] {
        let definition = lake(&[ALL, ("scan.startup.version", &start.to_string())]);
        let all = changes(&project, &definition, 0).await.unwrap();
        assert_eq!(added_up(batches(&all)), expected, "from version {start}");
        assert!(all.is_sorted_by_key(|(_, position)| position & !(1 << 63)), "from version {start}");
        // Whatever was read before: what is left is what would have come.
        for (index, (_, position)) in all.iter().enumerate() {
            let rest = changes(&project, &definition, *position).await.unwrap();
            let is_same = batches(&rest)
                .map(|batch| (&batch.rows, &batch.kinds))
                .eq(batches(&all).skip(index + 1).map(|batch| (&batch.rows, &batch.kinds)));
            assert!(is_same, "from version {start}, behind {index} of {}", all.len());
        }
    }
    // What is put together anew changes nothing.
    let optimized = lake(&[ALL, ("scan.startup.version", &(latest - 1).to_string())]);
    let found = changes(&project, &optimized, ((latest - 1) << 32) | 1).await.unwrap();
    assert!(batches(&found).all(|batch| batch.kinds.is_none()), "{found:?}");
    // Without a version it begins with what is there.
    let now = changes(&project, &lake(&[ALL]), 0).await.unwrap();
    assert!(batches(&now).all(|batch| batch.kinds.is_none()));
    assert_eq!(added_up(batches(&now)), expected);
}

#[tokio::test]
async fn changes_are_followed_from_the_table_as_it_is() {
    let project = Project::new();
    let definition = lake(&[ALL, ("source.monitor-interval", "1 ms")]);
    let source = project.connectors.source(&definition).unwrap();
    let mut reader = source.open(0, 0, &[0, 1], true).await.unwrap();
    assert!(timeout(Duration::from_millis(50), reader.next()).await.is_err(), "there is no table yet");
    let mut found = Vec::new();
    for step in 0..4 {
        match step {
            0 => add(&project, 0, 10).await,
            1 => replace(&project, "d0", 3..5).await,
            2 => add(&project, 20, 30).await,
            _ => replace(&project, "d1", 0..1).await,
        }
        let expected = whole(&project).await;
        while found.is_empty() || added_up(found.iter()) != expected {
            match timeout(LONG, reader.next()).await.expect("changes come").unwrap() {
                Read::Changes(batch, _) => found.push(batch),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_was_cleaned_up_is_said_with_its_version() {
    let project = Project::new();
    add(&project, 0, 10).await;
    add(&project, 10, 20).await;
    let since = |version: &'static str| lake(&[ALL, ("scan.startup.version", version)]);
    let behind_first = changes(&project, &since("1"), 0).await.unwrap();
    let middle = behind_first.first().unwrap().1;
    replace(&project, "d1", 3..4).await;
    let (_, vacuumed) = open(&project)
        .await
        .vacuum()
        .with_retention_period(Default::default())
        .with_enforce_retention_duration(false)
        .await
        .unwrap();
    assert_eq!(vacuumed.files_deleted.len(), 2, "{vacuumed:?}");
    for (table, from, gone_at) in
        [(since("1"), 0, 1), (since("2"), 0, 2), (since("1"), middle, 1), (since("1"), 3 << 32, 3)]
    {
        let error = changes(&project, &table, from).await.unwrap_err();
        assert!(matches!(error, ConnectError::LakeVersion { version, .. } if version == gone_at), "{error}");
        let error = error.to_string();
        assert!(error.contains("is not there any more") && error.contains("`mulgil view replay NAME`"), "{error}");
    }
    // What is said to do helps.
    for table in [since("3"), lake(&[ALL])] {
        let found = changes(&project, &table, 0).await.unwrap();
        assert_eq!(added_up(batches(&found)), whole(&project).await);
    }
    fs::remove_file(project.path("t/_delta_log/00000000000000000003.json")).unwrap();
    let error = changes(&project, &since("1"), 3 << 32).await.unwrap_err().to_string();
    assert!(error.contains("version"), "{error}");
}

/// A commit as another writer makes it.
fn commit(project: &Project, version: u64, actions: &[String]) {
    project.file(&format!("t/_delta_log/{version:020}.json"), actions.join("\n"));
}

#[tokio::test]
async fn commits_of_other_writers_are_read_or_refused_by_name() {
    let project = Project::new();
    add(&project, 0, 10).await;
    let log = fs::read_to_string(project.path("t/_delta_log/00000000000000000001.json")).unwrap();
    let adds: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let adds: Vec<&serde_json::Value> = adds.iter().filter_map(|action| action.get("add")).collect();
    let path = adds.iter().find(|add| add["partitionValues"]["day"] == "d1").unwrap()["path"].as_str().unwrap();
    let since = lake(&[ALL, ("scan.startup.version", "0")]);
    let remove = format!(r#"{{"remove":{{"path":"{path}","deletionTimestamp":1,"dataChange":true}}}}"#);
    let again = format!(
        r#"{{"add":{{"path":"{path}","partitionValues":{{"day":"d1"}},"size":1,"modificationTime":1,"dataChange":true}}}}"#
    );
    // Whoever takes a file out need not say of which partition it was.
    commit(&project, 2, std::slice::from_ref(&remove));
    let found = changes(&project, &since, 0).await.unwrap();
    assert_eq!(
        added_up(batches(&found)),
        ["+---+-----+", "| 0 | d0  |", "| 2 | d0  |", "| 4 | d0  |", "| 6 | d0  |", "| 8 | d0  |"]
    );
    // What is taken out and put in again is as it was.
    commit(&project, 3, &[remove, again.clone()]);
    assert!(batches(&changes(&project, &since, 3 << 32).await.unwrap()).all(|batch| batch.num_rows() == 0));
    let vector = r#""deletionVector":{"storageType":"u","pathOrInlineDv":"ab^-aqEH.-t@S}K{vb[*k^","offset":4,"sizeInBytes":40,"cardinality":6}"#;
    let with_vector = again.replace(r#""size":1"#, &format!(r#""size":1,{vector}"#));
    let elsewhere = again.replace(path, "file:///elsewhere/part-0.parquet");
    for (action, reason) in [(with_vector, "has a deletion vector"), (elsewhere, "is not in the table's folder")] {
        commit(&project, 4, &[action]);
        let error = changes(&project, &since, 3 << 32).await.unwrap_err().to_string();
        assert!(error.contains("version 4: file ") && error.contains(reason), "{error}");
    }
}
