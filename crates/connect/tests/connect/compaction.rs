//! Small files that a stream writes into a lake table are put together: the table has few files and the same rows, whoever reads it and
//! from where; who replaces its rows meanwhile has replaced them; and what was taken out is removed in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use deltalake_core::{DeltaTable, DeltaTableBuilder, ensure_table_uri};
use futures::{StreamExt, stream};
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::source::{Position, Source};
use mulgil_connect::transaction::Transaction;
use mulgil_dataflow::batch::Batch;
use tokio::time::timeout;

use super::project::{Project, drain, select, table};

const LONG: Duration = Duration::from_secs(60);

/// Rows of an epoch.
const ROWS: i64 = 10;

fn streamed(more: &[(&str, &str)]) -> TableDefinition {
    let options = [("connector", "delta"), ("path", "t"), ("auto-compaction", "true")];
    let options: Vec<_> = options.into_iter().chain(more.iter().copied()).collect();
    table("t", "x BIGINT", &options)
}

fn sink(project: &Project) -> Arc<dyn Transaction> {
    project.connectors.sink(&streamed(&[])).unwrap().transaction().unwrap()
}

/// The epochs, each of the next numbers.
async fn write(sink: &dyn Transaction, epochs: std::ops::Range<u64>) {
    for epoch in epochs {
        let first = epoch as i64 * ROWS;
        let x = Arc::new(Int64Array::from_iter_values(first..first + ROWS));
        let rows = Batch::append(RecordBatch::try_from_iter([("x", x as _)]).unwrap());
        sink.apply("p", epoch, stream::iter([Ok(rows)]).boxed()).await.unwrap();
    }
}

/// The table as others have it.
async fn open(project: &Project) -> DeltaTable {
    let url = ensure_table_uri(project.path("t").to_string_lossy()).unwrap();
    DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap()
}

/// The table as it was at a version.
fn as_of(project: &Project, version: u64) -> Arc<dyn Source> {
    // The first partition of a table that is read behind its archive.
    project.connectors.archived_source(&streamed(&[]), (&streamed(&[]), version)).unwrap()
}

async fn file_count(project: &Project) -> usize {
    open(project).await.get_file_uris().unwrap().count()
}

fn files_on_disk(project: &Project) -> usize {
    let files = std::fs::read_dir(project.path("t")).unwrap().map(|file| file.unwrap().file_name());
    files.filter(|name| name.to_string_lossy().ends_with(".parquet")).count()
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

async fn numbers(source: &dyn Source, from: Position) -> Vec<i64> {
    let mut reader = source.open(0, from, &[0], false).await.unwrap();
    let (batches, _) = drain(reader.as_mut()).await.unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_table_has_few_files_and_readers_notice_nothing() {
    let project = Project::new();
    let sink = sink(&project);
    write(sink.as_ref(), 0..300).await;
    let all = 300 * ROWS;
    // Of 300 files 256 become one, 32 two, and 12 stay. A version in sixteen lets that begin, and where it is one of those that put files
    // together, the next one does: so some of the last files may be left.
    until("few files", async || file_count(&project).await < 100).await;
    let latest = open(&project).await.version().unwrap();
    let of = |version: u64| as_of(&project, version);
    assert_eq!(numbers(&*of(latest), 0).await, (0..all).collect::<Vec<_>>(), "in the order in which they came");
    assert_eq!(numbers(&*of(latest), 1_234).await, (1_234..all).collect::<Vec<_>>());
    // Of an older version everything is there, and who reads what has come since some version reads each row once.
    let older = numbers(&*of(latest - 100), 0).await;
    assert!(older.len() as i64 > all / 2 && older == (0..older.len() as i64).collect::<Vec<_>>(), "{older:?}");
    let changes = project.connectors.source(&streamed(&[("scan.startup.version", "0")])).unwrap();
    assert_eq!(numbers(&*changes, 0).await, (0..all).collect::<Vec<_>>());

    // As after a restart.
    let again = project.reopened();
    let sink = again.sink(&streamed(&[])).unwrap().transaction().unwrap();
    assert_eq!(sink.last_epoch("p").await.unwrap(), Some(299));
    write(sink.as_ref(), 300..320).await;
    let latest = open(&project).await.version().unwrap();
    assert_eq!(numbers(&*of(latest), 0).await, (0..all + 20 * ROWS).collect::<Vec<_>>());

    // Nobody has asked for it here.
    let plain = table("plain", "x BIGINT", &[("connector", "delta"), ("path", "t")]);
    assert!(project.connectors.check(&plain).is_ok());
    let wrong = project.connectors.check(&streamed(&[("auto-compaction", "often")])).unwrap_err().to_string();
    assert!(wrong.contains("'auto-compaction' = 'often' is not known; allowed: true, false"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_replaces_the_rows_while_files_are_put_together_has_replaced_them() {
    let project = Project::new();
    let sink = sink(&project);
    let writer = project.connectors.writer(&streamed(&[])).unwrap();
    for round in 0..12_u64 {
        // The last of these commits lets sixteen files be put together, and right then all rows are replaced.
        let epochs = round * 20..round * 20 + 20;
        write(sink.as_ref(), epochs.clone()).await;
        if round % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(round)).await;
        }
        let (from, to) = (-1 - round as i64, 0);
        let rows = select(&format!("SELECT x FROM (SELECT unnest(range({from}, {to})) AS x)")).await;
        writer.replace_table(rows).await.unwrap();
        let found = project.query(&streamed(&[]), "SELECT count(*) AS n, max(x) AS x FROM t").await.unwrap();
        assert!(found.contains(&format!("| {} ", round + 1)) && found.contains("| -1 "), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_were_taken_out_are_removed_when_they_are_kept_no_longer() {
    let project = Project::new();
    write(sink(&project).as_ref(), 0..1).await;
    let keeps = HashMap::from([("delta.deletedFileRetentionDuration".to_owned(), "interval 1 seconds".to_owned())]);
    open(&project).await.set_tbl_properties().with_properties(keeps).await.unwrap();
    // The property is known to who opens the table now.
    let again = project.reopened();
    let sink = again.sink(&streamed(&[])).unwrap().transaction().unwrap();
    let mut written = 1;
    let removed = async {
        while files_on_disk(&project) as u64 > written.max(200) / 2 {
            write(sink.as_ref(), written..written + 64).await;
            written += 64;
        }
    };
    timeout(LONG, removed).await.expect("files are removed");
    let latest = open(&project).await.version().unwrap();
    assert_eq!(numbers(&*as_of(&project, latest), 0).await, (0..written as i64 * ROWS).collect::<Vec<_>>());
}
