//! Whether a failed attempt is followed by another by itself, and after what pause.
//!
//! The pause's jitter is no chance: it comes from the run, the task and the attempt, so that what has happened can be told again.
//! Of tasks that failed together it is different all the same, which is what it is for.

use jiff::SignedDuration;
use mulgil_flow::{Fault, Retries};

use crate::id::{RunId, TaskIndex};
use crate::run::RunState;
use crate::status::RunStatus;

impl RunState {
    /// The pause after which a task whose attempt has failed so is tried again; `None` if it is not.
    pub fn pause_after(&self, task: TaskIndex, fault: &Fault) -> Option<SignedDuration> {
        let (retries, state) = (self.retries_left(task)?, self.task(task)?);
        let chance = chance(self.id, task, state.attempts);
        retries.follow(fault).then(|| retries.delay_before(state.retries_used + 1, chance))
    }

    /// Why a task whose attempt has failed so is not tried again, although retries are left.
    pub fn refusal_after(&self, task: TaskIndex, fault: &Fault) -> Option<String> {
        self.retries_left(task)?.refusal(fault)
    }

    fn retries_left(&self, task: TaskIndex) -> Option<&Retries> {
        let node = self.graph.task(task)?;
        let used = self.task(task)?.retries_used;
        let may = self.status == RunStatus::Running && self.retries && node.idempotent && used < node.retries.limit;
        may.then_some(&node.retries)
    }
}

/// A number from 0 to 1 that depends on nothing but these, and on each bit of them.
fn chance(run: RunId, task: TaskIndex, attempt: u32) -> f64 {
    let place = (u64::from(task) << 32) | u64::from(attempt);
    let mixed = mixed(mixed(run.0.cast_unsigned()) ^ place);
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_fails_together_comes_back_spread_out_and_always_at_the_same_times() {
        let chances = || -> Vec<f64> {
            (1..=10)
                .flat_map(|run| (0..10).flat_map(move |task| (1..=10).map(move |n| chance(RunId(run), task, n))))
                .collect()
        };
        assert_eq!(chances(), chances());
        let mut tenths = [0; 10];
        for chance in chances() {
            assert!((0.0..1.0).contains(&chance), "{chance}");
            tenths[(chance * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }
}
