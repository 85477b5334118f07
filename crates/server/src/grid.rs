//! A flow's grid of runs × tasks, packed: one letter a cell, so that a year of daily runs is one small answer.

use axum::Json;
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;
use crate::status::RunStatus;

/// Which part of the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct GridQuery {
    /// At most so many runs, the newest first chosen; 400 unless told, 2000 at most.
    pub limit: Option<u32>,
    /// Only runs before this run, in the order of intervals: the `next_before` of the page before.
    pub before: Option<i64>,
}

/// Runs × tasks of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Grid {
    /// The rows: task names, in an order in which each stands after those that it needs.
    pub tasks: Vec<String>,
    /// The columns, oldest interval first.
    pub runs: Vec<GridRun>,
    /// Pass it as `before` for the runs before these. Absent: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<i64>,
}

/// One column of the grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GridRun {
    /// The run.
    pub id: i64,
    /// The local date or time of its interval's start, else its parameters.
    pub label: String,
    /// Where the run stands.
    pub status: RunStatus,
    /// When its first task began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How long it took, or has taken until now, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// One letter for each of `tasks`, in their order: `w` waiting, `y` ready, `r` running, `t` retrying,
    /// `s` succeeded, `f` failed, `u` upstream failed, `c` cancelled, `-` the run has no such task.
    pub cells: String,
}

/// The grid of runs × tasks of a flow, one letter a cell.
#[utoipa::path(get, path = "/flows/{flow}/grid", tag = "flows",
    params(("flow" = String, Path, description = "The flow's name."), GridQuery),
    responses((status = 200, body = Grid), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_grid(
    State(node): State<Node>,
    Path(_flow): Path<String>,
    Query(_page): Query<GridQuery>,
) -> Result<Json<Grid>, ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(show_grid))
}
