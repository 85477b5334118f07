//! Runs: where each stands, its tasks and attempts, and the commands re-run and cancel.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;
use crate::status::{AttemptStatus, RunStatus, TaskStatus};

/// The half-open span of time `[start, end)` that a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Interval {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

/// Why there is a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The flow's schedule.
    Schedule,
    /// Someone asked for this one run.
    Manual,
    /// A backfill.
    Backfill,
}

/// A run in one line of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunSummary {
    /// The run: a number, in the order of creation.
    pub id: i64,
    /// Its name for people, unique in the project: `daily_delays/2013-01-01`.
    pub name: String,
    /// The flow that it runs.
    pub flow: String,
    /// The local date or time of its interval's start, else its parameters.
    pub label: String,
    /// What the run is about. Absent: the flow has no schedule and none was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it is there.
    pub origin: Origin,
    /// The backfill that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<i64>,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When its first task began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// A run with its tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunDetail {
    /// What the list says too.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The parameters, defaults included.
    pub params: BTreeMap<String, serde_json::Value>,
    /// Its tasks, in an order in which each stands after those that it needs.
    pub tasks: Vec<TaskRun>,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskRun {
    /// The task's name.
    pub name: String,
    /// What kind of task it is: `shell`, `sql` or `transfer`.
    pub kind: String,
    /// The names of the tasks that it needs.
    pub needs: Vec<String>,
    /// Where it stands.
    pub status: TaskStatus,
    /// When it will be tried again, where it is `retrying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// One try at a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its number, from 1. Re-runs go on counting.
    pub number: u32,
    /// Where it stands.
    pub status: AttemptStatus,
    /// Who ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When the worker began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// Whether there is a log to read.
    pub has_log: bool,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskError {
    /// What went wrong, in one sentence.
    pub message: String,
    /// What else there is to say, over as many lines as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Which runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Only runs of this flow.
    pub flow: Option<String>,
    /// Only the run with this name, such as `daily_delays/2013-01-01`.
    pub name: Option<String>,
    /// Only runs with this status.
    #[param(inline)]
    pub status: Option<RunStatus>,
    /// Only runs of this backfill.
    pub backfill: Option<i64>,
    /// At most so many; 50 unless told, 1000 at most.
    pub limit: Option<u32>,
    /// Only runs with a smaller id: the `next_before` of the page before.
    pub before: Option<i64>,
}

/// A page of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunPage {
    /// The runs, newest first.
    pub runs: Vec<RunSummary>,
    /// Pass it as `before` for the next page. Absent: this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<i64>,
}

/// What a re-run runs again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RerunScope {
    /// The tasks that did not succeed, and what depends on them.
    #[default]
    Failed,
    /// One task, and what depends on it.
    From,
    /// Every task.
    All,
}

/// What to run again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RerunAsk {
    /// Which tasks.
    #[serde(default)]
    #[param(inline)]
    pub scope: RerunScope,
    /// The task to run again from, where the scope is `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Confirms that tasks marked `idempotent: false` may run a second time.
    #[serde(default)]
    pub confirm: bool,
}

/// What a re-run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RerunPreview {
    /// The run.
    pub run: i64,
    /// Its name for people.
    pub name: String,
    /// The tasks that would run again, in order; every other task keeps its result.
    pub tasks: Vec<RerunTask>,
    /// Whether it has to be confirmed: a task that is not idempotent would run a second time.
    pub needs_confirmation: bool,
}

/// A task that would run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RerunTask {
    /// The task's name.
    pub name: String,
    /// Where it stands now.
    pub status: TaskStatus,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    /// How many attempts were made so far.
    pub attempts: u32,
}

/// Runs, newest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunsQuery),
    responses((status = 200, body = RunPage), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_runs(
    State(node): State<Node>,
    Query(_page): Query<RunsQuery>,
) -> Result<Json<RunPage>, ApiError> {
    Err(node.not_wired())
}

/// One run with its tasks and attempts.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs", params(("run" = i64, Path, description = "The run's id.")),
    responses((status = 200, body = RunDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_run(State(node): State<Node>, Path(_run): Path<i64>) -> Result<Json<RunDetail>, ApiError> {
    Err(node.not_wired())
}

/// What a re-run would run again.
#[utoipa::path(get, path = "/runs/{run}/rerun-preview", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), RerunAsk),
    responses((status = 200, body = RerunPreview), (status = "default", body = ErrorBody)))]
pub(crate) async fn preview_rerun(
    State(node): State<Node>,
    Path(_run): Path<i64>,
    Query(_ask): Query<RerunAsk>,
) -> Result<Json<RerunPreview>, ApiError> {
    Err(node.not_wired())
}

/// Runs part of a run again, with the same parameters.
#[utoipa::path(post, path = "/runs/{run}/rerun", tag = "runs",
    params(("run" = i64, Path, description = "The run's id.")), request_body = RerunAsk,
    responses((status = 200, body = RunDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn rerun(
    State(node): State<Node>,
    Path(_run): Path<i64>,
    Json(_ask): Json<RerunAsk>,
) -> Result<Json<RunDetail>, ApiError> {
    Err(node.not_wired())
}

/// Stops a run: its running tasks are ended, the others never start.
#[utoipa::path(post, path = "/runs/{run}/cancel", tag = "runs", params(("run" = i64, Path, description = "The run's id.")),
    responses((status = 200, body = RunDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn cancel_run(State(node): State<Node>, Path(_run): Path<i64>) -> Result<Json<RunDetail>, ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(list_runs))
        .routes(routes!(show_run))
        .routes(routes!(preview_rerun))
        .routes(routes!(rerun))
        .routes(routes!(cancel_run))
}
