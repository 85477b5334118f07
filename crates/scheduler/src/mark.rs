//! Tasks that count as succeeded or failed because somebody says so. Who and why is kept with the event.

use mulgil_sched::rerun::RerunError;
use mulgil_sched::status::{RunStatus, TaskStatus};
use mulgil_sched::step::{Event, Mark, step};

use super::batch::Now;
use super::error::SchedulerError;
use super::request::{MarkRequest, RerunPreview};
use super::rerun::rerun_task;
use super::runs::Detail;
use super::state::{OpenRun, Scheduler};

impl Scheduler {
    /// Marks a task, or only says what would run by that.
    pub(super) async fn mark(
        &mut self,
        request: MarkRequest,
        preview: bool,
        now: Now,
    ) -> Result<RerunPreview, SchedulerError> {
        let id = request.run;
        // One that has ended is read back, and held only if it is needed.
        let ended = match self.runs.contains_key(&id) {
            true => None,
            false => {
                let detail = self.history.run(id).await?.ok_or(SchedulerError::UnknownRun(id))?;
                let mut run = self.read_back(&detail.run, &detail.tasks).await?;
                run.watch.reopened(&detail.alerts, now);
                Some(run)
            }
        };
        let run = ended.as_ref().or_else(|| self.runs.get(&id)).ok_or(SchedulerError::UnknownRun(id))?;
        let Some(task) = run.state.graph.index_of(&request.task) else {
            let known = run.state.graph.known();
            let error = RerunError::NoSuchTask { run: id.0, task: request.task, known };
            return Err(error.into());
        };
        let event = Event::Mark { task, mark: request.mark };
        let outcome = preview_of(run, &event, now)
            .map_err(|error| SchedulerError::Mark { task: request.task.clone(), reason: error.to_string() })?;
        if preview {
            return Ok(outcome);
        }
        if let Some(run) = ended {
            if let Some(backfill) = run.backfill {
                self.reopen_backfill(backfill, &run, now).await?;
            }
            self.runs.insert(id, run);
            self.apply(id, event, marked(&request, task), now)?;
            if self.runs.get(&id).is_some_and(|run| run.state.status == RunStatus::Queued) {
                self.queue(id, now);
                self.watch(id, now);
            }
        } else {
            self.apply(id, event, marked(&request, task), now)?;
        }
        Ok(outcome)
    }
}

fn marked(request: &MarkRequest, task: u32) -> Detail {
    let word = match request.mark {
        Mark::Succeeded => "succeeded",
        Mark::Failed => "failed",
    };
    let why = if request.why.is_empty() { String::new() } else { format!(": {}", request.why) };
    Detail { note: Some((task, format!("marked as {word} by {}{why}", request.who))), ..Detail::default() }
}

/// What would run: the tasks that would wait, or be ready, and do not now.
fn preview_of(run: &OpenRun, event: &Event, now: Now) -> Result<RerunPreview, mulgil_sched::life::IllegalTransition> {
    let mut after = run.state.clone();
    step(&mut after, event.clone(), now)?;
    let waits = |status: TaskStatus| matches!(status, TaskStatus::Waiting | TaskStatus::Ready);
    let pairs = run.state.graph.indices().zip(run.state.tasks.iter().zip(&after.tasks));
    let new = pairs.filter(|(_, (was, is))| !waits(was.status) && waits(is.status));
    Ok(RerunPreview {
        run: run.state.id,
        name: run.name.clone(),
        tasks: new.filter_map(|(task, _)| rerun_task(run, task)).collect(),
        called: Vec::new(),
        needs_confirmation: false,
    })
}
