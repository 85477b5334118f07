//! Running tasks of an ended run again: the same run, its parameters and its definition; new attempt numbers.

use std::sync::Arc;

use mulgil_flow::{DataInterval, Params, RunKey, Variables};
use mulgil_history::read::{RunRow, TaskRow};
use mulgil_history::write::Write;
use mulgil_sched::id::{BackfillId, RunId, TaskIndex};
use mulgil_sched::rerun::{RerunError, RerunScope, rerun_tasks};
use mulgil_sched::run::{RunState, TaskState};
use mulgil_sched::step::Event;

use super::batch::Now;
use super::error::SchedulerError;
use super::request::{RerunPreview, RerunRequest, RerunTask};
use super::runs::{Detail, lane_of};
use super::state::{OpenRun, Scheduler};

/// A run that has ended, read back, and the tasks of it that are to run again.
pub(super) struct Reopening {
    pub(super) run: OpenRun,
    pub(super) tasks: Vec<TaskIndex>,
}

impl Scheduler {
    pub(super) async fn preview_rerun(
        &mut self,
        run: RunId,
        scope: &RerunScope,
    ) -> Result<RerunPreview, SchedulerError> {
        Ok(preview_of(&self.prepare_rerun(run, scope).await?))
    }

    pub(super) async fn rerun(&mut self, request: RerunRequest, now: Now) -> Result<RerunPreview, SchedulerError> {
        let reopening = self.prepare_rerun(request.run, &request.scope).await?;
        let preview = preview_of(&reopening);
        if preview.needs_confirmation && !request.confirmed {
            return Err(SchedulerError::NeedsConfirmation { tasks: tasks_to_confirm(&reopening) });
        }
        if let Some(backfill) = reopening.run.backfill {
            self.reopen_backfill(backfill, &reopening.run, now).await?;
        }
        self.reopen(reopening, now)?;
        Ok(preview)
    }

    /// Reads an ended run back and finds the tasks that the scope means.
    pub(super) async fn prepare_rerun(&mut self, id: RunId, scope: &RerunScope) -> Result<Reopening, SchedulerError> {
        if let Some(open) = self.runs.get(&id) {
            return Err(RerunError::NotEnded { run: id.0, status: open.state.status }.into());
        }
        let detail = self.history.run(id).await?.ok_or(SchedulerError::UnknownRun(id))?;
        let run = self.read_back(&detail.run, &detail.tasks).await?;
        let tasks = rerun_tasks(&run.state, scope)?;
        Ok(Reopening { run, tasks })
    }

    /// Puts an ended run back among the open ones.
    pub(super) fn reopen(&mut self, reopening: Reopening, now: Now) -> Result<(), SchedulerError> {
        let Reopening { run, tasks } = reopening;
        let id = run.state.id;
        self.runs.insert(id, run);
        if let Err(error) = self.apply(id, Event::Rerun { tasks }, Detail::default(), now) {
            self.runs.remove(&id);
            return Err(error.into());
        }
        self.queue(id, now);
        Ok(())
    }

    /// A stored run as the loop holds it.
    pub(super) async fn read_back(&mut self, row: &RunRow, tasks: &[TaskRow]) -> Result<OpenRun, SchedulerError> {
        let broken = |reason: String| SchedulerError::Definition { run: row.id, reason };
        let version = self.version(&row.flow, &row.version).await?.map_err(broken)?;
        let names = version.flow.tasks.iter().map(|task| &task.name);
        if !names.eq(tasks.iter().map(|task| &task.name)) {
            return Err(broken("its tasks are not those of the stored run".to_owned()));
        }
        let params: Params = match &row.params {
            serde_json::Value::Object(params) => params.clone().into_iter().collect(),
            _ => Params::new(),
        };
        let interval = row.interval_start.zip(row.interval_end).map(|(start, end)| DataInterval { start, end });
        let key = RunKey::new(&version.flow, interval, &params);
        let states = tasks.iter().map(task_state).collect();
        let state = RunState::restored(row.id, version.graph, row.status, row.retries, states);
        Ok(OpenRun {
            state,
            variables: Arc::new(Variables::new(&version.flow, &key, &params, &self.options.project)),
            flow: version.flow,
            name: row.name.clone(),
            interval,
            backfill: row.backfill,
            lane: lane_of(row.backfill.is_some()),
            newest_first: false,
            results: tasks.iter().filter_map(|task| Some((task.index, Arc::new(task.result.clone()?)))).collect(),
        })
    }

    /// Makes an ended run part of a backfill.
    pub(super) fn adopt(&mut self, run: &mut OpenRun, backfill: BackfillId, retries: bool, now: Now) {
        run.backfill = Some(backfill);
        run.lane = lane_of(true);
        run.state.retries = retries;
        self.batch.record(Write::RunBackfill { run: run.state.id, backfill, retries, at: now }, None);
    }
}

fn task_state(row: &TaskRow) -> TaskState {
    TaskState {
        status: row.status,
        attempts: row.attempts,
        retries_used: row.retries_used,
        losses: row.losses,
        not_before: row.not_before,
        // The caller adds live attempts, where there are any.
        live: None,
    }
}

fn rerun_task(reopening: &Reopening, task: TaskIndex) -> Option<RerunTask> {
    let state = reopening.run.state.task(task)?;
    let node = reopening.run.state.graph.task(task)?;
    Some(RerunTask {
        task: node.name.to_string(),
        status: state.status,
        idempotent: node.idempotent,
        attempts: state.attempts,
    })
}

fn preview_of(reopening: &Reopening) -> RerunPreview {
    let tasks: Vec<RerunTask> = reopening.tasks.iter().filter_map(|&task| rerun_task(reopening, task)).collect();
    RerunPreview {
        run: reopening.run.state.id,
        name: reopening.run.name.clone(),
        needs_confirmation: tasks.iter().any(needs_confirmation),
        tasks,
    }
}

fn needs_confirmation(task: &RerunTask) -> bool {
    !task.idempotent && task.attempts > 0
}

/// The tasks of a re-run that have run before and are not idempotent, for people; empty if there is none.
pub(super) fn tasks_to_confirm(reopening: &Reopening) -> String {
    let tasks = reopening.tasks.iter().filter_map(|&task| rerun_task(reopening, task)).filter(needs_confirmation);
    let named = tasks.map(|task| format!("{} of {}", task.task, reopening.run.name));
    named.collect::<Vec<_>>().join(", ")
}
