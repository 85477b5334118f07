//! How long rows are under way, as percentiles.
//!
//! Every message in the engine's queues carries the time at which the oldest row behind it was read; when the sink has
//! taken the rows, the difference counts once for each of them. What an operator holds back (a window until its end) is
//! counted from the reading of the row that let it out: waiting for event time is no latency of the engine.
//!
//! The histogram has four buckets a power of two, so a percentile is within an eighth of the truth. Two generations of it
//! are kept, so percentiles are those of the last minute or two in which rows were written.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a generation lasts.
const GENERATION_NS: u64 = 60_000_000_000;
/// Buckets a power of two, as a power of two.
const SUB_BITS: u32 = 2;
/// Enough for every number of microseconds.
const BUCKET_COUNT: usize = 64 << SUB_BITS;

/// See the module. For one writer; percentiles of several are taken together.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: Histogram,
    old: Histogram,
    /// When the young one began.
    began_ns: u64,
    /// Of all rows ever written.
    count: u64,
    sum_us: u64,
}

/// Rows by how long they were under way.
#[derive(Clone, Debug)]
struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKET_COUNT] }
    }
}

/// Percentiles of the rows written lately, and sums over all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percentiles {
    pub(crate) p50_us: u64,
    pub(crate) p95_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
    /// Of all rows ever written.
    pub(crate) count: u64,
    pub(crate) sum_us: u64,
}

impl Latency {
    /// `row_count` rows read at `read_ns` have been written at `now_ns`.
    pub(crate) fn note(&self, row_count: u64, read_ns: u64, now_ns: u64) {
        let latency_us = now_ns.saturating_sub(read_ns) / 1_000;
        let mut generations = self.lock();
        if now_ns.saturating_sub(generations.began_ns) >= GENERATION_NS {
            generations.old = std::mem::take(&mut generations.young);
            generations.began_ns = now_ns;
        }
        generations.young.add(latency_us, row_count);
        generations.count += row_count;
        generations.sum_us = generations.sum_us.saturating_add(latency_us.saturating_mul(row_count));
    }

    /// Of several writers together; `None` when none has written anything.
    pub(crate) fn percentiles<'a>(writers: impl Iterator<Item = &'a Latency>) -> Option<Percentiles> {
        let mut all = Histogram::default();
        let (mut count, mut sum_us) = (0, 0_u64);
        for writer in writers {
            let generations = writer.lock();
            all.merge(&generations.young);
            all.merge(&generations.old);
            count += generations.count;
            sum_us = sum_us.saturating_add(generations.sum_us);
        }
        (count > 0).then(|| Percentiles {
            p50_us: all.quantile(0.50),
            p95_us: all.quantile(0.95),
            p99_us: all.quantile(0.99),
            max_us: all.quantile(1.0),
            count,
            sum_us,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        // Numbers are never half changed.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Histogram {
    fn add(&mut self, value: u64, count: u64) {
        if let Some(bucket) = self.counts.get_mut(bucket_of(value)) {
            *bucket += count;
        }
    }

    fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// The middle of the bucket that holds the row of that rank; 0 without rows.
    fn quantile(&self, quantile: f64) -> u64 {
        let total: u64 = self.counts.iter().sum();
        let rank = ((total as f64 * quantile).ceil() as u64).clamp(1, total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle_of(bucket);
            }
        }
        0
    }
}

/// Small numbers have a bucket each; above, a bucket is the leading bit and the next [`SUB_BITS`].
fn bucket_of(value: u64) -> usize {
    let exact = 1 << SUB_BITS;
    if value < exact {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros();
    let leading = value >> (exponent - SUB_BITS);
    ((exponent - SUB_BITS) as usize) * exact as usize + leading as usize
}

fn middle_of(bucket: usize) -> u64 {
    let exact = 1_usize << SUB_BITS;
    if bucket < 2 * exact {
        return bucket as u64;
    }
    let shift = bucket / exact - 1;
    let low = ((bucket % exact + exact) as u64) << shift;
    low + (1_u64 << shift) / 2
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn of(latency: &Latency) -> Option<Percentiles> {
        Latency::percentiles([latency].into_iter())
    }

    #[test]
    fn buckets_hold_every_number_and_their_middle_is_near() {
        for value in (0..5_000).chain([1 << 20, u64::MAX / 3, u64::MAX]) {
            let bucket = bucket_of(value);
            assert!(bucket < BUCKET_COUNT, "{value}");
            assert_eq!(bucket_of(middle_of(bucket)), bucket, "{value}");
            assert!(middle_of(bucket).abs_diff(value) <= value / 8, "{value} becomes {}", middle_of(bucket));
        }
    }

    #[test]
    fn percentiles_count_rows_not_batches() {
        let (slow, fast) = (Latency::default(), Latency::default());
        assert_eq!(of(&slow), None);
        fast.note(960, 0, 1_000_000);
        slow.note(30, 0, 100_000_000);
        slow.note(10, 0, 5 * SECOND_NS);
        let all = Latency::percentiles([&slow, &fast].into_iter()).unwrap();
        assert_eq!(all.p50_us, middle_of(bucket_of(1_000)));
        assert_eq!(all.p95_us, all.p50_us);
        assert_eq!(all.p99_us, middle_of(bucket_of(100_000)));
        assert_eq!(all.max_us, middle_of(bucket_of(5_000_000)));
        assert_eq!((all.count, all.sum_us), (1_000, 960 * 1_000 + 30 * 100_000 + 10 * 5_000_000));
    }

    #[test]
    fn what_is_minutes_ago_is_forgotten() {
        let latency = Latency::default();
        latency.note(1_000, 0, 9 * SECOND_NS);
        latency.note(1, 70 * SECOND_NS, 70 * SECOND_NS + 1_000_000);
        assert!(of(&latency).unwrap().p50_us > 8_000_000, "the generation before still counts");
        latency.note(1, 140 * SECOND_NS, 140 * SECOND_NS + 1_000_000);
        let now = of(&latency).unwrap();
        assert!(now.max_us < 2_000, "{now:?}");
        assert_eq!(now.count, 1_002);
    }
}
