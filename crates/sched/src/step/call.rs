//! Tasks whose work a run of another flow does: they run without an attempt, and end with that run.

use super::{Action, Ending, Step};
use crate::graph::TaskNode;
use crate::id::TaskIndex;
use crate::life::{IllegalTransition, TaskEvent};
use crate::status::{RunStatus, TaskStatus};

impl Step<'_> {
    pub(super) fn is_call(&self, task: TaskIndex) -> bool {
        self.run.graph.task(task).is_some_and(TaskNode::is_call)
    }

    /// A task waits for nothing any more: it is ready for a worker, or runs another flow.
    pub(super) fn begin(&mut self, task: TaskIndex) -> Result<(), IllegalTransition> {
        if !self.is_call(task) {
            self.task(task, TaskEvent::NeedsMet)?;
            self.actions.push(Action::Enqueue { task });
            return Ok(());
        }
        let now = self.now;
        self.task_mut(task, &TaskEvent::Called)?.since = Some(now);
        self.task(task, TaskEvent::Called)?;
        self.actions.push(Action::Call { task });
        Ok(())
    }

    /// The run that a task called has ended.
    pub(super) fn returned(&mut self, task: TaskIndex, ending: Ending) -> Result<(), IllegalTransition> {
        let runs = self.run.task(task).is_some_and(|state| state.status == TaskStatus::Running);
        if !runs || !self.is_call(task) {
            let status = "not under way".to_owned();
            return Err(IllegalTransition { what: "a call", status, event: format!("Returned {ending:?}") });
        }
        let event = match ending {
            Ending::Succeeded => TaskEvent::Succeeded,
            Ending::Skipped => TaskEvent::Skipped,
            // Somebody else has stopped what it called: that is a failure here.
            Ending::Cancelled if self.run.status == RunStatus::Cancelling => TaskEvent::Stopped,
            Ending::Failed(_) | Ending::TimedOut | Ending::Cancelled => TaskEvent::Failed,
        };
        self.task(task, event)?;
        self.settle_dependents(task)
    }
}

#[cfg(test)]
mod tests;
