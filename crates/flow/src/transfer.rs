//! Which rows of a table a transfer copies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which rows of its source a transfer copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopiedRows {
    /// Those of the run's data interval, by what the table declares: its event time, or its one partition column of type DATE.
    #[default]
    Interval,
    /// Those of the run's data interval, by this column.
    IntervalBy(String),
    /// All of them.
    All,
}

impl CopiedRows {
    /// Whether a task that says nothing copies so. Left out of what is hashed, so that old versions stay.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a flow file says which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RowsWord {
    /// Those of the run's data interval.
    Interval,
    /// All of them.
    All,
}
