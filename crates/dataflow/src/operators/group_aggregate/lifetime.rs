//! Time to live: which groups have not been touched for so long that they are forgotten.
//!
//! Each group has the time at which it was touched last. Now and then, a sixteenth of the time to live apart, all are
//! looked at: so a look costs little, and a group is forgotten at most that much too late. What was given out of a
//! forgotten group stays as it is; the next row of its key begins anew, as with Flink's state TTL.

use arrow::array::Int64Array;

use crate::time::Watermark;
use crate::time_to_live::TimeToLive;

/// The group has no row, or the time was not known when it was touched.
const NEVER: i64 = i64::MAX;
const UNKNOWN: i64 = i64::MIN;
/// How many looks there are in a time to live.
const LOOKS: i64 = 16;

/// When groups were touched.
pub(crate) struct Lifetime {
    time_to_live: TimeToLive,
    now: i64,
    next_look: i64,
    touched_at: Vec<i64>,
}

impl Lifetime {
    pub(crate) fn new(time_to_live: TimeToLive) -> Self {
        Self { time_to_live, now: UNKNOWN, next_look: UNKNOWN, touched_at: Vec::new() }
    }

    fn length_ms(&self) -> i64 {
        match self.time_to_live {
            TimeToLive::EventTime(ms) | TimeToLive::ProcessingTime(ms) => ms,
        }
    }

    /// Notes that groups were touched now.
    pub(crate) fn touch(&mut self, groups: &[usize], group_bound: usize) {
        self.touched_at.resize(group_bound.max(self.touched_at.len()), NEVER);
        for group in groups {
            if let Some(at) = self.touched_at.get_mut(*group) {
                *at = self.now;
            }
        }
    }

    /// Groups that are gone are not looked at.
    pub(crate) fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            if let Some(at) = self.touched_at.get_mut(*group) {
                *at = NEVER;
            }
        }
    }

    /// Whether nothing has touched a group since it was forgotten.
    pub(crate) fn is_forgotten(&self, group: usize) -> bool {
        self.touched_at.get(group).is_none_or(|at| *at == NEVER)
    }

    /// Follows the groups that are kept to their new numbers, in this order.
    pub(crate) fn keep(&mut self, kept: &[usize]) {
        self.touched_at = kept.iter().map(|group| self.touched_at.get(*group).copied().unwrap_or(NEVER)).collect();
    }

    /// Event time has come so far. Whether it is time for a look.
    pub(crate) fn on_watermark(&mut self, watermark: Watermark) -> bool {
        let counts = matches!(self.time_to_live, TimeToLive::EventTime(_));
        counts && watermark != Watermark::UNKNOWN && watermark != Watermark::END && self.advance(watermark.0)
    }

    /// Whether it is the clock that counts.
    pub(crate) fn wants_clock(&self) -> bool {
        matches!(self.time_to_live, TimeToLive::ProcessingTime(_))
    }

    /// The clock has come so far. Whether it is time for a look.
    pub(crate) fn on_clock(&mut self, now_ms: i64) -> bool {
        matches!(self.time_to_live, TimeToLive::ProcessingTime(_)) && self.advance(now_ms)
    }

    fn advance(&mut self, now: i64) -> bool {
        self.now = now;
        let is_due = now >= self.next_look;
        if is_due {
            // At fixed times, so that who goes on from a checkpoint looks when it would have looked.
            let between_ms = (self.length_ms() / LOOKS).max(1);
            self.next_look = now.div_euclid(between_ms).saturating_add(1).saturating_mul(between_ms);
        }
        is_due
    }

    /// The groups that were touched when the time was not known yet: the next look sets it.
    pub(crate) fn undated(&self) -> Vec<usize> {
        let undated = self.touched_at.iter().enumerate().filter(|(_, at)| **at == UNKNOWN);
        undated.map(|(group, _)| group).collect()
    }

    /// The groups that were not touched for longer than the time to live.
    pub(crate) fn expired(&mut self) -> Vec<usize> {
        let oldest = self.now.saturating_sub(self.length_ms());
        let mut expired = Vec::new();
        for (group, at) in self.touched_at.iter_mut().enumerate() {
            if *at == UNKNOWN {
                *at = self.now;
            } else if *at < oldest {
                expired.push(group);
            }
        }
        expired
    }

    /// When groups were touched, for [`Lifetime::restore`].
    pub(crate) fn touched(&self, groups: &[usize]) -> Int64Array {
        let touched = groups.iter().map(|group| self.touched_at.get(*group).copied().unwrap_or(NEVER));
        Int64Array::from_iter_values(touched)
    }

    /// Takes over when groups were touched.
    pub(crate) fn restore(&mut self, touched: &Int64Array, groups: &[usize], group_bound: usize) {
        self.touched_at.resize(group_bound.max(self.touched_at.len()), NEVER);
        for (group, touched) in groups.iter().zip(touched.values()) {
            if let Some(at) = self.touched_at.get_mut(*group) {
                *at = *touched;
            }
        }
    }

    /// Whether groups were touched at a time that was not known, and is going to be.
    pub(crate) fn has_unknown(&self) -> bool {
        self.touched_at.contains(&UNKNOWN)
    }

    /// Goes on where event time had come so far.
    pub(crate) fn resume(&mut self, watermark: Watermark) {
        self.on_watermark(watermark);
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.touched_at.capacity() * size_of::<i64>()
    }
}
