//! How much memory state may take: one number for all operators that share it, and what each of them takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Memory that operators share.
#[derive(Debug)]
pub struct StateBudget {
    limit_bytes: usize,
    held_bytes: AtomicUsize,
    peak_bytes: AtomicUsize,
    holders: AtomicUsize,
}

impl StateBudget {
    /// So many bytes for all.
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { limit_bytes, held_bytes: 0.into(), peak_bytes: 0.into(), holders: 0.into() })
    }

    /// So many bytes for all.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// What all hold now, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Relaxed)
    }

    /// The most that all have ever held, in bytes.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes.load(Relaxed)
    }

    /// What would be each one's, were all alike. When too much is held, some hold as much at least: those give way.
    pub(super) fn share_bytes(&self) -> usize {
        self.limit_bytes / self.holders.load(Relaxed).max(1)
    }

    /// Whether more is held than may be.
    pub(super) fn is_exceeded(&self) -> bool {
        self.held_bytes() > self.limit_bytes
    }

    /// Whether a quarter is free.
    pub(super) fn has_room(&self) -> bool {
        self.held_bytes() <= self.limit_bytes / 4 * 3
    }
}

/// What one operator holds of a budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Account {
    budget: Arc<StateBudget>,
    held_bytes: usize,
}

impl Account {
    pub(super) fn new(budget: Arc<StateBudget>) -> Self {
        budget.holders.fetch_add(1, Relaxed);
        Self { budget, held_bytes: 0 }
    }

    pub(super) fn budget(&self) -> &StateBudget {
        &self.budget
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Notes what is held now.
    pub(super) fn set(&mut self, held_bytes: usize) {
        self.budget.held_bytes.fetch_add(held_bytes, Relaxed);
        let before = self.budget.held_bytes.fetch_sub(self.held_bytes, Relaxed);
        self.budget.peak_bytes.fetch_max(before.saturating_sub(self.held_bytes), Relaxed);
        self.held_bytes = held_bytes;
    }

    /// Whether this operator is to give way.
    pub(super) fn gives_way(&self) -> bool {
        self.budget.is_exceeded() && self.held_bytes >= self.budget.share_bytes()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
        self.budget.holders.fetch_sub(1, Relaxed);
    }
}
