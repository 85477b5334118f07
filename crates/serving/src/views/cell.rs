//! One view's life: its state, its result, its job, and how fast it reads.

mod answer;

pub(crate) use self::answer::rows_of;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mulgil_connect::definition::TableDefinition;
use mulgil_dataflow::restart::{Decision, Fault, FaultKind, Restarts, Stop};
use mulgil_engine::error::JobError;
use mulgil_engine::job::JobHandle;
use mulgil_engine::outside::Outside;
use mulgil_engine::pace::Pace;
use mulgil_sql::catalog::{Catalog, View};
use mulgil_sql::layers::{Layers, Unwindowed};
use mulgil_sql::statement::RefreshMode;
use tokio::sync::watch;

pub(crate) use self::answer::Answer;
use super::archive_cut::PastOfTables;
use super::layers::BatchView;
use super::now_ms;
use crate::result::ResultTable;
use crate::status::{RestartStatus, ViewColumn, ViewState, ViewStatus};

/// The time over which rows a second are counted.
const PACE_WINDOW: Duration = Duration::from_secs(5);

/// More samples than come within the window.
const PACE_SAMPLES_MAX: usize = 256;

/// How long a job may take for its last checkpoint.
const FINISH_PATIENCE: Duration = Duration::from_secs(10);

/// Which generation of a view it is, and what it is built from.
pub(crate) struct Origin {
    /// Its number.
    pub(crate) number: u64,
    /// The catalog that its query is planned over.
    pub(crate) catalog: Arc<Catalog>,
    /// From when on its sources are read, in milliseconds since the epoch; from the beginning where nothing is said.
    pub(crate) from_ms: Option<i64>,
    /// What of archives is read before them.
    pub(crate) archives: PastOfTables,
    /// How fast.
    pub(crate) pace: Pace,
    /// The table in the lake that its rows go to, where it is an archive.
    pub(crate) archive: Option<TableDefinition>,
}

/// A generation of a view, and what has become of it.
pub(crate) struct ViewCell {
    pub(crate) view: Arc<View>,
    pub(crate) origin: Origin,
    /// Held while the view is started, stopped or refreshed.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// How many wait for their turn to stop it: whoever starts it meanwhile gives way.
    stoppers: watch::Sender<usize>,
    life: Mutex<Life>,
}

/// Somebody waits for the turn to stop a view.
struct Stopper<'a>(&'a watch::Sender<usize>);

impl<'a> Stopper<'a> {
    fn new(stoppers: &'a watch::Sender<usize>) -> Self {
        stoppers.send_modify(|stoppers| *stoppers += 1);
        Self(stoppers)
    }
}

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|stoppers| *stoppers -= 1);
    }
}

struct Life {
    state: ViewState,
    error: Option<String>,
    table: Option<Arc<ResultTable>>,
    /// What readers see while it is pinned, whatever its job does.
    pinned: Option<Arc<ResultTable>>,
    /// `LAMBDA`: how its rows say of which window they are.
    layers: Option<Layers>,
    /// `LAMBDA` without windows: how its rows come of the states that its layers hold.
    unwindowed: Option<Arc<Unwindowed>>,
    /// `LAMBDA`: what batch says.
    batch: Option<Arc<BatchView>>,
    /// Versions of former results.
    version_before: u64,
    job: Option<JobHandle>,
    /// What the tables of a job say that is being started.
    outside: Outside,
    /// How many jobs there have been.
    job_count: u64,
    pace: VecDeque<(Instant, u64)>,
    refreshed_ms: Option<i64>,
    restarts: Restarts,
    /// Of what it is that somebody waits: moves with everything that starts or stops the view.
    era: u64,
    started: Instant,
    next_try_ms: Option<i64>,
    failed_ms: Option<i64>,
}

/// A view's job is to be started again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// After this time,
    pub(crate) after: Duration,
    /// unless somebody has started or stopped it since.
    pub(crate) era: u64,
}

impl Life {
    fn version(&self) -> u64 {
        self.version_before + self.table.as_ref().map_or(0, |table| table.row_count_and_version().1)
    }

    fn replace_table(&mut self, table: Arc<ResultTable>) {
        self.version_before = self.version() + 1;
        self.table = Some(table);
    }
}

impl ViewCell {
    pub(crate) fn new(view: Arc<View>, origin: Origin) -> Self {
        let life = Life {
            state: ViewState::Stopped,
            error: None,
            table: None,
            pinned: None,
            layers: None,
            unwindowed: None,
            batch: None,
            version_before: 0,
            job: None,
            outside: Outside::default(),
            job_count: 0,
            pace: VecDeque::new(),
            refreshed_ms: None,
            restarts: Restarts::new(view.stream.restart),
            era: 0,
            started: Instant::now(),
            next_try_ms: None,
            failed_ms: None,
        };
        Self {
            view,
            origin,
            turn: tokio::sync::Mutex::new(()),
            stoppers: watch::Sender::new(0),
            life: Mutex::new(life),
        }
    }

    /// Nothing that happens under this lock can leave a half-changed life behind.
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets readers see what they see now, until it is unpinned; whether there is anything to see.
    pub(crate) fn pin(&self) -> bool {
        let table = {
            let mut life = self.life();
            life.pinned = life.table.clone();
            life.pinned.clone()
        };
        // Not under the lock: what is being applied is waited for.
        table.inspect(|table| table.pin()).is_some()
    }

    pub(crate) fn unpin(&self) {
        let pinned = self.life().pinned.take();
        if let Some(table) = pinned {
            table.unpin();
        }
    }

    /// How often the result has changed.
    pub(crate) fn version(&self) -> u64 {
        self.life().version()
    }

    /// Its versions are to come after this one.
    pub(crate) fn follow_on(&self, version: u64) {
        self.life().version_before += version + 1;
    }

    /// Whether a person has to do something about it.
    pub(crate) fn has_failed(&self) -> bool {
        self.life().state == ViewState::Failed
    }

    /// Whether a stream keeps it up to date.
    pub(crate) fn keeps_stream(&self) -> bool {
        self.view.mode != RefreshMode::Full
    }

    pub(crate) fn job(&self) -> Option<JobHandle> {
        self.life().job.clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.life().state == ViewState::Running
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.life().state == ViewState::Starting
    }

    /// Whether it cannot be started yet, for want of a system.
    pub(crate) fn waits_for_system(&self) -> bool {
        !self.life().outside.waits().is_empty()
    }

    /// Takes the turn to stop it, also from one who starts it and waits for a system.
    pub(crate) async fn turn_to_stop(&self) -> tokio::sync::MutexGuard<'_, ()> {
        let _stopper = Stopper::new(&self.stoppers);
        self.turn.lock().await
    }

    /// Comes back when somebody wants to stop it.
    pub(crate) async fn is_to_stop(&self) {
        // The sender is here.
        let _ = self.stoppers.subscribe().wait_for(|stoppers| *stoppers > 0).await;
    }

    /// A job is being started that reads and writes these tables.
    pub(crate) fn starting(&self, outside: Outside) {
        let mut life = self.life();
        life.outside = outside;
        if life.state != ViewState::Restarting {
            (life.state, life.error) = (ViewState::Starting, None);
        }
    }

    /// Somebody has stopped it while it was being started.
    pub(crate) fn given_up(&self) {
        let mut life = self.life();
        (life.state, life.next_try_ms, life.outside) = (ViewState::Stopped, None, Outside::default());
    }

    /// A job runs; gives its number.
    pub(crate) fn started(&self, table: Arc<ResultTable>, job: JobHandle) -> u64 {
        let mut life = self.life();
        life.replace_table(table);
        life.job = Some(job);
        life.outside = Outside::default();
        life.pace.clear();
        (life.state, life.error) = (ViewState::Running, None);
        (life.started, life.next_try_ms) = (Instant::now(), None);
        life.era += 1;
        life.job_count += 1;
        life.job_count
    }

    pub(crate) fn refreshing(&self) {
        let mut life = self.life();
        (life.state, life.error) = (ViewState::Refreshing, None);
        life.era += 1;
    }

    /// A refresh was broken off: it is as it was.
    pub(crate) fn refresh_given_up(&self) {
        let mut life = self.life();
        if life.state == ViewState::Refreshing {
            life.state = if life.table.is_some() { ViewState::Ready } else { ViewState::Stopped };
        }
    }

    pub(crate) fn refreshed(&self, table: Arc<ResultTable>, at_ms: i64) {
        let mut life = self.life();
        life.replace_table(table);
        life.refreshed_ms = Some(at_ms);
        (life.state, life.error) = (ViewState::Ready, None);
    }

    pub(crate) fn failed(&self, error: String) {
        let mut life = self.life();
        (life.state, life.error) = (ViewState::Failed, Some(error));
    }

    /// Somebody starts it: what failed before counts no longer.
    pub(crate) fn resumed(&self) {
        let mut life = self.life();
        life.restarts = Restarts::new(self.view.stream.restart);
        life.era += 1;
    }

    /// A job has ended; a job that was replaced since says nothing any more. Gives when it is to be started again, if so.
    pub(crate) fn ended(&self, job_number: u64, outcome: Result<(), JobError>) -> Option<Wait> {
        let mut life = self.life();
        if life.job_count != job_number || life.state != ViewState::Running {
            return None;
        }
        match outcome {
            Ok(()) => (life.state, life.error) = (ViewState::Ready, None),
            Err(JobError::NewPartitions { .. }) => {
                // No fault: it goes on with them at once.
                life.era += 1;
                (life.state, life.error) = (ViewState::Restarting, None);
                return Some(Wait { after: Duration::ZERO, era: life.era });
            }
            Err(JobError::Cancelled) => (life.state, life.error) = (ViewState::Stopped, None),
            Err(error) => {
                let made = life.job.as_ref().and_then(|job| job.status().checkpoints);
                let fault = Fault {
                    kind: error.fault_kind(),
                    error: error.to_string(),
                    ran_for: life.started.elapsed(),
                    made_progress: made.is_some_and(|made| made.completed > 0 && made.covered_rows > 0),
                };
                return self.decide(&mut life, fault);
            }
        }
        None
    }

    /// A job could not be started. Gives when that is to be tried again, if so.
    pub(crate) fn not_started(&self, kind: FaultKind, error: String) -> Option<Wait> {
        let fault = Fault { kind, error, ran_for: Duration::ZERO, made_progress: false };
        self.decide(&mut self.life(), fault)
    }

    fn decide(&self, life: &mut Life, fault: Fault) -> Option<Wait> {
        life.outside = Outside::default();
        let error = fault.error.clone();
        let failed_ms = now_ms();
        // As good as chance: keys of the standard library's hash tables.
        let chance = RandomState::new().hash_one(failed_ms);
        life.era += 1;
        life.failed_ms = Some(failed_ms);
        let name = &self.view.name;
        let (state, said, wait) = match life.restarts.decide(fault, chance) {
            Decision::Restart(after) => (ViewState::Restarting, error, Some(after)),
            Decision::Stop(Stop::Lasting | Stop::NotWanted) => (ViewState::Failed, error, None),
            Decision::Stop(Stop::PoisonRow(tries)) => {
                let said = format!(
                    "{error}; it has come again {tries} times at the same rows, so some row cannot be taken: mend it, or \
                     the query, and then `mulgil view resume {name}`"
                );
                (ViewState::Failed, said, None)
            }
            Decision::Stop(Stop::TooOften(tries)) => {
                let said = format!(
                    "{error}; it has been started again {tries} times in vain: when what it needs is there, `mulgil view \
                     resume {name}`"
                );
                (ViewState::Failed, said, None)
            }
        };
        (life.state, life.error) = (state, Some(said));
        let after_ms = |after: Duration| i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        life.next_try_ms = wait.map(|after| failed_ms.saturating_add(after_ms(after)));
        wait.map(|after| Wait { after, era: life.era })
    }

    /// Whether it still waits for what was decided then.
    pub(crate) fn waits(&self, wait: Wait) -> bool {
        let life = self.life();
        life.state == ViewState::Restarting && life.era == wait.era
    }

    pub(crate) async fn stop(&self) {
        let running = {
            let mut life = self.life();
            life.era += 1;
            match life.state {
                ViewState::Running => {
                    life.state = ViewState::Stopped;
                    life.job.clone()
                }
                ViewState::Restarting => {
                    (life.state, life.next_try_ms) = (ViewState::Stopped, None);
                    None
                }
                _ => None,
            }
        };
        if let Some(job) = running {
            // What readers have seen of it is seen again when it is started again.
            job.finish(FINISH_PATIENCE).await;
        }
    }

    pub(crate) fn sample_pace(&self, rows_in: u64) {
        let now = Instant::now();
        let pace = &mut self.life().pace;
        pace.push_back((now, rows_in));
        while pace.len() > PACE_SAMPLES_MAX
            || (pace.len() > 1 && pace.front().is_some_and(|(at, _)| now.duration_since(*at) > PACE_WINDOW))
        {
            pace.pop_front();
        }
    }

    /// The view as it is now.
    pub(crate) fn status(&self) -> ViewStatus {
        let life = self.life();
        let view = &self.view;
        let job = life.job.as_ref().map(JobHandle::status);
        let newest_ms = job.iter().flat_map(|job| &job.partitions).filter_map(|partition| partition.watermark_ms).max();
        let watermark_ms = job.as_ref().and_then(|job| job.watermark_ms);
        let columns = view.schema.fields().iter();
        ViewStatus {
            name: view.name.to_string(),
            mode: view.mode,
            definition: view.text.clone(),
            file: view.file.display().to_string(),
            line: view.line,
            columns: columns
                .map(|field| ViewColumn { name: field.name().clone(), data_type: field.data_type().to_string() })
                .collect(),
            state: life.state,
            error: life.error.clone(),
            watermark_ms,
            lag_ms: newest_ms.zip(watermark_ms).map(|(newest, watermark)| newest.saturating_sub(watermark).max(0)),
            rows: life.table.as_ref().map_or(0, |table| table.row_count_and_version().0 as u64),
            rows_in: job.as_ref().map_or(0, |job| job.rows_in),
            rows_per_second: rows_per_second(&life.pace, Instant::now()),
            late_updated: job.as_ref().map_or(0, |job| job.late_updated),
            late_dropped: job.as_ref().map_or(0, |job| job.late_dropped),
            null_event_times: job.as_ref().map_or(0, |job| job.null_event_times),
            skipped_rows: job.as_ref().map_or(0, |job| job.skipped_rows),
            bad_rows: job.as_ref().map_or_else(Vec::new, |job| job.bad_rows.clone()),
            waits: life.outside.waits().into_iter().chain(job.iter().flat_map(|job| job.waits.clone())).collect(),
            late_sample: job.as_ref().map_or_else(Vec::new, |job| job.late_sample.clone()),
            restarts: RestartStatus {
                count: life.restarts.count(),
                tries: life.restarts.tries(),
                next_try_ms: life.next_try_ms,
                last_error: life.restarts.last_error().map(str::to_owned),
                failed_ms: life.failed_ms,
            },
            generation: self.origin.number,
            building: None,
            former: None,
            layers: None,
            archives: Vec::new(),
            export: None,
            guarantee: job.as_ref().map(|job| job.guarantee.clone()),
            checkpoints: job.as_ref().and_then(|job| job.checkpoints.clone()),
            held_back_by: job.as_ref().and_then(|job| job.held_back_by.clone()),
            partitions: job.map_or_else(Vec::new, |job| job.partitions),
            refreshed_ms: life.refreshed_ms,
            version: life.version(),
        }
    }
}

/// Rows a second between the first sample within the window and now.
fn rows_per_second(pace: &VecDeque<(Instant, u64)>, now: Instant) -> f64 {
    let within = pace.iter().find(|(at, _)| now.duration_since(*at) <= PACE_WINDOW);
    let (Some((first_at, first)), Some((_, last))) = (within, pace.back()) else { return 0.0 };
    let seconds = now.duration_since(*first_at).as_secs_f64();
    if seconds <= 0.0 { 0.0 } else { last.saturating_sub(*first) as f64 / seconds }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_pace_is_counted_over_the_last_seconds() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let pace = VecDeque::from([(at(0), 0), (at(6_000), 1_000), (at(8_000), 5_000)]);
        assert_eq!(rows_per_second(&pace, at(10_000)), 1_000.0);
        assert_eq!(rows_per_second(&pace, at(60_000)), 0.0);
        assert_eq!(rows_per_second(&VecDeque::new(), at(0)), 0.0);
    }
}
