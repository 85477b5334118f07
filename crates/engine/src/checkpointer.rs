//! Makes the checkpoints of a running job: asks for a cut, lets everybody go on as soon as it is sealed, writes it in the
//! background, and then lets the sinks publish what they have staged.
//!
//! ```text
//!   waiting ── interval ──▶ cutting ── every writer has the cut ──▶ writing ── durable, published ──▶ waiting
//! ```
//!
//! A cut that drains for too long is given up: everybody goes on at once, what has been sealed is of no use, and when the
//! cut has come to the last writer all the same, the next one may begin.
//!
//! A checkpoint that cannot be written (the disk is full) stops nothing: the ones before stand, it is said, and the next
//! one seals everything anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mulgil_connect::sink::Sink;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::acknowledge::Acknowledging;
use crate::bell::Bell;
use crate::checkpoint::{CheckpointError, CheckpointFolder, Written};
use crate::clock::now_ms;
use crate::crash;
use crate::cut::{Cut, Owner, SealedPart};
use crate::error::JobError;
use crate::job::Connections;
use crate::metrics::JobMetrics;
use crate::status::CheckpointStatus;
use crate::view::JobView;
use crate::writer::WriterReport;

/// See the module.
pub(crate) struct Checkpointer {
    /// `None` while a checkpoint is written.
    folder: Option<CheckpointFolder>,
    interval: Duration,
    /// How long a cut may drain.
    timeout: Duration,
    metrics: Arc<JobMetrics>,
    /// What is read and written.
    view: Arc<JobView>,
    /// How many rows read and written the last checkpoint covers; `None` before the first, and after one that could not be
    /// written.
    covered: Option<(u64, u64)>,
    bells: Vec<Arc<Bell>>,
    sinks: HashMap<String, Arc<dyn Sink>>,
    asked: watch::Sender<u64>,
    released: watch::Sender<u64>,
    writers_left: usize,
    state: State,
    /// What has been staged and is in no checkpoint yet, by table.
    staged: BTreeMap<String, Vec<String>>,
    /// Whether all state has to be sealed, whatever the folder says: the last cut was given up.
    wants_whole: bool,
    /// Told when a checkpoint stands that began after they had asked.
    asking: Vec<Asked>,
    /// Those whom the one under way is for.
    answered: Vec<Asked>,
    /// The job is to end for this as soon as a checkpoint stands, with nothing under way behind it.
    ends_for: Option<JobError>,
    /// The cut that nobody has been released from: the job is to end with it.
    held: Option<u64>,
    acknowledging: Acknowledging,
}

/// Somebody who wants a checkpoint now.
pub(crate) type Asked = oneshot::Sender<Result<(), String>>;

enum State {
    Waiting {
        until: tokio::time::Instant,
    },
    Cutting {
        number: u64,
        whole: bool,
        began: Instant,
        reports: usize,
    },
    /// A cut that was given up is still on its way.
    Draining {
        reports: usize,
    },
    Writing {
        task: JoinHandle<Attempt>,
        is_last: bool,
    },
    /// The last one stands.
    Done,
}

/// What came of writing a checkpoint.
struct Attempt {
    folder: CheckpointFolder,
    staged: BTreeMap<String, Vec<String>>,
    took: Duration,
    written: Result<Written, CheckpointError>,
    published: Result<(), JobError>,
}

/// What has happened.
pub(crate) enum Event {
    /// It is time for a checkpoint.
    Due,
    /// The cut under way has drained for too long.
    Late,
    /// One has been written, or not.
    Attempted(Box<Result<AttemptResult, tokio::task::JoinError>>),
}

/// See [`Event::Attempted`].
pub(crate) struct AttemptResult(Attempt);

impl Checkpointer {
    pub(crate) fn new(
        folder: CheckpointFolder,
        (interval, timeout): (Duration, Duration),
        view: Arc<JobView>,
        bells: Vec<Arc<Bell>>,
        (connections, writers_left): (&Connections, usize),
    ) -> Self {
        let sinks = connections.sinks.clone();
        let acknowledging = Acknowledging { sources: connections.sources.clone(), last: None };
        let metrics = Arc::clone(&view.metrics);
        // Numbers go on where those of former runs have ended.
        let before = folder.next() - 1;
        metrics.cuts.release(before);
        Self {
            folder: Some(folder),
            interval,
            timeout,
            metrics,
            view,
            covered: None,
            bells,
            sinks,
            asked: watch::Sender::new(before),
            released: watch::Sender::new(before),
            writers_left,
            state: State::Waiting { until: tokio::time::Instant::now() + interval },
            staged: BTreeMap::new(),
            wants_whole: false,
            asking: Vec::new(),
            answered: Vec::new(),
            ends_for: None,
            held: None,
            acknowledging,
        }
    }

    /// Somebody wants a checkpoint now.
    pub(crate) fn ask(&mut self, asked: Asked) {
        if matches!(self.state, State::Done) {
            // Whoever has asked may have gone.
            let _ = asked.send(Ok(()));
            return;
        }
        self.asking.push(asked);
        self.hurry();
    }

    /// The job is to end for `error` with the next checkpoint, and nothing is to come behind it.
    pub(crate) fn end_for(&mut self, error: JobError) {
        self.ends_for.get_or_insert(error);
        self.hurry();
    }

    fn hurry(&mut self) {
        if let State::Waiting { until } = &mut self.state {
            *until = tokio::time::Instant::now();
        }
    }

    /// When readers are to stop, and when they may go on.
    pub(crate) fn for_readers(&self) -> (watch::Receiver<u64>, watch::Receiver<u64>) {
        (self.asked.subscribe(), self.released.subscribe())
    }

    /// Waits for what happens next. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Event {
        match &mut self.state {
            State::Waiting { until } => {
                tokio::time::sleep_until(*until).await;
                Event::Due
            }
            State::Cutting { began, .. } => {
                let until = tokio::time::Instant::from_std(*began).checked_add(self.timeout);
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
                Event::Late
            }
            State::Draining { .. } | State::Done => std::future::pending().await,
            State::Writing { task, .. } => Event::Attempted(Box::new(task.await.map(AttemptResult))),
        }
    }

    /// Goes on; whether the last checkpoint of the job is done.
    pub(crate) async fn on(&mut self, event: Event) -> Result<bool, JobError> {
        match event {
            Event::Due if self.writers_left == 0 => self.complete_last().await.map(|()| false),
            Event::Due => {
                self.begin();
                Ok(false)
            }
            Event::Late => {
                self.give_up();
                Ok(false)
            }
            Event::Attempted(attempt) => match *attempt {
                Ok(AttemptResult(attempt)) => self.attempted(attempt),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => Err(JobError::panic("the writing of a checkpoint".to_owned(), panic.as_ref())),
                    Err(_) => Err(JobError::Cancelled),
                },
            },
        }
    }

    fn begin(&mut self) {
        let Some(folder) = &self.folder else { return };
        let keeps_clock = self.metrics.clock_ms.load(Ordering::Relaxed) != i64::MIN;
        if self.covered == Some(self.rows()) && !keeps_clock && self.ends_for.is_none() {
            // Nothing has been read or written: the last checkpoint says it all, and waiting costs nothing.
            self.state = State::Waiting { until: tokio::time::Instant::now() + self.interval };
            self.answered.append(&mut self.asking);
            self.answer(&Ok(()));
            return;
        }
        self.answered.append(&mut self.asking);
        let (number, whole) = (folder.next(), folder.wants_whole() || self.wants_whole);
        self.metrics.cuts.ask_for_whole(whole);
        self.state = State::Cutting { number, whole, began: Instant::now(), reports: 0 };
        self.asked.send_replace(number);
        crash::point("after the sources are asked to stop");
    }

    fn answer(&mut self, answer: &Result<(), String>) {
        // Whoever has asked may have gone.
        self.answered.drain(..).for_each(|asked| drop(asked.send(answer.clone())));
    }

    /// Lets everybody go on though the cut has not come to all writers.
    fn give_up(&mut self) {
        let State::Cutting { number, began, reports, .. } = self.state else { return };
        self.release(number);
        self.state = State::Draining { reports };
        self.wants_whole = true;
        let waited_ms = began.elapsed().as_millis();
        let error = format!(
            "its cut had not drained after {waited_ms} ms and was given up; it is tried again: look for a sink or a stage that \
             holds the others up, or raise 'checkpoint-timeout'"
        );
        tracing::warn!(%error, "checkpoint not made; the one before stands");
        self.answer(&Err(error.clone()));
        self.note(|status| {
            status.given_up += 1;
            status.error = Some(error);
        });
    }

    /// Lets those who rest for a cut go on.
    fn release(&mut self, number: u64) {
        self.metrics.cuts.release(number);
        self.released.send_replace(number);
        self.bells.iter().for_each(|bell| bell.ring());
    }

    /// The cut that was given up has come to every writer: what was sealed for it is of no use.
    fn drained(&mut self) {
        let _ = self.metrics.cuts.take();
        if let Some(folder) = &mut self.folder {
            folder.skip();
        }
        self.covered = None;
        self.state = State::Waiting { until: tokio::time::Instant::now() + self.interval };
    }

    /// A writer has had the cut, or has ended.
    pub(crate) async fn on_report(&mut self, report: WriterReport) -> Result<(), JobError> {
        self.staged.entry(report.table).or_default().extend(report.staged);
        if report.has_ended {
            self.writers_left = self.writers_left.saturating_sub(1);
        } else if let State::Cutting { reports, .. } | State::Draining { reports } = &mut self.state {
            *reports += 1;
        }
        match self.state {
            State::Cutting { number, whole, began, reports } if reports >= self.writers_left => {
                let is_last = self.writers_left == 0;
                self.complete(number, whole, began, is_last).await
            }
            State::Draining { reports } if reports >= self.writers_left => {
                self.drained();
                if self.writers_left == 0 { self.complete_last().await } else { Ok(()) }
            }
            State::Waiting { .. } if self.writers_left == 0 => self.complete_last().await,
            _ => Ok(()),
        }
    }

    /// All input has ended and everything is written: one more checkpoint says so.
    async fn complete_last(&mut self) -> Result<(), JobError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let number = folder.next();
        self.complete(number, true, Instant::now(), true).await
    }

    async fn complete(&mut self, number: u64, whole: bool, began: Instant, is_last: bool) -> Result<(), JobError> {
        let mut cut = self.metrics.cuts.take();
        self.covered = Some(self.rows());
        for (table, sink) in &self.sinks {
            let failed = |error| JobError::sink(table, &error);
            let parts = sink.seal(whole).await.map_err(failed)?.unwrap_or_default();
            let owner = Owner::Sink(table.clone());
            cut.parts.extend(parts.into_iter().map(|part| SealedPart { owner: owner.clone(), subtask: 0, part }));
        }
        cut.staged = std::mem::take(&mut self.staged);
        crash::point("sealed");
        self.wants_whole = false;
        match self.ends_for {
            // What came behind the cut would be written, and then again by whoever goes on from it.
            Some(_) => self.held = Some(number),
            None => self.release(number),
        }
        self.note(|status| status.pause_ms = millis(began.elapsed()));
        let Some(folder) = self.folder.take() else { return Ok(()) };
        self.acknowledging.note(&cut, &self.view);
        let task = tokio::spawn(write(folder, cut, whole, self.sinks.clone()));
        self.state = State::Writing { task, is_last };
        Ok(())
    }

    fn attempted(&mut self, attempt: Attempt) -> Result<bool, JobError> {
        let is_last = matches!(self.state, State::Writing { is_last: true, .. });
        self.folder = Some(attempt.folder);
        // What has ended while this one was written waits for one more, which is due at once; but not when the disk is full.
        let has_ended = self.writers_left == 0 && attempt.written.is_ok();
        let is_asked = (!self.asking.is_empty() || self.ends_for.is_some()) && attempt.written.is_ok();
        let rest = if has_ended || is_asked { Duration::ZERO } else { self.interval };
        self.state = State::Waiting { until: tokio::time::Instant::now() + rest };
        match attempt.written {
            Ok(written) => {
                attempt.published?;
                self.acknowledging.acknowledge();
                if is_last {
                    self.state = State::Done;
                }
                let (covered_rows, _) = self.covered.unwrap_or_default();
                self.note(|status| {
                    status.completed += 1;
                    status.covered_rows = covered_rows;
                    status.completed_ms = Some(now_ms());
                    status.took_ms = millis(attempt.took);
                    status.written_bytes = written.bytes;
                    status.state_bytes = written.state_bytes;
                    status.error = None;
                });
                self.answer(&Ok(()));
                // With a cut that everybody still rests for, nothing has come behind it.
                match self.held.and_then(|_| self.ends_for.take()) {
                    Some(error) => Err(error),
                    None => Ok(is_last),
                }
            }
            // Whoever has written it goes on with the pipeline.
            Err(error @ CheckpointError::Taken { .. }) => Err(JobError::Checkpoint(error.to_string())),
            Err(error) => {
                tracing::warn!(%error, "checkpoint not written; the one before stands");
                self.covered = None;
                self.answer(&Err(error.to_string()));
                if let Some(held) = self.held.take() {
                    self.release(held);
                }
                for (table, staged) in attempt.staged {
                    self.staged.entry(table).or_default().splice(0..0, staged);
                }
                self.note(|status| {
                    status.failed += 1;
                    status.error = Some(error.to_string());
                });
                // A job that has ended tries again until its last checkpoint stands: what it has staged waits for that.
                Ok(false)
            }
        }
    }

    /// How many rows have been read and written.
    fn rows(&self) -> (u64, u64) {
        (self.view.rows_in(), self.view.rows_out())
    }

    /// Waits until nothing is being written: whoever opens the folder next finds it at rest.
    pub(crate) async fn rest(&mut self) {
        if let State::Writing { task, .. } = &mut self.state {
            let _ = task.await;
        }
    }

    fn note(&self, change: impl FnOnce(&mut CheckpointStatus)) {
        // Nothing in it panics half way.
        let mut status = self.metrics.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        change(status.get_or_insert_default());
        drop(status);
        self.metrics.changed.notify_one();
    }
}

/// Makes a cut durable, and publishes.
async fn write(mut folder: CheckpointFolder, cut: Cut, whole: bool, sinks: HashMap<String, Arc<dyn Sink>>) -> Attempt {
    let began = Instant::now();
    let (number, staged) = (folder.next(), cut.staged.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let written = folder.write(&cut, whole);
        (folder, written)
    });
    let (folder, written) = match writing.await {
        Ok(done) => done,
        // A panic goes on to whoever waits for the task.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    };
    crash::point("before publishing");
    let published = if written.is_ok() { publish(number, &staged, &sinks).await } else { Ok(()) };
    crash::point("after publishing");
    Attempt { folder, staged, took: began.elapsed(), written, published }
}

/// Publishes what sinks have staged up to cut `number`, which is durable.
async fn publish(
    number: u64,
    staged: &BTreeMap<String, Vec<String>>,
    sinks: &HashMap<String, Arc<dyn Sink>>,
) -> Result<(), JobError> {
    for (table, staged) in staged {
        if let Some(sink) = sinks.get(table) {
            let failed = |error| JobError::sink(table, &error);
            sink.publish(number, staged).await.map_err(failed)?;
        }
    }
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
