//! Flows: their definitions, their next runs, and the commands start, pause and resume.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;
use crate::project::Problem;
use crate::runs::{Interval, RunSummary};
use crate::status::{RunCounts, RunStatus};

/// A flow in one line of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowSummary {
    /// The flow's name. Of a broken file, the name that it states, else the file's name without its ending.
    pub name: String,
    /// What the flow is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The schedule as text, such as `0 6 * * *`. Absent: the flow runs only when asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The IANA time zone of the schedule.
    pub timezone: String,
    /// When the schedule fires next. Absent: never again, or paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_fire: Option<Timestamp>,
    /// Whether the schedule is paused. Runs can still be asked for.
    pub paused: bool,
    /// The newest runs, newest first, at most 20.
    pub recent_runs: Vec<RecentRun>,
    /// How many runs have each status.
    pub counts: RunCounts,
    /// Why the flow is broken. Empty: it is not.
    pub problems: Vec<Problem>,
}

/// A run as a dot in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecentRun {
    /// The run.
    pub id: i64,
    /// What the run is about: the local date or time of its interval's start, else its parameters.
    pub label: String,
    /// Where it stands.
    pub status: RunStatus,
}

/// A flow with everything about its definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowDetail {
    /// What the list says too.
    #[serde(flatten)]
    pub summary: FlowSummary,
    /// Its tasks, in an order in which each stands after those that it needs.
    pub tasks: Vec<TaskDefinition>,
    /// Who waits for whom.
    pub edges: Vec<Edge>,
    /// The parameters that a run may be given.
    pub params: Vec<Param>,
    /// The definition's file, relative to the project's folder.
    pub file: String,
    /// The definition's text.
    pub text: String,
    /// The next data intervals of the schedule and when each will run, at most 20.
    pub next: Vec<NextRun>,
}

/// A node of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDefinition {
    /// The task's name.
    pub name: String,
    /// What kind of task it is: `shell`, `sql` or `transfer`.
    pub kind: String,
    /// The names of the tasks that it needs.
    pub needs: Vec<String>,
    /// What it does, on one line: the command, the SQL file, from where to where.
    pub summary: String,
    /// Whether trying it again is safe.
    pub idempotent: bool,
}

/// An arrow of a flow's graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Edge {
    /// The task that is needed.
    pub from: String,
    /// The task that needs it.
    pub to: String,
}

/// A parameter of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// The type of its values: `string`, `integer`, `number`, `boolean` or `date`.
    #[serde(rename = "type")]
    pub param_type: String,
    /// The value of runs that are not given another. Absent: one must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A data interval to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NextRun {
    /// What the run will be about.
    pub interval: Interval,
    /// When the run begins: its interval's end.
    pub fires_at: Timestamp,
}

/// Asks for one run of a flow.
///
/// Of a scheduled flow, `date`, or `start` with `end`, says which interval; without either it is the latest one that
/// has ended. The same flow with the same interval
/// and parameters is the same run: if it is there already, it is answered and nothing new runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    /// The local date, as `2013-02-17`, of the start of the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<jiff::civil::Date>,
    /// The start of the data interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The end of the data interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Parameters that differ from their defaults.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
}

/// The run that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StartedRun {
    /// The run.
    pub run: RunSummary,
    /// False where this run was there already, so that nothing new was started.
    pub created: bool,
}

/// Every flow, broken ones too, by name.
#[utoipa::path(get, path = "/flows", tag = "flows",
    responses((status = 200, body = [FlowSummary]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_flows(State(node): State<Node>) -> Result<Json<Vec<FlowSummary>>, ApiError> {
    Err(node.not_wired())
}

/// One flow with its tasks, parameters, text and next runs.
#[utoipa::path(get, path = "/flows/{flow}", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 200, body = FlowDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_flow(
    State(node): State<Node>,
    Path(_flow): Path<String>,
) -> Result<Json<FlowDetail>, ApiError> {
    Err(node.not_wired())
}

/// Starts one run of a flow.
#[utoipa::path(post, path = "/flows/{flow}/runs", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    request_body = StartRun, responses((status = 200, body = StartedRun), (status = "default", body = ErrorBody)))]
pub(crate) async fn start_run(
    State(node): State<Node>,
    Path(_flow): Path<String>,
    Json(_ask): Json<StartRun>,
) -> Result<Json<StartedRun>, ApiError> {
    Err(node.not_wired())
}

/// Pauses a flow's schedule. Runs that are there go on.
#[utoipa::path(post, path = "/flows/{flow}/pause", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 204, description = "The schedule is paused."), (status = "default", body = ErrorBody)))]
pub(crate) async fn pause_flow(State(node): State<Node>, Path(_flow): Path<String>) -> Result<(), ApiError> {
    Err(node.not_wired())
}

/// Resumes a flow's schedule.
#[utoipa::path(post, path = "/flows/{flow}/resume", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 204, description = "The schedule fires again."), (status = "default", body = ErrorBody)))]
pub(crate) async fn resume_flow(State(node): State<Node>, Path(_flow): Path<String>) -> Result<(), ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(list_flows))
        .routes(routes!(show_flow))
        .routes(routes!(start_run))
        .routes(routes!(pause_flow))
        .routes(routes!(resume_flow))
}
