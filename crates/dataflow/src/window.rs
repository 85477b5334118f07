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
        let slice_ms = self.slice_ms();
        let start_ms = floor(time, slice_ms, self.offset_ms());
        Span { start_ms, end_ms: start_ms.saturating_add(slice_ms) }
    }

    /// The slice that begins at `start_ms`, as [`Window::slice_of`] gave it.
    pub fn slice_from(&self, start_ms: EventTimeMs) -> Span {
        Span { start_ms, end_ms: start_ms.saturating_add(self.slice_ms()) }
    }

    /// The windows that a moment is in, in order of their ends.
    pub fn windows_of(&self, time: EventTimeMs) -> impl Iterator<Item = Span> + use<> {
        let window = *self;
        let slice = window.slice_of(time);
        std::iter::successors(window.window_after(slice, EventTimeMs::MIN), move |last| {
            window.window_after(slice, last.end_ms)
        })
    }

    /// Of the windows that a slice is in, the first that ends after `after`.
    pub fn window_after(&self, slice: Span, after: EventTimeMs) -> Option<Span> {
        let end_min = slice.end_ms.max(after.saturating_add(1));
        let window = match *self {
            Window::Tumbling { .. } => slice,
            Window::Hopping { slide_ms, size_ms, offset_ms } => {
                // Windows end where they begin, shifted by the size.
                let shifted = offset_ms.rem_euclid(slide_ms.max(1)).saturating_add(size_ms);
                let end_ms = ceil(end_min, slide_ms, shifted);
                Span { start_ms: end_ms.saturating_sub(size_ms), end_ms }
            }
            Window::Cumulating { step_ms, size_ms, offset_ms } => {
                let start_ms = floor(slice.start_ms, size_ms, offset_ms);
                Span { start_ms, end_ms: ceil(end_min, step_ms, start_ms) }
            }
        };
        let holds_slice = window.start_ms <= slice.start_ms && slice.end_ms <= window.end_ms;
        let is_not_too_large = window.end_ms.saturating_sub(window.start_ms) <= self.size_ms();
        (holds_slice && is_not_too_large && window.end_ms > after).then_some(window)
    }

    /// Of the windows that a slice is in, the last. There is none where windows leave gaps between them.
    pub fn last_window(&self, slice: Span) -> Option<Span> {
        let start_ms = match *self {
            Window::Tumbling { .. } => slice.start_ms,
            Window::Hopping { slide_ms, offset_ms, .. } => floor(slice.start_ms, slide_ms, offset_ms),
            Window::Cumulating { size_ms, offset_ms, .. } => floor(slice.start_ms, size_ms, offset_ms),
        };
        let end_ms = start_ms.saturating_add(self.size_ms());
        (slice.end_ms <= end_ms).then_some(Span { start_ms, end_ms })
    }

    /// Where the window begins that ends at `end_ms`.
    pub fn start_of(&self, end_ms: EventTimeMs) -> EventTimeMs {
        match *self {
            Window::Tumbling { size_ms, .. } | Window::Hopping { size_ms, .. } => end_ms.saturating_sub(size_ms),
            Window::Cumulating { size_ms, offset_ms, .. } => floor(end_ms.saturating_sub(1), size_ms, offset_ms),
        }
    }

    /// Whether each moment is in one window, which is its slice.
    pub fn is_tumbling(&self) -> bool {
        matches!(self, Window::Tumbling { .. })
    }

    /// The size of the largest window.
    pub fn size_ms(&self) -> i64 {
        match *self {
            Window::Tumbling { size_ms, .. } | Window::Hopping { size_ms, .. } | Window::Cumulating { size_ms, .. } => {
                size_ms.max(1)
            }
        }
    }

    /// How many slices the largest window has.
    pub fn slices_in_window(&self) -> i64 {
        self.size_ms() / self.slice_ms()
    }

    fn offset_ms(&self) -> i64 {
        match *self {
            Window::Tumbling { offset_ms, .. }
            | Window::Hopping { offset_ms, .. }
            | Window::Cumulating { offset_ms, .. } => offset_ms,
        }
    }

    /// The length of a slice.
    fn slice_ms(&self) -> i64 {
        match *self {
            Window::Tumbling { size_ms, .. } => size_ms.max(1),
            Window::Hopping { slide_ms, size_ms, .. } => greatest_common_divisor(slide_ms.max(1), size_ms.max(1)),
            Window::Cumulating { step_ms, .. } => step_ms.max(1),
        }
    }

    /// Whether there can be such windows.
    ///
    /// # Errors
    /// A sentence saying what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let positive = |what: &str, ms: i64| {
            if ms > 0 { Ok(()) } else { Err(format!("a window's {what} must be positive, not {ms} ms")) }
        };
        match *self {
            Window::Tumbling { size_ms, .. } => positive("size", size_ms),
            Window::Hopping { slide_ms, size_ms, .. } => positive("slide", slide_ms).and(positive("size", size_ms)),
            Window::Cumulating { step_ms, size_ms, .. } => {
                positive("step", step_ms).and(positive("size", size_ms))?;
                if size_ms % step_ms == 0 {
                    Ok(())
                } else {
                    Err(format!("a window's size must be a multiple of its step: {size_ms} ms is none of {step_ms} ms"))
                }
            }
        }
    }
}

/// The last of the moments `k * width + offset` that is not after `time`.
fn floor(time: EventTimeMs, width_ms: i64, offset_ms: i64) -> EventTimeMs {
    time.saturating_sub(time.saturating_sub(offset_ms).rem_euclid(width_ms.max(1)))
}

/// The first of the moments `k * width + offset` that is not before `time`.
fn ceil(time: EventTimeMs, width_ms: i64, offset_ms: i64) -> EventTimeMs {
    time.saturating_add(offset_ms.saturating_sub(time).rem_euclid(width_ms.max(1)))
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
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

    #[test]
    fn a_moment_is_in_the_windows_that_hold_it_and_in_no_other() {
        let windows = [
            tumbling(10, 3),
            Window::Hopping { slide_ms: 5, size_ms: 10, offset_ms: 0 },
            Window::Hopping { slide_ms: 4, size_ms: 10, offset_ms: -3 },
            Window::Hopping { slide_ms: 7, size_ms: 3, offset_ms: 2 },
            Window::Hopping { slide_ms: 10, size_ms: 10, offset_ms: 23 },
            Window::Cumulating { step_ms: 3, size_ms: 12, offset_ms: 0 },
            Window::Cumulating { step_ms: 5, size_ms: 5, offset_ms: -1 },
        ];
        for window in windows {
            window.check().unwrap();
            for time in -40..40 {
                let found: Vec<Span> = window.windows_of(time).collect();
                assert_eq!(found, all_windows(window, time), "{window:?}, {time}");
                let slice = window.slice_of(time);
                assert!(slice.contains(time));
                assert_eq!(window.slice_from(slice.start_ms), slice);
                assert_eq!(window.last_window(slice), found.last().copied(), "{window:?}, {time}");
                for span in found {
                    assert_eq!(window.start_of(span.end_ms), span.start_ms, "{window:?}, {time}");
                    assert!(span.start_ms <= slice.start_ms && slice.end_ms <= span.end_ms, "no window cuts a slice");
                }
            }
        }
    }

    /// By definition, looking at every window there is.
    fn all_windows(window: Window, time: i64) -> Vec<Span> {
        let mut spans = Vec::new();
        for k in -100..100 {
            match window {
                Window::Tumbling { size_ms, offset_ms } => {
                    spans.push((k * size_ms + offset_ms, (k + 1) * size_ms + offset_ms));
                }
                Window::Hopping { slide_ms, size_ms, offset_ms } => {
                    spans.push((k * slide_ms + offset_ms, k * slide_ms + offset_ms + size_ms));
                }
                Window::Cumulating { step_ms, size_ms, offset_ms } => {
                    let start = k * size_ms + offset_ms;
                    spans.extend((1..=size_ms / step_ms).map(|j| (start, start + j * step_ms)));
                }
            }
        }
        let spans = spans.into_iter().map(|(start_ms, end_ms)| Span { start_ms, end_ms });
        spans.filter(|span| span.contains(time)).collect()
    }

    #[test]
    fn windows_at_the_ends_of_time_end() {
        for time in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            for offset_ms in [0, 7, i64::MIN, i64::MAX] {
                for window in [
                    Window::Hopping { slide_ms: 60_000, size_ms: 3_600_000, offset_ms },
                    Window::Cumulating { step_ms: 60_000, size_ms: 3_600_000, offset_ms },
                ] {
                    assert!(window.windows_of(time).count() < 100, "{window:?}, {time}");
                }
            }
        }
    }

    #[test]
    fn steps_that_do_not_fill_the_size_are_refused() {
        for (step_ms, size_ms, fits) in [(2, 6, true), (4, 6, false), (0, 6, false), (6, 0, false)] {
            assert_eq!(Window::Cumulating { step_ms, size_ms, offset_ms: 0 }.check().is_ok(), fits);
        }
        assert!(Window::Hopping { slide_ms: 0, size_ms: 1, offset_ms: 0 }.check().is_err());
        assert!(Window::Hopping { slide_ms: 4, size_ms: 6, offset_ms: 0 }.check().is_ok());
    }
}
