//! One loop that hears of everything that can end a job, in order, and decides: the coordinator.
//!
//! ```text
//!   running ── every writer has written all ──▶ committing ── every writer has committed ──▶ finished
//!      │                                            │
//!      └────────────── first failure, or a request to cancel: stop everything ─────────────▶ failed, cancelled
//! ```
//!
//! A job has ended when its threads have: whoever joins it finds nothing of it running.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mulgil_connect::guarantee::Given;
use mulgil_dataflow::physical::PhysicalGraph;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::bell::Bell;
use crate::checkpoint::CheckpointFolder;
use crate::checkpointer::{Asked, Checkpointer, Event};
use crate::clock;
use crate::cut::Cut;
use crate::discovery::look_for_partitions;
use crate::error::JobError;
use crate::job::{Connections, JobHandle, JobOptions, JobResult};
use crate::lookup::{LookupService, serve};
use crate::metrics::JobMetrics;
use crate::outside::Outside;
use crate::reader::{ReaderCuts, read_partition};
use crate::state_files::StateOptions;
use crate::tasklet::operator_failed;
use crate::view::JobView;
use crate::wiring::{PartitionRead, SinkWrite, Wiring, WiringOptions, wire};
use crate::worker::Worker;
use crate::writer::{WriterContext, WriterReport, write_sink};

/// Changes are passed on to watchers no more often than this.
const CHANGE_INTERVAL: Duration = Duration::from_millis(50);

/// Starts the threads and tasks of a job, and the coordinator over them.
pub(crate) fn start(
    graph: &PhysicalGraph,
    (options, given): (JobOptions, Given),
    (connections, partitions): (Connections, HashMap<String, Vec<String>>),
    (folder, restored): (Option<CheckpointFolder>, Option<Cut>),
    io: &Handle,
) -> Result<JobHandle, JobError> {
    let bells: Vec<Arc<Bell>> = (0..graph.parallelism).map(|_| Arc::default()).collect();
    let known = partitions.clone();
    let mut wiring = wired(graph, &options, (&connections, partitions), (folder.is_some(), restored), &bells)?;
    let outside = Outside::of(&connections.sources, &connections.sinks);
    let view = Arc::new(view_of(&options.name, (given, outside), &mut wiring));

    let (cancel, cancelled) = mpsc::channel(1);
    let (result_sender, result) = watch::channel(None);
    let (changes_sender, changes) = watch::channel(0);
    // Each worker sends once, so the channel is never full.
    let (worker_ended, workers) = mpsc::channel(graph.parallelism);
    let ticking = wiring.wants_clock.then(|| io.spawn(clock::tick(Arc::clone(&wiring.metrics), bells.clone())));
    let mut threads = Threads { bells, stop: Arc::default(), handles: Vec::new(), ticking };
    for (number, tasklets) in wiring.workers.into_iter().enumerate() {
        let bell = threads.bells.get(number).cloned().unwrap_or_default();
        let stop = Arc::clone(&threads.stop);
        let worker = Worker { tasklets, bell, stop, metrics: Arc::clone(&wiring.metrics) };
        threads.spawn(&options.name, number, worker, worker_ended.clone())?;
    }
    // From here on the channel closes when the last worker has ended.
    drop(worker_ended);

    // A writer says one thing at a time, and then waits for the others.
    let (report_sender, reports) = mpsc::channel(wiring.writes.len().max(1));
    let (commit, commit_receiver) = watch::channel(false);
    let context = WriterContext {
        metrics: Arc::clone(&wiring.metrics),
        reports: report_sender,
        has_checkpoints: folder.is_some(),
        commit: commit_receiver,
        commit_interval: options.commit_interval,
    };
    let writers_left = wiring.writes.len();
    let checkpointer = folder.map(|folder| {
        let times = options.checkpoints.as_ref().map(|checkpoints| (checkpoints.interval, checkpoints.timeout));
        let times = times.unwrap_or((Duration::MAX, Duration::MAX));
        Checkpointer::new(folder, times, Arc::clone(&view), threads.bells.clone(), (&connections, writers_left))
    });
    let (asks, asked) = mpsc::channel(1);
    let (finder, found) = mpsc::channel(1);
    let looking = look_for_all(&connections, &options, known, finder.clone(), io);
    let cuts = ReaderCuts::of(checkpointer.as_ref());
    let mut tasks = JoinSet::new();
    spawn_readers(&mut tasks, wiring.reads, (&connections, &options), (&wiring.metrics, &cuts), io);
    spawn_writers(&mut tasks, wiring.writes, &connections, &context, io);
    let lookups = spawn_lookups(wiring.lookups, &connections, options.follow, &wiring.metrics, io);
    let mut coordinator = Coordinator {
        tasks,
        lookups,
        looking,
        workers,
        reports,
        checkpointer,
        commit,
        cancelled,
        asked,
        found,
        writers_left,
    };
    let ending = Ending { threads, view: Arc::clone(&view), result: result_sender };
    io.spawn(pass_on_changes(Arc::clone(&wiring.metrics), changes_sender, result.clone()));
    io.spawn(async move {
        let outcome = coordinator.run().await;
        coordinator.rest().await;
        ending.end(outcome).await;
    });
    Ok(JobHandle { view, cancel, asks, ends: finder, result, changes })
}

/// Wires a job, from the cut that it goes on from.
fn wired(
    graph: &PhysicalGraph,
    options: &JobOptions,
    (connections, partitions): (&Connections, HashMap<String, Vec<String>>),
    (has_checkpoints, restored): (bool, Option<Cut>),
    bells: &[Arc<Bell>],
) -> Result<Wiring, JobError> {
    let no_folder = |error| JobError::Plan(format!("the folder for state beyond memory cannot be used: {error}"));
    let beginnings = connections.sources.iter().map(|(table, source)| (table.clone(), source.beginning()));
    let wiring_options = WiringOptions {
        queue_bytes_max: options.queue_bytes_max,
        bells: Some(bells.to_vec()),
        firsts: connections.firsts(&partitions),
        partitions,
        alignments: connections.alignments(),
        beginnings: beginnings.collect(),
        restored,
        memory: options.state.as_ref().map(StateOptions::memory).transpose().map_err(no_folder)?,
    };
    let mut wiring = wire(graph, wiring_options)?;
    if has_checkpoints {
        // An operator that cannot seal its state says so now, not at the first checkpoint.
        for tasklet in wiring.workers.iter_mut().flatten() {
            tasklet.chain.seal(false).map_err(operator_failed)?;
        }
    }
    wiring.leave_out_what_has_ended();
    Ok(wiring)
}

/// The counters of a job; its edges move there.
fn view_of(name: &str, (given, outside): (Given, Outside), wiring: &mut Wiring) -> JobView {
    JobView {
        name: name.to_owned(),
        guarantee: given.into(),
        outside,
        metrics: Arc::clone(&wiring.metrics),
        partitions: wiring.reads.iter().map(|read| Arc::clone(&read.metrics)).collect(),
        subtasks: wiring.workers.iter().flatten().map(|tasklet| Arc::clone(&tasklet.metrics)).collect(),
        writers: wiring.writes.iter().map(|write| Arc::clone(&write.metrics)).collect(),
        edges: std::mem::take(&mut wiring.edges),
    }
}

fn spawn_readers(
    tasks: &mut JoinSet<Result<(), JobError>>,
    reads: Vec<PartitionRead>,
    (connections, options): (&Connections, &JobOptions),
    (metrics, cuts): (&Arc<JobMetrics>, &ReaderCuts),
    io: &Handle,
) {
    for read in reads {
        let Some(source) = connections.sources.get(&read.table).cloned() else { continue };
        let from = read.metrics.position.load(Ordering::Relaxed);
        let follow = options.follow && !read.to_end;
        let pace = options.pace.clone();
        tasks.spawn_on(read_partition(read, source, (from, follow, pace), Arc::clone(metrics), cuts.clone()), io);
    }
}

/// Lets somebody look for new partitions of each table that may get some.
fn look_for_all(
    connections: &Connections,
    options: &JobOptions,
    known: HashMap<String, Vec<String>>,
    finder: mpsc::Sender<JobError>,
    io: &Handle,
) -> JoinSet<()> {
    let mut looking = JoinSet::new();
    for (table, known) in known.into_iter().filter(|_| options.follow && options.finds_partitions) {
        let Some(source) = connections.sources.get(&table).cloned() else { continue };
        let Some(interval) = source.discovery_interval().filter(|_| !source.is_bounded()) else { continue };
        looking.spawn_on(look_for_partitions(table, source, (interval, known), finder.clone()), io);
    }
    looking
}

fn spawn_lookups(
    services: Vec<LookupService>,
    connections: &Connections,
    follow: bool,
    metrics: &Arc<JobMetrics>,
    io: &Handle,
) -> JoinSet<Result<(), JobError>> {
    let mut lookups = JoinSet::new();
    for service in services {
        let Some(source) = connections.sources.get(&service.read.table).cloned() else { continue };
        lookups.spawn_on(serve(service, source, follow, Arc::clone(metrics)), io);
    }
    lookups
}

fn spawn_writers(
    tasks: &mut JoinSet<Result<(), JobError>>,
    writes: Vec<SinkWrite>,
    connections: &Connections,
    context: &WriterContext,
    io: &Handle,
) {
    for write in writes {
        let Some(sink) = connections.sinks.get(&write.table).cloned() else { continue };
        tasks.spawn_on(write_sink(write, sink, context.clone()), io);
    }
}

/// Hears of everything that can end the job.
struct Coordinator {
    /// The reader and writer tasks.
    tasks: JoinSet<Result<(), JobError>>,
    /// Those that look up tables: they end by failing, or are ended.
    lookups: JoinSet<Result<(), JobError>>,
    /// Those who look for new partitions; they end with the job.
    looking: JoinSet<()>,
    /// Says how each worker thread ended.
    workers: mpsc::Receiver<Result<(), JobError>>,
    /// Says that a writer has had a cut, or has written all there will be.
    reports: mpsc::Receiver<WriterReport>,
    /// Makes the checkpoints, where there are any.
    checkpointer: Option<Checkpointer>,
    /// Lets the writers commit.
    commit: watch::Sender<bool>,
    cancelled: mpsc::Receiver<()>,
    /// Somebody wants a checkpoint now.
    asked: mpsc::Receiver<Asked>,
    /// New partitions have been found.
    found: mpsc::Receiver<JobError>,
    writers_left: usize,
}

impl Coordinator {
    /// Ends all tasks, and waits for a checkpoint that is being written.
    async fn rest(&mut self) {
        self.tasks.shutdown().await;
        self.lookups.shutdown().await;
        self.looking.shutdown().await;
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.rest().await;
        }
    }

    async fn on_report(&mut self, report: WriterReport) -> Result<(), JobError> {
        self.writers_left -= usize::from(report.has_ended).min(self.writers_left);
        match &mut self.checkpointer {
            // The last checkpoint comes first.
            Some(checkpointer) => checkpointer.on_report(report).await?,
            None if self.writers_left == 0 => {
                self.commit.send_replace(true);
            }
            None => {}
        }
        Ok(())
    }

    /// Returns when the job is to end: with `Ok` when all writers have committed.
    async fn run(&mut self) -> Result<(), JobError> {
        loop {
            tokio::select! {
                Some(()) = self.cancelled.recv() => return Err(JobError::Cancelled),
                Some(ended) = self.workers.recv() => ended?,
                Some(report) = self.reports.recv() => self.on_report(report).await?,
                // Without checkpoints whoever has asked hears that there are none.
                Some(asked) = self.asked.recv() => if let Some(checkpointer) = &mut self.checkpointer {
                    checkpointer.ask(asked);
                },
                Some(found) = self.found.recv() => match &mut self.checkpointer {
                    Some(checkpointer) => checkpointer.end_for(found),
                    None => return Err(found),
                },
                Some(event) = next_of(&mut self.checkpointer) => {
                    if let Some(checkpointer) = &mut self.checkpointer
                        && checkpointer.on(event).await?
                    {
                        self.commit.send_replace(true);
                    }
                }
                Some(ended) = self.lookups.join_next() => ended.unwrap_or_else(|error| Err(task_failed(error)))?,
                ended = self.tasks.join_next() => match ended {
                    Some(ended) => ended.unwrap_or_else(|error| Err(task_failed(error)))?,
                    // Readers have read, writers have committed.
                    None => return Ok(()),
                },
            }
        }
    }
}

/// What happens next to the checkpoints; nothing, where there are none.
async fn next_of(checkpointer: &mut Option<Checkpointer>) -> Option<Event> {
    match checkpointer {
        Some(checkpointer) => Some(checkpointer.next().await),
        None => std::future::pending().await,
    }
}

fn task_failed(error: JoinError) -> JobError {
    match error.try_into_panic() {
        Ok(panic) => JobError::panic("a source or sink".to_owned(), panic.as_ref()),
        // Only the end of the runtime cancels a task while the coordinator listens.
        Err(_) => JobError::Cancelled,
    }
}

/// The worker threads, and how to stop them.
struct Threads {
    bells: Vec<Arc<Bell>>,
    stop: Arc<AtomicBool>,
    handles: Vec<thread::JoinHandle<()>>,
    /// Tells them the time, where an operator wants to know.
    ticking: Option<JoinHandle<()>>,
}

impl Threads {
    fn spawn(
        &mut self,
        job: &str,
        number: usize,
        worker: Worker,
        ended: mpsc::Sender<Result<(), JobError>>,
    ) -> Result<(), JobError> {
        let run = move || {
            // The coordinator may have left already, and then knows why.
            let _ = ended.blocking_send(worker.run());
        };
        // The operating system takes no zero bytes in a thread's name.
        let name = format!("{job}-{number}").replace('\0', "");
        let spawned = thread::Builder::new().name(name).spawn(run);
        let failed = |error: std::io::Error| JobError::Thread { worker: number, reason: error.to_string() };
        self.handles.push(spawned.map_err(failed)?);
        Ok(())
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(ticking) = &self.ticking {
            ticking.abort();
        }
        self.bells.iter().for_each(|bell| bell.ring());
    }
}

impl Drop for Threads {
    /// The runtime may go down with the coordinator on it: the threads end all the same.
    fn drop(&mut self) {
        self.stop();
    }
}

/// Brings a job to its end.
struct Ending {
    threads: Threads,
    view: Arc<JobView>,
    result: watch::Sender<Option<JobResult>>,
}

impl Ending {
    async fn end(mut self, outcome: Result<(), JobError>) {
        self.threads.stop();
        let handles = std::mem::take(&mut self.threads.handles);
        let join_all = move || handles.into_iter().for_each(|handle| drop(handle.join()));
        // Threads look at the stop flag between any two turns, so this takes as long as the longest turn.
        let _ = tokio::task::spawn_blocking(join_all).await;
        match &outcome {
            Ok(()) => {}
            // Somebody asked for it: no news.
            Err(error @ (JobError::Cancelled | JobError::NewPartitions { .. })) => {
                tracing::debug!(job = %self.view.name, %error, "job ended");
            }
            Err(error) => tracing::warn!(job = %self.view.name, %error, "job ended early"),
        }
        self.result.send_replace(Some(outcome.map(|()| self.view.summary())));
        self.view.metrics.changed.notify_one();
    }
}

/// Lets watchers know of changes: at once after a rest, then at most every [`CHANGE_INTERVAL`].
async fn pass_on_changes(
    metrics: Arc<JobMetrics>,
    changes: watch::Sender<u64>,
    result: watch::Receiver<Option<JobResult>>,
) {
    loop {
        metrics.changed.notified().await;
        changes.send_modify(|count| *count += 1);
        if result.borrow().is_some() {
            return;
        }
        tokio::time::sleep(CHANGE_INTERVAL).await;
    }
}
