//! Why is it not running? One sentence for each run, task and flow that waits.

use axum::extract::State;
use mulgil_sched::id::RunId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::node::Node;
use crate::scheduler::{self, SchedulerError};
use crate::status::{RunStatus, TaskStatus};

/// Of which task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhyQuery {
    /// Only this task. Without it, the run and every task of it that waits.
    pub task: Option<String>,
}

/// Why a run, and each of its tasks that waits, does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunWaits {
    /// The run's name for people.
    pub name: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Why the run has not begun. Absent: it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// The tasks that wait, in the graph's order.
    pub tasks: Vec<TaskWaits>,
    /// How many more tasks wait than are told of here; ask for one by name.
    pub left_out: usize,
}

/// Why a task does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskWaits {
    /// The task's name.
    pub task: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// Why.
    pub why: Why,
}

/// A reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// One word: `needs`, `pool`, `retry`, `flow_limit`, `backfill_limit`, `no_worker`, `workers_full`, `paused`, ...
    pub kind: String,
    /// One sentence, without the full stop.
    pub sentence: String,
}

impl From<scheduler::Why> for Why {
    fn from(why: scheduler::Why) -> Self {
        Self { kind: why.kind.to_owned(), sentence: why.sentence }
    }
}

/// Why a run, or a task of it, is not running.
#[utoipa::path(get, path = "/runs/{run}/why", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), WhyQuery),
    responses((status = 200, body = RunWaits), (status = "default", body = ErrorBody)))]
pub(crate) async fn why_run(
    State(node): State<Node>,
    Path(run): Path<i64>,
    Query(ask): Query<WhyQuery>,
) -> Result<Json<RunWaits>, ApiError> {
    let waits = node.scheduler.why_run(RunId(run), ask.task).await?;
    let task =
        |task: scheduler::TaskWaits| TaskWaits { task: task.task, status: task.status.into(), why: task.why.into() };
    Ok(Json(RunWaits {
        name: waits.name,
        status: waits.status.into(),
        why: waits.why.map(Into::into),
        tasks: waits.tasks.into_iter().map(task).collect(),
        left_out: waits.left_out,
    }))
}

/// Why a flow makes no new run just now.
#[utoipa::path(get, path = "/flows/{flow}/why", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 200, body = Why), (status = "default", body = ErrorBody)))]
pub(crate) async fn why_flow(State(node): State<Node>, Path(flow): Path<String>) -> Result<Json<Why>, ApiError> {
    let loaded = node.loaded();
    if let Some(broken) = loaded.folder.broken_flows().iter().find(|broken| broken.name == flow) {
        let problem = loaded.problems.iter().find(|problem| problem.file == broken.file);
        let what =
            problem.map_or_else(String::new, |problem| format!(":{}: {}", problem.line.unwrap_or(1), problem.message));
        let sentence = format!("its definition is broken: {}{what}", broken.file);
        return Ok(Json(Why { kind: "broken".to_owned(), sentence }));
    }
    match node.scheduler.why_flow(&flow).await {
        Ok(why) => Ok(Json(why.into())),
        Err(error @ SchedulerError::UnknownFlow { .. }) => {
            Err(ApiError::not_found("flow", &flow).with_hint(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(why_run)).routes(routes!(why_flow))
}
