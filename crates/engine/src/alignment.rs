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

use crate::metrics::{JobMetrics, PartitionMetrics};

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

    /// Waits until a partition that has been read to `position` may be read on. Whoever watches the job hears of it.
    pub(crate) async fn wait_for_others(&self, partition: &PartitionMetrics, position: Position, job: &JobMetrics) {
        loop {
            // Made before the look, so that a move between look and wait is not lost.
            let moved = self.moved.notified();
            let is_taken_in = partition.position.load(Acquire) >= position;
            let may_read = self.may_read(partition);
            let waits = is_taken_in && !may_read;
            if partition.waits_for_others.swap(waits, Relaxed) != waits {
                // The subtask that took the rows in has said so before; this is news of its own, and may be the last.
                job.changed.notify_one();
            }
            if is_taken_in && may_read {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use mulgil_dataflow::time::Watermark;
    use mulgil_dataflow::watermark::InputTime;

    use super::*;

    fn partition(index: usize, moved: &Arc<Notify>) -> Arc<PartitionMetrics> {
        let moved = Some(Arc::clone(moved));
        Arc::new(PartitionMetrics { index, moved, ..PartitionMetrics::default() })
    }

    #[test]
    fn who_watches_the_job_hears_that_a_partition_waits_and_that_it_goes_on() {
        let moved = Arc::new(Notify::new());
        let (fast, slow) = (partition(0, &moved), partition(1, &moved));
        let aligned = Aligned { partitions: vec![Arc::clone(&fast), Arc::clone(&slow)], drift_max_ms: 50, moved };
        let job = JobMetrics::new();
        let hears = || job.changed.notified().now_or_never().is_some();
        let comes_to = |partition: &PartitionMetrics, ms| {
            partition.time.set(InputTime { watermark: Watermark(ms), state: InputState::Active }, 0);
            partition.tell_others();
        };
        comes_to(&slow, 0);
        comes_to(&fast, 51);
        let mut waits = Box::pin(aligned.wait_for_others(&fast, 0, &job));
        assert!(waits.as_mut().now_or_never().is_none() && fast.waits_for_others.load(Relaxed));
        assert!(hears(), "that it waits");
        comes_to(&slow, 0);
        assert!(waits.as_mut().now_or_never().is_none() && !hears(), "nothing is new");
        comes_to(&slow, 1);
        assert!(waits.as_mut().now_or_never().is_some() && !fast.waits_for_others.load(Relaxed));
        assert!(hears(), "that it goes on");
    }
}
