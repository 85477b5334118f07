//! Backfills: planned before they run, watched while they run.

use axum::extract::State;
use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use mulgil_flow::backfill as planning;
use mulgil_history::read::{BackfillRow, RunQuery};
use mulgil_history::write::BackfillStatus as Stored;
use mulgil_sched::id::BackfillId;
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::RunStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path};
use crate::node::Node;
use crate::runs::{Interval, label};
use crate::scheduler::{BackfillRequest, RerunRequest};

/// How many backfills a list shows.
const LISTED_MAX: u32 = 100;
/// How many intervals of a plan are shown.
const SAMPLE_MAX: usize = 20;
/// Before so many runs are over, an estimate would mislead.
const ESTIMATE_AFTER_RUNS: u64 = 3;

/// Which intervals of the range run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Those that have no run yet.
    #[default]
    Missing,
    /// Those whose run failed or was cancelled.
    Failed,
    /// All that are not active now, those too that are done.
    All,
}

/// In which order the intervals run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From the past to the present.
    #[default]
    OldestFirst,
    /// From the present to the past.
    NewestFirst,
}

/// Asks for runs over a range of past intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillAsk {
    /// The first local date.
    pub from: Date,
    /// The last local date, included.
    pub to: Date,
    /// At most so many runs at once; 8 unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Which of the intervals.
    #[serde(default)]
    pub which: Which,
    /// In which order they run.
    #[serde(default)]
    pub order: Order,
    /// Parameters that differ from their defaults.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// After so many runs it pauses by itself, to be looked at; not at all unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u32>,
    /// Whether failed tasks are tried again by themselves.
    #[serde(default)]
    pub retries: bool,
    /// How often, at most, what failed runs again once everything has ended, as long as that mends something; once unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
    /// Only plan: nothing runs.
    #[serde(default)]
    pub dry_run: bool,
    /// Confirms that tasks marked `idempotent: false` may run a second time.
    #[serde(default)]
    pub confirm: bool,
}

/// What a backfill would run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackfillPlan {
    /// How many intervals the range has.
    pub total: u64,
    /// How many of them would run.
    pub to_run: u64,
    /// How many of those that would run have a run already, which runs again.
    pub reruns: u64,
    /// How many are left as they are.
    pub skipped: u64,
    /// At most so many at once.
    pub concurrency: u32,
    /// The first of the intervals that would run, at most 20.
    pub sample: Vec<PlannedInterval>,
}

/// An interval of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedInterval {
    /// The local date or time of its start.
    pub label: String,
    /// The interval.
    pub interval: Interval,
}

/// The answer to an ask: always the plan, and the backfill unless it was a dry run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BackfillAnswer {
    /// What runs, or would run.
    pub plan: BackfillPlan,
    /// The backfill that has begun. Absent: a dry run, or nothing to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Backfill>,
}

/// Where a backfill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackfillStatus {
    /// Some of its runs are not over.
    Running,
    /// No further run begins until it is resumed.
    Paused,
    /// All its runs are over, and all succeeded.
    Succeeded,
    /// All its runs are over, and some failed.
    Failed,
    /// Stopped before its end.
    Cancelled,
}

/// Runs for a range of past intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Backfill {
    /// The backfill.
    pub id: i64,
    /// The flow.
    pub flow: String,
    /// The first instant of the range.
    pub from: Timestamp,
    /// The first instant after the range.
    pub to: Timestamp,
    /// At most so many runs at once.
    pub concurrency: u32,
    /// At most so many at once now: errors halve it, success brings it back.
    pub pace: u32,
    /// After so many runs it pauses by itself. Absent: not, or not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u32>,
    /// How often, at most, what failed runs again once everything has ended.
    pub rounds: u32,
    /// How often that has begun.
    pub round: u32,
    /// Where it stands.
    pub status: BackfillStatus,
    /// How many runs it has.
    pub total: u64,
    /// How many succeeded.
    pub succeeded: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many are running.
    pub running: u64,
    /// How many wait.
    pub queued: u64,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How long it will still take, in seconds, if its runs go on taking as long as they have, at the pace of now. Absent
    /// while there is nothing to go by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
}

/// Plans a backfill, and begins it unless `dry_run` is set.
#[utoipa::path(post, path = "/flows/{flow}/backfills", tag = "backfills",
    params(("flow" = String, Path, description = "The flow's name.")), request_body = BackfillAsk,
    responses((status = 200, body = BackfillAnswer), (status = "default", body = ErrorBody)))]
pub(crate) async fn start_backfill(
    State(node): State<Node>,
    Path(flow): Path<String>,
    Json(ask): Json<BackfillAsk>,
) -> Result<Json<BackfillAnswer>, ApiError> {
    let dry_run = ask.dry_run;
    let request = ask.request(flow);
    let concurrency = request.concurrency.unwrap_or(BackfillRequest::CONCURRENCY_DEFAULT);
    let plan = BackfillPlan::of(node.scheduler.plan_backfill(request.clone()).await?, concurrency);
    if dry_run {
        return Ok(Json(BackfillAnswer { plan, backfill: None }));
    }
    let backfill = match node.scheduler.start_backfill(request).await?.backfill {
        Some(id) => Some(find(&node, id.0).await?),
        None => None,
    };
    Ok(Json(BackfillAnswer { plan, backfill }))
}

/// The newest backfills, newest first, at most 100.
#[utoipa::path(get, path = "/backfills", tag = "backfills",
    responses((status = 200, body = [Backfill]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_backfills(State(node): State<Node>) -> Result<Json<Vec<Backfill>>, ApiError> {
    let rows = node.history.backfills(None, LISTED_MAX).await?;
    Ok(Json(rows.into_iter().map(Backfill::of_row).collect()))
}

/// One backfill and its progress.
#[utoipa::path(get, path = "/backfills/{backfill}", tag = "backfills",
    params(("backfill" = i64, Path, description = "The backfill's id.")),
    responses((status = 200, body = Backfill), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_backfill(State(node): State<Node>, Path(id): Path<i64>) -> Result<Json<Backfill>, ApiError> {
    find(&node, id).await.map(Json)
}

/// Stops a backfill: its runs that wait never start, those that run are stopped.
#[utoipa::path(post, path = "/backfills/{backfill}/cancel", tag = "backfills",
    params(("backfill" = i64, Path, description = "The backfill's id.")),
    responses((status = 200, body = Backfill), (status = "default", body = ErrorBody)))]
pub(crate) async fn cancel_backfill(State(node): State<Node>, Path(id): Path<i64>) -> Result<Json<Backfill>, ApiError> {
    node.scheduler.cancel_backfill(BackfillId(id)).await?;
    find(&node, id).await.map(Json)
}

/// Lets no further run of a backfill begin. Those that run go on.
#[utoipa::path(post, path = "/backfills/{backfill}/pause", tag = "backfills",
    params(("backfill" = i64, Path, description = "The backfill's id.")),
    responses((status = 200, body = Backfill), (status = "default", body = ErrorBody)))]
pub(crate) async fn pause_backfill(State(node): State<Node>, Path(id): Path<i64>) -> Result<Json<Backfill>, ApiError> {
    node.scheduler.pause_backfill(BackfillId(id), true).await?;
    find(&node, id).await.map(Json)
}

/// Lets a paused backfill go on, also one that paused by itself after its trial.
#[utoipa::path(post, path = "/backfills/{backfill}/resume", tag = "backfills",
    params(("backfill" = i64, Path, description = "The backfill's id.")),
    responses((status = 200, body = Backfill), (status = "default", body = ErrorBody)))]
pub(crate) async fn resume_backfill(State(node): State<Node>, Path(id): Path<i64>) -> Result<Json<Backfill>, ApiError> {
    node.scheduler.pause_backfill(BackfillId(id), false).await?;
    find(&node, id).await.map(Json)
}

/// Asks to run again what failed in a backfill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRerun {
    /// Confirms that tasks marked `idempotent: false` may run a second time.
    #[serde(default)]
    pub confirm: bool,
}

/// Runs again what failed or was cancelled in a backfill, and nothing else: of each run the tasks that failed and what
/// depends on them.
#[utoipa::path(post, path = "/backfills/{backfill}/rerun", tag = "backfills", request_body = BackfillRerun,
    params(("backfill" = i64, Path, description = "The backfill's id.")),
    responses((status = 200, body = Backfill), (status = "default", body = ErrorBody)))]
pub(crate) async fn rerun_backfill(
    State(node): State<Node>,
    Path(id): Path<i64>,
    Json(ask): Json<BackfillRerun>,
) -> Result<Json<Backfill>, ApiError> {
    find(&node, id).await?;
    let mut runs = Vec::new();
    for status in [RunStatus::Failed, RunStatus::Cancelled] {
        let backfill = Some(BackfillId(id));
        let query = RunQuery { backfill, status: Some(status), limit: u32::MAX, ..RunQuery::default() };
        runs.extend(node.history.runs(&query).await?.into_iter().map(|run| run.id));
    }
    if runs.is_empty() {
        return Err(ApiError::conflict(format!("nothing of backfill {id} has failed")));
    }
    let (scope, confirmed) = (RerunScope::Failed, ask.confirm);
    node.scheduler.rerun(RerunRequest { runs, scope, latest: false, confirmed }).await?;
    find(&node, id).await.map(Json)
}

async fn find(node: &Node, id: i64) -> Result<Backfill, ApiError> {
    let row = node.history.backfill(BackfillId(id)).await?.ok_or_else(|| ApiError::not_found("backfill", id))?;
    Ok(Backfill::of_row(row))
}

impl BackfillAsk {
    fn request(self, flow: String) -> BackfillRequest {
        BackfillRequest {
            flow,
            from: self.from,
            to: self.to,
            concurrency: self.concurrency,
            which: match self.which {
                Which::Missing => planning::Which::Missing,
                Which::Failed => planning::Which::Failed,
                Which::All => planning::Which::All,
            },
            order: match self.order {
                Order::OldestFirst => planning::Order::OldestFirst,
                Order::NewestFirst => planning::Order::NewestFirst,
            },
            params: self.params,
            trial: self.trial,
            retries: self.retries,
            rounds: self.rounds.unwrap_or(BackfillRequest::ROUNDS_DEFAULT),
            confirmed: self.confirm,
        }
    }
}

impl BackfillPlan {
    fn of(plan: planning::Plan, concurrency: u32) -> Self {
        use planning::Action;
        let acts = |run: &&planning::PlannedRun| !matches!(run.action, Action::Skip(_));
        let count = |wanted: fn(&Action) -> bool| plan.runs.iter().filter(|run| wanted(&run.action)).count() as u64;
        let sample = plan.runs.iter().filter(acts).take(SAMPLE_MAX).map(|run| PlannedInterval {
            label: label(&run.key.flow, run.key.run_id()),
            interval: run.interval.into(),
        });
        Self {
            total: plan.runs.len() as u64,
            to_run: count(|action| !matches!(action, Action::Skip(_))),
            reruns: count(|action| matches!(action, Action::Rerun)),
            skipped: count(|action| matches!(action, Action::Skip(_))),
            concurrency,
            sample: sample.collect(),
        }
    }
}

impl Backfill {
    /// A backfill as the history knows it.
    pub(crate) fn of_row(row: BackfillRow) -> Self {
        let total = u64::from(row.planned);
        let done = row.runs.succeeded + row.runs.failed + row.runs.cancelled;
        let pace = row.pace.unwrap_or(row.concurrency).max(1);
        let pace_is_known = row.status == Stored::Running && done >= ESTIMATE_AFTER_RUNS;
        let mean_us = row.mean_run_us.and_then(|mean| u64::try_from(mean).ok()).filter(|_| pace_is_known);
        let left = total.saturating_sub(done);
        let remaining = mean_us.map(|mean| mean.saturating_mul(left).div_ceil(u64::from(pace)).div_ceil(1_000_000));
        Self {
            id: row.id.0,
            flow: row.flow,
            from: row.from,
            to: row.to,
            concurrency: row.concurrency,
            pace,
            trial: row.trial,
            rounds: row.rounds,
            round: row.round,
            status: match row.status {
                Stored::Running => BackfillStatus::Running,
                Stored::Paused => BackfillStatus::Paused,
                Stored::Succeeded => BackfillStatus::Succeeded,
                Stored::Failed => BackfillStatus::Failed,
                Stored::Cancelled => BackfillStatus::Cancelled,
            },
            total,
            succeeded: row.runs.succeeded,
            failed: row.runs.failed,
            cancelled: row.runs.cancelled,
            running: row.runs.running,
            queued: row.runs.queued,
            created_at: row.created_at,
            ended_at: row.ended_at,
            remaining_seconds: remaining,
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(start_backfill))
        .routes(routes!(list_backfills))
        .routes(routes!(show_backfill))
        .routes(routes!(pause_backfill))
        .routes(routes!(resume_backfill))
        .routes(routes!(rerun_backfill))
        .routes(routes!(cancel_backfill))
}
