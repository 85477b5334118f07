//! Graphs as text, JSON and Graphviz, as snapshots.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::*;

#[test]
fn durations_are_said_in_the_largest_unit_that_is_exact() {
    let cases = [
        (0, "0 ms"),
        (1, "1 ms"),
        (1_500, "1500 ms"),
        (90_000, "90 s"),
        (120_000, "2 min"),
        (3_600_000, "1 h"),
        (-3_600_000, "-1 h"),
        (86_400_000, "1 d"),
    ];
    for (ms, text) in cases {
        assert_eq!(duration(ms), text);
    }
}
