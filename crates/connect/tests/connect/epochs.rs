//! Our own stores take epochs as transactions: each is in as a whole, once, and known by its number; what fails leaves nothing.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::Delivery;
use mulgil_connect::transaction::Transaction;
use mulgil_dataflow::batch::Batch;

use super::project::{Project, query, table};

type Rows = BoxStream<'static, Result<Batch, ConnectError>>;

/// `x` from `range`, in batches of ten.
fn rows(range: std::ops::Range<i64>) -> Rows {
    let batches: Vec<_> = range.clone().step_by(10).map(|first| first..(first + 10).min(range.end)).collect();
    let batch = |range: std::ops::Range<i64>| {
        let x = Arc::new(Int64Array::from_iter_values(range));
        Ok(Batch::append(RecordBatch::try_from_iter([("x", x as _)]).unwrap()))
    };
    stream::iter(batches.into_iter().map(batch)).boxed()
}

fn stores() -> [TableDefinition; 2] {
    let log = [("connector", "log"), ("topic", "out"), ("topic.partitions", "3"), ("format", "json")];
    [table("out", "x BIGINT", &log), table("out", "x BIGINT", &[("connector", "delta")])]
}

fn instance(connectors: &Connectors, definition: &TableDefinition) -> Arc<dyn Transaction> {
    let sink = connectors.sink(definition).unwrap();
    assert_eq!(sink.delivery(), Delivery::ExactlyOnce);
    sink.transaction().unwrap()
}

/// The table holds the numbers from 0 to `end`, each once.
async fn holds(connectors: &Connectors, definition: &TableDefinition, end: i64) {
    let found = query(connectors, definition, "SELECT count(*) AS n, count(DISTINCT x) AS d, sum(x) AS s FROM t").await;
    let expected = format!("| {end} | {end} | {} |", end * (end - 1) / 2);
    let found = found.unwrap().replace("  ", " ");
    assert!(found.contains(&expected), "{expected}\n{found}");
}

#[tokio::test]
async fn epochs_are_in_once_and_remembered() {
    let project = Project::new();
    for definition in stores() {
        let first = instance(&project.connectors, &definition);
        assert_eq!(first.last_epoch("p").await.unwrap(), None);
        first.apply("p", 1, rows(0..25)).await.unwrap();
        holds(&project.connectors, &definition, 25).await;
        first.apply("p", 2, rows(0..0)).await.unwrap();
        first.apply("p", 7, rows(25..90)).await.unwrap();
        holds(&project.connectors, &definition, 90).await;
        // As after a restart: everything is opened anew, and asked first.
        let again = project.reopened_with_log();
        let second = instance(&again, &definition);
        assert_eq!(second.last_epoch("p").await.unwrap(), Some(7));
        assert_eq!(second.last_epoch("q").await.unwrap(), None);
        second.apply("p", 8, rows(90..100)).await.unwrap();
        holds(&again, &definition, 100).await;
        // Pipelines have epochs of their own.
        second.apply("q", 3, rows(100..101)).await.unwrap();
        assert_eq!(second.last_epoch("p").await.unwrap(), Some(8));
        assert_eq!(second.last_epoch("q").await.unwrap(), Some(3));
        holds(&again, &definition, 101).await;
    }
}

#[tokio::test]
async fn an_epoch_that_fails_or_stops_in_the_middle_leaves_nothing() {
    let project = Project::new();
    for definition in stores() {
        let sink = instance(&project.connectors, &definition);
        sink.apply("p", 1, rows(0..10)).await.unwrap();
        let broken = || Err(ConnectError::Told("the spool is broken".to_owned()));
        let failed = sink.apply("p", 2, rows(10..40).chain(stream::once(async move { broken() })).boxed()).await;
        assert_eq!(failed.unwrap_err().to_string(), "the spool is broken");
        let stopped = instance(&project.connectors, &definition);
        let (all_given, given) = tokio::sync::oneshot::channel();
        let silent = stream::once(async move {
            let _ = all_given.send(());
            futures::future::pending().await
        });
        let writing = tokio::spawn(async move { stopped.apply("p", 2, rows(10..40).chain(silent).boxed()).await });
        given.await.unwrap();
        writing.abort();
        assert!(writing.await.unwrap_err().is_cancelled());
        let sink = instance(&project.connectors, &definition);
        assert_eq!(sink.last_epoch("p").await.unwrap(), Some(1));
        holds(&project.connectors, &definition, 10).await;
        sink.apply("p", 2, rows(10..40)).await.unwrap();
        holds(&project.connectors, &definition, 40).await;
    }
}

#[tokio::test]
async fn of_two_instances_that_write_an_epoch_of_a_lake_table_one_does() {
    let project = Project::new();
    let [_, definition] = stores();
    let (here, there) = (project.reopened(), project.reopened());
    let (one, other) = (instance(&here, &definition), instance(&there, &definition));
    one.apply("p", 1, rows(0..10)).await.unwrap();
    assert_eq!(other.last_epoch("p").await.unwrap(), Some(1));
    // Both believe that the first epoch is the last.
    one.apply("p", 2, rows(10..20)).await.unwrap();
    other.apply("p", 2, rows(10..20)).await.unwrap();
    assert_eq!(other.last_epoch("p").await.unwrap(), Some(2));
    holds(&here, &definition, 20).await;
}
