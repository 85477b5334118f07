//! How long a run usually takes, by the median and the spread of those before it, and from when on it takes longer than usual.
//!
//! The spread is the median of the distances from the median, times 1.4826: for values that scatter as most do, that is their
//! standard deviation, but a few runs that took very long move it little. A run is longer than usual three spreads above the
//! median; where all took nearly the same time, the spread counts as a tenth of the median, and never as less than ten seconds.

use jiff::SignedDuration;

/// How many runs before it a run is measured by, at most.
pub const RUNS_MAX: u32 = 20;
/// With fewer, nothing is usual yet.
pub const RUNS_MIN: usize = 5;

const SPREADS: f64 = 3.0;
const SPREAD_OF_DISTANCES: f64 = 1.4826;
const SPREAD_OF_MEDIAN_MIN: f64 = 0.1;
const SPREAD_SECONDS_MIN: f64 = 10.0;

/// How long runs of a flow take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usual {
    /// Half of them took longer than this.
    pub median: SignedDuration,
    /// What is longer than this is longer than usual.
    pub limit: SignedDuration,
}

/// What is usual after runs that took so long; `None` after too few.
#[must_use]
pub fn usual(durations: &[SignedDuration]) -> Option<Usual> {
    if durations.len() < RUNS_MIN {
        return None;
    }
    let seconds: Vec<f64> = durations.iter().map(SignedDuration::as_secs_f64).collect();
    let middle = median(seconds.clone())?;
    let distance = median(seconds.iter().map(|second| (second - middle).abs()).collect())?;
    let spread = (distance * SPREAD_OF_DISTANCES).max(middle * SPREAD_OF_MEDIAN_MIN).max(SPREAD_SECONDS_MIN);
    let duration = |seconds: f64| SignedDuration::try_from_secs_f64(seconds).ok();
    Some(Usual { median: duration(middle)?, limit: duration(middle + SPREADS * spread)? })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (below, above) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*below, *above))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use super::*;

    /// How long runs took, and their median and limit, all in seconds.
    type Case = (&'static [i64], Option<(i64, i64)>);

    #[test]
    fn longer_than_usual_is_three_spreads_above_the_median() {
        let cases: [Case; 7] = [
            (&[], None),
            (&[60, 60, 60, 60], None),
            // All alike: a tenth of the median is the spread.
            (&[600, 600, 600, 600, 600], Some((600, 780))),
            // Short ones: ten seconds are.
            (&[1, 1, 1, 1, 1], Some((1, 31))),
            (&[100, 200, 300, 400, 500], Some((300, 744))),
            // One that took a day changes nothing.
            (&[100, 200, 300, 400, 86_400], Some((300, 744))),
            (&[100, 200, 300, 400, 500, 600], Some((350, 1017))),
        ];
        for (seconds, expected) in cases {
            let durations: Vec<_> = seconds.iter().map(|seconds| SignedDuration::from_secs(*seconds)).collect();
            let found = usual(&durations).map(|usual| (usual.median.as_secs(), usual.limit.as_secs()));
            assert_eq!(found, expected, "{seconds:?}");
            let reversed: Vec<_> = durations.iter().rev().copied().collect();
            assert_eq!(usual(&reversed), usual(&durations), "their order is nothing");
        }
    }
}
