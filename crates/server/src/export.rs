//! How a view was last exported, as the API tells it.

use jiff::Timestamp;
use mulgil_serving::status::ExportStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::time;

/// How a view was last exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportOfView {
    /// The table that its rows replace.
    pub table: String,
    /// How many rows that has since.
    pub rows: u64,
    /// When it was last replaced. Absent: it was not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Timestamp>,
    /// Why the last try has failed; the table is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<ExportStatus> for ExportOfView {
    fn from(status: ExportStatus) -> Self {
        Self { table: status.table, rows: status.rows, made_at: time(status.made_ms), error: status.error }
    }
}
