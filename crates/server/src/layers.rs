//! The layers of a view that is kept up to date by `lambda`, and how far its speed layer had been off.

use axum::extract::State;
use jiff::Timestamp;
use mulgil_connect::definition::TableName;
use mulgil_serving::status::{ArchiveStatus, LayersStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path};
use crate::node::Node;
use crate::views::{ViewState, time};

/// The layers of a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayersOfView {
    /// Windows that have ended then or before come from batch, all others from the stream. Absent: there is no batch view yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boundary: Option<Timestamp>,
    /// The number of the batch view; 0 before the first.
    pub batch_version: u64,
    /// How many rows it has.
    pub batch_rows: u64,
    /// When it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_made_at: Option<Timestamp>,
    /// The archives that it is computed from.
    pub archives: Vec<ArchiveOfTable>,
}

/// A table in the lake to which a stream copies every row of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ArchiveOfTable {
    /// The archive's table.
    pub table: String,
    /// What its stream is doing.
    pub state: ViewState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How far its event time has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// How many rows were copied since it was started.
    pub rows_in: u64,
}

impl From<ArchiveStatus> for ArchiveOfTable {
    fn from(archive: ArchiveStatus) -> Self {
        Self {
            table: archive.table,
            state: archive.state.into(),
            error: archive.error,
            watermark: time(archive.watermark_ms),
            rows_in: archive.rows_in,
        }
    }
}

impl From<LayersStatus> for LayersOfView {
    fn from(status: LayersStatus) -> Self {
        Self {
            boundary: time(status.boundary_ms),
            batch_version: status.batch_version,
            batch_rows: status.batch_rows,
            batch_made_at: time(status.batch_made_ms),
            archives: status.archives.into_iter().map(ArchiveOfTable::from).collect(),
        }
    }
}

/// How far the speed layer had been off in a window, once batch has spoken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drift {
    /// The end of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_end: Option<Timestamp>,
    /// How many rows batch has.
    pub batch_rows: u64,
    /// How many rows the stream had.
    pub realtime_rows: u64,
    /// Rows that the stream had with other values.
    pub differing: u64,
    /// Rows that the stream did not have.
    pub missing: u64,
    /// Rows that the stream had and batch has not.
    pub surplus: u64,
    /// The version of the batch view that has said so.
    pub version: u64,
}

/// How far the speed layer of a view had been off, window by window, the latest last.
#[utoipa::path(get, path = "/views/{view}/drift", tag = "views",
    params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = [Drift]), (status = "default", body = ErrorBody)))]
pub(crate) async fn view_drift(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<Vec<Drift>>, ApiError> {
    let found = node.loaded().views.drift(&TableName::parse(&name))?;
    let drift = found.into_iter().map(|window| Drift {
        window_end: time(Some(window.window_end_ms)),
        batch_rows: window.batch_rows,
        realtime_rows: window.realtime_rows,
        differing: window.differing,
        missing: window.missing,
        surplus: window.surplus,
        version: window.version,
    });
    Ok(Json(drift.collect()))
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(view_drift))
}
