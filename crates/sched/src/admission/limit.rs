//! Limits of single tasks: how many attempts of one task of a flow may be live at once, over all runs. Like a pool's slots
//! they are counted by the live leases themselves.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::id::AttemptId;

/// A task of a flow, whichever run it is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Its flow.
    pub flow: Arc<str>,
    /// Its name.
    pub task: Arc<str>,
}

#[derive(Debug, Default)]
pub(super) struct TaskLimits {
    limits: HashMap<TaskKey, usize>,
    live: HashMap<TaskKey, BTreeSet<AttemptId>>,
}

impl TaskLimits {
    pub(super) fn replace(&mut self, limits: impl IntoIterator<Item = (TaskKey, usize)>) {
        self.limits = limits.into_iter().collect();
    }

    /// The limit of a task, if it has one.
    pub(super) fn of(&self, task: &TaskKey) -> Option<usize> {
        self.limits.get(task).copied()
    }

    pub(super) fn has_room(&self, task: &TaskKey) -> bool {
        self.of(task).is_none_or(|limit| self.live(task).count() < limit)
    }

    /// The live attempts of a task.
    pub(super) fn live(&self, task: &TaskKey) -> impl Iterator<Item = AttemptId> {
        self.live.get(task).into_iter().flatten().copied()
    }

    pub(super) fn hold(&mut self, attempt: AttemptId, task: &TaskKey) {
        self.live.entry(task.clone()).or_default().insert(attempt);
    }

    pub(super) fn release(&mut self, attempt: AttemptId, task: &TaskKey) {
        if let Some(live) = self.live.get_mut(task) {
            live.remove(&attempt);
            if live.is_empty() {
                self.live.remove(task);
            }
        }
    }
}
