//! When a flow runs, and which data interval each run is about.
//!
//! # Fires
//!
//! A cron rule fires by the wall clock of its time zone. What happens when that clock jumps:
//!
//! | | hours as numbers (`0 6 * * *`, `30 1,2 * * *`) | hours as star or step (`0 * * * *`, `0 */2 * * *`) |
//! |---|---|---|
//! | meaning | times of day: each once a day | time that passes: every instant that shows a named time |
//! | spring: the time is skipped | at the first instant after the gap | not |
//! | autumn: the time comes twice | at its first coming | both times |
//!
//! `dst: skip` leaves a skipped time of day out, `dst: both` fires at both comings ([`Dst`]).
//!
//! An `every` rule fires a constant real time apart, whatever clocks do.
//!
//! # Data intervals: whole periods
//!
//! The interval of a fire is the last whole period that has ended by then: **from the floor of the previous fire to the
//! floor of this one**. The floor rounds down to the schedule's [`Grain`]: to the start of the local day if the rule
//! fires at most once a day, to the start of the local hour if at most once an hour, else not at all. So
//! `0 6 * * *` in America/New_York processes at 06:00 the whole local day before, which has 23, 24 or 25 hours, and
//! `0 0 * * 1` a week that starts on Monday. A fire whose floor is no later than the previous one's has nothing to be
//! about, and does not count: this happens where a whole day is skipped, as in Samoa in 2011.
//!
//! Hence intervals tile time: each begins where the one before ended.
//!
//! A [`Calendar`] takes away the fires of its days of rest, with the same effect on intervals: the first run after a
//! holiday is about the holiday too.
//!
//! `start` and `end` bound the intervals: the first begins at or after `start`, the last ends at or before `end`.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::cron::Grain;
use crate::{Calendar, Cron, DataInterval, clock};

/// Days of rest in a row after which a schedule never fires again: more than any calendar of holidays has, and a leap day
/// that has to be a working day comes sooner.
const DAYS_PASSED_MAX: usize = 20_000;

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
    /// What times of day mean where the clock jumps.
    #[serde(skip_serializing_if = "Dst::is_default")]
    pub dst: Dst,
    /// The days on which it may fire; `None` is every day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Arc<Calendar>>,
    /// The tables that have to be written for an interval before its run begins; empty: the clock decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// What happens when a run is due and one before it has not ended; `None` lets them run side by side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
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

/// What a time of day means on a day on which the clock skips it, or shows it twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dst {
    /// What is skipped is left out; what comes twice fires at its first coming.
    Skip,
    /// What is skipped fires at the first instant after the gap; what comes twice, at its first coming.
    #[default]
    First,
    /// What is skipped fires at the first instant after the gap; what comes twice, both times.
    Both,
}

impl Dst {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Skip, Self::First, Self::Both];

    /// The word for it in flow files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::First => "first",
            Self::Both => "both",
        }
    }

    /// Whether it is what a schedule means that says nothing. Left out of what is hashed, so that old versions stay.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to fires that were missed while no server ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Catchup {
    /// They are dropped.
    None,
    /// The latest runs, the others are dropped.
    #[default]
    Latest,
    /// The latest so many run.
    AtMost(u32),
    /// All run.
    All,
}

/// What happens when a run is due and one that was scheduled before it has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It waits until that one has ended.
    Queue,
    /// It is left out.
    Skip,
    /// That one is stopped.
    Cancel,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Skip, Self::Cancel];

    /// The word for it in flow files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::Cancel => "cancel",
        }
    }
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
    /// How far fires are rounded down to find the boundaries of intervals.
    #[must_use]
    pub fn grain(&self) -> Grain {
        match &self.rule {
            Rule::Cron(cron) => cron.grain(),
            Rule::Every(_) => Grain::Instant,
        }
    }

    /// The first fire later than `instant`; `None` when the schedule has ended.
    #[must_use]
    pub fn next_after(&self, instant: Timestamp) -> Option<Fire> {
        let mut at = self.start.map_or(instant, |start| start.max(instant));
        loop {
            at = self.next_tick(at)?;
            let end = self.floor(at)?;
            if self.end.is_some_and(|limit| end > limit) {
                return None;
            }
            // A first fire ever has no period before it.
            let Some(start) = self.previous_tick(at).and_then(|tick| self.floor(tick)) else { continue };
            if start < end && self.start.is_none_or(|limit| start >= limit) {
                return Some(Fire { at, interval: DataInterval { start, end } });
            }
        }
    }

    /// The fires later than `after`, in order, as far as anybody asks.
    pub fn fires(&self, after: Timestamp) -> impl Iterator<Item = Fire> + '_ {
        std::iter::successors(self.next_after(after), |fire| self.next_after(fire.at))
    }

    /// The data intervals that start in `[from, to)`, in order.
    pub fn intervals(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = DataInterval> + '_ {
        // An interval that starts at or after `from` has its fire after `from`.
        let intervals = self.fires(from).map(|fire| fire.interval);
        intervals.skip_while(move |interval| interval.start < from).take_while(move |interval| interval.start < to)
    }

    /// The latest `count` intervals that have ended by `now`, in order, found by looking back ever further.
    #[must_use]
    pub fn latest(&self, now: Timestamp, count: usize) -> Vec<DataInterval> {
        let mut found = Vec::new();
        let until = self.end.map_or(now, |end| end.min(now));
        for days in [1, 40, 400, 4_000, 40_000] {
            let since = SignedDuration::from_hours(days * 24);
            let since = until.checked_sub(since).unwrap_or(Timestamp::MIN);
            let intervals = self.fires(since).map(|fire| fire.interval).take_while(|interval| interval.end <= until);
            let mut latest: VecDeque<DataInterval> = VecDeque::new();
            for interval in intervals {
                latest.push_back(interval);
                if latest.len() > count {
                    latest.pop_front();
                }
            }
            found = latest.into();
            if found.len() >= count {
                break;
            }
        }
        found
    }

    /// Those of the fires, which are in order, that the catch-up policy lets run.
    #[must_use]
    pub fn kept(&self, mut fires: Vec<Fire>) -> Vec<Fire> {
        let keep = match self.catchup {
            Catchup::None => 0,
            Catchup::Latest => 1,
            Catchup::AtMost(number) => usize::try_from(number).unwrap_or(usize::MAX),
            Catchup::All => usize::MAX,
        };
        fires.drain(..fires.len().saturating_sub(keep));
        fires
    }

    /// The fires in `(since, now]` that the catch-up policy lets run, in order.
    #[must_use]
    pub fn missed(&self, since: Timestamp, now: Timestamp) -> Vec<Fire> {
        let keep = match self.catchup {
            Catchup::None => return Vec::new(),
            Catchup::Latest => 1,
            Catchup::AtMost(number) => usize::try_from(number).unwrap_or(usize::MAX),
            Catchup::All => usize::MAX,
        };
        let mut kept = VecDeque::new();
        for fire in self.fires(since).take_while(|fire| fire.at <= now) {
            kept.push_back(fire);
            if kept.len() > keep {
                kept.pop_front();
            }
        }
        kept.into()
    }

    /// The first tick after `after` on a day that the calendar has.
    fn next_tick(&self, after: Timestamp) -> Option<Timestamp> {
        let Some(calendar) = &self.calendar else { return self.next_of_rule(after) };
        let mut from = after;
        for _ in 0..DAYS_PASSED_MAX {
            let tick = self.next_of_rule(from)?;
            let date = self.timezone.to_datetime(tick).date();
            if calendar.has(date) {
                return Some(tick);
            }
            // On to the end of that day, lest a rule of every minute is asked a thousand times.
            let tomorrow = date.tomorrow().ok()?.to_zoned(self.timezone.clone()).ok()?.timestamp();
            from = tick.max(tomorrow.checked_sub(1.nanosecond()).ok()?);
        }
        None
    }

    /// The last tick before `before` on a day that the calendar has.
    fn previous_tick(&self, before: Timestamp) -> Option<Timestamp> {
        let Some(calendar) = &self.calendar else { return self.previous_of_rule(before) };
        let mut to = before;
        for _ in 0..DAYS_PASSED_MAX {
            let tick = self.previous_of_rule(to)?;
            let date = self.timezone.to_datetime(tick).date();
            if calendar.has(date) {
                return Some(tick);
            }
            // Where midnight comes twice, the evening before it does too.
            let midnight = self.timezone.to_ambiguous_timestamp(date.at(0, 0, 0, 0)).later().ok()?;
            to = tick.min(midnight);
        }
        None
    }

    fn next_of_rule(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => clock::next_fire(cron, &self.timezone, self.dst, after),
            Rule::Every(step) => self.multiple(*step, after, 1),
        }
    }

    fn previous_of_rule(&self, before: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => clock::previous_fire(cron, &self.timezone, self.dst, before),
            Rule::Every(step) => self.multiple(*step, before.checked_sub(1.nanosecond()).ok()?, 0),
        }
    }

    /// The last multiple of `step` since the anchor that is at or before `instant`, and `further` steps on.
    fn multiple(&self, step: SignedDuration, instant: Timestamp, further: i128) -> Option<Timestamp> {
        let anchor = self.start.unwrap_or(Timestamp::UNIX_EPOCH).as_nanosecond();
        let count = (instant.as_nanosecond() - anchor).checked_div_euclid(step.as_nanos())? + further;
        Timestamp::from_nanosecond(anchor + count * step.as_nanos()).ok()
    }

    /// The boundary between data intervals that belongs to a fire.
    fn floor(&self, tick: Timestamp) -> Option<Timestamp> {
        let zoned = tick.to_zoned(self.timezone.clone());
        match self.grain() {
            Grain::Instant => Some(tick),
            Grain::Day => zoned.start_of_day().ok().map(|start| start.timestamp()),
            Grain::Hour => {
                let time = zoned.time();
                let into_hour =
                    SignedDuration::from_mins(time.minute().into()) + SignedDuration::from_secs(time.second().into());
                let floor = tick.checked_sub(into_hour).ok()?;
                // An hour that a transition cuts begins at the transition; otherwise floors could fall as time rises.
                let inclusive = tick.checked_add(1.nanosecond()).ok()?;
                let transition = self.timezone.preceding(inclusive).next().map(|transition| transition.timestamp());
                Some(transition.map_or(floor, |transition| transition.max(floor)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
