//! What one turn of the loop has decided: to be stored first, and acted upon after that.

use jiff::Timestamp;
use mulgil_history::write::Write;
use mulgil_worker::dispatcher::Order;
use tokio::sync::oneshot;

use super::change::Change;
use super::state::SeatId;

/// Decisions of one turn.
#[derive(Default)]
pub(super) struct Batch {
    /// To be stored in one transaction.
    pub(super) writes: Vec<Write>,
    /// To be told to subscribers once stored.
    pub(super) changes: Vec<Change>,
    /// To be pushed to workers once stored.
    pub(super) orders: Vec<(SeatId, Order)>,
    /// Whether there is something for the outbox among the writes.
    pub(super) fills_outbox: bool,
    /// Where a test may let the process die once stored.
    pub(super) points: Vec<&'static str>,
    /// To be answered once stored.
    replies: Vec<Box<dyn FnOnce() + Send>>,
}

impl Batch {
    /// Answers a caller once everything so far is stored. A caller that has gone away does not mind.
    pub(super) fn reply<T: Send + 'static>(&mut self, to: oneshot::Sender<T>, answer: T) {
        self.replies.push(Box::new(move || {
            let _ = to.send(answer);
        }));
    }

    /// Stores and tells.
    pub(super) fn record(&mut self, write: Write, change: impl Into<Option<Change>>) {
        self.writes.push(write);
        self.changes.extend(change.into());
    }

    /// The answers, to be sent.
    pub(super) fn take_replies(&mut self) -> Vec<Box<dyn FnOnce() + Send>> {
        std::mem::take(&mut self.replies)
    }
}

/// When things of this batch happened: one time for all of them.
pub(super) type Now = Timestamp;
