//! What the scheduler's loop stores. A batch of these is one transaction.

use jiff::Timestamp;
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use mulgil_sched::usage::Usage;
use serde::{Deserialize, Serialize};

use crate::asked::Asked;
use crate::call::{CallChange, Confirmation};
use crate::outbox::{NewAlert, NewNotice, NoticeChange};
use crate::written::TableWrite;

/// One thing to store.
#[derive(Clone, Debug)]
pub enum Write {
    /// A flow's definition, unless it is there already.
    FlowVersion(FlowVersion),
    /// A new run with its tasks.
    Run(NewRun),
    /// A run's status changed.
    RunStatus(RunChange),
    /// An ended run follows another definition from now on, which may have tasks that the one before had not.
    RunVersion(VersionChange),
    /// A task changed.
    Task(TaskChange),
    /// A task has items, each a task of its own.
    Items(NewItems),
    /// A task calls a run.
    Call(CallChange),
    /// Somebody has confirmed that a task which is not idempotent may run once more.
    Confirmed(Confirmation),
    /// A new attempt, leased to a worker.
    Lease(NewLease),
    /// An attempt changed.
    Attempt(AttemptChange),
    /// A task has written a table for its run's interval.
    Table(TableWrite),
    /// Somebody has asked for a run with a key of their own.
    Asked(Asked),
    /// What an attempt used, told just before its end. It is no change of status.
    Usage {
        /// Which attempt.
        attempt: AttemptId,
        /// What it used.
        usage: Box<Usage>,
    },
    /// A lease lives longer. Refused if the epoch is not the lease's.
    Renew {
        /// Which attempt.
        attempt: AttemptId,
        /// The lease's epoch.
        epoch: i64,
        /// When it ends now.
        expires: Timestamp,
    },
    /// A new backfill.
    Backfill(NewBackfill),
    /// A run now belongs to this backfill.
    RunBackfill {
        /// Which run.
        run: RunId,
        /// Which backfill.
        backfill: BackfillId,
        /// Whether its tasks are tried again by themselves.
        retries: bool,
        /// When.
        at: Timestamp,
    },
    /// A backfill ended or was cancelled.
    BackfillStatus {
        /// Which.
        backfill: BackfillId,
        /// What its status was.
        from: BackfillStatus,
        /// What it is.
        to: BackfillStatus,
        /// When.
        at: Timestamp,
    },
    /// Something to tell, unless it is there already.
    Notice(NewNotice),
    /// What came of telling it. Nothing changes a notice that has ended.
    NoticeStatus(NoticeChange),
    /// Something noticed of a run, unless it is there already.
    Alert(NewAlert),
    /// A backfill goes faster or slower: errors halve what it does at once.
    BackfillPace {
        /// Which.
        backfill: BackfillId,
        /// How many of its runs may be active at once now.
        pace: u32,
        /// When.
        at: Timestamp,
    },
    /// What failed in a backfill runs again, now that all of it has ended.
    BackfillRound {
        /// Which.
        backfill: BackfillId,
        /// For the how-manieth time.
        round: u32,
        /// How many of its runs have failed.
        failed: u64,
        /// When.
        at: Timestamp,
    },
    /// These runs are kept no longer, nor what belongs to them. All of them are over.
    Drop {
        /// Which.
        runs: Vec<RunId>,
    },
    /// What belongs to no run any more, of before a time, and notices that ended before another: some thousand rows of each.
    DropRest {
        /// Of before this time.
        runs: Timestamp,
        /// Notices that ended before this time.
        notices: Timestamp,
    },
    /// A flow's schedule was paused or resumed.
    Paused {
        /// Which flow.
        flow: String,
        /// Whether it is paused.
        paused: bool,
        /// When.
        at: Timestamp,
    },
}

/// A flow's definition as it was when a run was made from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowVersion {
    /// A hash of the definition.
    pub hash: String,
    /// The flow.
    pub flow: String,
    /// The definition, as text.
    pub definition: String,
    /// When it was first seen.
    pub at: Timestamp,
}

/// A new run, queued, with every task waiting.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Its number.
    pub id: RunId,
    /// Its flow.
    pub flow: String,
    /// Its identity within the flow: the same key is the same run.
    pub key: String,
    /// Its name for people, unique in the project: `daily_delays/2013-01-01`.
    pub name: String,
    /// The hash of the definition.
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
    /// When it was made.
    pub at: Timestamp,
    /// The names of its tasks, in the graph's order.
    pub tasks: Vec<String>,
}

/// What made a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The flow's schedule.
    Schedule,
    /// A person or a program.
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

/// A run's status changed.
#[derive(Clone, Debug)]
pub struct RunChange {
    /// Which run.
    pub run: RunId,
    /// What its status was.
    pub from: RunStatus,
    /// What it is.
    pub to: RunStatus,
    /// Whether its time is up.
    pub timed_out: bool,
    /// When.
    pub at: Timestamp,
}

/// A run follows another definition from now on.
#[derive(Clone, Debug)]
pub struct VersionChange {
    /// Which run.
    pub run: RunId,
    /// The hash of the definition that it followed.
    pub from: String,
    /// The hash of the one that it follows.
    pub to: String,
    /// The tasks that it had not, all waiting: behind those that it had.
    pub tasks: Vec<(TaskIndex, String)>,
    /// When.
    pub at: Timestamp,
}

/// A task changed.
#[derive(Clone, Debug)]
pub struct TaskChange {
    /// Of which run.
    pub run: RunId,
    /// Which task.
    pub task: TaskIndex,
    /// What its status was.
    pub from: TaskStatus,
    /// What it is.
    pub to: TaskStatus,
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
    /// What it gave as its result, with its success; without, it has none any more.
    pub result: Option<serde_json::Value>,
    /// Why, where no attempt says so: who marked it, which condition skipped it.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// The items of a task. Those that were there before have another item now; the others are new, waiting.
#[derive(Clone, Debug)]
pub struct NewItems {
    /// Of which run.
    pub run: RunId,
    /// Of which task.
    pub of: TaskIndex,
    /// The place, the name and the item of each.
    pub items: Vec<(TaskIndex, String, serde_json::Value)>,
    /// When.
    pub at: Timestamp,
}

/// A new attempt, leased to a worker.
#[derive(Clone, Debug)]
pub struct NewLease {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The lease's epoch: higher than any before it.
    pub epoch: i64,
    /// The worker.
    pub owner: String,
    /// When the lease ends unless renewed.
    pub expires: Timestamp,
    /// The log's path, relative to the project.
    pub log: String,
    /// When.
    pub at: Timestamp,
}

/// An attempt changed.
#[derive(Clone, Debug)]
pub struct AttemptChange {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What its status was.
    pub from: AttemptStatus,
    /// What it is.
    pub to: AttemptStatus,
    /// The process group that runs it, if it is a process; told when it starts.
    pub process: Option<ProcessMark>,
    /// Why it failed.
    pub error: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What tells a process from a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Its process id, which is also its process group's.
    pub pid: i32,
    /// When it started, in the kernel's clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub start_ticks: i64,
}

/// A new backfill.
#[derive(Clone, Debug)]
pub struct NewBackfill {
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
    /// How many runs it has to do.
    pub planned: u32,
    /// After how many runs it pauses by itself, to be looked at.
    pub trial: Option<u32>,
    /// How often, at most, what failed runs again once all has ended.
    pub rounds: u32,
    /// When.
    pub at: Timestamp,
}

/// Where a backfill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillStatus {
    /// Some of its runs have not ended.
    Running,
    /// No further run begins until somebody resumes it.
    Paused,
    /// All its runs have succeeded.
    Succeeded,
    /// All its runs have ended, some badly.
    Failed,
    /// Stopped.
    Cancelled,
}

impl BackfillStatus {
    /// The status as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads [`Self::word`] back.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Running, Self::Paused, Self::Succeeded, Self::Failed, Self::Cancelled];
        all.into_iter().find(|status| status.word() == word)
    }

    /// Whether it has ended.
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

impl Trigger {
    /// The trigger as one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Manual => "manual",
            Self::Webhook => "webhook",
            Self::File => "file",
            Self::Backfill => "backfill",
            Self::Flow => "flow",
        }
    }

    /// Reads [`Self::word`] back.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Schedule, Self::Manual, Self::Webhook, Self::File, Self::Backfill, Self::Flow];
        all.into_iter().find(|trigger| trigger.word() == word)
    }
}
