//! What the loop has done since it began, counted for whoever watches it from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use mulgil_sched::admission::PoolLoad;
use mulgil_sched::status::{AttemptStatus, RunStatus};

use super::state::Scheduler;

/// Ends of something, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ends {
    /// How often it ended.
    pub count: u64,
    /// How long all of them took together.
    pub seconds: f64,
}

/// What the loop has done since it began.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs that have ended, by flow and status; from their start.
    pub runs: BTreeMap<(String, &'static str), Ends>,
    /// Attempts that have ended, by flow and status; from their lease.
    pub attempts: BTreeMap<(String, &'static str), Ends>,
    /// Commits to the history that were tried.
    pub commits: Ends,
    /// How late the last timer was heard.
    pub lag: Duration,
}

/// How the scheduler stands.
#[derive(Clone, Debug)]
pub struct Gauges {
    /// How full the pools are.
    pub pools: Vec<PoolLoad>,
    /// Runs that have not ended.
    pub runs_open: usize,
    /// Leases that are live.
    pub leases: usize,
    /// Things that are due at a time.
    pub timers: usize,
    /// Notices that wait to be delivered.
    pub notices_waiting: u64,
    /// What it has done.
    pub tally: Tally,
}

impl Tally {
    /// A run has ended.
    pub(super) fn run(&mut self, flow: &str, status: RunStatus, took: SignedDuration) {
        add(&mut self.runs, flow, status.word(), took);
    }

    /// An attempt has ended.
    pub(super) fn attempt(&mut self, flow: &str, status: AttemptStatus, took: SignedDuration) {
        add(&mut self.attempts, flow, status.word(), took);
    }
}

fn add(ends: &mut BTreeMap<(String, &'static str), Ends>, flow: &str, status: &'static str, took: SignedDuration) {
    let ends = ends.entry((flow.to_owned(), status)).or_default();
    ends.count += 1;
    ends.seconds += took.as_secs_f64().max(0.0);
}

impl Scheduler {
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            pools: self.admission.loads(),
            runs_open: self.runs.len(),
            leases: self.leases.len(),
            timers: self.timers.len(),
            notices_waiting: self.notices_waiting,
            tally: self.tally.clone(),
        }
    }
}
