//! When a pipeline that has failed is started again, and when it waits for a person: decided here, done elsewhere.
//!
//! ```text
//!              ┌──── after a backoff ────┐
//!              ▼                         │
//!   started, fails ── may pass ──────────┤
//!              │   └─ may be the rows ───┘   same error, no rows further: so many times, then it is a poison row
//!              └── cannot pass; too often without a row further; told not to try ──▶ stops, until somebody resumes it
//! ```
//!
//! The backoff grows from try to try, with jitter, up to a limit (Flink's `exponential-delay`); a run that has lasted resets
//! it. Tries count from the last progress, which is a checkpoint that covers rows that none covered before.

use std::time::Duration;

/// How a failed pipeline is started again. The names of the options are Flink's, where it has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartStrategy {
    /// Before the first try: `restart-strategy.exponential-delay.initial-backoff`.
    pub backoff_first: Duration,
    /// Before any try, but for jitter: `restart-strategy.exponential-delay.max-backoff`.
    pub backoff_max: Duration,
    /// How much longer each is than the one before, in hundredths: `restart-strategy.exponential-delay.backoff-multiplier`.
    pub multiplier_percent: u32,
    /// How much longer or shorter each is by chance, in hundredths: `restart-strategy.exponential-delay.jitter-factor`.
    pub jitter_percent: u32,
    /// A run that lasts so long lets the backoff begin anew: `restart-strategy.exponential-delay.reset-backoff-threshold`.
    pub reset_after: Duration,
    /// So many tries in a row without progress, at most: `restart-strategy.exponential-delay.attempts-before-reset-backoff`.
    /// None at all with `'restart-strategy.type' = 'none'`.
    pub tries_max: u32,
    /// So many tries in a row that end with the same error of the same rows, at most: `restart-strategy.poison-attempts`.
    pub poison_tries_max: u32,
}

impl Default for RestartStrategy {
    fn default() -> Self {
        Self {
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            multiplier_percent: 150,
            jitter_percent: 10,
            reset_after: Duration::from_secs(3_600),
            tries_max: 60,
            poison_tries_max: 3,
        }
    }
}

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It may pass: a connection refused, a disk that is full.
    Passing,
    /// It may be the rows: an operator that fails, a record that cannot be decoded.
    Rows,
    /// It stays until somebody changes something: another query, a guarantee that cannot be given.
    Lasting,
}

/// Why a pipeline has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind it is.
    pub kind: FaultKind,
    /// The error: with the operator, source or sink.
    pub error: String,
    /// How long it has run.
    pub ran_for: Duration,
    /// Whether a checkpoint covers rows that none covered when it was started.
    pub made_progress: bool,
}

/// What is to be done about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is to be started again after this time.
    Restart(Duration),
    /// It is to wait for a person.
    Stop(Stop),
}

/// Why a pipeline is not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The fault stays as it is.
    Lasting,
    /// Its options say so.
    NotWanted,
    /// Some row cannot be taken: so many tries have failed with the same error, at the same rows.
    PoisonRow(u32),
    /// So many tries have come to nothing.
    TooOften(u32),
}

/// The faults of a pipeline so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarts {
    strategy: RestartStrategy,
    /// How often it has been decided that it is started again, since it was resumed.
    count: u64,
    /// How often in a row without progress.
    tries: u32,
    /// How often in a row with the same error and without progress.
    same: u32,
    last_error: Option<String>,
    /// Before the next try, but for jitter.
    backoff: Duration,
}

impl Restarts {
    /// Of a pipeline that somebody has just started.
    pub fn new(strategy: RestartStrategy) -> Self {
        let backoff = strategy.backoff_first;
        Self { strategy, count: 0, tries: 0, same: 0, last_error: None, backoff }
    }

    /// How often it has been started again.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How often in a row without a row further.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// The error of the last fault.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Decides about a fault. `chance` is any number: the jitter comes from it.
    pub fn decide(&mut self, fault: Fault, chance: u64) -> Decision {
        if fault.made_progress {
            (self.tries, self.same) = (0, 0);
        }
        if fault.ran_for >= self.strategy.reset_after {
            self.backoff = self.strategy.backoff_first;
        }
        let is_same = fault.kind == FaultKind::Rows && self.last_error.as_deref() == Some(fault.error.as_str());
        self.same = if is_same { self.same + 1 } else { 0 };
        self.last_error = Some(fault.error);
        if self.strategy.tries_max == 0 {
            return Decision::Stop(Stop::NotWanted);
        }
        if fault.kind == FaultKind::Lasting {
            return Decision::Stop(Stop::Lasting);
        }
        if fault.kind == FaultKind::Rows && self.same >= self.strategy.poison_tries_max {
            return Decision::Stop(Stop::PoisonRow(self.same));
        }
        if self.tries >= self.strategy.tries_max {
            return Decision::Stop(Stop::TooOften(self.tries));
        }
        self.tries += 1;
        self.count += 1;
        let after = self.with_jitter(self.backoff, chance);
        let longer = self.backoff.saturating_mul(self.strategy.multiplier_percent.max(100)) / 100;
        self.backoff = longer.min(self.strategy.backoff_max);
        Decision::Restart(after)
    }

    /// Up to `jitter_percent` shorter or longer, so that pipelines that failed together do not come back together.
    fn with_jitter(&self, backoff: Duration, chance: u64) -> Duration {
        const STEPS: u64 = 2_000;
        let jitter = backoff.saturating_mul(self.strategy.jitter_percent.min(100)) / 100;
        let share = u32::try_from(chance % (STEPS + 1)).unwrap_or(0);
        (backoff - jitter).saturating_add(jitter.saturating_mul(share) / 1_000)
    }
}

#[cfg(test)]
mod tests;
