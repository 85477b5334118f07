//! Flink's scalar functions that DataFusion lacks, over whole columns. They run once a row, so they are compiled well;
//! the planner that calls them is compiled fast, which is why they stand apart from it.

pub mod date_format;
pub mod regexp_extract;
pub mod split_index;

/// An argument that a function cannot work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// A letter that patterns do not have.
    #[error("DATE_FORMAT does not know {letters} in the pattern '{pattern}'")]
    Pattern {
        /// The letters.
        letters: String,
        /// The whole pattern.
        pattern: String,
    },
    /// A time that no calendar has.
    #[error("DATE_FORMAT: the time {time_ms} ms is out of range")]
    Time {
        /// The time.
        time_ms: i64,
    },
    /// A text that is no regular expression.
    #[error("{expression:?} is not a regular expression: {reason}")]
    Expression {
        /// The text.
        expression: String,
        /// Why not.
        reason: String,
    },
}
