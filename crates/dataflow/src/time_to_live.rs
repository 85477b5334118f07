//! How long state is kept that nothing else bounds: a user's choice, for joins and rolling aggregates alike.

use std::fmt;

/// A time to live. What is forgotten begins anew, so results may then differ from those of batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeToLive {
    /// Until event time has advanced by so many milliseconds since the state last changed.
    EventTime(i64),
    /// Until so many milliseconds have passed since then, by the machine's clock.
    ProcessingTime(i64),
}

impl fmt::Display for TimeToLive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeToLive::EventTime(ms) => write!(f, "{ms} ms of event time"),
            TimeToLive::ProcessingTime(ms) => write!(f, "{ms} ms"),
        }
    }
}
