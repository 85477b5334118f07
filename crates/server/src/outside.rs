//! What a view has to do with the systems around it: which of them it waits for, and which of their rows it could not read.

use jiff::Timestamp;
use mulgil_engine::status::{BadRowStatus, WaitStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::time;

/// A row that could not be decoded. The texts are those of whoever wrote the row: show them as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BadRow {
    /// The source table.
    pub source: String,
    /// Where it is: `landing/b.csv:4`, or `topic t, partition 0, offset 7`.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
    /// How it begins, with escapes for what cannot be printed. Absent: it is not text of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Whether it goes on behind `raw`.
    #[serde(default)]
    pub is_cut: bool,
    /// When it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
}

impl From<BadRowStatus> for BadRow {
    fn from(row: BadRowStatus) -> Self {
        let BadRowStatus { table, place, reason, raw, is_cut, read_ms } = row;
        Self { source: table, place, reason, raw, is_cut, read_at: time(Some(read_ms)) }
    }
}

/// What a view waits for that should be there and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SystemWait {
    /// The table whose system it is.
    pub table: String,
    /// Whether the table is read; otherwise it is written.
    pub is_source: bool,
    /// The system and what it said last, such as `connect to 10.0.0.7:5432/shop: connection refused`.
    pub what: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl From<WaitStatus> for SystemWait {
    fn from(wait: WaitStatus) -> Self {
        let WaitStatus { table, is_source, what, since_ms } = wait;
        Self { table, is_source, what, since: time(Some(since_ms)) }
    }
}
