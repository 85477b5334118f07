//! The identity of a run: the same flow with the same parameters for the same interval is the same run.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::schedule::Grain;
use crate::{DataInterval, Flow, Params};

/// What makes a run that run.
///
/// [`RunKey::text`] is stable and unique within the flow; [`RunKey::run_id`] is what people see, unique in the project.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunKey {
    /// The flow's name.
    pub flow: String,
    /// The data interval; `None` for a run of a flow without schedule.
    pub interval: Option<DataInterval>,
    text: String,
    run_id: String,
}

impl RunKey {
    /// The key of the run of `flow` for `interval` with `params`, which are those of [`Flow::resolve_params`].
    #[must_use]
    pub fn new(flow: &Flow, interval: Option<DataInterval>, params: &Params) -> Self {
        let suffix = if *params == flow.default_params() { String::new() } else { format!("+{}", hash(params)) };
        let text = interval.map_or_else(|| "manual".to_owned(), |interval| interval.to_string());
        let name = interval.map_or_else(|| "manual".to_owned(), |interval| name_of(flow, interval));
        Self {
            flow: flow.name.clone(),
            interval,
            text: format!("{text}{suffix}"),
            run_id: format!("{}/{name}{suffix}", flow.name),
        }
    }

    /// The key of the run that something outside has started: its kind in a word, and what tells it from every other of its kind.
    /// Neither the parameters nor their defaults are part of that: the same delivery of a webhook, come again, is the same run.
    #[must_use]
    pub fn of_arrival(flow: &Flow, kind: &str, arrival: &str) -> Self {
        let text = format!("{kind}@{:032x}", xxh3_128(arrival.as_bytes()));
        Self { flow: flow.name.clone(), interval: None, run_id: format!("{}/{text}", flow.name), text }
    }

    /// The stable form, unique within the flow: `2013-01-01T05:00:00Z/2013-01-02T05:00:00Z`, `manual` without interval;
    /// followed by `+` and a hash of the parameters where they differ from the flow's defaults. Of an arrival: `webhook@` or `file@` and
    /// a hash of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name for people, unique in the project: `daily_delays/2013-01-01`, or `hourly/2013-01-01T05:00-05:00` where
    /// a day has several intervals; `flow/manual` without interval; with the same suffix as the text.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }
}

/// The interval's start in the flow's time zone, as short as it is unique.
fn name_of(flow: &Flow, interval: DataInterval) -> String {
    let start = interval.start.to_zoned(flow.timezone.clone());
    let whole_days = flow.schedule.as_ref().is_some_and(|schedule| schedule.grain() == Grain::Day);
    let is_start_of_day = start.start_of_day().is_ok_and(|midnight| midnight == start);
    if whole_days && is_start_of_day {
        return start.date().to_string();
    }
    let whole_minute = start.second() == 0 && start.subsec_nanosecond() == 0;
    let format = if whole_minute { "%Y-%m-%dT%H:%M%:z" } else { "%Y-%m-%dT%H:%M:%S%.f%:z" };
    start.strftime(format).to_string()
}

fn hash(params: &Params) -> String {
    // The map is sorted, so equal parameters are equal text.
    let text = serde_json::to_string(params).unwrap_or_default();
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.run_id)
    }
}
