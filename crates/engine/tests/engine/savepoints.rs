//! Checkpoints on demand, savepoints, cuts that are given up, partitions that come later.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::Sink;
use mulgil_connect::source::{PartitionReader, Position, Source};
use mulgil_dataflow::graph::Graph;
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use mulgil_engine::savepoint;
use mulgil_engine::status::JobState;
use tokio::sync::Semaphore;

use crate::checkpoints::{Ledger, checkpointed};
use crate::graphs::{event, pass_on, per_key, rows};
use crate::memory::{MemorySink, MemorySinkHandle, MemorySource, Step, gate, wait_for_status, within};

/// Options of a job that makes checkpoints when it is asked.
fn on_demand(parallelism: usize, folder: &Path) -> JobOptions {
    let mut options = checkpointed(parallelism, folder);
    if let Some(checkpoints) = &mut options.checkpoints {
        checkpoints.interval = Duration::from_secs(3_600);
    }
    options
}

async fn begin(
    graph: &Graph,
    options: JobOptions,
    source: Arc<dyn Source>,
    sink: Arc<dyn Sink>,
) -> Result<JobHandle, JobError> {
    let sources = HashMap::from([("events".to_owned(), source)]);
    let sinks = HashMap::from([("results".to_owned(), sink)]);
    Job::start(graph.clone(), options, sources, sinks, &tokio::runtime::Handle::current()).await
}

/// Eight batches of two events, three milliseconds apart, each before a gate.
fn script(gate: &Arc<Semaphore>) -> Vec<Step> {
    let batch = |n: i64| [Step::Wait(gate.clone()), Step::Rows(rows(&[event("a", n * 3, n), event("b", n * 3, n)]))];
    (0..8).flat_map(batch).collect()
}

/// What the windows of those give.
const RESULT: [&str; 6] = ["a 0 10 4 6", "a 10 20 3 15", "a 20 30 1 7", "b 0 10 4 6", "b 10 20 3 15", "b 20 30 1 7"];

#[tokio::test(flavor = "multi_thread")]
async fn a_savepoint_outlives_clean_up_and_is_gone_on_from() {
    let (folder, ledger, gate) = (tempfile::tempdir().unwrap(), Ledger::default(), gate());
    let (checkpoints, savepoints) = (folder.path().join("checkpoints"), folder.path().join("savepoints"));
    let source: Arc<dyn Source> = MemorySource::new(vec![script(&gate)]);
    let sink: Arc<dyn Sink> = Arc::new(ledger.clone());
    let job = begin(&per_key(0, 0), on_demand(2, &checkpoints), source.clone(), sink.clone()).await.unwrap();
    let nothing_yet = savepoint::save(&checkpoints, &savepoints, "early").unwrap_err();
    assert!(nothing_yet.to_string().contains("there is no checkpoint"), "{nothing_yet}");
    gate.add_permits(2);
    wait_for_status(&job, "rows", |status| status.rows_in == 4).await;
    within("a checkpoint", job.make_checkpoint()).await.unwrap();
    assert_eq!(job.status().checkpoints.unwrap().covered_rows, 4);
    let made = savepoint::save(&checkpoints, &savepoints, "before").unwrap();
    assert!(made.size_bytes > 0);
    let taken = savepoint::save(&checkpoints, &savepoints, "before").unwrap_err();
    assert!(taken.to_string().contains("already"), "{taken}");
    let elsewhere = savepoint::save(&checkpoints, &savepoints, "../before").unwrap_err();
    assert!(elsewhere.to_string().contains("cannot be the name"), "{elsewhere}");
    // One row more, and so many checkpoints that its own is cleaned up; nothing has been published yet.
    gate.add_permits(1);
    wait_for_status(&job, "rows", |status| status.rows_in == 6).await;
    job.make_checkpoint().await.unwrap();
    job.cancel().await;
    for _ in 0..4 {
        let job = begin(&per_key(0, 0), on_demand(2, &checkpoints), source.clone(), sink.clone()).await.unwrap();
        job.make_checkpoint().await.unwrap();
        job.cancel().await;
    }
    assert_eq!(savepoint::list(&savepoints).unwrap(), [made]);

    // Another query cannot take it, and nothing has changed then.
    let options = on_demand(3, &checkpoints).checkpoints.unwrap();
    let refused = savepoint::restore(&savepoints, "before", &options, &pass_on()).unwrap_err().to_string();
    assert!(refused.contains("it has no operator \"aggregate count") && refused.contains("a replay"), "{refused}");
    let unknown = savepoint::restore(&savepoints, "after", &options, &per_key(0, 0)).unwrap_err().to_string();
    assert!(unknown.contains("there are: before"), "{unknown}");
    let job = begin(&per_key(0, 0), on_demand(1, &checkpoints), source.clone(), sink.clone()).await.unwrap();
    job.cancel().await;

    savepoint::restore(&savepoints, "before", &options, &per_key(0, 0)).unwrap();
    let job = begin(&per_key(0, 0), on_demand(3, &checkpoints), source, sink).await.unwrap();
    gate.add_permits(1_000);
    let summary = within("the end", job.join()).await.unwrap();
    assert_eq!(summary.rows_in, 12, "all but the first two batches");
    assert_eq!(ledger.published(), RESULT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_drains_for_too_long_is_given_up_and_tried_again() {
    let (folder, writes, reads) = (tempfile::tempdir().unwrap(), gate(), gate());
    let sink = Arc::new(MemorySink { gate: Some(writes.clone()), ..MemorySink::default() });
    let source: Arc<dyn Source> = MemorySource::new(vec![script(&reads)]);
    let mut options = checkpointed(1, folder.path());
    options.checkpoints.as_mut().unwrap().timeout = Duration::from_millis(20);
    let job = begin(&pass_on(), options, source, Arc::new(MemorySinkHandle(sink.clone()))).await.unwrap();
    // The sink takes nothing, so the cut does not come to it.
    reads.add_permits(1);
    let given_up =
        |status: &mulgil_engine::status::JobStatus| status.checkpoints.as_ref().is_some_and(|made| made.given_up > 0);
    let status = wait_for_status(&job, "a cut that is given up", given_up).await;
    let error = status.checkpoints.unwrap().error.unwrap();
    assert!(error.contains("given up") && error.contains("checkpoint-timeout"), "{error}");
    // Readers go on meanwhile.
    reads.add_permits(3);
    wait_for_status(&job, "more rows", |status| status.rows_in == 8).await;
    // When the sink takes rows again, so do checkpoints.
    writes.add_permits(1_000);
    let covers = |status: &mulgil_engine::status::JobStatus| {
        status.checkpoints.as_ref().is_some_and(|made| made.covered_rows == 8 && made.error.is_none())
    };
    wait_for_status(&job, "a checkpoint", covers).await;
    reads.add_permits(1_000);
    within("the end", job.join()).await.unwrap();
    assert_eq!(sink.lines().len(), 16);
}

/// A table that gets partitions while it is followed.
#[derive(Clone)]
struct Growing {
    script: Arc<MemorySource>,
    partitions: Arc<AtomicUsize>,
    /// What was acknowledged last.
    acknowledged: Arc<Mutex<Vec<(usize, Position)>>>,
}

#[async_trait]
impl Source for Growing {
    fn schema(&self) -> SchemaRef {
        self.script.schema()
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn discovery_interval(&self) -> Option<Duration> {
        Some(Duration::from_millis(2))
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        let all = self.script.partitions().await?;
        Ok(all.into_iter().take(self.partitions.load(SeqCst)).collect())
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        self.script.open(partition, from, projection, follow).await
    }

    async fn acknowledge(&self, positions: &[(usize, Position)]) -> Result<(), ConnectError> {
        *self.acknowledged.lock().unwrap() = positions.to_vec();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_come_later_are_read_from_their_beginning_and_nothing_is_lost_or_doubled() {
    let (folder, never) = (tempfile::tempdir().unwrap(), gate());
    let partition =
        |n: i64| vec![Step::Rows(rows(&[event("a", n, n), event("b", n + 1, n)])), Step::Wait(never.clone())];
    let script = MemorySource::new((0..3).map(partition).collect());
    let source = Growing { script, partitions: Arc::new(AtomicUsize::new(1)), acknowledged: Arc::default() };
    let sink = Arc::new(MemorySink::default());
    let mut read = 0;
    for partitions in 1..=3 {
        let options = JobOptions { follow: true, finds_partitions: true, ..checkpointed(2, folder.path()) };
        let handle: Arc<dyn Sink> = Arc::new(MemorySinkHandle(sink.clone()));
        let job = begin(&pass_on(), options, Arc::new(source.clone()), handle).await.unwrap();
        wait_for_status(&job, "rows", |status| status.rows_in == 2).await;
        read += job.status().rows_in;
        if partitions == 3 {
            job.make_checkpoint().await.unwrap();
            job.cancel().await;
            break;
        }
        source.partitions.store(partitions + 1, SeqCst);
        let ended = within("the end", job.join()).await.unwrap_err();
        assert!(matches!(ended, JobError::NewPartitions { .. }), "{ended}");
        assert_eq!(ended.to_string(), format!("table events has new partitions: events-{partitions}"));
        assert_eq!(job.status().state, JobState::Cancelled);
    }
    // The sink writes at once, and is given nothing twice all the same.
    assert_eq!((read, sink.lines().len()), (6, 6));
    within("what is acknowledged", async {
        while source.acknowledged.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(source.acknowledged.lock().unwrap().iter().all(|(_, position)| *position == 1));
}
