//! Runs for a range of past intervals: the plan, before anything runs.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{DataInterval, Flow, Params, RunKey};

/// How a run that exists already stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// It has not ended.
    Active,
    /// It has succeeded.
    Succeeded,
    /// It has failed or was cancelled.
    Failed,
}

/// Which intervals of the range run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Those that have no run yet.
    #[default]
    Missing,
    /// Those whose run has failed or was cancelled.
    Failed,
    /// All that are not active now.
    All,
}

/// In which order they run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From the past to the present.
    #[default]
    OldestFirst,
    /// From the present to the past.
    NewestFirst,
}

/// What a backfill does about one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A new run.
    Run,
    /// The existing run again.
    Rerun,
    /// Nothing, because of how the existing run stands; `None`: there is no run, and only failed ones were asked for.
    Skip(Option<Existing>),
}

/// One interval of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedRun {
    /// The run's identity.
    pub key: RunKey,
    /// What it is about.
    pub interval: DataInterval,
    /// What happens to it.
    pub action: Action,
}

/// A backfill, planned: the intervals of a range in the order in which they run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Every interval of the range, also those that are skipped.
    pub runs: Vec<PlannedRun>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The flow has no schedule, so there are no intervals.
    #[error("flow {flow} has no schedule, so it has no past intervals; give it a schedule, or start single runs")]
    NoSchedule {
        /// The flow.
        flow: String,
    },
    /// The range ends before it starts.
    #[error("the range {from} to {to} is empty; put the earlier date first")]
    EmptyRange {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
    /// No interval starts in the range.
    #[error("flow {flow} has no interval that starts from {from} to {to}; its schedule may start later or end earlier")]
    NoIntervals {
        /// The flow.
        flow: String,
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
}

impl Plan {
    /// How many runs the plan starts, new and again.
    #[must_use]
    pub fn starts(&self) -> usize {
        self.runs.iter().filter(|run| !matches!(run.action, Action::Skip(_))).count()
    }
}

/// Plans runs with `params` for the intervals that start on the local days `from` to `to`, both inclusive. `existing`
/// says how the run of a key stands, if there is one.
pub fn plan(
    flow: &Flow,
    params: &Params,
    from: Date,
    to: Date,
    existing: impl Fn(&RunKey) -> Option<Existing>,
    which: Which,
    order: Order,
) -> Result<Plan, PlanError> {
    let name = || flow.name.clone();
    let Some(schedule) = &flow.schedule else { return Err(PlanError::NoSchedule { flow: name() }) };
    if to < from {
        return Err(PlanError::EmptyRange { from, to });
    }
    let midnight = |date: Date| date.to_zoned(flow.timezone.clone()).ok().map(|zoned| zoned.timestamp());
    let after_last = to.tomorrow().ok().and_then(midnight);
    let (Some(first), Some(after_last)) = (midnight(from), after_last) else {
        return Err(PlanError::NoIntervals { flow: name(), from, to });
    };
    let planned = schedule.intervals(first, after_last).map(|interval| {
        let key = RunKey::new(flow, Some(interval), params);
        let action = choose(existing(&key), which);
        PlannedRun { key, interval, action }
    });
    let mut runs: Vec<PlannedRun> = planned.collect();
    if runs.is_empty() {
        return Err(PlanError::NoIntervals { flow: name(), from, to });
    }
    if order == Order::NewestFirst {
        runs.reverse();
    }
    Ok(Plan { runs })
}

fn choose(existing: Option<Existing>, which: Which) -> Action {
    match (existing, which) {
        (None, Which::Missing | Which::All) => Action::Run,
        (Some(Existing::Failed), Which::Failed | Which::All) | (Some(Existing::Succeeded), Which::All) => Action::Rerun,
        (existing, _) => Action::Skip(existing),
    }
}

#[cfg(test)]
mod tests;
