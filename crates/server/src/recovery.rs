//! What a view promises of its rows when it is killed, and how its checkpoints go.

use jiff::Timestamp;
use mulgil_engine::status::{CheckpointStatus, GuaranteeStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::time;

/// What is promised of a view's rows, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guarantee {
    /// `at-most-once`, `at-least-once`, `exactly-once` or `end-to-end exactly-once`.
    pub given: String,
    /// What the tables have to do with it.
    pub reasons: Vec<GuaranteeReason>,
}

/// What a table has to do with a guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuaranteeReason {
    /// Whether the table is read; otherwise it is written.
    pub is_source: bool,
    /// The table.
    pub table: String,
    /// What it can do.
    pub says: String,
}

impl From<GuaranteeStatus> for Guarantee {
    fn from(status: GuaranteeStatus) -> Self {
        let reasons = status.reasons.into_iter().map(|reason| GuaranteeReason {
            is_source: reason.is_source,
            table: reason.table,
            says: reason.says.to_owned(),
        });
        Self { given: status.given.to_owned(), reasons: reasons.collect() }
    }
}

/// How the checkpoints of a view go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoints {
    /// How many have been made since the view was started.
    pub completed: u64,
    /// How many could not be written.
    pub failed: u64,
    /// When the last one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How long rows stood still for the last one, in milliseconds.
    pub pause_ms: f64,
    /// How long it took to write the last one, while rows went on, in milliseconds.
    pub took_ms: f64,
    /// What the last one has written, in bytes.
    pub written_bytes: u64,
    /// What the state takes on disk, in bytes.
    pub state_bytes: u64,
    /// Why the last one could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<CheckpointStatus> for Checkpoints {
    fn from(status: CheckpointStatus) -> Self {
        Self {
            completed: status.completed,
            failed: status.failed,
            completed_at: time(status.completed_ms),
            pause_ms: status.pause_ms,
            took_ms: status.took_ms,
            written_bytes: status.written_bytes,
            state_bytes: status.state_bytes,
            error: status.error,
        }
    }
}
