//! Counts rows and bytes, and says how many a second over the last few seconds, without a timer: counts are kept per
//! second in a small ring. One thread adds, any may ask.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// How many full seconds a rate is taken over.
const RATE_SECONDS: u64 = 5;
/// Seconds in the ring: those of a rate, the present one, and some to spare.
const SLOT_COUNT: usize = 8;
const NS_PER_SECOND: u64 = 1_000_000_000;

/// What has gone past one point.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    rows: AtomicU64,
    bytes: AtomicU64,
    slots: [Slot; SLOT_COUNT],
}

/// What has gone past in one second.
#[derive(Debug, Default)]
struct Slot {
    /// Which second, from the job's start, counted from 1; 0 before the first use.
    second: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

/// How much goes past in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    pub(crate) rows_per_second: f64,
    pub(crate) bytes_per_second: f64,
}

impl Throughput {
    /// So much has gone past, at `now_ns` from the job's start. For one thread at a time.
    pub(crate) fn add(&self, rows: u64, bytes: u64, now_ns: u64) {
        self.rows.fetch_add(rows, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        let second = now_ns / NS_PER_SECOND + 1;
        let Some(slot) = self.slots.get((second % SLOT_COUNT as u64) as usize) else { return };
        if slot.second.swap(second, Relaxed) != second {
            slot.rows.store(0, Relaxed);
            slot.bytes.store(0, Relaxed);
        }
        slot.rows.fetch_add(rows, Relaxed);
        slot.bytes.fetch_add(bytes, Relaxed);
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Over the last full seconds; in a job's first second, over its life so far.
    pub(crate) fn rate(&self, now_ns: u64) -> Rate {
        let now = now_ns / NS_PER_SECOND + 1;
        let per = |rows: u64, bytes: u64, seconds: f64| Rate {
            rows_per_second: rows as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
        };
        if now == 1 {
            return per(self.rows(), self.bytes(), (now_ns.max(1)) as f64 / NS_PER_SECOND as f64);
        }
        let seconds = RATE_SECONDS.min(now - 1);
        let recent = self.slots.iter().filter(|slot| (now - seconds..now).contains(&slot.second.load(Relaxed)));
        let (rows, bytes) = recent
            .fold((0, 0), |(rows, bytes), slot| (rows + slot.rows.load(Relaxed), bytes + slot.bytes.load(Relaxed)));
        per(rows, bytes, seconds as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    fn at(ms: u64) -> u64 {
        ms * 1_000_000
    }

    #[test]
    fn the_rate_is_of_the_last_five_full_seconds() {
        let throughput = Throughput::default();
        throughput.add(100, 1_000, at(500));
        assert_eq!(throughput.rate(at(500)), Rate { rows_per_second: 200.0, bytes_per_second: 2_000.0 });
        for second in 1..=20 {
            throughput.add(10 * second, 20, at(second * 1_000 + 300));
            throughput.add(0, 20, at(second * 1_000 + 900));
        }
        // The present second, the 20th, does not count: it is not over.
        let rate = throughput.rate(at(20_950));
        assert_eq!(rate, Rate { rows_per_second: 170.0, bytes_per_second: 40.0 });
        assert_eq!(throughput.rate(at(60_000)), Rate::default());
        assert_eq!((throughput.rows(), throughput.bytes()), (100 + 2_100, 1_000 + 800));
    }

    #[test]
    fn a_young_job_has_a_rate_too() {
        let throughput = Throughput::default();
        assert_eq!(throughput.rate(0), Rate::default());
        throughput.add(10, 0, at(1));
        throughput.add(20, 0, at(1_500));
        assert_eq!(throughput.rate(at(2_100)).rows_per_second, 15.0);
    }
}
