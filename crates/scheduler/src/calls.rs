//! Runs that do a task's work: a task that runs another flow calls a run of it, and ends with that run.
//!
//! A call is looked at when it begins, when its run has ended, when it is to be stopped, and when its time is over; each time only after what
//! was decided before is stored, and never in the middle of another run's step. Looking twice does nothing twice: what is called is identified
//! by flow, interval and parameters, and is kept with the task. So a restart looks at all calls under way, and goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::SignedDuration;
use mulgil_flow::{CallTask, DataInterval, Fault, Params, RerunOn, RunKey, TaskKind};
use mulgil_history::call::CallChange;
use mulgil_history::read::{Memory, RunRow};
use mulgil_history::write::{Trigger, Write};
use mulgil_sched::admission::Lane;
use mulgil_sched::graph::TaskNode;
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::{RunStatus, TaskStatus};
use mulgil_sched::step::{Ending, Event};
use mulgil_worker::crash;

use super::batch::Now;
use super::error::SchedulerError;
use super::request::FlowSource;
use super::results::variables_of;
use super::runs::{Detail, task_change_now};
use super::state::{OpenRun, RunOrder, Scheduler, Timer};

/// When to look again at a call whose run could not be looked up.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A task of a run, which calls another.
type Caller = (RunId, TaskIndex);

/// The calls of open runs.
#[derive(Default)]
pub(super) struct Calls {
    /// To be looked at, once everything so far is stored.
    pending: BTreeSet<Caller>,
    /// What has been called.
    under_way: BTreeMap<Caller, Called>,
    /// Who waits for a run.
    callers: HashMap<RunId, BTreeSet<Caller>>,
}

/// A run that does a task's work.
#[derive(Clone)]
struct Called {
    run: RunId,
    name: String,
    /// Whether the task has started it, and not only found it under way: then it stops it too.
    starts: bool,
    ended: Option<RunStatus>,
}

/// Why a call comes to nothing.
enum Refusal {
    /// The task fails, for this reason.
    Because(String),
    /// It cannot be told now.
    Later(SchedulerError),
}

impl From<SchedulerError> for Refusal {
    fn from(error: SchedulerError) -> Self {
        match error {
            error @ SchedulerError::History(_) => Self::Later(error),
            error => Self::Because(error.to_string()),
        }
    }
}

/// The run that is asked for.
pub(super) struct Wanted {
    pub(super) source: FlowSource,
    interval: Option<DataInterval>,
    params: Params,
    pub(super) key: RunKey,
    pub(super) rerun_on: RerunOn,
}

impl Wanted {
    /// The order for it, where there is none yet.
    pub(super) fn order(self, retries: bool) -> RunOrder {
        let Self { interval, params, .. } = self;
        RunOrder { interval, params, trigger: Trigger::Flow, key: None, backfill: None, retries }
    }
}

impl Calls {
    /// A call is to be looked at.
    pub(super) fn look_at(&mut self, run: RunId, task: TaskIndex) {
        self.pending.insert((run, task));
    }

    /// Whether none is to be looked at.
    pub(super) fn are_quiet(&self) -> bool {
        self.pending.is_empty()
    }

    /// A run has ended: whoever waits for it has to hear of it.
    pub(super) fn run_ended(&mut self, run: RunId, status: RunStatus) {
        for caller in self.callers.remove(&run).unwrap_or_default() {
            if let Some(called) = self.under_way.get_mut(&caller) {
                called.ended = Some(status);
            }
            self.pending.insert(caller);
        }
    }

    fn forget(&mut self, caller: Caller) {
        if let Some(called) = self.under_way.remove(&caller)
            && let Some(callers) = self.callers.get_mut(&called.run)
        {
            callers.remove(&caller);
            if callers.is_empty() {
                self.callers.remove(&called.run);
            }
        }
    }

    fn wait_for(&mut self, run: RunId, caller: Caller) {
        self.callers.entry(run).or_default().insert(caller);
    }

    /// The runs that tasks of a run wait for.
    fn called_by(&self, run: RunId) -> impl Iterator<Item = RunId> {
        self.under_way.range((run, 0)..=(run, TaskIndex::MAX)).map(|(_, called)| called.run)
    }

    /// Whether a run waits for another, directly or not.
    fn waits_for(&self, run: RunId, other: RunId) -> bool {
        let (mut seen, mut todo) = (BTreeSet::new(), vec![run]);
        while let Some(next) = todo.pop() {
            if next == other {
                return true;
            }
            if seen.insert(next) {
                todo.extend(self.called_by(next));
            }
        }
        false
    }

    /// How many runs wait for a run, one for the other.
    fn depth(&self, run: RunId) -> usize {
        let above = |run: RunId| self.callers.get(&run).and_then(|callers| callers.first()).map(|(run, _)| *run);
        std::iter::successors(above(run), |run| above(*run)).take(CallTask::DEPTH_MAX).count()
    }
}

impl Scheduler {
    /// A task's turn has come that calls.
    pub(super) fn begin_call(&mut self, id: RunId, task: TaskIndex, now: Now) {
        // One of an earlier time counts no more.
        let none = CallChange { run: id, task, child: None, starts: false, at: now };
        self.batch.record(Write::Call(none), None);
        self.calls.look_at(id, task);
        self.time_call(id, task);
    }

    /// Looks again when its time is over.
    fn time_call(&mut self, id: RunId, task: TaskIndex) {
        if let Some((at, _)) = self.runs.get(&id).and_then(|run| due(run, task)) {
            self.timers.insert((at, Timer::Call(id, task)));
        }
    }

    /// Looks at the calls that something has happened to, until nothing follows from it.
    pub(super) async fn follow_calls(&mut self) -> Result<(), SchedulerError> {
        while !self.calls.pending.is_empty() {
            self.store().await?;
            let now = self.clock.now();
            for caller in std::mem::take(&mut self.calls.pending) {
                self.look_at_call(caller, now).await;
            }
        }
        Ok(())
    }

    async fn look_at_call(&mut self, caller: Caller, now: Now) {
        let Some(run) = self.runs.get(&caller.0).filter(|run| is_under_way(run, caller.1)) else {
            return self.calls.forget(caller);
        };
        let cancelled = run.state.status == RunStatus::Cancelling;
        let late = due(run, caller.1).filter(|(at, _)| *at <= now).map(|(_, timeout)| timeout);
        let stops = cancelled || late.is_some();
        match self.calls.under_way.get(&caller).cloned() {
            Some(called) if self.runs.contains_key(&called.run) && (!stops || called.starts) => {
                self.calls.wait_for(called.run, caller);
                if stops {
                    self.stop_called(caller, &called, now);
                }
            }
            Some(called) => {
                let (ending, note) = returned(&called, cancelled, late);
                self.end_call(caller, ending, note, now);
            }
            None if cancelled => self.end_call(caller, Ending::Cancelled, None, now),
            None => match self.call(caller, now).await {
                Ok(()) => {}
                Err(Refusal::Because(reason)) => {
                    self.end_call(caller, Ending::Failed(Fault::default()), Some(reason), now)
                }
                Err(Refusal::Later(error)) => {
                    tracing::error!(run = %caller.0, %error, "a run that is called cannot be looked up; trying again");
                    let again = now.saturating_add(LOOK_AGAIN).unwrap_or(Now::MAX);
                    self.timers.insert((again, Timer::Call(caller.0, caller.1)));
                }
            },
        }
    }

    /// Ends the run that a task has started: the task ends when that has.
    fn stop_called(&mut self, caller: Caller, called: &Called, now: Now) {
        let status = self.runs.get(&called.run).map(|run| run.state.status);
        if status != Some(RunStatus::Cancelling) {
            let name = self.runs.get(&caller.0).map_or_else(String::new, |run| run.name.clone());
            let note = Some((TaskIndex::default(), format!("stopped by {name}, which had called it")));
            self.step_by_itself(called.run, Event::Cancel, Detail { note, ..Detail::default() }, now);
        }
    }

    fn end_call(&mut self, caller: Caller, ending: Ending, note: Option<String>, now: Now) {
        self.calls.forget(caller);
        let note = note.map(|note| (caller.1, note));
        let event = Event::Returned { task: caller.1, ending };
        self.step_by_itself(caller.0, event, Detail { note, ..Detail::default() }, now);
        crash::point("before the end of a call is stored");
        self.batch.points.push("after the end of a call is stored");
    }

    /// Makes or finds the run that does a task's work.
    async fn call(&mut self, caller: Caller, now: Now) -> Result<(), Refusal> {
        let run = self.runs.get(&caller.0).ok_or(SchedulerError::UnknownRun(caller.0))?;
        let wanted = self.wanted(run, caller.1).map_err(Refusal::Because)?;
        let made = self.batch.writes.iter().find_map(|write| match write {
            // Made for another caller just now.
            Write::Run(run) if run.flow == wanted.key.flow && run.key == wanted.key.text() => Some(run.id),
            _ => None,
        });
        if let Some(run) = made {
            return self.join(caller, run, wanted.key.run_id(), now);
        }
        let key = [wanted.key.text().to_owned()];
        let found = self.history.runs_by_key(&wanted.key.flow, &key).await.map_err(SchedulerError::from)?;
        match found.into_iter().next() {
            None => self.start_call(caller, wanted, now),
            Some(row) if self.runs.contains_key(&row.id) => self.join(caller, row.id, &row.name, now),
            Some(row) if row.status.is_terminal() => self.call_again(caller, &row, wanted.rerun_on, now).await,
            // It has ended in this very turn.
            Some(_) if !self.batch.writes.is_empty() => {
                self.calls.pending.insert(caller);
                Ok(())
            }
            Some(row) => {
                let reason = "cannot go on: its definition cannot be read any more";
                Err(Refusal::Because(format!("its run {} {reason}", row.name)))
            }
        }
    }

    /// The run that a task asks for, by what is known now; or why that cannot be told.
    pub(super) fn wanted(&self, run: &OpenRun, task: TaskIndex) -> Result<Wanted, String> {
        let Some(TaskKind::Flow(call)) = run.task(task).map(|task| &task.kind) else {
            return Err("its definition has no such task any more".to_owned());
        };
        let given = call.given(&variables_of(run, task)).map_err(|error| format!("in `params:`, {error}"))?;
        let source = self.flow(&call.flow).map_err(|error| error.to_string())?;
        let params = source.flow.resolve_params(&given).map_err(|error| error.to_string())?;
        let key = RunKey::new(&source.flow, run.interval, &params);
        Ok(Wanted { source, interval: run.interval, params, key, rerun_on: call.rerun_on })
    }

    fn start_call(&mut self, caller: Caller, wanted: Wanted, now: Now) -> Result<(), Refusal> {
        if self.calls.depth(caller.0) >= CallTask::DEPTH_MAX {
            let reason = format!("runs call runs {} deep: that looks like one without an end", CallTask::DEPTH_MAX);
            return Err(Refusal::Because(reason));
        }
        let retries = self.runs.get(&caller.0).is_some_and(|run| run.state.retries);
        let (source, name) = (wanted.source.clone(), wanted.key.run_id().to_owned());
        let run = self.create_run(&source, wanted.order(retries), now)?;
        self.called(caller, run, &name, true, now);
        crash::point("before a called run is stored");
        self.batch.points.push("after a called run is stored");
        Ok(())
    }

    /// The run is under way: its end is waited for.
    fn join(&mut self, caller: Caller, run: RunId, name: &str, now: Now) -> Result<(), Refusal> {
        if self.calls.waits_for(run, caller.0) {
            return Err(Refusal::Because(format!("its run {name} waits for this one: each would wait for the other")));
        }
        match self.runs.get(&run).map(|run| run.state.status) {
            // Once it has been stopped, it runs again.
            Some(RunStatus::Cancelling) => self.calls.wait_for(run, caller),
            _ => self.called(caller, run, name, false, now),
        }
        Ok(())
    }

    /// The run is there already, and has ended.
    async fn call_again(&mut self, caller: Caller, row: &RunRow, on: RerunOn, now: Now) -> Result<(), Refusal> {
        let name = &row.name;
        let Some(scope) = again_by(on, row.status) else {
            if row.status == RunStatus::Succeeded {
                self.called(caller, row.id, name, false, now);
                self.end_call(caller, Ending::Succeeded, Some(format!("its run {name} had succeeded before")), now);
                return Ok(());
            }
            let status = row.status;
            let reason = format!("its run {name} is {status} already, and `rerun_on: none` leaves it as it is");
            return Err(Refusal::Because(reason));
        };
        let reopening = self.prepare_rerun(row.id, &scope, false).await?;
        let asks = reopening.unconfirmed().join(", ");
        if !asks.is_empty() {
            return Err(Refusal::Because(format!(
                "{asks} would run again, and says `idempotent: false`: check what it did, then re-run this task and confirm"
            )));
        }
        if let Some(backfill) = reopening.run.backfill {
            self.reopen_backfill(backfill, &reopening.run, now).await?;
        }
        self.reopen(reopening, now)?;
        self.called(caller, row.id, name, true, now);
        Ok(())
    }

    /// Keeps what a task has called.
    fn called(&mut self, caller: Caller, child: RunId, name: &str, starts: bool, now: Now) {
        let (run, task) = caller;
        let change = self.runs.get(&run).map(|open| task_change_now(open, task, now));
        self.batch.record(Write::Call(CallChange { run, task, child: Some(child), starts, at: now }), change);
        let lane = self.runs.get(&run).map(|open| open.lane);
        if let (true, Some(lane), Some(open)) = (starts, lane, self.runs.get_mut(&child)) {
            // What a backfill calls delays daily work no more than the backfill does.
            open.lane = lane;
        }
        let called = Called { run: child, name: name.to_owned(), starts, ended: None };
        self.calls.under_way.insert(caller, called);
        self.calls.wait_for(child, caller);
    }

    /// What is called, and where it stands, for people.
    pub(super) fn why_called(&self, run: RunId, task: TaskIndex) -> Option<(String, RunId, RunStatus)> {
        let called = self.calls.under_way.get(&(run, task))?;
        Some((called.name.clone(), called.run, self.runs.get(&called.run)?.state.status))
    }
}

/// The start.
impl Scheduler {
    /// The calls under way when the server stopped: each is looked at.
    pub(super) fn recover_calls(&mut self, memory: &Memory) {
        for row in &memory.calls {
            let caller = (row.run, row.task);
            let ended = Some(row.status).filter(|status| status.is_terminal());
            let called = Called { run: row.child, name: row.name.clone(), starts: row.starts, ended };
            self.calls.under_way.insert(caller, called);
            self.calls.wait_for(row.child, caller);
        }
        let open = self.runs.iter().flat_map(|(id, run)| {
            run.state.graph.indices().filter(|task| is_under_way(run, *task)).map(|task| (*id, task))
        });
        for (run, task) in open.collect::<Vec<_>>() {
            self.calls.look_at(run, task);
            self.time_call(run, task);
        }
    }
}

/// The lane of each open run that is not in the daily one: those of backfills, and what they have called.
pub(super) fn lanes(memory: &Memory) -> HashMap<RunId, Lane> {
    let of_backfills = memory.runs.iter().filter(|(run, _)| run.backfill.is_some()).map(|(run, _)| run.id);
    let mut found: BTreeSet<RunId> = of_backfills.collect();
    for _ in 0..CallTask::DEPTH_MAX {
        let called = memory.calls.iter().filter(|call| call.starts && found.contains(&call.run)).map(|call| call.child);
        let called: Vec<RunId> = called.collect();
        found.extend(called);
    }
    found.into_iter().map(|run| (run, Lane::Backfill)).collect()
}

/// What runs again of a run that is there and has ended, when a task asks for it.
pub(super) fn again_by(on: RerunOn, status: RunStatus) -> Option<RerunScope> {
    match on {
        RerunOn::All => Some(RerunScope::All),
        RerunOn::Failed => Some(RerunScope::Failed).filter(|_| status != RunStatus::Succeeded),
        RerunOn::None => None,
    }
}

/// Whether a task calls just now.
fn is_under_way(run: &OpenRun, task: TaskIndex) -> bool {
    let runs = run.state.task(task).is_some_and(|state| state.status == TaskStatus::Running);
    runs && run.state.graph.task(task).is_some_and(TaskNode::is_call)
}

/// When the time of a call is over, if it has one.
fn due(run: &OpenRun, task: TaskIndex) -> Option<(Now, SignedDuration)> {
    let timeout = run.task(task)?.timeout?;
    Some((run.state.task(task)?.since?.saturating_add(timeout).ok()?, timeout))
}

/// How a task ends by the end of what it called.
fn returned(called: &Called, cancelled: bool, late: Option<SignedDuration>) -> (Ending, Option<String>) {
    let name = &called.name;
    match (called.ended, late) {
        (Some(RunStatus::Succeeded), _) => (Ending::Succeeded, None),
        (Some(RunStatus::Failed), _) => (Ending::Failed(Fault::default()), Some(format!("its run {name} has failed"))),
        _ if cancelled => (Ending::Cancelled, None),
        (_, Some(timeout)) => {
            let what = if called.starts { "was stopped" } else { "goes on" };
            let note = format!("its run {name} took longer than {timeout:#}, and {what}; raise `timeout:` if it may");
            (Ending::TimedOut, Some(note))
        }
        (Some(RunStatus::Cancelled), None) => {
            (Ending::Failed(Fault::default()), Some(format!("its run {name} was stopped")))
        }
        _ => (
            Ending::Failed(Fault::default()),
            Some(format!("its run {name} cannot go on: its definition cannot be read any more")),
        ),
    }
}
