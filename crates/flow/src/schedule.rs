//! When a flow runs, and which data interval each run is about.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{Cron, DataInterval};

/// When a flow runs by itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Schedule {
    /// The rule of its fires.
    pub rule: Rule,
    /// The zone in which cron fields, dates and floors are read.
    #[serde(with = "jiff::fmt::serde::tz::required")]
    pub timezone: TimeZone,
    /// No interval starts before this.
    pub start: Option<Timestamp>,
    /// No interval ends after this.
    pub end: Option<Timestamp>,
    /// What happens to fires that were missed while no server ran.
    pub catchup: Catchup,
}

/// The rule of a schedule's fires.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// By the wall clock.
    Cron(Cron),
    /// A constant real time apart, counted from the schedule's start, or from 1970-01-01T00:00Z when it has none.
    Every(SignedDuration),
}

/// What happens to fires that were missed while no server ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Catchup {
    /// They are dropped.
    None,
    /// The latest runs, the others are dropped.
    Latest,
    /// The latest so many run.
    AtMost(u32),
    /// All run.
    All,
}

/// A moment at which a run is due, and what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fire {
    /// When the run is due.
    pub at: Timestamp,
    /// What it is about; it has ended by then.
    pub interval: DataInterval,
}

impl Schedule {
    /// The first fire later than `instant`; `None` when the schedule has ended.
    #[must_use]
    pub fn next_after(&self, instant: Timestamp) -> Option<Fire> {
        let _ = instant;
        None
    }

    /// The fires later than `after`, in order, as far as anybody asks.
    pub fn fires(&self, after: Timestamp) -> impl Iterator<Item = Fire> + '_ {
        std::iter::successors(self.next_after(after), |fire| self.next_after(fire.at))
    }

    /// The data intervals that start in `[from, to)`, in order.
    pub fn intervals(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = DataInterval> + '_ {
        let _ = (from, to);
        std::iter::empty()
    }

    /// The fires in `(since, now]` that the catch-up policy lets run, in order.
    #[must_use]
    pub fn missed(&self, since: Timestamp, now: Timestamp) -> Vec<Fire> {
        let _ = (since, now);
        Vec::new()
    }
}
