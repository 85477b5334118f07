//! Keeping `CONTINUOUS` views up to date: a job each, started from its last checkpoint, followed, and started again when it
//! has failed, until that is of no use and a person has to resume it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_connect::sink::Sink;
use mulgil_dataflow::restart::FaultKind;
use mulgil_dataflow::spill::StateBudget;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use mulgil_engine::outside::Outside;
use mulgil_engine::state_files::StateOptions;
use mulgil_sql::catalog::View;
use mulgil_sql::problem::SqlError;
use mulgil_sql::statement::RefreshMode;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};

use super::cell::{ViewCell, Wait};
use super::generation::folder_name;
use super::slot::Slot;
use super::{COMMIT_INTERVAL, Shared, ViewError, Views};
use crate::result::ResultTable;
use crate::run::{side_sinks, sources};
use crate::sink::ResultSink;
use crate::status::ViewStatus;

/// Who starts a view waits so long; it goes on starting as long as a system is away that it needs.
const START_PATIENCE: Duration = Duration::from_secs(3);

/// Where a view's job is.
enum Kept {
    /// It runs: its number, and itself.
    Running(u64, JobHandle),
    /// It is to be started again.
    Waiting(Wait),
}

impl Views {
    /// Starts a view: from its last checkpoint, or from the beginning of its sources where there is none. A running view is
    /// left alone; one that has failed is tried anew, as often as its options say. Where a system is away that it needs, this comes back
    /// after a few seconds, and the view goes on starting by itself.
    ///
    /// # Errors
    /// See [`ViewError`]. The view is then `failed`, with the error; or `restarting`, where the fault may pass.
    pub async fn start(&self, view: &TableName) -> Result<(), ViewError> {
        let slot = self.slot(view)?;
        if slot.view.mode == RefreshMode::Full {
            return Err(slot.refused("refresh it instead of starting it"));
        }
        self.bring_up(slot).await
    }

    /// Lets a view answer: what is noted of it, its stored result, its stream; and what is being built beside it go on.
    pub(super) async fn bring_up(&self, slot: &Arc<Slot>) -> Result<(), ViewError> {
        let prepared = async {
            self.prepare(slot).await?;
            for cell in slot.cells() {
                self.prepare_layers(slot, &cell).await?;
            }
            self.start_archives(slot)
        };
        if let Err(error) = prepared.await {
            slot.live().failed(error.to_string());
            self.shared.changed.notify_one();
            return Err(error);
        }
        let live = slot.live();
        if live.view.mode != RefreshMode::Full {
            self.go_on_building(slot);
            return self.start_cell(&live).await;
        }
        let loaded = if live.answer().is_none() { self.load_stored(&live).await } else { Ok(()) };
        self.go_on_building(slot);
        loaded
    }

    /// Starts a generation of a view.
    pub(super) async fn start_cell(&self, cell: &Arc<ViewCell>) -> Result<(), ViewError> {
        let (told, mut outcome) = oneshot::channel();
        let threads = self.shared.options.threads.clone().unwrap_or_else(Handle::current);
        threads.spawn(self.clone().start_and_keep(Arc::clone(cell), told));
        loop {
            match tokio::time::timeout(START_PATIENCE, &mut outcome).await {
                // Without an outcome its task has gone down with the runtime.
                Ok(outcome) => return outcome.unwrap_or(Err(ViewError::ShutDown)),
                // It goes on starting; its status says what it waits for.
                Err(_) if cell.waits_for_system() => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Starts a view, says how that went, and follows it.
    async fn start_and_keep(self, cell: Arc<ViewCell>, told: oneshot::Sender<Result<(), ViewError>>) {
        let (kept, outcome) = self.begin(&cell).await;
        let changed = Arc::clone(&self.shared.changed);
        changed.notify_one();
        // Whoever has asked may have lost patience.
        let _ = told.send(outcome);
        let views = Arc::downgrade(&self.shared);
        drop(self);
        if let Some(kept) = kept {
            keep(views, cell, changed, kept).await;
        }
    }

    async fn begin(&self, cell: &Arc<ViewCell>) -> (Option<Kept>, Result<(), ViewError>) {
        let _one_at_a_time = cell.turn.lock().await;
        if self.shared.closing.load(Ordering::Acquire) {
            return (None, Err(ViewError::ShutDown));
        }
        if cell.is_running() {
            return (None, Ok(()));
        }
        cell.resumed();
        match self.launch_unless_stopped(cell).await {
            None => (None, Ok(())),
            Some(Ok(kept)) => (Some(kept), Ok(())),
            Some(Err((error, kind))) => (cell.not_started(kind, error.to_string()).map(Kept::Waiting), Err(error)),
        }
    }

    /// Starts the job of a view; `None` when somebody has stopped the view meanwhile.
    async fn launch_unless_stopped(&self, cell: &Arc<ViewCell>) -> Option<Result<Kept, (ViewError, FaultKind)>> {
        tokio::select! {
            launched = self.launch(cell) => Some(launched),
            () = cell.is_to_stop() => {
                cell.given_up();
                None
            }
        }
    }

    /// Starts a view that has failed, or waits to be started again, from its last checkpoint, now; and what is being built
    /// beside it.
    ///
    /// # Errors
    /// See [`ViewError`].
    pub async fn resume(&self, view: &TableName) -> Result<ViewStatus, ViewError> {
        let slot = self.slot(view)?;
        if slot.view.mode == RefreshMode::Full {
            return Err(slot.live().wrong_mode("it has no job that could be resumed; refresh it"));
        }
        self.start(view).await?;
        Ok(slot.status())
    }

    async fn launch(&self, cell: &Arc<ViewCell>) -> Result<Kept, (ViewError, FaultKind)> {
        let view = &cell.view;
        let name = view.name.to_string();
        let lasting = |error: ViewError| (error, FaultKind::Lasting);
        if view.mode == RefreshMode::Full {
            return Err(lasting(cell.wrong_mode("refresh it instead of starting it")));
        }
        let failed = |source: SqlError| lasting(ViewError::Sql { name: name.clone(), source });
        self.cut_archives_if_wanted(cell).await.map_err(|error| (error, FaultKind::Passing))?;
        let session = self.session_of(cell);
        let plan = session.stream_view(&view.name).map_err(failed)?;
        let sources = sources(&session, &plan).map_err(failed)?;
        let mut sinks = side_sinks(&session, &plan).map_err(failed)?;
        let forgetful = sources.iter().find(|(_, source)| !source.replays());
        if let Some((table, _)) = forgetful.filter(|_| view.mode == RefreshMode::Kappa) {
            return Err(lasting(cell.wrong_mode(&format!(
                "{table} cannot be read a second time, so there is nothing to replay; use REFRESH_MODE = CONTINUOUS"
            ))));
        }
        let starts = cell.starts(&sources).await.map_err(|error| (error, FaultKind::Passing))?;
        let sources = self.with_archives(cell, sources).map_err(lasting)?;
        let refused = |reason: String| ViewError::Result { name: name.clone(), reason };
        let table = ResultTable::new(plan.schema, plan.key, plan.is_updating, view.rows_max)
            .and_then(|table| cell.in_layers(table).map(Arc::new))
            .map_err(|error| lasting(refused(error.to_string())))?;
        let sink: Arc<dyn Sink> = match &cell.origin.archive {
            Some(archive) => self.shared.connectors.sink(archive).map_err(|error| failed(error.into()))?,
            None => Arc::new(ResultSink::new(name.clone(), Arc::clone(&table), Arc::clone(&self.shared.changed))),
        };
        let options = JobOptions { starts, ..self.job_options(cell) };
        sinks.insert(name.clone(), sink);
        cell.starting(Outside::of(&sources, &sinks));
        self.shared.changed.notify_one();
        let job = Job::start(plan.graph, options, sources, sinks, &Handle::current()).await;
        let job = job.map_err(|error| {
            let kind = error.fault_kind();
            let text = match error {
                JobError::Checkpoint(_) => format!("{error}: `mulgil view replay {}` does that", view.name),
                error => error.to_string(),
            };
            (refused(text), kind)
        })?;
        Ok(Kept::Running(cell.started(table, job.clone()), job))
    }

    fn job_options(&self, cell: &ViewCell) -> JobOptions {
        let view = &cell.view;
        JobOptions {
            name: view.name.to_string(),
            parallelism: view.parallelism.unwrap_or(self.shared.options.parallelism),
            follow: true,
            // An archive's rows come with its checkpoints.
            commit_interval: Some(COMMIT_INTERVAL).filter(|_| cell.origin.archive.is_none()),
            pace: cell.origin.pace.clone(),
            checkpoints: self.checkpoints_of(view, cell.origin.number),
            finds_partitions: true,
            guarantee: view.stream.guarantee,
            state: self.state_of(view, cell.origin.number),
            ..JobOptions::default()
        }
    }

    /// Where a generation of a view keeps its checkpoints.
    pub(super) fn checkpoints_of(&self, view: &View, generation: u64) -> Option<CheckpointOptions> {
        let options = &self.shared.options;
        let all = CheckpointOptions::new(options.checkpoints_dir.clone()?);
        let all = CheckpointOptions { remote: options.checkpoints_remote.clone(), ..all };
        let options = all.of(&folder_name(&view.name, generation));
        Some(CheckpointOptions {
            interval: view.checkpoint_interval.unwrap_or(options.interval),
            timeout: view.checkpoint_timeout.unwrap_or(options.timeout),
            ..options
        })
    }

    fn state_of(&self, view: &View, generation: u64) -> Option<StateOptions> {
        let shared = self.shared.options.state.as_ref()?;
        let shared = shared.of(&folder_name(&view.name, generation));
        let own = view.stream.state_memory_bytes.map(StateBudget::new);
        Some(StateOptions { budget: own.unwrap_or(shared.budget), ..shared })
    }

    /// Starts a view again, unless somebody has done something about it meanwhile.
    async fn start_again(&self, cell: &Arc<ViewCell>, wait: Wait) -> Option<Kept> {
        let _one_at_a_time = cell.turn.lock().await;
        if self.shared.closing.load(Ordering::Acquire) || !cell.waits(wait) {
            return None;
        }
        match self.launch_unless_stopped(cell).await? {
            Ok(kept) => Some(kept),
            Err((error, kind)) => cell.not_started(kind, error.to_string()).map(Kept::Waiting),
        }
    }
}

/// Follows the jobs of a view until one has ended for good.
async fn keep(views: Weak<Shared>, cell: Arc<ViewCell>, changed: Arc<Notify>, mut kept: Kept) {
    loop {
        let wait = match kept {
            Kept::Running(number, job) => {
                let outcome = follow(&cell, &job, &changed).await;
                cell.ended(number, outcome)
            }
            Kept::Waiting(wait) => Some(wait),
        };
        changed.notify_one();
        let Some(wait) = wait else { return };
        tokio::time::sleep(wait.after).await;
        let Some(shared) = views.upgrade() else { return };
        let next = Views { shared }.start_again(&cell, wait).await;
        changed.notify_one();
        match next {
            Some(next) => kept = next,
            None => return,
        }
    }
}

/// Follows a job until it has ended.
async fn follow(cell: &ViewCell, job: &JobHandle, changed: &Notify) -> Result<(), JobError> {
    let mut changes = job.watch();
    while changes.changed().await.is_ok() {
        cell.sample_pace(job.status().rows_in);
        changed.notify_one();
    }
    job.join().await.map(|_| ())
}
