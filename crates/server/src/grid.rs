//! A flow's grid of runs × tasks, packed: one letter a cell, so that a year of daily runs is one small answer.

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::node::Node;
use crate::runs::label;
use crate::status::RunStatus;

const RUNS_DEFAULT: u32 = 400;
const RUNS_MAX: u32 = 2000;

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
    /// `s` succeeded, `k` skipped, `f` failed, `u` upstream failed, `c` cancelled, `-` the run has no such task.
    pub cells: String,
}

/// The grid of runs × tasks of a flow, one letter a cell.
#[utoipa::path(get, path = "/flows/{flow}/grid", tag = "flows",
    params(("flow" = String, Path, description = "The flow's name."), GridQuery),
    responses((status = 200, body = Grid), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_grid(
    State(node): State<Node>,
    Path(flow): Path<String>,
    Query(page): Query<GridQuery>,
) -> Result<Json<Grid>, ApiError> {
    let limit = page.limit.unwrap_or(RUNS_DEFAULT).clamp(1, RUNS_MAX);
    // Without `before` one run more than asked for shows whether there are older ones. With it the history is read
    // from its newest run on: pages before the first are asked for rarely.
    let wanted = if page.before.is_some() { u32::MAX } else { limit + 1 };
    let stored = node.history.grid(&flow, wanted).await?;
    if stored.runs.is_empty() && !node.knows_flow(&flow) {
        return Err(ApiError::not_found("flow", &flow));
    }
    let mut runs = stored.runs;
    if let Some(before) = page.before {
        let end = runs.iter().position(|run| run.id.0 == before);
        runs.truncate(end.ok_or_else(|| ApiError::not_found("run", before))?);
    }
    let older = runs.len().saturating_sub(limit as usize);
    runs.drain(..older);
    let next_before = runs.first().filter(|_| older > 0).map(|run| run.id.0);
    let now = Timestamp::now();
    let runs = runs.into_iter().map(|run| GridRun::of(run, &flow, now)).collect();
    let tasks = if stored.tasks.is_empty() { node.task_names(&flow) } else { stored.tasks };
    Ok(Json(Grid { tasks, runs, next_before }))
}

impl GridRun {
    fn of(run: mulgil_history::read::GridRun, flow: &str, now: Timestamp) -> Self {
        let duration_ms = run.started_at.map(|started| {
            let took = run.ended_at.unwrap_or(now).duration_since(started).as_millis();
            u64::try_from(took).unwrap_or(0)
        });
        Self {
            id: run.id.0,
            label: label(flow, &run.name),
            status: run.status.into(),
            started_at: run.started_at,
            duration_ms,
            cells: run.cells,
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(show_grid))
}
