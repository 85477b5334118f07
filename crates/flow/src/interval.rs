//! The data interval: the half-open span of time `[start, end)` that a run is about.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `[start, end)`: `start` belongs to it, `end` belongs to the next. Prints as `start/end`, both in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DataInterval {
    /// The first instant inside.
    pub start: Timestamp,
    /// The first instant after it. Always later than `start`.
    pub end: Timestamp,
}

impl DataInterval {
    /// Whether the instant lies inside.
    #[must_use]
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.start <= instant && instant < self.end
    }
}

impl fmt::Display for DataInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.start, self.end)
    }
}
