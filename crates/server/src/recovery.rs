//! What a view promises of its rows when it is killed, and how its checkpoints go.

use jiff::Timestamp;
use mulgil_engine::status::{CheckpointStatus, GuaranteeStatus};
use mulgil_serving::status::RestartStatus;
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

/// How often a view's job has been started again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restarts {
    /// How often, since a person started it.
    pub count: u64,
    /// How often in a row without coming a row further.
    pub tries: u32,
    /// When it is started next. Absent: it does not wait for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Timestamp>,
    /// Why it failed last.
    pub last_error: String,
    /// When it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
}

impl Restarts {
    /// What has happened, if anything has.
    pub(crate) fn of(status: &RestartStatus) -> Option<Self> {
        Some(Self {
            count: status.count,
            tries: status.tries,
            next_try_at: time(status.next_try_ms),
            last_error: status.last_error.clone()?,
            failed_at: time(status.failed_ms),
        })
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
