//! A running dataflow: started from a graph, watched, cancelled, joined.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::error::ConnectError;
use mulgil_connect::guarantee::{Given, Guarantee, Pipeline};
use mulgil_connect::sink::{Delivery, Sink};
use mulgil_connect::source::Source;
use mulgil_connect::time::Alignment;
use mulgil_connect::transaction::Transaction;
use mulgil_dataflow::graph::{Graph, LogicalOperator};
use mulgil_dataflow::key::KEY_GROUP_COUNT;
use mulgil_dataflow::physical::{PhysicalGraph, plan};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::checkpoint::{CheckpointError, CheckpointFolder, CheckpointOptions};
use crate::checkpointer::Asked;
use crate::coordinator;
use crate::crash;
use crate::cut::{Cut, Owner, Starts};
use crate::error::JobError;
use crate::marked::MarkedSink;
use crate::pace::Pace;
use crate::spool::{SpooledSink, file_name, is_spool};
use crate::state_files::StateOptions;
use crate::status::JobStatus;
use crate::view::JobView;

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
    /// Where the partitions of tables stand before the first checkpoint; tables that are not named, at their beginning.
    pub starts: Starts,
    /// How often sinks commit while the job runs; `None` for only at its end.
    pub commit_interval: Option<Duration>,
    /// Where it keeps its checkpoints, and goes on from the last one; `None` for a job that starts anew each time.
    pub checkpoints: Option<CheckpointOptions>,
    /// Whether whoever runs it starts it again when it ends with [`JobError::NewPartitions`]: then it looks for some.
    pub finds_partitions: bool,
    /// What is promised of its rows; the strongest that its sources and sinks can give where nothing is said.
    pub guarantee: Option<Guarantee>,
    /// How fast it may read.
    pub pace: Pace,
    /// How much memory its state may take, and where the rest goes; `None` for all the memory there is.
    pub state: Option<StateOptions>,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            name: "job".to_owned(),
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
            queue_bytes_max: 4 * 1024 * 1024,
            follow: false,
            starts: Starts::new(),
            commit_interval: None,
            checkpoints: None,
            finds_partitions: false,
            guarantee: None,
            pace: Pace::default(),
            state: None,
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
    /// The graph cannot be planned, a source or sink is missing, a source cannot say its partitions, a sink takes no
    /// changelog and would get one, or a thread cannot be started. What fails later fails the job.
    pub async fn start(
        graph: Graph,
        options: JobOptions,
        sources: HashMap<String, Arc<dyn Source>>,
        sinks: HashMap<String, Arc<dyn Sink>>,
        io: &Handle,
    ) -> Result<JobHandle, JobError> {
        if !(1..=KEY_GROUP_COUNT).contains(&options.parallelism) {
            let reason = format!("the parallelism must be 1 to {KEY_GROUP_COUNT}, not {}", options.parallelism);
            return Err(JobError::Plan(reason));
        }
        let logical = graph;
        let graph = plan(&logical, options.parallelism).map_err(|error| JobError::Plan(error.to_string()))?;
        crate::memory::keep_freed();
        let mut connections = Connections { sources, sinks };
        connections.check(&graph)?;
        let given = connections.guarantee(&logical, options.guarantee, options.checkpoints.is_some())?;
        let partitions = connections.partitions(&graph).await?;
        let (folder, restored) = match &options.checkpoints {
            Some(checkpoints) => {
                let left_over = connections.spool(&options.name, checkpoints, given.guarantee);
                let (folder, cut) = go_on(checkpoints, &options, &logical, (&connections, left_over)).await?;
                (Some(folder), cut)
            }
            None => (None, None),
        };
        let restored = restored.or_else(|| Cut::at_starts(&logical, &options.starts));
        coordinator::start(&graph, (options, given), (connections, partitions), (folder, restored), io)
    }
}

/// Opens the folder of a job's checkpoints, and brings its sinks to where the last one stands.
async fn go_on(
    options: &CheckpointOptions,
    job: &JobOptions,
    graph: &Graph,
    (connections, left_over): (&Connections, Sinks),
) -> Result<(CheckpointFolder, Option<Cut>), JobError> {
    let failed = |error: CheckpointError| match error {
        CheckpointError::File { .. } | CheckpointError::Storage { .. } => JobError::Storage(error.to_string()),
        error => JobError::Checkpoint(error.to_string()),
    };
    let (options, graph, parallelism) = (options.clone(), graph.clone(), job.parallelism);
    let opened = tokio::task::spawn_blocking(move || {
        let (folder, found) = CheckpointFolder::open(&options, &graph, parallelism)?;
        for error in &found.damaged {
            tracing::warn!(%error, "a checkpoint is damaged; the one before it is used");
        }
        let newest = found.newest(folder.path(), &graph)?;
        Ok((folder, newest))
    });
    let panicked = |error: tokio::task::JoinError| JobError::Checkpoint(error.to_string());
    let (mut folder, newest) = opened.await.map_err(panicked)?.map_err(failed)?;
    let Some((manifest, mut cut)) = newest else {
        connections.begin(&job.name, None).await?;
        return Ok((folder, None));
    };
    folder.go_on_from(&manifest);
    cut.make_anew();
    for sealed in &cut.parts {
        let Owner::Sink(table) = &sealed.owner else { continue };
        let Some(sink) = connections.sinks.get(table) else { continue };
        let refused = |error: ConnectError| JobError::sink(table, &error);
        for rows in sealed.part.rows.batches() {
            let rows = rows.map_err(|error| JobError::Checkpoint(error.to_string()))?;
            sink.restore(&sealed.part.name, rows).await.map_err(refused)?;
        }
    }
    crash::point("in the middle of recovery");
    connections.begin(&job.name, Some((manifest.number, &cut, left_over))).await?;
    crash::point("after recovery");
    Ok((folder, Some(cut)))
}

/// Sources, by table.
pub type Sources = HashMap<String, Arc<dyn Source>>;

/// Sinks, by table.
pub type Sinks = HashMap<String, Arc<dyn Sink>>;

/// The sources and sinks of a job, by table.
pub(crate) struct Connections {
    pub(crate) sources: HashMap<String, Arc<dyn Source>>,
    pub(crate) sinks: HashMap<String, Arc<dyn Sink>>,
}

impl Connections {
    /// How the partitions of tables wait for each other.
    pub(crate) fn alignments(&self) -> HashMap<String, Alignment> {
        let alignment =
            |(table, source): (&String, &Arc<dyn Source>)| Some((table.clone(), source.time_options().alignment?));
        self.sources.iter().filter_map(alignment).collect()
    }

    /// Tells the sinks that the job begins, and from which checkpoint. What that has spooled for a sink whose rows no longer
    /// wait is for the one of `left_over`.
    async fn begin(&self, job: &str, last: Option<(u64, &Cut, Sinks)>) -> Result<(), JobError> {
        for (table, sink) in &self.sinks {
            let failed = |error: ConnectError| JobError::sink(table, &error);
            let Some((number, cut, left_over)) = &last else {
                sink.begin(job, None).await.map_err(failed)?;
                continue;
            };
            let mut staged = cut.staged.get(table).map_or(&[][..], Vec::as_slice);
            if let Some(spooled) = left_over.get(table)
                && staged.iter().any(|name| is_spool(name))
            {
                spooled.begin(job, Some((*number, staged))).await.map_err(failed)?;
                staged = &[];
            }
            sink.begin(job, Some((*number, staged))).await.map_err(failed)?;
        }
        Ok(())
    }

    /// What is promised of the rows of a graph.
    fn guarantee(&self, graph: &Graph, asked: Option<Guarantee>, has_checkpoints: bool) -> Result<Given, JobError> {
        guarantee(graph, (&self.sources, &self.sinks), asked, has_checkpoints).map_err(JobError::Guarantee)
    }

    /// Lets the rows of sinks wait for checkpoints, where they have to: those of sinks that can take them epoch by epoch,
    /// and at most once those of all others. Gives how those would have waited that need not: a checkpoint that was made
    /// under another guarantee may hold rows of theirs.
    fn spool(&mut self, pipeline: &str, checkpoints: &CheckpointOptions, guarantee: Guarantee) -> Sinks {
        let mut left_over = HashMap::new();
        for (table, sink) in &mut self.sinks {
            let remembers = |transaction: &Arc<dyn Transaction>| {
                guarantee != Guarantee::AtMostOnce || transaction.remembers_epochs()
            };
            let transaction = sink.transaction().filter(remembers);
            let waits = match guarantee {
                Guarantee::AtMostOnce => transaction.is_some() || sink.delivery() < Delivery::ExactlyOnce,
                Guarantee::AtLeastOnce => false,
                Guarantee::ExactlyOnce | Guarantee::EndToEndExactlyOnce => transaction.is_some(),
            };
            let marked = || {
                let mark = checkpoints.folder.join(format!("{}.given", file_name(table)));
                Arc::new(MarkedSink { sink: Arc::clone(sink), mark }) as Arc<dyn Transaction>
            };
            let spooled = Arc::new(SpooledSink {
                sink: Arc::clone(sink),
                transaction: transaction.unwrap_or_else(marked),
                pipeline: pipeline.to_owned(),
                folder: checkpoints.folder.clone(),
                table: table.clone(),
                waits: sink.waits().unwrap_or_default(),
            });
            if waits {
                *sink = spooled;
            } else {
                left_over.insert(table.clone(), spooled as Arc<dyn Sink>);
            }
        }
        left_over
    }

    /// Whether every table of the graph is there, and every sink can take what it would get.
    fn check(&self, graph: &PhysicalGraph) -> Result<(), JobError> {
        if graph.stages.is_empty() {
            return Err(JobError::Plan("the graph is empty".to_owned()));
        }
        for stage in &graph.stages {
            let read = stage.source.as_ref().map(|source| (&source.table, &source.projection));
            let looked_up = stage.lookup.as_ref().map(|lookup| (&lookup.table, &lookup.projection));
            for (table, projection) in read.into_iter().chain(looked_up) {
                let found = self.sources.get(table);
                let found = found.ok_or_else(|| JobError::Plan(format!("there is no source for table {table}")))?;
                let column_count = found.schema().fields().len();
                if let Some(missing) = projection.iter().find(|column| **column >= column_count) {
                    let reason = format!("table {table} has {column_count} columns, so there is no column {missing}");
                    return Err(JobError::Plan(reason));
                }
            }
            if let Some(table) = &stage.sink {
                let found = self.sinks.get(table);
                let found = found.ok_or_else(|| JobError::Plan(format!("there is no sink for table {table}")))?;
                if stage.is_updating && !found.accepts_changes() {
                    return Err(JobError::Plan(format!(
                        "table {table} takes new rows only, but would get updates of rows it already has: write to a \
                         table with a primary key, or ask for no early results and allow no lateness"
                    )));
                }
            }
        }
        Ok(())
    }

    /// The partitions that come before the others of their table.
    pub(crate) fn firsts(&self, partitions: &HashMap<String, Vec<String>>) -> HashMap<String, HashSet<usize>> {
        let of = |(table, source): (&String, &Arc<dyn Source>)| {
            let count = partitions.get(table).map_or(0, Vec::len);
            (table.clone(), (0..count).filter(|partition| source.comes_first(*partition)).collect())
        };
        self.sources.iter().map(of).collect()
    }

    /// The names of the partitions of each source that the graph reads.
    async fn partitions(&self, graph: &PhysicalGraph) -> Result<HashMap<String, Vec<String>>, JobError> {
        let mut partitions = HashMap::new();
        for table in graph.stages.iter().filter_map(|stage| stage.source.as_ref().map(|source| &source.table)) {
            let Some(source) = self.sources.get(table) else { continue };
            let failed = |error: ConnectError| JobError::source(table, &error);
            partitions.insert(table.clone(), source.partitions().await.map_err(failed)?);
        }
        Ok(partitions)
    }
}

/// What is promised of the rows of a graph with these sources and sinks: the guarantee that is asked for, or the strongest.
///
/// # Errors
/// It cannot be given: which table is in the way, why, and what to do.
pub fn guarantee(
    graph: &Graph,
    (sources, sinks): (&Sources, &Sinks),
    asked: Option<Guarantee>,
    has_checkpoints: bool,
) -> Result<Given, String> {
    let (mut read, mut written) = (BTreeMap::new(), BTreeMap::new());
    for node in &graph.nodes {
        match &node.operator {
            LogicalOperator::Source { table, .. } => {
                read.extend(sources.get(table).map(|source| (table.as_str(), source.as_ref())));
            }
            LogicalOperator::Sink { table } => {
                written.extend(sinks.get(table).map(|sink| (table.as_str(), sink.as_ref())));
            }
            _ => {}
        }
    }
    let (sources, sinks) = (read.into_iter().collect(), written.into_iter().collect());
    Pipeline { sources, sinks, has_checkpoints }.give(asked)
}

/// How a job has ended.
pub(crate) type JobResult = Result<JobSummary, JobError>;

/// A started job. Clones are handles of the same job; dropping them all does not stop it.
#[derive(Clone)]
pub struct JobHandle {
    pub(crate) view: Arc<JobView>,
    /// Asks the coordinator to cancel.
    pub(crate) cancel: mpsc::Sender<()>,
    /// Asks for a checkpoint.
    pub(crate) asks: mpsc::Sender<Asked>,
    /// Says for what the job is to end with a checkpoint.
    pub(crate) ends: mpsc::Sender<JobError>,
    pub(crate) result: watch::Receiver<Option<JobResult>>,
    pub(crate) changes: watch::Receiver<u64>,
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("status", &self.status()).finish()
    }
}

impl JobHandle {
    /// The job as it is now.
    pub fn status(&self) -> JobStatus {
        self.view.status(self.result.borrow().as_ref())
    }

    /// Counts changes of the status: wait on it instead of polling. It moves some twenty times a second at most, and
    /// once more when the job has ended; then it is closed.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Stops the job without committing, and waits until its threads have ended. Does nothing to a job that has ended.
    pub async fn cancel(&self) {
        // One request is enough, and none is needed when the coordinator is gone: a full or closed channel is fine.
        let _ = self.cancel.try_send(());
        let _ = self.join().await;
    }

    /// Makes a checkpoint now, and waits until it stands.
    ///
    /// # Errors
    /// It could not be made, and why.
    pub async fn make_checkpoint(&self) -> Result<(), String> {
        let (asked, answer) = oneshot::channel();
        let ended = || "the job has ended, or makes no checkpoints".to_owned();
        self.asks.send(asked).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Makes a last checkpoint and stops the job at it, without a row behind it; waits until its threads have ended. One that
    /// cannot make it within `patience` is cancelled: the checkpoint before stands.
    pub async fn finish(&self, patience: Duration) {
        // A full queue means that the job is ending in this way already; a closed one that it has ended.
        let _ = self.ends.try_send(JobError::Cancelled);
        if tokio::time::timeout(patience, self.join()).await.is_err() {
            self.cancel().await;
        }
    }

    /// Waits until the job has ended and its threads with it.
    ///
    /// # Errors
    /// Why it ended other than by finishing.
    pub async fn join(&self) -> Result<JobSummary, JobError> {
        let mut result = self.result.clone();
        match result.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Err(JobError::Cancelled)),
            // The coordinator went down with its runtime.
            Err(_) => Err(JobError::Cancelled),
        }
    }
}
