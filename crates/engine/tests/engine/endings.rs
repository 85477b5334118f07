//! How jobs end other than by finishing: cancelled, failed, refused. Nothing of them is left, and nothing is committed.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use mulgil_dataflow::expression::{EvaluationError, Expression};
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle};
use mulgil_engine::status::JobState;

use crate::flow::context_switches;
use crate::graphs::{Builder, event, pass_on, per_key, rows};
use crate::memory::{MemorySink, MemorySource, Step, TIMEOUT, gate, give, options, start, wait_for_status, within};

fn assert_nothing_left(source: &MemorySource, sink: &MemorySink) {
    assert_eq!(source.open_readers.load(Ordering::SeqCst), 0, "readers are gone");
    assert_eq!(sink.open_writers.load(Ordering::SeqCst), 0, "writers are gone");
    assert_eq!(sink.commits.load(Ordering::SeqCst), 0, "nothing is committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_stops_a_busy_job() {
    let batch = rows(&(0..1_000).map(|n| event("a", n, n)).collect::<Vec<_>>());
    let source = MemorySource::new(vec![vec![Step::Forever(batch.clone())], vec![Step::Forever(batch)]]);
    let sink = Arc::new(MemorySink::default());
    let job = start(per_key(0, 0), options(2), &source, &sink).await.unwrap();
    wait_for_status(&job, "some rows", |status| status.rows_in > 10_000).await;
    within("the end", job.cancel()).await;
    assert_eq!(job.join().await, Err(JobError::Cancelled));
    assert_eq!(job.status().state, JobState::Cancelled);
    assert_nothing_left(&source, &sink);
    within("a second time", job.cancel()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_stops_a_job_that_waits_and_one_that_is_blocked() {
    let waiting = MemorySource::new(vec![vec![give(&[event("a", 1, 1)]), Step::Wait(gate())]]);
    let batch = rows(&(0..1_000).map(|n| event("a", n, n)).collect::<Vec<_>>());
    let pushing = MemorySource::new(vec![vec![Step::Forever(batch)]]);
    for (source, blocked) in [(waiting, false), (pushing, true)] {
        let sink = MemorySink { gate: blocked.then(gate), ..MemorySink::default() };
        let sink = Arc::new(sink);
        let mut options = options(1);
        options.queue_bytes_max = 1_000;
        let job = start(pass_on(), options, &source, &sink).await.unwrap();
        wait_for_status(&job, "the first row", |status| {
            status.rows_in > 0 && (!blocked || status.edges.iter().all(|edge| edge.queued_bytes > 1_000))
        })
        .await;
        within("the end", job.cancel()).await;
        assert_nothing_left(&source, &sink);
    }
}

/// Whoever takes the runtime away takes the job with it: no thread is left behind.
#[test]
fn threads_end_with_the_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 1)]), Step::Wait(gate())]]);
    let sink = Arc::new(MemorySink::default());
    let mut options = options(2);
    options.name = "orphan".to_owned();
    let job = runtime.block_on(async {
        let job = start(pass_on(), options, &source, &sink).await.unwrap();
        wait_for_status(&job, "the first row", |status| status.rows_in > 0).await;
        job
    });
    assert!(!context_switches("orphan-").is_empty());
    drop(runtime);
    let begin = std::time::Instant::now();
    while !context_switches("orphan-").is_empty() {
        assert!(begin.elapsed() < TIMEOUT, "threads are left");
        std::thread::yield_now();
    }
    assert_eq!(futures_ready(job.join()), Some(Err(JobError::Cancelled)));
}

/// What a future gives at once.
fn futures_ready<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

async fn fails(graph: mulgil_dataflow::graph::Graph, source: Arc<MemorySource>, sink: MemorySink) -> JobError {
    let sink = Arc::new(sink);
    let job: JobHandle = start(graph, options(2), &source, &sink).await.unwrap();
    let error = within("the end", job.join()).await.unwrap_err();
    let status = job.status();
    assert_eq!((status.state, status.error), (JobState::Failed, Some(error.to_string())));
    assert_nothing_left(&source, &sink);
    error
}

/// One partition has the row that does harm, the other goes on for ever.
fn endless(harm: Vec<Step>) -> Arc<MemorySource> {
    MemorySource::new(vec![harm, vec![Step::Forever(rows(&[event("b", 1, 1)]))]])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_fails_fails_the_job_with_its_name() {
    let mut builder = Builder::default();
    let node = builder.source("events");
    let node = builder.watermark(node, 0);
    let node = builder.divide(node, 0);
    let graph = builder.sink(node, "results");
    let error = fails(graph, endless(vec![give(&[event("a", 1, 1)])]), MemorySink::default()).await;
    let JobError::Operator { operator, reason } = &error else { panic!("{error}") };
    assert_eq!(operator, "project key, ts, v / 0 AS v");
    assert!(reason.starts_with("cannot evaluate v / 0: "), "{reason}");
}

#[derive(Debug)]
struct Defect;

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("defect()")
    }
}

impl Expression for Defect {
    fn data_type(&self) -> DataType {
        DataType::Boolean
    }

    fn evaluate(&self, _rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        panic!("an index was out of bounds")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_fails_the_job_and_not_the_process() {
    let mut builder = Builder::default();
    let node = builder.source("events");
    let node = builder.filter(node, Arc::new(Defect));
    let graph = builder.sink(node, "results");
    let error = fails(graph, endless(vec![]), MemorySink::default()).await;
    let expected = "stage read events panicked: an index was out of bounds; this is a defect, please report it";
    assert_eq!(error.to_string(), expected);

    let error = fails(pass_on(), endless(vec![Step::Panic]), MemorySink::default()).await;
    assert!(error.to_string().contains("the reader has a defect"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_and_sinks_that_fail_fail_the_job() {
    let error = fails(pass_on(), endless(vec![Step::Fail]), MemorySink::default()).await;
    assert_eq!(error.to_string(), "source events: table in memory: the disk is gone");
    let sink = MemorySink { fails: true, ..MemorySink::default() };
    let error = fails(pass_on(), endless(vec![]), sink).await;
    assert_eq!(error.to_string(), "sink results: table in memory: no space left on device");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_refused_at_the_start() {
    let source = MemorySource::new(vec![]);
    let refused = async |graph, parallelism: usize, sink: MemorySink| {
        let sink = Arc::new(sink);
        start(graph, options(parallelism), &source, &sink).await.unwrap_err().to_string()
    };
    let append_only = MemorySink { append_only: true, ..MemorySink::default() };
    let reason = refused(per_key(0, 1), 1, append_only).await;
    assert!(reason.contains("takes new rows only") && reason.contains("primary key"), "{reason}");
    assert!(refused(per_key(0, 0), 0, MemorySink::default()).await.contains("must be 1 to 256, not 0"));

    let mut builder = Builder::default();
    builder.source("events");
    assert!(refused(builder.graph, 1, MemorySink::default()).await.contains("go nowhere"));
    let mut builder = Builder::default();
    let node = builder.source("elsewhere");
    assert!(
        refused(builder.sink(node, "results"), 1, MemorySink::default())
            .await
            .contains("no source for table elsewhere")
    );
    let mut builder = Builder::default();
    let node = builder.source("events");
    assert!(
        refused(builder.sink(node, "elsewhere"), 1, MemorySink::default())
            .await
            .contains("no sink for table elsewhere")
    );

    let io = tokio::runtime::Handle::current();
    let nothing = Job::start(mulgil_dataflow::graph::Graph::new(), options(1), HashMap::new(), HashMap::new(), &io);
    assert!(nothing.await.unwrap_err().to_string().contains("the graph is empty"));
}
