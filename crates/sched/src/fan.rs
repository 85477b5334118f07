//! The items of a task that has fanned out: how many are under way, how they have ended, which wait for their turn.
//!
//! Counted as statuses change, so that the end of an item costs the same whether there are ten or ten thousand.

use std::collections::BTreeSet;

use crate::id::TaskIndex;
use crate::rule::Tally;
use crate::status::TaskStatus;

/// Where the items of one task stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fan {
    at_once: Option<u32>,
    count: usize,
    tally: Tally,
    busy: usize,
    waiting: BTreeSet<TaskIndex>,
}

impl Fan {
    pub(crate) fn new(at_once: Option<u32>) -> Self {
        Self { at_once, ..Self::default() }
    }

    pub(crate) fn add(&mut self, item: TaskIndex, status: TaskStatus) {
        self.count += 1;
        self.tally.change(TaskStatus::Waiting, status);
        self.enter(item, status);
    }

    pub(crate) fn change(&mut self, item: TaskIndex, from: TaskStatus, to: TaskStatus) {
        self.tally.change(from, to);
        self.waiting.remove(&item);
        if is_busy(from) {
            // Whatever left this status has entered it before.
            self.busy = self.busy.saturating_sub(1);
        }
        self.enter(item, to);
    }

    fn enter(&mut self, item: TaskIndex, status: TaskStatus) {
        if status == TaskStatus::Waiting {
            self.waiting.insert(item);
        }
        self.busy += usize::from(is_busy(status));
    }

    /// How many items there are, those from a time before included.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How the items have ended that have.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// How many may be under way at once.
    pub fn at_once(&self) -> Option<u32> {
        self.at_once
    }

    /// How many are under way: ready, running, or waiting to be tried again.
    pub fn under_way(&self) -> usize {
        self.busy
    }

    /// Whether another item may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.at_once.is_none_or(|limit| self.busy < limit as usize)
    }

    /// The next item in turn, if there is room for it.
    pub(crate) fn next(&self) -> Option<TaskIndex> {
        self.waiting.first().copied().filter(|_| self.has_room())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.busy == 0 && self.waiting.is_empty()
    }

    pub(crate) fn has_ended_items(&self) -> bool {
        self.count > self.waiting.len()
    }
}

/// Whether an item with this status counts against the limit of its task.
fn is_busy(status: TaskStatus) -> bool {
    matches!(status, TaskStatus::Ready | TaskStatus::Running | TaskStatus::Retrying)
}
