//! Flows: their definitions, their next runs, and the commands start, pause and resume.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use mulgil_flow::schedule::Rule;
use mulgil_flow::{Catchup, DataInterval, Flow, ParamType, PythonEntry, Schedule, SqlText, Task, TaskKind};
use mulgil_history::read::{self as history, RunQuery};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path};
use crate::folder::BrokenFlow;
use crate::node::Node;
use crate::project::{Problem, ProblemKind};
use crate::reload::Loaded;
use crate::runs::{Interval, RunSummary, label};
use crate::scheduler::{FlowSource, TriggerRequest};
use crate::status::{RunCounts, RunStatus};
use crate::triggers::{FlowTrigger, triggers_of};

/// The header with a key of the caller's own.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How many runs a line of the list shows.
const RECENT_MAX: u32 = 20;
/// How many intervals to come a flow shows.
const NEXT_MAX: usize = 20;

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
    /// What the schedule does beside firing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<ScheduleRules>,
    /// What starts runs of it from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<FlowTrigger>,
    /// The definition's file, relative to the project's folder.
    pub file: String,
    /// The definition's text.
    pub text: String,
    /// The next data intervals of the schedule and when each will run, at most 20.
    pub next: Vec<NextRun>,
}

/// What a schedule does beside firing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleRules {
    /// The calendar on whose days of rest it does not fire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// What a time of day means where the clock skips it or shows it twice: `skip` or `both`. Absent: it fires after the gap, and once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// The tables that a run waits for; empty: it waits for the clock.
    #[serde(default)]
    pub on: Vec<String>,
    /// What happens to fires that were missed: `none`, `latest`, `all`, or how many of the latest.
    pub catchup: String,
    /// What happens when a run is due and one before it has not ended: `queue`, `skip` or `cancel`. Absent: both run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
}

impl ScheduleRules {
    fn of(schedule: &Schedule) -> Self {
        Self {
            calendar: schedule.calendar.as_ref().map(|calendar| calendar.name.clone()),
            catchup: match schedule.catchup {
                Catchup::None => "none".to_owned(),
                Catchup::Latest => "latest".to_owned(),
                Catchup::AtMost(number) => number.to_string(),
                Catchup::All => "all".to_owned(),
            },
            dst: (!schedule.dst.is_default()).then(|| schedule.dst.word().to_owned()),
            on: schedule.on.clone(),
            overlap: schedule.overlap.map(|overlap| overlap.word().to_owned()),
        }
    }
}

/// A node of a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDefinition {
    /// The task's name.
    pub name: String,
    /// What kind of task it is: `shell`, `python`, `sql` or `transfer`.
    pub kind: String,
    /// The names of the tasks that it needs.
    pub needs: Vec<String>,
    /// What it makes of how those have ended: `all_success`, `all_done`, `one_failed`, `one_success` or `none_failed`.
    pub trigger_rule: String,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Among tasks that wait for a slot of the same pool, higher goes first.
    pub priority: i32,
    /// How many attempts of it may run at once, over all runs. Absent: as many as its pool has slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// The pool whose slot it takes.
    pub pool: String,
    /// The condition without which it is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
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
    /// The only values that are allowed, as texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<String>>,
    /// What its values have to be beside their type, in words. Absent: anything of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<String>,
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
    /// A key of the caller's own, as the header `Idempotency-Key` gives one: the same key is answered with the same run, whatever
    /// has happened since. With the same key, everything else has to be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
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
    let (loaded, known) = (node.loaded(), node.history.flows().await?);
    let whole = loaded.folder.flows.iter().map(Named::Whole);
    let broken = loaded.folder.broken_flows().iter().map(Named::Broken);
    let mut summaries = Vec::new();
    for flow in whole.chain(broken) {
        let history = known.iter().find(|summary| summary.flow == flow.name());
        summaries.push(summarise(&node, &loaded, flow, history).await?);
    }
    summaries.sort_by(|a: &FlowSummary, b| a.name.cmp(&b.name));
    Ok(Json(summaries))
}

/// One flow with its tasks, parameters, text and next runs.
#[utoipa::path(get, path = "/flows/{flow}", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 200, body = FlowDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_flow(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<FlowDetail>, ApiError> {
    let (loaded, known) = (node.loaded(), node.history.flows().await?);
    let whole = loaded.folder.flows.iter().find(|source| source.flow.name == name).map(Named::Whole);
    let broken = || loaded.folder.broken_flows().iter().find(|broken| broken.name == name).map(Named::Broken);
    let flow = whole.or_else(broken).ok_or_else(|| unknown_flow(&loaded, &name))?;
    let history = known.iter().find(|summary| summary.flow == name);
    let summary = summarise(&node, &loaded, flow, history).await?;
    Ok(Json(FlowDetail::of(summary, flow, Timestamp::now())))
}

/// Starts one run of a flow.
#[utoipa::path(post, path = "/flows/{flow}/runs", tag = "flows", params(("flow" = String, Path, description = "The flow's name."),
    ("Idempotency-Key" = Option<String>, Header, description = "A key of the caller's own: the same key is answered with the same run.")),
    request_body = StartRun, responses((status = 200, body = StartedRun), (status = "default", body = ErrorBody)))]
pub(crate) async fn start_run(
    State(node): State<Node>,
    Path(flow): Path<String>,
    headers: HeaderMap,
    Json(ask): Json<StartRun>,
) -> Result<Json<StartedRun>, ApiError> {
    let key = key_of(&headers, ask.key)?;
    let interval = match (ask.start, ask.end) {
        (Some(start), Some(end)) if start < end => Some(DataInterval { start, end }),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(ApiError::invalid("the interval ends before it starts")),
        _ => return Err(ApiError::invalid("an interval needs both `start` and `end`")),
    };
    let request = TriggerRequest { flow, interval, date: ask.date, params: ask.params, key, arrival: None };
    let triggered = node.scheduler.trigger(request).await?;
    let run = crate::runs::summary(&node, triggered.run).await?;
    Ok(Json(StartedRun { run, created: triggered.created }))
}

/// The caller's own key: of the header, or of the body.
fn key_of(headers: &HeaderMap, of_body: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(given) = headers.get(IDEMPOTENCY_KEY) else { return Ok(of_body) };
    let key = given.to_str().map_err(|_| ApiError::invalid("the header Idempotency-Key is no text"))?.to_owned();
    match of_body {
        Some(other) if other != key => Err(ApiError::invalid("the header Idempotency-Key and `key` differ")),
        _ => Ok(Some(key)),
    }
}

/// Pauses a flow's schedule. Runs that are there go on.
#[utoipa::path(post, path = "/flows/{flow}/pause", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 204, description = "The schedule is paused."), (status = "default", body = ErrorBody)))]
pub(crate) async fn pause_flow(State(node): State<Node>, Path(flow): Path<String>) -> Result<StatusCode, ApiError> {
    node.scheduler.set_paused(&flow, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Resumes a flow's schedule.
#[utoipa::path(post, path = "/flows/{flow}/resume", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 204, description = "The schedule fires again."), (status = "default", body = ErrorBody)))]
pub(crate) async fn resume_flow(State(node): State<Node>, Path(flow): Path<String>) -> Result<StatusCode, ApiError> {
    node.scheduler.set_paused(&flow, false).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A flow that is whole, or one that is broken.
#[derive(Clone, Copy)]
enum Named<'a> {
    Whole(&'a FlowSource),
    Broken(&'a BrokenFlow),
}

impl<'a> Named<'a> {
    fn name(self) -> &'a str {
        match self {
            Self::Whole(source) => &source.flow.name,
            Self::Broken(broken) => &broken.name,
        }
    }

    fn flow(self) -> Option<&'a Flow> {
        match self {
            Self::Whole(source) => Some(&source.flow),
            Self::Broken(_) => None,
        }
    }
}

fn unknown_flow(loaded: &Loaded, name: &str) -> ApiError {
    let known: Vec<&str> = loaded.folder.flows.iter().map(|source| source.flow.name.as_str()).collect();
    ApiError::not_found("flow", name).with_hint(format!("the project has: {}", known.join(", ")))
}

async fn summarise(
    node: &Node,
    loaded: &Loaded,
    named: Named<'_>,
    history: Option<&history::FlowSummary>,
) -> Result<FlowSummary, ApiError> {
    let (name, flow) = (named.name(), named.flow());
    let schedule = flow.and_then(|flow| flow.schedule.as_ref());
    let paused = history.is_some_and(|summary| summary.paused);
    let query = RunQuery { flow: Some(name.to_owned()), limit: RECENT_MAX, ..RunQuery::default() };
    let recent = if history.is_some() { node.history.runs(&query).await? } else { Vec::new() };
    let recent_run = |row: history::RunRow| RecentRun {
        id: row.id.0,
        label: label(&row.flow, &row.name),
        status: row.status.into(),
    };
    let is_mine = |problem: &&Problem| problem.kind == ProblemKind::Flow && problem.name.as_deref() == Some(name);
    Ok(FlowSummary {
        name: name.to_owned(),
        description: flow.and_then(|flow| flow.description.clone()),
        schedule: schedule.map(schedule_text),
        timezone: zone_name(flow.map_or(&loaded.folder.project.timezone, |flow| &flow.timezone)),
        next_fire: schedule
            .filter(|schedule| !paused && schedule.on.is_empty())
            .and_then(|schedule| Some(schedule.next_after(Timestamp::now())?.at)),
        paused,
        recent_runs: recent.into_iter().map(recent_run).collect(),
        counts: history.map(|summary| summary.runs.clone().into()).unwrap_or_default(),
        problems: loaded.problems.iter().filter(is_mine).cloned().collect(),
    })
}

/// The schedule as a person wrote it.
pub(crate) fn schedule_text(schedule: &Schedule) -> String {
    match &schedule.rule {
        Rule::Cron(cron) => cron.text().to_owned(),
        Rule::Every(duration) => format!("every {duration:#}"),
    }
}

/// The IANA name of a zone.
pub(crate) fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

impl FlowDetail {
    fn of(summary: FlowSummary, named: Named<'_>, now: Timestamp) -> Self {
        let (file, text) = match named {
            Named::Whole(source) => (&source.flow.file, &source.text),
            Named::Broken(broken) => (&broken.file, &broken.text),
        };
        let tasks: &[Task] = named.flow().map_or(&[], |flow| &flow.tasks);
        let edge = |task: &Task, need: &String| Edge { from: need.clone(), to: task.name.clone() };
        let schedule = named.flow().and_then(|flow| flow.schedule.as_ref());
        let next = schedule.into_iter().flat_map(|schedule| schedule.fires(now)).take(NEXT_MAX);
        let params = named.flow().into_iter().flat_map(|flow| &flow.params);
        Self {
            tasks: tasks.iter().map(TaskDefinition::of).collect(),
            edges: tasks.iter().flat_map(|task| task.needs.iter().map(move |need| edge(task, need))).collect(),
            params: params.map(|(name, param)| Param::of(name, param)).collect(),
            rules: schedule.map(ScheduleRules::of),
            triggers: named.flow().map_or_else(Vec::new, triggers_of),
            file: file.clone(),
            text: text.clone(),
            next: next.map(|fire| NextRun { interval: fire.interval.into(), fires_at: fire.at }).collect(),
            summary,
        }
    }
}

impl TaskDefinition {
    fn of(task: &Task) -> Self {
        Self {
            name: task.name.clone(),
            kind: task.kind.word().to_owned(),
            needs: task.needs.clone(),
            trigger_rule: task.trigger_rule.word().to_owned(),
            group: task.group.clone(),
            priority: task.priority,
            concurrency: task.concurrency,
            pool: task.pool.clone(),
            when: task.when.clone(),
            summary: task_summary(task),
            idempotent: task.idempotent,
        }
    }
}

fn task_summary(task: &Task) -> String {
    let does = kind_summary(&task.kind);
    if task.for_each.is_some() { format!("for each item: {does}") } else { does }
}

fn kind_summary(kind: &TaskKind) -> String {
    let first_line = |text: &str| text.trim().lines().next().unwrap_or_default().to_owned();
    match kind {
        TaskKind::Shell { command } => first_line(command),
        TaskKind::Python(python) => match &python.entry {
            PythonEntry::Script(script) => script.clone(),
            PythonEntry::Module(module) => format!("-m {module}"),
            PythonEntry::Function { from, name } => format!("{from}:{name}"),
        },
        TaskKind::Http(http) => format!("{} {}", http.method, http.url),
        TaskKind::Flow(call) => format!("flow {}", call.flow),
        TaskKind::View(view) => format!("{} {}", view.deed.word(), view.view),
        TaskKind::Wait(wait) => wait.wanted.describe(),
        TaskKind::Transfer { from, target, .. } => format!("{from} → {}", target.table),
        TaskKind::Sql { sql, target, .. } => {
            let what = match sql {
                SqlText::File(file) => file.clone(),
                SqlText::Inline(text) => first_line(text),
            };
            target.as_ref().map_or_else(|| what.clone(), |target| format!("{what} → {}", target.table))
        }
    }
}

impl Param {
    fn of(name: &str, param: &mulgil_flow::Param) -> Self {
        let param_type = match param.param_type {
            ParamType::String => "string",
            ParamType::Integer => "integer",
            ParamType::Number => "number",
            ParamType::Boolean => "boolean",
            ParamType::Date => "date",
        };
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let choices: Vec<String> = param.limits.choices.iter().map(text).collect();
        Self {
            name: name.to_owned(),
            param_type: param_type.to_owned(),
            default: param.default.clone(),
            description: param.description.clone(),
            choices: (!choices.is_empty()).then_some(choices),
            limits: (!param.limits.is_empty()).then(|| param.limits.to_string()),
        }
    }
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
