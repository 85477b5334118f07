//! Runs: where each stands, its tasks and attempts, and the commands re-run and cancel.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::State;
use jiff::Timestamp;
use mulgil_flow::Task;
use mulgil_history::read::{AttemptRow, RunQuery, RunRow, TaskRow};
use mulgil_history::write::Trigger;
use mulgil_sched::id::{BackfillId, RunId, TaskIndex};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::calls::{ChildRun, ParentRun, children_of};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::items::{self, ItemCounts};
use crate::node::Node;
use crate::notices::Alert;
use crate::status::{AttemptStatus, RunStatus, TaskStatus};
use crate::stretches::{self, Stretch};
use crate::usage::Usage;

const RUNS_DEFAULT: u32 = 50;
const RUNS_MAX: u32 = 1000;

/// The half-open span of time `[start, end)` that a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Interval {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Timestamp,
}

impl From<mulgil_flow::DataInterval> for Interval {
    fn from(interval: mulgil_flow::DataInterval) -> Self {
        Self { start: interval.start, end: interval.end }
    }
}

/// Why there is a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The flow's schedule.
    Schedule,
    /// Someone asked for this one run.
    Manual,
    /// A request to the flow's webhook.
    Webhook,
    /// A file that has arrived.
    File,
    /// A backfill.
    Backfill,
    /// A task of another run.
    Flow,
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
    /// The version of the definition that it follows.
    pub version: String,
    /// Whether that is the flow as it is now.
    pub is_latest: bool,
    /// Whether it took longer than its flow's `run_timeout`, and stops or has stopped for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed_out: bool,
    /// The parameters, defaults included.
    pub params: BTreeMap<String, serde_json::Value>,
    /// The task of another run that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRun>,
    /// What was noticed of it beside its status: that it is late, or takes longer than usual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Its tasks, in an order in which each stands after those that it needs.
    pub tasks: Vec<TaskRun>,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskRun {
    /// The task's name.
    pub name: String,
    /// What kind of task it is: `shell`, `python`, `sql`, `transfer`, `http`, `wait` or `flow`.
    pub kind: String,
    /// The names of the tasks that it needs.
    pub needs: Vec<String>,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Where it stands.
    pub status: TaskStatus,
    /// When it will be tried again, where it is `retrying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// Why it stands where it stands, where no attempt says so: a condition that is false, somebody who marked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What it gave to the tasks after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// The run that does its work, where it runs another flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<ChildRun>,
    /// How its items stand, where it goes over some. They are listed by `/runs/{run}/tasks/{task}/items`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemCounts>,
    /// When its items, or the run that does its work, were at work. Absent for a task that has attempts of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worked: Vec<Stretch>,
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
    /// What it used, once it has ended. Absent: nobody measured it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
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

/// Runs, newest first.
#[utoipa::path(get, path = "/runs", tag = "runs", params(RunsQuery),
    responses((status = 200, body = RunPage), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_runs(
    State(node): State<Node>,
    Query(page): Query<RunsQuery>,
) -> Result<Json<RunPage>, ApiError> {
    if let Some(name) = &page.name {
        let found = node.history.run_named(name).await?;
        let run = match found {
            Some(id) => node.history.run(id).await?,
            None => None,
        };
        let runs = run.into_iter().map(|detail| RunSummary::of(detail.run)).collect();
        return Ok(Json(RunPage { runs, next_before: None }));
    }
    let limit = page.limit.unwrap_or(RUNS_DEFAULT).clamp(1, RUNS_MAX);
    let query = RunQuery {
        flow: page.flow,
        backfill: page.backfill.map(BackfillId),
        status: page.status.map(Into::into),
        before: page.before.map(RunId),
        // One more than asked for shows whether there is a next page.
        limit: limit + 1,
    };
    let mut rows = node.history.runs(&query).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_before = rows.last().filter(|_| more).map(|row| row.id.0);
    Ok(Json(RunPage { runs: rows.into_iter().map(RunSummary::of).collect(), next_before }))
}

/// One run with its tasks and attempts.
#[utoipa::path(get, path = "/runs/{run}", tag = "runs", params(("run" = i64, Path, description = "The run's id.")),
    responses((status = 200, body = RunDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_run(State(node): State<Node>, Path(run): Path<i64>) -> Result<Json<RunDetail>, ApiError> {
    detail(&node, run).await.map(Json)
}

/// Stops a run: its running tasks are ended, the others never start.
#[utoipa::path(post, path = "/runs/{run}/cancel", tag = "runs", params(("run" = i64, Path, description = "The run's id.")),
    responses((status = 200, body = RunDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn cancel_run(State(node): State<Node>, Path(run): Path<i64>) -> Result<Json<RunDetail>, ApiError> {
    node.scheduler.cancel_run(RunId(run)).await?;
    detail(&node, run).await.map(Json)
}

/// What a run is about: its name without the flow's.
pub(crate) fn label(flow: &str, name: &str) -> String {
    name.strip_prefix(flow).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name).to_owned()
}

/// The one run's row, or 404.
pub(crate) async fn summary(node: &Node, run: RunId) -> Result<RunSummary, ApiError> {
    let found = node.history.run(run).await?.ok_or_else(|| ApiError::not_found("run", run))?;
    Ok(RunSummary::of(found.run))
}

pub(crate) async fn detail(node: &Node, run: i64) -> Result<RunDetail, ApiError> {
    let found = node.history.run(RunId(run)).await?.ok_or_else(|| ApiError::not_found("run", run))?;
    let definition = node.definition(&found.run.flow, &found.run.version).await?;
    let mut attempts: BTreeMap<TaskIndex, Vec<Attempt>> = BTreeMap::new();
    let mut items = items::counts(&found.tasks);
    let mut children = children_of(&found.children);
    let mut worked = stretches::of_others(&found);
    let parent = found.parent.map(Into::into);
    let is_item: HashSet<TaskIndex> =
        found.tasks.iter().filter(|row| row.item_of.is_some()).map(|row| row.index).collect();
    for row in found.attempts {
        if !is_item.contains(&row.task_index) {
            attempts.entry(row.task_index).or_default().push(Attempt::of(row, node));
        }
    }
    let tasks = definition.iter().flat_map(|flow| &flow.tasks);
    let defined: HashMap<&str, &Task> = tasks.map(|task| (task.name.as_str(), task)).collect();
    let task = |row: TaskRow| {
        let defined = defined.get(row.name.as_str());
        TaskRun {
            kind: defined.map_or("unknown", |task| task.kind.word()).to_owned(),
            needs: defined.map_or_else(Vec::new, |task| task.needs.clone()),
            group: defined.and_then(|task| task.group.clone()),
            status: row.status.into(),
            retry_at: row.not_before,
            note: row.note,
            result: row.result,
            child: children.remove(&row.index),
            items: items.remove(&row.index),
            worked: worked.remove(&row.index).unwrap_or_default(),
            attempts: attempts.remove(&row.index).unwrap_or_default(),
            name: row.name,
        }
    };
    let tasks = found.tasks.into_iter().filter(|row| row.item_of.is_none()).map(task).collect();
    let params = match &found.run.params {
        serde_json::Value::Object(params) => params.clone().into_iter().collect(),
        _ => BTreeMap::new(),
    };
    let now = node.loaded();
    let now = now.folder.flows.iter().find(|source| source.flow.name == found.run.flow);
    let is_latest = now.is_some_and(|source| source.flow.version.0 == found.run.version);
    let (version, timed_out) = (found.run.version.clone(), found.run.timed_out);
    let alerts = found.alerts.into_iter().map(Alert::from).collect();
    let summary = RunSummary::of(found.run);
    Ok(RunDetail { summary, version, is_latest, timed_out, params, parent, alerts, tasks })
}

impl RunSummary {
    pub(crate) fn of(row: RunRow) -> Self {
        let interval = row.interval_start.zip(row.interval_end).map(|(start, end)| Interval { start, end });
        Self {
            id: row.id.0,
            label: label(&row.flow, &row.name),
            name: row.name,
            flow: row.flow,
            interval,
            status: row.status.into(),
            origin: row.trigger.into(),
            backfill: row.backfill.map(|id| id.0),
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
        }
    }
}

impl Attempt {
    pub(crate) fn of(row: AttemptRow, node: &Node) -> Self {
        // A look at a file's name is over sooner than a thread is found for it.
        let has_log = node.dir.join(&row.log).exists();
        Self {
            number: row.attempt,
            status: row.status.into(),
            worker: Some(row.owner),
            started_at: row.started_at,
            ended_at: row.ended_at,
            error: row.error.map(TaskError::of),
            usage: row.usage.map(Into::into),
            has_log,
        }
    }
}

impl TaskError {
    /// The first line is the sentence, the others the detail.
    pub(crate) fn of(text: String) -> Self {
        match text.split_once('\n') {
            None => Self { message: text, detail: None },
            Some((message, detail)) => Self { message: message.to_owned(), detail: Some(detail.to_owned()) },
        }
    }
}

impl From<Trigger> for Origin {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Schedule => Self::Schedule,
            Trigger::Manual => Self::Manual,
            Trigger::Webhook => Self::Webhook,
            Trigger::File => Self::File,
            Trigger::Backfill => Self::Backfill,
            Trigger::Flow => Self::Flow,
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(list_runs)).routes(routes!(show_run)).routes(routes!(cancel_run))
}
