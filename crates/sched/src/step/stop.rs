//! Runs that are to stop: somebody asked for it, or their time is up. What has not begun never begins, what runs is ended, and
//! the run ends with the last of it.

use super::{Action, Step};
use crate::id::AttemptId;
use crate::life::{IllegalTransition, RunEvent, TaskEvent};
use crate::status::TaskStatus;

impl Step<'_> {
    pub(super) fn cancel(&mut self) -> Result<(), IllegalTransition> {
        self.change_run(RunEvent::CancelAsked)?;
        self.stop_tasks()
    }

    /// As [`Step::cancel`], and the run has failed, with the tasks that ran.
    pub(super) fn time_up(&mut self) -> Result<(), IllegalTransition> {
        self.change_run(RunEvent::TimeUp)?;
        self.run.timed_out = true;
        self.stop_tasks()
    }

    fn stop_tasks(&mut self) -> Result<(), IllegalTransition> {
        for task in self.run.graph.clone().indices() {
            match self.run.task(task).map(|state| state.status) {
                Some(TaskStatus::Ready) => {
                    self.task(task, TaskEvent::CancelAsked)?;
                    self.actions.push(Action::Dequeue { task });
                }
                Some(TaskStatus::Waiting | TaskStatus::Retrying) => self.task(task, TaskEvent::CancelAsked)?,
                Some(TaskStatus::Running) if self.is_call(task) => self.actions.push(Action::StopCall { task }),
                Some(TaskStatus::Running) => {
                    if let Some(AttemptId { attempt, .. }) = self.run.live_attempt(task) {
                        self.actions.push(Action::Stop { task, attempt });
                    }
                }
                _ => {}
            }
        }
        self.join_all()
    }
}
