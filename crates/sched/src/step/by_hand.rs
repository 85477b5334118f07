//! What people decide by hand: tasks of a run that has ended run again; a task counts as succeeded or failed, whatever it did.

use super::{Action, Mark, Step};
use crate::id::TaskIndex;
use crate::life::{IllegalTransition, RunEvent, TaskEvent};
use crate::rule::Verdict;
use crate::status::{RunStatus, TaskStatus};

impl Step<'_> {
    pub(super) fn rerun(&mut self, tasks: &[TaskIndex]) -> Result<(), IllegalTransition> {
        let known = self.run.tasks.len();
        if tasks.is_empty() || tasks.iter().any(|&task| task as usize >= known) {
            let status = "without these tasks".to_owned();
            return Err(IllegalTransition { what: "a run", status, event: format!("Rerun {tasks:?}") });
        }
        self.change_run(RunEvent::RerunAsked)?;
        for task in self.run.graph.clone().with_downstream(tasks.iter().copied()) {
            // One that the latest definition has and the original had not waits already.
            if self.run.task(task).is_some_and(|state| state.status != TaskStatus::Waiting) {
                self.wait_again(task)?;
            }
        }
        Ok(())
    }

    pub(super) fn wait_again(&mut self, task: TaskIndex) -> Result<(), IllegalTransition> {
        self.task(task, TaskEvent::RerunAsked)?;
        let state = self.task_mut(task, &TaskEvent::RerunAsked)?;
        state.retries_used = 0;
        state.losses = 0;
        Ok(())
    }

    pub(super) fn mark(&mut self, task: TaskIndex, mark: Mark) -> Result<(), IllegalTransition> {
        let status = self.run.task(task).map(|state| state.status);
        let ended = status.is_some_and(TaskStatus::is_terminal);
        if mark == Mark::Failed && ended && self.run.status.is_active() {
            // What needs it may have begun.
            let status = format!("{} in a run that is {}", status.unwrap_or(TaskStatus::Waiting), self.run.status);
            return Err(IllegalTransition { what: "a task", status, event: "MarkedFailed".to_owned() });
        }
        let event = match mark {
            Mark::Succeeded => TaskEvent::MarkedSucceeded,
            Mark::Failed => TaskEvent::MarkedFailed,
        };
        self.task(task, event)?;
        match mark {
            Mark::Succeeded => self.mark_items(task)?,
            Mark::Failed => self.mark_task_of(task)?,
        }
        if status == Some(TaskStatus::Ready) {
            self.actions.push(Action::Dequeue { task });
        }
        match self.run.status {
            // One that is queued looks at its tasks when its turn comes; one that is to stop has none that waits.
            RunStatus::Cancelling => return Ok(()),
            RunStatus::Queued => self.wait_downstream(task)?,
            RunStatus::Running => {
                self.wait_downstream(task)?;
                self.settle_dependents(task)?;
                let waiting: Vec<TaskIndex> = self.run.tasks_with(TaskStatus::Waiting).collect();
                return self.settle(waiting);
            }
            RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled => {
                self.wait_downstream(task)?;
                if self.run.count(TaskStatus::Waiting) > 0 {
                    return self.change_run(RunEvent::RerunAsked);
                }
            }
        }
        let bad = self.run.count(TaskStatus::Failed) > 0;
        match self.run.status {
            RunStatus::Failed | RunStatus::Cancelled if self.run.all_well() => {
                self.change_run(RunEvent::MarkedSucceeded)
            }
            RunStatus::Succeeded if bad => self.change_run(RunEvent::MarkedFailed),
            _ => Ok(()),
        }
    }

    /// A task counts as succeeded only with its items.
    fn mark_items(&mut self, task: TaskIndex) -> Result<(), IllegalTransition> {
        for item in self.run.graph.items(task).to_vec() {
            let Some(status) = self.run.task(item).map(|state| state.status) else { continue };
            // Those that wait for another turn would be cancelled with their run, beside a task that has succeeded.
            let is_open = matches!(status, TaskStatus::Waiting | TaskStatus::Ready);
            if is_open || status.is_bad() {
                self.task(item, TaskEvent::MarkedSucceeded)?;
            }
            if status == TaskStatus::Ready {
                self.actions.push(Action::Dequeue { task: item });
            }
        }
        Ok(())
    }

    /// A task does not count as succeeded any more when one of its items counts as failed.
    fn mark_task_of(&mut self, item: TaskIndex) -> Result<(), IllegalTransition> {
        let of = self.run.graph.task(item).and_then(|node| node.item_of);
        match of.filter(|of| self.run.task(*of).is_some_and(|state| state.status == TaskStatus::Succeeded)) {
            Some(of) => self.task(of, TaskEvent::MarkedFailed),
            None => Ok(()),
        }
    }

    /// What never ran since this task had failed waits again, unless something else holds it back.
    fn wait_downstream(&mut self, task: TaskIndex) -> Result<(), IllegalTransition> {
        let mut todo = self.run.graph.dependents(task).to_vec();
        // The task of an item waits again when nothing of it counts as failed any more.
        if let Some(of) = self.run.graph.task(task).and_then(|node| node.item_of)
            && self.run.task(of).is_some_and(|state| state.status.is_bad())
            && self.run.fan(of).is_some_and(|fan| fan.tally().failed == 0)
        {
            self.wait_again(of)?;
            todo.extend_from_slice(self.run.graph.dependents(of));
        }
        while let Some(next) = todo.pop() {
            let never_ran = self.run.task(next).is_some_and(|state| state.status == TaskStatus::UpstreamFailed);
            if never_ran && self.run.verdict(next) != Verdict::Fail {
                self.wait_again(next)?;
                todo.extend_from_slice(self.run.graph.dependents(next));
            }
        }
        Ok(())
    }

    pub(super) fn drop_task(&mut self, task: TaskIndex) -> Result<(), IllegalTransition> {
        if !self.run.status.is_terminal() {
            let status = self.run.status.to_string();
            return Err(IllegalTransition { what: "a run", status, event: format!("Drop {task}") });
        }
        self.task(task, TaskEvent::Dropped)
    }
}
