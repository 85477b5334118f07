//! Tasks that do their work once for each item: their items become tasks of the run, and they end with the last of them.

use super::{Action, Step};
use crate::graph::TaskNode;
use crate::id::TaskIndex;
use crate::life::{IllegalTransition, TaskEvent};
use crate::run::TaskState;
use crate::status::{RunStatus, TaskStatus};

impl Step<'_> {
    /// A task has so many items.
    pub(super) fn fan_out(&mut self, of: TaskIndex, count: usize) -> Result<(), IllegalTransition> {
        let items = self.run.add_items(of, count);
        self.actions.push(Action::Items { of, count });
        if self.run.task(of).is_some_and(|state| state.status == TaskStatus::Waiting) {
            self.task(of, TaskEvent::FannedOut)?;
        }
        for item in items.iter().skip(count) {
            self.task(*item, TaskEvent::Skipped)?;
        }
        // The list is taken from its end.
        let first_last: Vec<TaskIndex> = items.iter().take(count).rev().copied().collect();
        self.settle(first_last)?;
        let freed = self.join(of)?;
        self.settle(freed)
    }

    /// Whether a task finds out by an attempt of its own which items it has.
    pub(super) fn queries_items(&self, task: TaskIndex) -> bool {
        self.run.graph.task(task).is_some_and(TaskNode::queries_items)
    }

    /// Whether an item has to wait since as many as may are under way.
    pub(super) fn is_held(&self, item: TaskIndex) -> bool {
        let of = self.run.graph.task(item).and_then(|node| node.item_of);
        of.and_then(|of| self.run.fan(of)).is_some_and(|fan| !fan.has_room())
    }

    /// Which tasks have to be looked at after the end of this one.
    pub(super) fn freed_by(&mut self, task: TaskIndex) -> Result<Vec<TaskIndex>, IllegalTransition> {
        match self.run.graph.task(task).and_then(|node| node.item_of) {
            None => Ok(self.run.graph.dependents(task).to_vec()),
            Some(of) => match self.run.fan(of).and_then(|fan| fan.next()) {
                Some(next) => Ok(vec![next]),
                None => self.join(of),
            },
        }
    }

    /// Ends a task whose items have ended, and returns what has to be looked at after that.
    pub(super) fn join(&mut self, of: TaskIndex) -> Result<Vec<TaskIndex>, IllegalTransition> {
        let runs = |state: &TaskState| state.status == TaskStatus::Running && state.live.is_none();
        let runs = self.run.task(of).is_some_and(runs);
        let Some(fan) = self.run.fan(of).filter(|fan| runs && fan.has_ended()) else { return Ok(Vec::new()) };
        let event = match fan.tally().failed {
            0 => TaskEvent::Succeeded,
            _ if self.run.status == RunStatus::Cancelling => TaskEvent::Stopped,
            _ => TaskEvent::Failed,
        };
        self.task(of, event)?;
        Ok(self.run.graph.dependents(of).to_vec())
    }

    /// Ends all tasks whose items have ended: none of the run waits any more.
    pub(super) fn join_all(&mut self) -> Result<(), IllegalTransition> {
        let running: Vec<TaskIndex> = self.run.tasks_with(TaskStatus::Running).collect();
        for task in running {
            self.join(task)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
