//! A source and a sink in memory, which tests can hold, slow down and break.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_connect::source::{PartitionReader, Position, Read, Source};
use mulgil_connect::time::TimeOptions;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::graph::Graph;
use mulgil_dataflow::time::Watermark;
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use mulgil_engine::status::JobStatus;
use tokio::sync::{Notify, Semaphore};

use crate::graphs::{Event, events_schema, lines, rows};

/// Nothing in these tests takes longer, unless it hangs.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let timely = tokio::time::timeout(TIMEOUT, future).await;
    timely.unwrap_or_else(|_| panic!("{what} did not happen within {TIMEOUT:?}"))
}

/// What a partition does next.
#[derive(Clone)]
pub(crate) enum Step {
    Rows(RecordBatch),
    Idle,
    /// Waits until the gate gives a permit.
    Wait(Arc<Semaphore>),
    Fail,
    Panic,
    /// Gives the same rows over and over.
    Forever(RecordBatch),
}

pub(crate) fn give(events: &[Event]) -> Step {
    Step::Rows(rows(events))
}

pub(crate) fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}

fn broken(reason: &str) -> ConnectError {
    ConnectError::Definition { table: "in memory".to_owned(), reason: reason.to_owned() }
}

/// A table whose partitions follow scripts. A partition ends with its script.
#[derive(Default)]
pub(crate) struct MemorySource {
    scripts: Vec<Vec<Step>>,
    /// Whether its rows never end by themselves.
    pub(crate) unbounded: bool,
    pub(crate) time: TimeOptions,
    pub(crate) rows_read: Arc<AtomicUsize>,
    pub(crate) open_readers: Arc<AtomicUsize>,
}

impl MemorySource {
    pub(crate) fn new(scripts: Vec<Vec<Step>>) -> Arc<Self> {
        Arc::new(Self { scripts, ..Self::default() })
    }

    pub(crate) fn unbounded(scripts: Vec<Vec<Step>>, time: TimeOptions) -> Arc<Self> {
        Arc::new(Self { scripts, unbounded: true, time, ..Self::default() })
    }
}

#[async_trait]
impl Source for MemorySource {
    fn schema(&self) -> SchemaRef {
        events_schema()
    }

    fn is_bounded(&self) -> bool {
        !self.unbounded
    }

    fn time_options(&self) -> TimeOptions {
        self.time.clone()
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok((0..self.scripts.len()).map(|partition| format!("events-{partition}")).collect())
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        self.open_readers.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(MemoryReader {
            steps: self.scripts[partition].clone(),
            next: from as usize,
            projection: projection.to_vec(),
            rows_read: self.rows_read.clone(),
            open_readers: self.open_readers.clone(),
        }))
    }
}

struct MemoryReader {
    steps: Vec<Step>,
    next: usize,
    projection: Vec<usize>,
    rows_read: Arc<AtomicUsize>,
    open_readers: Arc<AtomicUsize>,
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        self.open_readers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl PartitionReader for MemoryReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            let Some(step) = self.steps.get(self.next).cloned() else { return Ok(Read::End) };
            match step {
                Step::Wait(gate) => gate.acquire().await.unwrap().forget(),
                Step::Rows(rows) => {
                    self.next += 1;
                    self.rows_read.fetch_add(rows.num_rows(), Ordering::SeqCst);
                    return Ok(Read::Rows(rows.project(&self.projection).unwrap(), self.next as Position));
                }
                Step::Forever(rows) => {
                    self.rows_read.fetch_add(rows.num_rows(), Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    return Ok(Read::Rows(rows.project(&self.projection).unwrap(), self.next as Position));
                }
                Step::Idle => {
                    self.next += 1;
                    return Ok(Read::Idle);
                }
                Step::Fail => return Err(broken("the disk is gone")),
                Step::Panic => panic!("the reader has a defect"),
            }
            self.next += 1;
        }
    }
}

/// What a sink has been given.
#[derive(Default)]
pub(crate) struct MemorySink {
    pub(crate) batches: Mutex<Vec<Batch>>,
    pub(crate) watermarks: Mutex<Vec<Watermark>>,
    pub(crate) commits: AtomicUsize,
    pub(crate) writers: AtomicUsize,
    pub(crate) open_writers: Arc<AtomicUsize>,
    pub(crate) append_only: bool,
    pub(crate) fails: bool,
    /// With a gate, every write needs a permit.
    pub(crate) gate: Option<Arc<Semaphore>>,
    pub(crate) changed: Notify,
}

impl MemorySink {
    pub(crate) fn lines(&self) -> Vec<String> {
        lines(&self.batches.lock().unwrap())
    }

    pub(crate) fn sorted_lines(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.sort();
        lines
    }

    /// Waits until the sink looks as it should.
    pub(crate) async fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        within(what, async {
            loop {
                let changed = self.changed.notified();
                if holds(self) {
                    return;
                }
                changed.await;
            }
        })
        .await;
    }
}

/// The sink itself is shared, so the trait is for a handle of it.
pub(crate) struct MemorySinkHandle(pub(crate) Arc<MemorySink>);

#[async_trait]
impl Sink for MemorySinkHandle {
    fn accepts_changes(&self) -> bool {
        !self.0.append_only
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        self.0.writers.fetch_add(1, Ordering::SeqCst);
        self.0.open_writers.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(MemoryWriter(self.0.clone())))
    }
}

struct MemoryWriter(Arc<MemorySink>);

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.0.open_writers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl SinkWriter for MemoryWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        if self.0.fails {
            return Err(broken("no space left on device"));
        }
        if let Some(gate) = &self.0.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.0.batches.lock().unwrap().push(batch);
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn on_watermark(&mut self, watermark: Watermark) -> Result<(), ConnectError> {
        self.0.watermarks.lock().unwrap().push(watermark);
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
        Ok(())
    }
}

pub(crate) fn options(parallelism: usize) -> JobOptions {
    JobOptions { name: "test".to_owned(), parallelism, ..JobOptions::default() }
}

/// Starts a graph that reads `events` and writes `results`.
pub(crate) async fn start(
    graph: Graph,
    options: JobOptions,
    source: &Arc<MemorySource>,
    sink: &Arc<MemorySink>,
) -> Result<JobHandle, JobError> {
    let source: Arc<dyn Source> = source.clone();
    let sink: Arc<dyn Sink> = Arc::new(MemorySinkHandle(sink.clone()));
    let sources = HashMap::from([("events".to_owned(), source)]);
    let sinks = HashMap::from([("results".to_owned(), sink)]);
    Job::start(graph, options, sources, sinks, &tokio::runtime::Handle::current()).await
}

/// Waits until the job's status looks as it should.
pub(crate) async fn wait_for_status(
    job: &JobHandle,
    what: &str,
    mut holds: impl FnMut(&JobStatus) -> bool,
) -> JobStatus {
    let mut changes = job.watch();
    within(what, async {
        loop {
            let status = job.status();
            if holds(&status) {
                return status;
            }
            if changes.changed().await.is_err() {
                // The end itself may be what is waited for.
                let status = job.status();
                if holds(&status) {
                    return status;
                }
                panic!("the job ended before {what}: {:?}", job.status());
            }
        }
    })
    .await
}
