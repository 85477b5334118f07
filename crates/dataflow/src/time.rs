//! Event time: milliseconds since 1970-01-01T00:00:00, and the watermark that says how far it has come.
//!
//! A watermark `w` promises that no more rows with an event time `< w` are expected; rows that come all the same are
//! *late*. The words are those of the Dataflow Model (Akidau et al., VLDB 2015) and of Flink.

/// A point in event time, in milliseconds since the epoch. Negative before 1970.
pub type EventTimeMs = i64;

/// How far event time has come: rows with an event time below it are late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watermark(pub EventTimeMs);

impl Watermark {
    /// Nothing is known yet: no row can be late.
    pub const UNKNOWN: Watermark = Watermark(i64::MIN);
    /// The input has ended: every window closes.
    pub const END: Watermark = Watermark(i64::MAX);
}
