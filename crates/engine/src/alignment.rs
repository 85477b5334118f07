//! Keeps partitions together in event time: one that is too far ahead of the slowest is not read on until that one has
//! caught up, so that operators need not hold what came too early.
//!
//! A partition's time is known once its rows have been taken in, so an aligned reader also waits until those it has read
//! last have been: else a queue's worth of rows would run ahead unseen.
//!
//! The slowest active partition is never held up, so somebody can always go on. An active partition that has given no row
//! yet is the slowest; what is idle or finished does not count.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use mulgil_connect::source::Position;
use mulgil_dataflow::watermark::InputState;
use tokio::sync::Notify;

use crate::metrics::PartitionMetrics;

/// The partitions that wait for each other.
#[derive(Debug)]
pub(crate) struct Aligned {
    pub(crate) partitions: Vec<Arc<PartitionMetrics>>,
    /// How far each may be ahead of the slowest.
    pub(crate) drift_max_ms: i64,
    /// Told whenever the time of one of them has moved.
    pub(crate) moved: Arc<Notify>,
}

impl Aligned {
    /// Whether a partition may be read on.
    pub(crate) fn may_read(&self, partition: &PartitionMetrics) -> bool {
        let times = self.partitions.iter().map(|partition| partition.time.get());
        let slowest = times.filter(|time| time.state == InputState::Active).map(|time| time.watermark).min();
        let own = partition.time.get().watermark;
        slowest.is_none_or(|slowest| own.0 <= slowest.0.saturating_add(self.drift_max_ms))
    }

    /// Waits until a partition that has been read to `position` may be read on.
    pub(crate) async fn wait_for_others(&self, partition: &PartitionMetrics, position: Position) {
        loop {
            // Made before the look, so that a move between look and wait is not lost.
            let moved = self.moved.notified();
            let is_taken_in = partition.position.load(Acquire) >= position;
            let may_read = self.may_read(partition);
            partition.waits_for_others.store(is_taken_in && !may_read, Relaxed);
            if is_taken_in && may_read {
                return;
            }
            moved.await;
        }
    }
}
