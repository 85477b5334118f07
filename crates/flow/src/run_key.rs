//! The identity of a run: the same flow with the same parameters for the same interval is the same run.

use std::fmt;

use serde::{Deserialize, Serialize};

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
        let _ = params;
        let text = interval.map_or_else(String::new, |interval| interval.to_string());
        let run_id = format!("{}/{text}", flow.name);
        Self { flow: flow.name.clone(), interval, text, run_id }
    }

    /// The stable form, unique within the flow: `2013-01-01T05:00:00Z/2013-01-02T05:00:00Z`, `manual` without interval;
    /// followed by `+` and a hash of the parameters where they differ from the flow's defaults.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name for people, unique in the project: `daily_delays/2013-01-01`.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.run_id
    }
}

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.run_id)
    }
}
