//! A running dataflow: started from a graph, watched, cancelled, joined.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::sink::Sink;
use mulgil_connect::source::{Position, Source};
use mulgil_dataflow::graph::Graph;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::error::JobError;
use crate::status::JobStatus;

/// How a job is to run.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// The job's name, for people.
    pub name: String,
    /// Worker threads, and subtasks of each stage: 1 to 256.
    pub parallelism: usize,
    /// How many bytes may wait in the queue before one subtask, on each of its edges.
    pub queue_bytes_max: usize,
    /// Whether unbounded sources are read on for ever; otherwise they end at what is there now.
    pub follow: bool,
    /// Where reading starts, by table and partition; `0`, the beginning, where nothing is said.
    pub start_positions: HashMap<String, Vec<Position>>,
    /// How often sinks commit while the job runs; `None` for only at its end.
    pub commit_interval: Option<Duration>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            name: "job".to_owned(),
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
            queue_bytes_max: 4 * 1024 * 1024,
            follow: false,
            start_positions: HashMap::new(),
            commit_interval: None,
        }
    }
}

/// What a finished job did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Rows read from sources.
    pub rows_in: u64,
    /// Rows written to sinks.
    pub rows_out: u64,
    /// Rows lost because they came too late.
    pub late_dropped: u64,
    /// Late rows that have updated a result.
    pub late_updated: u64,
    /// Rows left out because their event time was null.
    pub null_event_times: u64,
    /// Rows that sources skipped because they could not be decoded.
    pub skipped_rows: u64,
    /// From start to end.
    pub elapsed: Duration,
}

/// Starts dataflows.
#[derive(Debug)]
pub struct Job;

impl Job {
    /// Plans the graph, opens its sources and sinks on `io`, and starts its worker threads. `sources` and `sinks` are
    /// by the tables' full names as they stand in the graph.
    ///
    /// # Errors
    /// The graph cannot be planned, a source or sink is missing or cannot be opened, or a sink takes no changelog and
    /// would get one.
    pub async fn start(
        graph: Graph,
        options: JobOptions,
        sources: HashMap<String, Arc<dyn Source>>,
        sinks: HashMap<String, Arc<dyn Sink>>,
        io: &Handle,
    ) -> Result<JobHandle, JobError> {
        let _ = (graph, options, sources, sinks, io);
        Err(JobError::Plan("the engine is being built".to_owned()))
    }
}

/// A started job. Clones are handles of the same job; dropping them all does not stop it.
#[derive(Clone, Debug)]
pub struct JobHandle {
    changes: watch::Receiver<u64>,
}

impl JobHandle {
    /// The job as it is now.
    pub fn status(&self) -> JobStatus {
        unreachable!("no job is started yet")
    }

    /// Counts changes of the status: wait on it instead of polling. It moves some twenty times a second at most.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Stops the job without committing, and waits until its threads have ended.
    pub async fn cancel(&self) {}

    /// Waits until the job has ended.
    ///
    /// # Errors
    /// Why it ended other than by finishing.
    pub async fn join(&self) -> Result<JobSummary, JobError> {
        Err(JobError::Cancelled)
    }
}
