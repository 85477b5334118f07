//! The shapes in which the history is read: for the HTTP API, and for the scheduler when it starts.

use std::collections::HashMap;

use jiff::Timestamp;
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use mulgil_sched::usage::Usage;
use serde::Serialize;

use crate::call::{CallRow, ChildRow, ParentRow};
use crate::outbox::NoticeStatus;
use crate::write::{BackfillStatus, ProcessMark, Trigger};

/// Which runs of a flow to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// Of which flow; all flows if `None`.
    pub flow: Option<String>,
    /// Of which backfill.
    pub backfill: Option<BackfillId>,
    /// With which status.
    pub status: Option<RunStatus>,
    /// Only runs with a lower number: the last one of the page before.
    pub before: Option<RunId>,
    /// How many at most.
    pub limit: u32,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRow {
    /// Its number.
    pub id: RunId,
    /// Its flow.
    pub flow: String,
    /// Its identity within the flow.
    pub key: String,
    /// Its name for people, unique in the project: `daily_delays/2013-01-01`.
    pub name: String,
    /// Its status.
    pub status: RunStatus,
    /// The hash of its definition.
    pub version: String,
    /// Its parameters.
    pub params: serde_json::Value,
    /// The start of its data interval.
    pub interval_start: Option<Timestamp>,
    /// The end of its data interval.
    pub interval_end: Option<Timestamp>,
    /// What made it.
    pub trigger: Trigger,
    /// The backfill it belongs to.
    pub backfill: Option<BackfillId>,
    /// Whether its tasks are tried again by themselves.
    pub retries: bool,
    /// Whether it has had all the time that its flow allows, and stops or has stopped for that.
    pub timed_out: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it began; the last time, if it was re-run.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A definition of a flow, without its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionRow {
    /// Its hash.
    pub hash: String,
    /// When the first run was made from it.
    pub at: Timestamp,
    /// How many runs follow it now.
    pub runs: u64,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskRow {
    /// Its place in the graph.
    pub index: TaskIndex,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: TaskStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// Automatic retries used.
    pub retries_used: u32,
    /// Attempts lost.
    pub losses: u32,
    /// Since when it has been under way.
    pub since: Option<Timestamp>,
    /// When a retry is due.
    pub not_before: Option<Timestamp>,
    /// What it gave as its result.
    pub result: Option<serde_json::Value>,
    /// Why it stands where it stands, where no attempt says so.
    pub note: Option<String>,
    /// The place of the task whose item it does.
    pub item_of: Option<TaskIndex>,
    /// The item that it does.
    pub item: Option<serde_json::Value>,
    /// After how many attempts somebody has confirmed that it may run once more, although it is not idempotent.
    pub confirmed: Option<u32>,
}

/// An attempt at a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttemptRow {
    /// Its task's place in the graph.
    pub task_index: TaskIndex,
    /// Its task.
    pub task: String,
    /// Its number, from 1.
    pub attempt: u32,
    /// Its status.
    pub status: AttemptStatus,
    /// The worker that has or had it.
    pub owner: String,
    /// When it was given to the worker.
    pub leased_at: Timestamp,
    /// When the worker began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<String>,
    /// What it used.
    pub usage: Option<Usage>,
    /// Its log's path, relative to the project.
    pub log: String,
}

/// A run with its tasks and all their attempts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: RunRow,
    /// Its tasks, in the graph's order.
    pub tasks: Vec<TaskRow>,
    /// What was noticed of it beside its status.
    pub alerts: Vec<AlertRow>,
    /// The task of another run that started it.
    pub parent: Option<ParentRow>,
    /// The runs that do the work of its tasks.
    pub children: Vec<ChildRow>,
    /// Their attempts, by task, then number.
    pub attempts: Vec<AttemptRow>,
}

/// Something noticed of a run beside its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AlertRow {
    /// What it is about, as one word.
    pub kind: String,
    /// It, in a sentence.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// A notice of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoticeRow {
    /// Its place among all.
    pub seq: i64,
    /// Tells it from every other.
    pub key: String,
    /// Where it goes.
    pub channel: String,
    /// What it is about, as one word.
    pub kind: String,
    /// Of which flow.
    pub flow: String,
    /// Of which run.
    pub run: Option<RunId>,
    /// What there is to tell.
    pub body: serde_json::Value,
    /// Where it stands.
    pub status: NoticeStatus,
    /// How often it was tried.
    pub tries: u32,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    /// When it was delivered or given up.
    pub ended_at: Option<Timestamp>,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// What is to be delivered now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// The notices whose time has come, in their order.
    pub due: Vec<NoticeRow>,
    /// When the time of the next one comes.
    pub next_at: Option<Timestamp>,
}

/// A run that need not be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredRun {
    /// The run.
    pub id: RunId,
    /// Its flow.
    pub flow: String,
}

/// Which notices to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct NoticeQuery {
    /// Of which run.
    pub run: Option<RunId>,
    /// With which status.
    pub status: Option<NoticeStatus>,
    /// None of this kind.
    pub without: Option<String>,
    /// Only notices before this place: the last one of the page before.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// How many notices of a channel have a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NoticeCount {
    /// Where they go.
    pub channel: String,
    /// Where they stand.
    pub status: NoticeStatus,
    /// How many.
    pub notices: u64,
}

/// A flow's grid of runs × tasks, packed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grid {
    /// The flow.
    pub flow: String,
    /// The names of the tasks: the rows of the grid.
    pub tasks: Vec<String>,
    /// The columns, oldest interval first.
    pub runs: Vec<GridRun>,
}

/// A column of the grid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GridRun {
    /// The run.
    pub id: RunId,
    /// Its name for people.
    pub name: String,
    /// Its status.
    pub status: RunStatus,
    /// The start of its data interval.
    pub interval_start: Option<Timestamp>,
    /// The end of its data interval.
    pub interval_end: Option<Timestamp>,
    /// What made it.
    pub trigger: Trigger,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// One letter a task ([`TaskStatus::letter`]), in the order of [`Grid::tasks`]; `-` where the run has no such task.
    pub cells: String,
}

/// A flow's runs, counted by status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunCounts {
    /// Waiting for their turn.
    pub queued: u64,
    /// Under way, those being stopped included.
    pub running: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

/// A flow as the history knows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowSummary {
    /// The flow.
    pub flow: String,
    /// Its runs, counted.
    pub runs: RunCounts,
    /// Its newest run.
    pub last_run: Option<RunRow>,
    /// Whether its schedule is paused.
    pub paused: bool,
}

/// A backfill and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackfillRow {
    /// Its number.
    pub id: BackfillId,
    /// Its flow.
    pub flow: String,
    /// The first interval's start.
    pub from: Timestamp,
    /// The last interval's end.
    pub to: Timestamp,
    /// How many of its runs may be active at once.
    pub concurrency: u32,
    /// Which intervals: `missing`, `failed` or `all`.
    pub which: String,
    /// Whether later intervals go first.
    pub newest_first: bool,
    /// Its status.
    pub status: BackfillStatus,
    /// How many runs it has to do.
    pub planned: u32,
    /// After how many runs it pauses by itself; none any more once it has been resumed.
    pub trial: Option<u32>,
    /// How often, at most, what failed runs again once all has ended.
    pub rounds: u32,
    /// How often that has begun.
    pub round: u32,
    /// How many of its runs had failed then.
    pub failed_before: u64,
    /// How many of its runs may be active at once now; `None`: as many as ever.
    pub pace: Option<u32>,
    /// How long its runs that have ended have taken, on average, in microseconds.
    pub mean_run_us: Option<i64>,
    /// Those runs, counted by status.
    pub runs: RunCounts,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    /// Its place in the history.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What: `run`, `task`, `attempt`, `backfill`, `flow`.
    pub kind: String,
    /// Of which run.
    pub run: Option<RunId>,
    /// Of which task.
    pub task: Option<TaskIndex>,
    /// Of which attempt.
    pub attempt: Option<u32>,
    /// What changed: `from -> to`, or a sentence.
    pub payload: String,
}

/// An attempt whose lease was live when the history was last written.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveLease {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Its status.
    pub status: AttemptStatus,
    /// The lease's epoch.
    pub epoch: i64,
    /// The worker.
    pub owner: String,
    /// When it ends unless renewed.
    pub expires: Timestamp,
    /// The process group, where it is one.
    pub process: Option<ProcessMark>,
}

/// What the scheduler remembers when it starts.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Runs that have not ended, with their tasks.
    pub runs: Vec<(RunRow, Vec<TaskRow>)>,
    /// Live leases.
    pub leases: Vec<LiveLease>,
    /// Their calls that are under way.
    pub calls: Vec<CallRow>,
    /// Backfills that have not ended.
    pub backfills: Vec<BackfillRow>,
    /// The flows whose schedule is paused.
    pub paused: Vec<String>,
    /// What was noticed of those runs beside their status.
    pub alerts: HashMap<RunId, Vec<AlertRow>>,
    /// How many notices wait to be delivered.
    pub notices_waiting: u64,
    /// The highest run number so far.
    pub last_run: i64,
    /// The highest backfill number so far.
    pub last_backfill: i64,
    /// The highest lease epoch so far.
    pub last_epoch: i64,
}
