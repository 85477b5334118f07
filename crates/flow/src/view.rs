//! Doing something to a view of the project as a task.

use serde::Serialize;

/// What is done to which view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewTask {
    /// What is done.
    #[serde(rename = "do")]
    pub deed: ViewDeed,
    /// The view's name.
    pub view: String,
}

/// What a task does to a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewDeed {
    /// Computes a `FULL` view anew, in batch, and replaces its result.
    Refresh,
    /// Builds a `KAPPA` view anew from its sources' past, beside the one that answers, until it has taken over.
    Replay,
    /// Puts the rows that a view has now in place of those of the table that it is exported to.
    Export,
}

impl ViewDeed {
    /// The word for it in flow files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Replay => "replay",
            Self::Export => "export",
        }
    }
}
