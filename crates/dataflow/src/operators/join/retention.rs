//! How long rows are kept: until the watermark says that no partner can come, or for a time to live, or for ever.
//!
//! Where the condition bounds the time between partners (an interval join: `l.ts BETWEEN r.ts - x AND r.ts + y`; a window
//! join: equal window ends), a row's last moment is known when it comes: `column + keep_ms`. When the watermark has passed
//! it the row is forgotten, and only then, where it has had no match, comes out alone: so the output needs no correction.
//! The same promise makes a row *late* that comes behind the watermark: partners of it may have been forgotten.
//!
//! Rows of one bucket of time are forgotten together, as are rows that came together with a time to live.

use std::collections::{BTreeMap, VecDeque};

use super::keys::NONE;
use crate::time::Watermark;

/// How long the rows of one side can find a partner, by their own columns. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A timestamp column.
    pub column: usize,
    /// No partner comes once the watermark is above `column + keep_ms`.
    pub keep_ms: i64,
    /// The time attribute of this side: a timestamp column.
    pub time: usize,
    /// A row is late when the watermark is above `time + late_ms`.
    pub late_ms: i64,
    /// Rows may be kept this much longer, so that they are forgotten in few parts.
    pub grain_ms: i64,
}

/// The stored rows by the time at which they are forgotten.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    /// By the last moment of the bucket: the rows. With a time to live, by the moment at which they came: those that were
    /// there before a restart, which come back in any order.
    buckets: BTreeMap<i64, Vec<u32>>,
    /// Rows below a number came at a time, or [`Watermark::UNKNOWN`] where it was not known yet.
    arrivals: VecDeque<(u32, i64)>,
}

impl Expiry {
    /// Notes the last moments of rows that are stored under the numbers from `first` on.
    pub(super) fn keep_until(&mut self, first: u32, moments: impl Iterator<Item = i64>, grain_ms: i64) {
        let grain_ms = grain_ms.max(1);
        let mut current: Option<(i64, Vec<u32>)> = None;
        for (number, moment) in (first..).zip(moments) {
            let bucket = moment.div_euclid(grain_ms).saturating_mul(grain_ms).saturating_add(grain_ms - 1);
            match &mut current {
                Some((open, rows)) if *open == bucket => rows.push(number),
                other => {
                    if let Some((bucket, rows)) = other.replace((bucket, vec![number])) {
                        self.buckets.entry(bucket).or_default().extend(rows);
                    }
                }
            }
        }
        if let Some((bucket, rows)) = current {
            self.buckets.entry(bucket).or_default().extend(rows);
        }
    }

    /// Notes that the rows below `end` that are not noted yet have come at `now`.
    pub(super) fn arrived(&mut self, end: u32, now: i64) {
        match self.arrivals.back_mut() {
            Some((last, at)) if *at == now => *last = end,
            Some((last, _)) if *last == end => {}
            _ => self.arrivals.push_back((end, now)),
        }
    }

    /// Some rows whose last moment the watermark has passed; `None` when there are none left.
    pub(super) fn next_expired(&mut self, watermark: Watermark) -> Option<Vec<u32>> {
        let first = self.buckets.first_entry()?;
        let is_over = *first.key() < watermark.0 || watermark == Watermark::END;
        is_over.then(|| first.remove())
    }

    /// Some rows that were there before a restart, and came more than `ttl_ms` ago; `None` when there are none left.
    pub(super) fn next_outlived(&mut self, now: i64, ttl_ms: i64) -> Option<Vec<u32>> {
        if let Some(rows) = self.buckets.remove(&Watermark::UNKNOWN.0) {
            self.buckets.entry(now).or_default().extend(rows);
        }
        self.next_expired(Watermark(now.saturating_sub(ttl_ms)))
    }

    /// By row: the last moment of its bucket, or else when it came; where neither is known [`Watermark::UNKNOWN`].
    pub(super) fn moments(&self, row_count: u32) -> Vec<i64> {
        let mut moments = vec![Watermark::UNKNOWN.0; row_count as usize];
        let mut begin = 0;
        for (end, at) in &self.arrivals {
            moments.get_mut(begin..*end as usize).into_iter().flatten().for_each(|moment| *moment = *at);
            begin = *end as usize;
        }
        for (bucket, rows) in &self.buckets {
            for row in rows {
                if let Some(moment) = moments.get_mut(*row as usize) {
                    *moment = *bucket;
                }
            }
        }
        moments
    }

    /// The rows below this number came more than `ttl_ms` ago.
    pub(super) fn outlived(&mut self, now: i64, ttl_ms: i64) -> u32 {
        let mut end = 0;
        for (_, at) in self.arrivals.iter_mut().take_while(|(_, at)| *at == Watermark::UNKNOWN.0) {
            *at = now;
        }
        while let Some((rows_end, at)) = self.arrivals.front()
            && at.saturating_add(ttl_ms) < now
        {
            end = *rows_end;
            self.arrivals.pop_front();
        }
        end
    }

    /// Follows the rows to their new numbers.
    pub(super) fn renumber(&mut self, numbers: &[u32]) {
        let number = |row: &u32| numbers.get(*row as usize).copied().filter(|number| *number != NONE);
        for rows in self.buckets.values_mut() {
            *rows = rows.iter().filter_map(number).collect();
        }
        self.buckets.retain(|_, rows| !rows.is_empty());
        // Living rows keep their order: a new end is the number of living rows below the old one.
        let mut living = 0;
        let mut below = 0;
        for (end, _) in &mut self.arrivals {
            let more = numbers.get(below..*end as usize).unwrap_or_default();
            living += more.iter().filter(|number| **number != NONE).count() as u32;
            below = *end as usize;
            *end = living;
        }
    }

    /// Heap memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let rows: usize = self.buckets.values().map(|rows| rows.capacity() * size_of::<u32>() + 48).sum();
        rows + self.arrivals.capacity() * size_of::<(u32, i64)>()
    }
}
