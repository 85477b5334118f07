//! Windows as unions of *slices*: the longest spans of event time that no window cuts.
//!
//! A row is aggregated once, into its slice; a window's result is the merge of its slices. For tumbling windows, slice
//! and window are the same. (The idea is Flink's and, before it, that of *panes*: Li et al., SIGMOD Record 2005.)

use crate::graph::Window;
use crate::time::EventTimeMs;

/// A half-open span of event time, `[start_ms, end_ms)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first moment inside.
    pub start_ms: EventTimeMs,
    /// The first moment behind.
    pub end_ms: EventTimeMs,
}

impl Span {
    /// Whether a moment is inside.
    pub fn contains(&self, time: EventTimeMs) -> bool {
        self.start_ms <= time && time < self.end_ms
    }
}

impl Window {
    /// The slice that a moment belongs to. Rounds down, also before 1970; at the ends of time it saturates.
    pub fn slice_of(&self, time: EventTimeMs) -> Span {
        match *self {
            Window::Tumbling { size_ms, offset_ms } => {
                let size_ms = size_ms.max(1);
                let into_slice_ms = time.saturating_sub(offset_ms).rem_euclid(size_ms);
                let start_ms = time.saturating_sub(into_slice_ms);
                Span { start_ms, end_ms: start_ms.saturating_add(size_ms) }
            }
        }
    }

    /// The slice that begins at `start_ms`, as [`Window::slice_of`] gave it.
    pub fn slice_from(&self, start_ms: EventTimeMs) -> Span {
        match *self {
            Window::Tumbling { size_ms, .. } => Span { start_ms, end_ms: start_ms.saturating_add(size_ms.max(1)) },
        }
    }

    /// Whether there can be such windows.
    ///
    /// # Errors
    /// A sentence saying what is wrong.
    pub fn check(&self) -> Result<(), String> {
        match *self {
            Window::Tumbling { size_ms, .. } if size_ms <= 0 => {
                Err(format!("a window's size must be positive, not {size_ms} ms"))
            }
            Window::Tumbling { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    const fn tumbling(size_ms: i64, offset_ms: i64) -> Window {
        Window::Tumbling { size_ms, offset_ms }
    }

    #[test]
    fn slices_round_down_on_both_sides_of_the_epoch() {
        // (time, size, offset, start)
        let cases = [
            (0, 10, 0, 0),
            (9, 10, 0, 0),
            (10, 10, 0, 10),
            (-1, 10, 0, -10),
            (-10, 10, 0, -10),
            (-11, 10, 0, -20),
            (2, 10, 3, -7),
            (3, 10, 3, 3),
            (12, 10, 3, 3),
            (-8, 10, 3, -17),
            (5, 10, -3, -3),
            (7, 10, -3, 7),
            (0, 10, 23, -7),
        ];
        for (time, size, offset, start) in cases {
            let slice = tumbling(size, offset).slice_of(time);
            assert_eq!(
                slice,
                Span { start_ms: start, end_ms: start + size },
                "time {time}, size {size}, offset {offset}"
            );
            assert!(slice.contains(time));
            assert_eq!(tumbling(size, offset).slice_from(start), slice);
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            for offset in [-7, 0, 7, i64::MIN, i64::MAX] {
                let slice = tumbling(3_600_000, offset).slice_of(time);
                assert!(slice.start_ms <= time && time <= slice.end_ms);
            }
        }
    }

    #[test]
    fn a_size_of_nothing_is_refused() {
        assert!(tumbling(0, 0).check().is_err());
        assert!(tumbling(-1, 0).check().is_err());
        assert!(tumbling(1, 0).check().is_ok());
    }
}
