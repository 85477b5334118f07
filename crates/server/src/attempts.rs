//! The log of an attempt: a piece of it from an offset, or followed while it grows.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;

/// From where to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The byte to begin at: 0, or the `next_offset` of the piece before.
    pub offset: Option<u64>,
}

/// A piece of an attempt's log. The event stream `/log/stream` sends the same as the data of its `log` events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogChunk {
    /// The text, at most 256 KiB of it. Bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Where the next piece begins, in bytes.
    pub next_offset: u64,
    /// Whether nothing more will come: the attempt is over and this is its last piece.
    pub complete: bool,
}

/// Part of an attempt's log.
#[utoipa::path(get, path = "/runs/{run}/tasks/{task}/attempts/{attempt}/log", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), ("task" = String, Path, description = "The task's name."),
        ("attempt" = u32, Path, description = "The attempt's number, from 1."), LogQuery),
    responses((status = 200, body = LogChunk), (status = "default", body = ErrorBody)))]
pub(crate) async fn read_log(
    State(node): State<Node>,
    Path(_attempt): Path<(i64, String, u32)>,
    Query(_from): Query<LogQuery>,
) -> Result<Json<LogChunk>, ApiError> {
    Err(node.not_wired())
}

/// Follows an attempt's log as server-sent events.
///
/// Each `log` event has a `LogChunk` as its data and its `next_offset` as its id, so that a browser goes on where it
/// stopped. The stream ends after an `end` event.
#[utoipa::path(get, path = "/runs/{run}/tasks/{task}/attempts/{attempt}/log/stream", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), ("task" = String, Path, description = "The task's name."),
        ("attempt" = u32, Path, description = "The attempt's number, from 1."), LogQuery),
    responses((status = 200, body = LogChunk, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
pub(crate) async fn follow_log(
    State(node): State<Node>,
    Path(_attempt): Path<(i64, String, u32)>,
    Query(_from): Query<LogQuery>,
) -> Result<(), ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(read_log)).routes(routes!(follow_log))
}
