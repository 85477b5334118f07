//! Watermarks of several partitions: the least of the active ones, never going back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

enum Event {
    At(usize, i64),
    State(usize, InputState),
}
use Event::{At, State};
use InputState::{Active, Finished, Idle};

const UNKNOWN: i64 = i64::MIN;
const END: i64 = i64::MAX;

/// Each event with what must hold after it: the combined watermark, the combined state, who holds back.
fn check(input_count: usize, steps: &[(Event, i64, InputState, Option<usize>)]) {
    let mut tracker = WatermarkTracker::new(input_count);
    for (number, (event, watermark, state, holding_back)) in steps.iter().enumerate() {
        match event {
            At(input, watermark) => tracker.advance(*input, Watermark(*watermark)),
            State(input, state) => tracker.set_state(*input, *state),
        }
        let expected = InputTime { watermark: Watermark(*watermark), state: *state };
        assert_eq!((tracker.combined(), tracker.holding_back()), (expected, *holding_back), "after step {number}");
    }
}

#[test]
fn the_slowest_active_input_counts() {
    check(
        2,
        &[
            (At(0, 100), UNKNOWN, Active, Some(1)),
            (At(1, 50), 50, Active, Some(1)),
            (At(1, 150), 100, Active, Some(0)),
            (At(0, 90), 100, Active, Some(0)),
        ],
    );
}

#[test]
fn an_idle_input_releases_the_watermark_and_comes_back_without_turning_it_back() {
    check(
        2,
        &[
            (At(0, 100), UNKNOWN, Active, Some(1)),
            (State(1, Idle), 100, Active, Some(0)),
            (State(1, Active), 100, Active, Some(1)),
            (At(1, 60), 100, Active, Some(1)),
            (At(0, 200), 100, Active, Some(1)),
            (At(1, 120), 120, Active, Some(1)),
        ],
    );
}

#[test]
fn when_all_are_idle_the_order_of_falling_asleep_does_not_matter() {
    check(
        2,
        &[
            (At(0, 100), UNKNOWN, Active, Some(1)),
            (At(1, 50), 50, Active, Some(1)),
            (State(0, Idle), 50, Active, Some(1)),
            (State(1, Idle), 100, Idle, None),
        ],
    );
    check(
        2,
        &[
            (At(0, 100), UNKNOWN, Active, Some(1)),
            (At(1, 50), 50, Active, Some(1)),
            (State(1, Idle), 100, Active, Some(0)),
            (State(0, Idle), 100, Idle, None),
        ],
    );
}

#[test]
fn finished_inputs_never_count_again_and_the_last_one_ends_time() {
    check(
        2,
        &[
            (At(0, 10), UNKNOWN, Active, Some(1)),
            (State(1, Finished), 10, Active, Some(0)),
            (State(1, Active), 10, Active, Some(0)),
            (State(0, Idle), 10, Idle, None),
            (State(0, Finished), END, Finished, None),
        ],
    );
}

#[test]
fn no_inputs_have_ended_from_the_start() {
    let mut tracker = WatermarkTracker::new(0);
    assert_eq!(tracker.combined(), InputTime { watermark: Watermark::END, state: Finished });
}

#[test]
fn the_end_of_one_input_is_not_the_end_of_time_for_those_asleep() {
    let mut tracker = WatermarkTracker::new(2);
    tracker.advance(1, Watermark(5));
    tracker.set_state(1, Idle);
    tracker.set(0, InputTime { watermark: Watermark::END, state: Finished });
    assert_eq!(tracker.combined(), InputTime { watermark: Watermark(5), state: Idle });
}
