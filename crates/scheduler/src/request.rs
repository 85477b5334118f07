//! What people ask the scheduler for, and what they get back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use mulgil_flow::backfill::{Order, Which};
use mulgil_flow::{DataInterval, Flow, Project};
use mulgil_history::write::Trigger;
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::TaskStatus;
use mulgil_sched::step::Mark;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the scheduler has to know about its project.
#[derive(Clone, Debug)]
pub struct SchedulerOptions {
    /// The project's settings: pools, connections.
    pub project: Arc<Project>,
    /// The project's folder.
    pub project_dir: PathBuf,
    /// How long a lease lives without renewal.
    pub lease_life: SignedDuration,
    /// Whether schedules fire. Without, only what is asked for runs.
    pub schedules: bool,
    /// What is known of the workers whose leases are found in the history.
    pub predecessors: Predecessors,
}

/// The workers of before, whose leases the history still calls live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predecessors {
    /// They are gone: the history's lock is held, and they die with their server.
    Gone,
    /// They may still be at work, on another machine perhaps, until their leases run out: their server's lease was taken over. Only
    /// the worker of this name is known to be gone.
    PerhapsAlive {
        /// The one that is gone.
        gone: Option<String>,
    },
}

impl Predecessors {
    /// Whether this worker does nothing any more.
    pub(super) fn is_gone(&self, worker: &str) -> bool {
        match self {
            Self::Gone => true,
            Self::PerhapsAlive { gone } => gone.as_deref() == Some(worker),
        }
    }
}

impl SchedulerOptions {
    /// The usual options for a project.
    pub fn new(project: Arc<Project>, project_dir: PathBuf) -> Self {
        Self {
            project,
            project_dir,
            lease_life: SignedDuration::from_secs(30),
            schedules: true,
            predecessors: Predecessors::Gone,
        }
    }
}

/// A checked flow and the text that it was read from: the text is stored with the first run that is made from it.
#[derive(Clone, Debug)]
pub struct FlowSource {
    /// The flow.
    pub flow: Arc<Flow>,
    /// Its file's text.
    pub text: String,
}

/// What is to be dropped.
#[derive(Clone, Debug, Default)]
pub struct Dropping {
    /// These runs.
    pub runs: Vec<RunId>,
    /// What belongs to no run any more of before the first time, and notices that ended before the second.
    pub rest: Option<(Timestamp, Timestamp)>,
}

/// Asks for one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerRequest {
    /// Of which flow.
    pub flow: String,
    /// For this data interval.
    #[serde(default)]
    pub interval: Option<DataInterval>,
    /// For the first data interval that starts on this local day. Without both: the latest interval that has ended.
    #[serde(default)]
    pub date: Option<Date>,
    /// With these parameters.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// With a key of the caller's own: whoever asks again with it is told of the same run.
    #[serde(default)]
    pub key: Option<String>,
    /// For something that has come from outside, which is then what the run is known by.
    #[serde(skip)]
    pub arrival: Option<Arrival>,
}

/// Something that has come from outside and starts a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// What it is.
    pub trigger: Trigger,
    /// What tells it from every other of its kind: come again, it is the same run. `None`: it is like no other.
    pub id: Option<String>,
}

/// The run that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Triggered {
    /// Which run.
    pub run: RunId,
    /// Its name for people.
    pub name: String,
    /// Whether it is new: the same flow with the same parameters for the same interval is the same run.
    pub created: bool,
}

/// Asks for the runs of a range of past intervals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillRequest {
    /// Of which flow.
    pub flow: String,
    /// The first local day on which an interval starts.
    pub from: Date,
    /// The last such day, included.
    pub to: Date,
    /// How many runs may be active at once; 8 if not said.
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Which intervals.
    #[serde(default)]
    pub which: Which,
    /// In which order.
    #[serde(default)]
    pub order: Order,
    /// With these parameters.
    #[serde(default)]
    pub params: BTreeMap<String, Value>,
    /// After how many runs it pauses, to be looked at; not at all if not said.
    #[serde(default)]
    pub trial: Option<u32>,
    /// Whether failed tasks are tried again by themselves.
    #[serde(default)]
    pub retries: bool,
    /// How often, at most, what failed runs again once everything has ended.
    #[serde(default = "BackfillRequest::rounds_default")]
    pub rounds: u32,
    /// Whether tasks that are not idempotent may run again.
    #[serde(default)]
    pub confirmed: bool,
}

impl BackfillRequest {
    /// Runs at once, when the request does not say.
    pub const CONCURRENCY_DEFAULT: u32 = 8;
    /// Rounds over what failed, when the request does not say.
    pub const ROUNDS_DEFAULT: u32 = 1;

    fn rounds_default() -> u32 {
        Self::ROUNDS_DEFAULT
    }
}

/// A backfill that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackfillStarted {
    /// Which; `None` when there was nothing to do.
    pub backfill: Option<BackfillId>,
    /// New runs.
    pub new: usize,
    /// Runs that run again.
    pub again: usize,
    /// Intervals left alone.
    pub skipped: usize,
}

/// Asks to run tasks of ended runs again: of all of them, or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RerunRequest {
    /// Which runs.
    pub runs: Vec<RunId>,
    /// Which of their tasks; everything downstream of them comes along.
    pub scope: RerunScope,
    /// Whether they follow the flow as it is now, instead of as it was when they were made.
    #[serde(default)]
    pub latest: bool,
    /// Whether tasks that are not idempotent may run again.
    #[serde(default)]
    pub confirmed: bool,
}

impl RerunRequest {
    /// One run, with its own definition, unconfirmed.
    pub fn of(run: RunId, scope: RerunScope) -> Self {
        Self { runs: vec![run], scope, latest: false, confirmed: false }
    }
}

/// Says how a task of a run counts, whatever it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRequest {
    /// Of which run.
    pub run: RunId,
    /// Which task.
    pub task: String,
    /// As what.
    pub mark: Mark,
    /// Who says so.
    pub who: String,
    /// Why.
    pub why: String,
}

/// What a re-run runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RerunPreview {
    /// Which run.
    pub run: RunId,
    /// Its name for people.
    pub name: String,
    /// The tasks that run again.
    pub tasks: Vec<RerunTask>,
    /// The runs that these call, directly or not, and of which something runs.
    pub called: Vec<CalledRun>,
    /// Whether it has to be confirmed: a task that is not idempotent would run a second time, here or in a run that is called.
    pub needs_confirmation: bool,
}

/// A run that a task of a re-run calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CalledRun {
    /// Which run; `None` if it is made then.
    pub run: Option<RunId>,
    /// Its name for people.
    pub name: String,
    /// The run that calls it, by its name for people.
    pub parent: String,
    /// The task of that run.
    pub task: String,
    /// The tasks that run in it.
    pub tasks: Vec<RerunTask>,
}

/// A task that runs again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RerunTask {
    /// Its name.
    pub task: String,
    /// Its status before.
    pub status: TaskStatus,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
    /// Attempts so far.
    pub attempts: u32,
}
