//! What people do to runs that did not end as they should: run parts of them again, or say how a task counts. Each says
//! before it happens exactly what will run.

use axum::extract::State;
use mulgil_sched::id::RunId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::node::Node;
use crate::runs::{RunDetail, detail};
use crate::scheduler::{self, MarkRequest, RerunRequest};
use crate::status::TaskStatus;

/// Each is read back whole: more at once would hold the scheduler up.
const RUNS_AT_ONCE_MAX: usize = 1000;

/// What a re-run runs again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RerunScope {
    /// The tasks that did not succeed, and what depends on them.
    #[default]
    Failed,
    /// One task, and what depends on it.
    From,
    /// The tasks of a group, and what depends on them.
    Group,
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
    /// The group to run again, where the scope is `group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether the run follows the flow as it is now, instead of as it was when the run was made.
    #[serde(default)]
    pub latest: bool,
    /// Confirms that tasks marked `idempotent: false` may run a second time, once: those of the preview, in called runs too.
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
    /// The runs that these would call, directly or not, and of which something would run. It is what is known now: parameters from
    /// results that are made anew may lead to others.
    pub called: Vec<CalledRun>,
    /// Whether it has to be confirmed: a task that is not idempotent would run a second time, here or in a run that is called.
    pub needs_confirmation: bool,
}

/// A run that a task of a re-run would call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CalledRun {
    /// The run; none if it would be made then.
    pub run: Option<i64>,
    /// Its name for people.
    pub name: String,
    /// The run that would call it, by its name for people.
    pub parent: String,
    /// The task of that run.
    pub task: String,
    /// The tasks that would run in it, in order.
    pub tasks: Vec<RerunTask>,
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

/// What to run again in several runs: in all of them, or in none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RerunsAsk {
    /// Which runs, by id.
    pub runs: Vec<i64>,
    /// What of them.
    #[serde(default)]
    pub ask: RerunAsk,
    /// Whether to say only what would run.
    #[serde(default)]
    pub preview: bool,
}

/// What several re-runs run, or would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RerunsAnswer {
    /// Each run, in the order of the question.
    pub runs: Vec<RerunPreview>,
}

/// How a task counts, whatever it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// As succeeded: what never ran for its failure runs.
    Succeeded,
    /// As failed.
    Failed,
}

/// Says how a task counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkAsk {
    /// As what.
    pub mark: Mark,
    /// Who says so.
    pub by: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// Whether to say only what would run.
    #[serde(default)]
    pub preview: bool,
}

/// What a re-run would run again.
#[utoipa::path(get, path = "/runs/{run}/rerun-preview", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), RerunAsk),
    responses((status = 200, body = RerunPreview), (status = "default", body = ErrorBody)))]
pub(crate) async fn preview_rerun(
    State(node): State<Node>,
    Path(run): Path<i64>,
    Query(ask): Query<RerunAsk>,
) -> Result<Json<RerunPreview>, ApiError> {
    let previews = node.scheduler.preview_rerun(request(vec![run], ask)?).await?;
    let preview = previews.into_iter().next().ok_or_else(|| ApiError::not_found("run", run))?;
    Ok(Json(preview.into()))
}

/// Runs part of a run again, with the same parameters.
#[utoipa::path(post, path = "/runs/{run}/rerun", tag = "runs",
    params(("run" = i64, Path, description = "The run's id.")), request_body = RerunAsk,
    responses((status = 200, body = RunDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn rerun(
    State(node): State<Node>,
    Path(run): Path<i64>,
    Json(ask): Json<RerunAsk>,
) -> Result<Json<RunDetail>, ApiError> {
    node.scheduler.rerun(request(vec![run], ask)?).await?;
    detail(&node, run).await.map(Json)
}

/// Runs part of several runs again: of all of them, or of none.
#[utoipa::path(post, path = "/runs/rerun", tag = "runs", request_body = RerunsAsk,
    responses((status = 200, body = RerunsAnswer), (status = "default", body = ErrorBody)))]
pub(crate) async fn rerun_many(
    State(node): State<Node>,
    Json(ask): Json<RerunsAsk>,
) -> Result<Json<RerunsAnswer>, ApiError> {
    if ask.runs.len() > RUNS_AT_ONCE_MAX {
        let message = format!("{} runs are more than {RUNS_AT_ONCE_MAX} at once", ask.runs.len());
        return Err(ApiError::invalid(message).with_hint("ask in parts"));
    }
    let request = request(ask.runs, ask.ask)?;
    let runs = match ask.preview {
        true => node.scheduler.preview_rerun(request).await?,
        false => node.scheduler.rerun(request).await?,
    };
    Ok(Json(RerunsAnswer { runs: runs.into_iter().map(Into::into).collect() }))
}

/// Says that a task counts as succeeded or failed, and tells what runs by that. Who and why is kept with the event.
#[utoipa::path(post, path = "/runs/{run}/tasks/{task}/mark", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), ("task" = String, Path, description = "The task's name.")),
    request_body = MarkAsk, responses((status = 200, body = RerunPreview), (status = "default", body = ErrorBody)))]
pub(crate) async fn mark_task(
    State(node): State<Node>,
    Path((run, task)): Path<(i64, String)>,
    Json(ask): Json<MarkAsk>,
) -> Result<Json<RerunPreview>, ApiError> {
    let mark = match ask.mark {
        Mark::Succeeded => mulgil_sched::step::Mark::Succeeded,
        Mark::Failed => mulgil_sched::step::Mark::Failed,
    };
    let request = MarkRequest { run: RunId(run), task, mark, who: ask.by, why: ask.why };
    let answer = match ask.preview {
        true => node.scheduler.preview_mark(request).await?,
        false => node.scheduler.mark(request).await?,
    };
    Ok(Json(answer.into()))
}

fn request(runs: Vec<i64>, ask: RerunAsk) -> Result<RerunRequest, ApiError> {
    let RerunAsk { scope: word, task, group, latest, confirm } = ask;
    let scope = scope(word, task, group)?;
    Ok(RerunRequest { runs: runs.into_iter().map(RunId).collect(), scope, latest, confirmed: confirm })
}

fn scope(
    scope: RerunScope,
    task: Option<String>,
    group: Option<String>,
) -> Result<mulgil_sched::rerun::RerunScope, ApiError> {
    use mulgil_sched::rerun::RerunScope as S;
    match (scope, task, group) {
        (RerunScope::From, Some(task), None) => Ok(S::From(task)),
        (RerunScope::From, None, _) => Err(ApiError::invalid("the scope `from` needs a task").with_hint("add `task`")),
        (RerunScope::Group, None, Some(group)) => Ok(S::Group(group)),
        (RerunScope::Group, _, None) => {
            Err(ApiError::invalid("the scope `group` needs a group").with_hint("add `group`"))
        }
        (_, Some(_), _) => Err(ApiError::invalid("a task goes with the scope `from` only")),
        (_, _, Some(_)) => Err(ApiError::invalid("a group goes with the scope `group` only")),
        (RerunScope::Failed, None, None) => Ok(S::Failed),
        (RerunScope::All, None, None) => Ok(S::All),
    }
}

impl From<scheduler::RerunPreview> for RerunPreview {
    fn from(preview: scheduler::RerunPreview) -> Self {
        Self {
            run: preview.run.0,
            name: preview.name,
            tasks: preview.tasks.into_iter().map(Into::into).collect(),
            called: preview.called.into_iter().map(Into::into).collect(),
            needs_confirmation: preview.needs_confirmation,
        }
    }
}

impl From<scheduler::CalledRun> for CalledRun {
    fn from(called: scheduler::CalledRun) -> Self {
        Self {
            run: called.run.map(|run| run.0),
            name: called.name,
            parent: called.parent,
            task: called.task,
            tasks: called.tasks.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<scheduler::RerunTask> for RerunTask {
    fn from(task: scheduler::RerunTask) -> Self {
        Self { name: task.task, status: task.status.into(), idempotent: task.idempotent, attempts: task.attempts }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(preview_rerun))
        .routes(routes!(rerun))
        .routes(routes!(rerun_many))
        .routes(routes!(mark_task))
}
