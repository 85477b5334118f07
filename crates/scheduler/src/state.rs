//! What the loop holds in memory. All of it can be rebuilt from the history.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::{DataInterval, Flow, Params, RunKey, Task, Variables};
use mulgil_history::History;
use mulgil_history::write::{ProcessMark, Trigger};
use mulgil_sched::admission::{Admission, Lane};
use mulgil_sched::demand::Offer;
use mulgil_sched::graph::Graph;
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::run::RunState;
use mulgil_worker::dispatcher::Order;
use tokio::sync::{Notify, broadcast, mpsc};

use super::batch::Batch;
use super::calls::Calls;
use super::change::Change;
use super::clock::Clock;
use super::error::SchedulerError;
use super::open_backfill::OpenBackfill;
use super::request::{FlowSource, SchedulerOptions};
use super::tally::Tally;
use super::watch::{Durations, Watch};

/// The loop's state.
pub(super) struct Scheduler {
    pub(super) history: Arc<dyn History>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: SchedulerOptions,
    pub(super) changes: broadcast::Sender<Change>,
    /// The project's flows now.
    pub(super) flows: BTreeMap<String, FlowSource>,
    /// Definitions by hash: those of `flows`, and older ones that open runs were made from.
    pub(super) versions: HashMap<String, Version>,
    /// Runs that have not ended.
    pub(super) runs: HashMap<RunId, OpenRun>,
    /// Backfills that have not ended.
    pub(super) backfills: HashMap<BackfillId, OpenBackfill>,
    /// Their tasks that run other flows.
    pub(super) calls: Calls,
    /// Flows whose schedule is paused.
    pub(super) paused: BTreeSet<String>,
    pub(super) admission: Admission,
    /// Tables that this turn's tasks have written, and for which interval.
    pub(super) written: Vec<(String, DataInterval)>,
    /// When to look again what was written, and the pause before that, while the history cannot be read.
    pub(super) tables_again: Option<(Timestamp, SignedDuration)>,
    pub(super) seats: BTreeMap<SeatId, Seat>,
    pub(super) leases: HashMap<AttemptId, LiveLease>,
    pub(super) timers: BTreeSet<(Timestamp, Timer)>,
    /// Up to when each flow's schedule has been looked at.
    pub(super) fired: HashMap<String, Timestamp>,
    /// How long runs of each flow took, as far as anybody has asked.
    pub(super) durations: Durations,
    /// What was done since the beginning.
    pub(super) tally: Tally,
    /// Notices that wait to be delivered.
    pub(super) notices_waiting: u64,
    /// Woken when something was written into the outbox.
    pub(super) outbox: Arc<Notify>,
    /// Whether no more work is given out: the server is about to stop.
    pub(super) draining: bool,
    /// Why the history could not be written: what was decided then is lost, memory and history disagree, and nothing more may
    /// be stored, whoever got to see the error.
    pub(super) failure: Option<SchedulerError>,
    pub(super) last_run: i64,
    pub(super) last_backfill: i64,
    pub(super) last_epoch: i64,
    pub(super) last_seat: SeatId,
    /// By flow and task: how many seconds an item took lately.
    pub(super) paces: HashMap<(String, String), f64>,
    /// What this turn has decided so far.
    pub(super) batch: Batch,
}

/// A definition and its graph.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) flow: Arc<Flow>,
    pub(super) graph: Arc<Graph>,
}

/// A run that has not ended.
pub(super) struct OpenRun {
    pub(super) state: RunState,
    pub(super) flow: Arc<Flow>,
    pub(super) name: String,
    pub(super) interval: Option<DataInterval>,
    pub(super) trigger: Trigger,
    pub(super) backfill: Option<BackfillId>,
    pub(super) lane: Lane,
    /// When it began, the last time.
    pub(super) begun: Option<Timestamp>,
    /// Whether later intervals go first, in its backfill.
    pub(super) newest_first: bool,
    pub(super) watch: Watch,
    pub(super) variables: Arc<Variables>,
    /// What its tasks have given as their results.
    pub(super) results: HashMap<TaskIndex, Arc<serde_json::Value>>,
    /// The items of its tasks that do one.
    pub(super) items: HashMap<TaskIndex, Arc<serde_json::Value>>,
    /// How many bytes the results of each task's items have together.
    pub(super) gathered: HashMap<TaskIndex, usize>,
}

impl OpenRun {
    /// What the definition says of a task.
    pub(super) fn task(&self, task: TaskIndex) -> Option<&Task> {
        let task = self.origin(task);
        let name = &*self.state.graph.task(task)?.name;
        // A run that follows a later definition has its tasks in other places.
        self.flow.tasks.get(task as usize).filter(|task| task.name == name).or_else(|| self.flow.task(name))
    }
}

impl OpenRun {
    /// The task of the flow that a task of the run comes from: itself, or the one whose item it does.
    pub(super) fn origin(&self, task: TaskIndex) -> TaskIndex {
        self.state.graph.task(task).and_then(|node| node.item_of).unwrap_or(task)
    }
}

/// A run to be made.
pub(super) struct RunOrder {
    pub(super) interval: Option<DataInterval>,
    pub(super) params: Params,
    pub(super) trigger: Trigger,
    /// What it is known by, where that is neither its interval nor its parameters.
    pub(super) key: Option<RunKey>,
    pub(super) backfill: Option<BackfillId>,
    pub(super) retries: bool,
}

/// A worker's number.
pub(super) type SeatId = u64;

/// A worker that has joined.
pub(super) struct Seat {
    pub(super) name: String,
    pub(super) slots: usize,
    pub(super) offer: Offer,
    /// Attempts that hold a slot.
    pub(super) live: BTreeSet<AttemptId>,
    /// Attempts that only wait.
    pub(super) waiting: BTreeSet<AttemptId>,
    pub(super) orders: mpsc::Sender<Order>,
}

/// A lease that is live.
pub(super) struct LiveLease {
    pub(super) epoch: i64,
    pub(super) seat: SeatId,
    pub(super) expires: Timestamp,
    /// When it was given.
    pub(super) since: Timestamp,
    /// The process of a lease that another server gave: it is ended, if it is on this machine, when the lease has run out.
    pub(super) left_over: Option<ProcessMark>,
    /// When its attempt began.
    pub(super) begun: Option<Timestamp>,
}

/// The place of workers that other servers had.
pub(super) const ELSEWHERE: SeatId = 0;

/// Something that is due at a time. A timer that is not wanted any more does nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A task is to be tried again.
    Retry(RunId, TaskIndex),
    /// A call is to be looked at: its time may be over.
    Call(RunId, TaskIndex),
    /// A lease runs out unless it was renewed.
    Lease(AttemptId),
    /// Which tables are written is looked up again.
    Tables,
    /// What failed in a backfill runs again.
    Round(BackfillId),
    /// The time that a run has is over.
    RunTimeout(RunId),
    /// A run should have ended.
    Deadline(RunId),
    /// A run has begun: how long it usually takes is wanted.
    Usual(RunId),
    /// A run takes longer than usual, unless it has ended.
    Slow(RunId),
    /// A flow's schedule fires.
    Schedule(String),
}

impl Scheduler {
    /// The names of the flows, for messages.
    pub(super) fn known_flows(&self) -> String {
        match self.flows.is_empty() {
            true => "no flow at all".to_owned(),
            false => self.flows.keys().cloned().collect::<Vec<_>>().join(", "),
        }
    }
}
