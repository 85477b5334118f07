//! Whatever waits has a reason, and the reason is true by what is stored: the pool is full of those who are named, the needs have not
//! ended, the limit is reached.

use std::collections::BTreeSet;
use std::fmt;

use mulgil_history::write::BackfillStatus;
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{RunStatus, TaskStatus};
use mulgil_sched::why::{Reason, of_run, of_task};

use super::flows::project;
use super::store::{Stored, StoredRun};
use super::world::{SLOTS, World};
use crate::state::Scheduler;

/// Of so many turns, after one it is asked: asking after each would take longer than everything else together.
const ASKED_EVERY: u64 = 16;

impl World {
    /// Asks of everything why it does not run, after a turn of the loop.
    pub(super) fn ask_why(&mut self, turn: u64) {
        let Some(scheduler) = self.scheduler.as_ref().filter(|_| turn.is_multiple_of(ASKED_EVERY)) else { return };
        self.history.look(|stored, checker| {
            let facts = Facts::of(stored, scheduler);
            for (id, run) in facts.open.iter().copied() {
                for (what, reason) in reasons(scheduler, id, run) {
                    checker.tally.reasons += 1;
                    match reason {
                        None => checker.violations.push(format!("{what} waits without a reason")),
                        Some(reason) if facts.holds(run, what, &reason) => {}
                        Some(reason) => {
                            checker.violations.push(format!("{what} waits for another reason than {reason:?}"))
                        }
                    }
                }
            }
        });
    }
}

/// A run, or a task of it.
#[derive(Clone, Copy)]
struct What {
    run: RunId,
    task: Option<TaskIndex>,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.task {
            Some(task) => write!(f, "task {task} of run {}", self.run),
            None => write!(f, "run {}", self.run),
        }
    }
}

/// What waits in a run, by what is stored, and the scheduler's reason for it.
fn reasons(scheduler: &Scheduler, id: RunId, run: &StoredRun) -> Vec<(What, Option<Reason>)> {
    let state = scheduler.runs.get(&id).map(|open| &open.state);
    let workforce = scheduler.workforce(None);
    let mut reasons = Vec::new();
    if run.row.status == RunStatus::Queued {
        let reason = state.and_then(|state| of_run(state, &scheduler.admission, workforce));
        reasons.push((What { run: id, task: None }, reason));
    }
    for task in run.tasks.iter().filter(|task| !task.status.is_terminal() && task.status != TaskStatus::Running) {
        let reason = state.and_then(|state| of_task(state, task.index, &scheduler.admission, workforce));
        reasons.push((What { run: id, task: Some(task.index) }, reason));
    }
    reasons
}

/// What is stored, as reasons speak of it.
struct Facts<'a> {
    open: Vec<(RunId, &'a StoredRun)>,
    live: BTreeSet<AttemptId>,
    workers: usize,
    /// Backfills that are paused or have a trial.
    held: BTreeSet<BackfillId>,
}

impl<'a> Facts<'a> {
    fn of(stored: &'a Stored, scheduler: &Scheduler) -> Self {
        let open = stored.runs.iter().filter(|(_, run)| !run.row.status.is_terminal());
        let open: Vec<(RunId, &StoredRun)> = open.map(|(id, run)| (*id, run)).collect();
        let attempts = open.iter().flat_map(|(id, run)| run.attempts.iter().map(move |attempt| (*id, attempt)));
        let live = attempts.filter(|(_, (_, attempt))| !attempt.row.status.is_terminal());
        let live = live.map(|(run, ((task, attempt), _))| AttemptId { run, task: *task, attempt: *attempt }).collect();
        let held = stored.backfills.values().filter(|row| row.status == BackfillStatus::Paused || row.trial.is_some());
        let held = held.map(|row| row.id).collect();
        Self { open, live, workers: scheduler.seats.len(), held }
    }

    fn active(&self, fits: impl Fn(&StoredRun) -> bool) -> BTreeSet<RunId> {
        let active = self.open.iter().filter(|(_, run)| run.row.status.is_active() && fits(run));
        active.map(|(id, _)| *id).collect()
    }

    fn holds(&self, run: &StoredRun, what: What, reason: &Reason) -> bool {
        match reason {
            Reason::Run(reason) => run.row.status == RunStatus::Queued && self.holds(run, what, reason),
            Reason::FlowLimit { limit, active: named } => {
                let active = self.active(|other| other.row.flow == run.row.flow);
                active.len() >= *limit && active == named.iter().copied().collect()
            }
            Reason::BackfillLimit { backfill, limit, active: named } => {
                let active = self.active(|other| other.row.backfill == Some(*backfill));
                let is_its = run.row.backfill == Some(*backfill);
                is_its && active.len() >= *limit && active == named.iter().copied().collect()
            }
            Reason::BackfillHeld { backfill } => run.row.backfill == Some(*backfill) && self.held.contains(backfill),
            Reason::Overlap { active: named } => {
                let active = self.active(|other| other.row.flow == run.row.flow && other.row.backfill.is_none());
                !active.is_empty() && active == named.iter().copied().collect()
            }
            Reason::Needs { tasks, .. } => tasks.iter().all(|(name, status)| {
                let need = run.tasks.iter().find(|task| task.name == **name);
                need.is_some_and(|need| need.status == *status && !status.is_terminal())
            }),
            Reason::Items { of, at_once, under_way } => {
                use TaskStatus::{Ready, Retrying, Running};
                let of = run.tasks.iter().find(|task| task.name == **of).map(|task| task.index);
                let items = run.tasks.iter().filter(|task| task.item_of.is_some() && task.item_of == of);
                let busy = items.filter(|item| matches!(item.status, Ready | Running | Retrying)).count();
                busy == *under_way && busy >= *at_once as usize
            }
            Reason::Retry { at, attempt } => what.task.is_some_and(|task| {
                let task = &run.tasks[task as usize];
                task.status == TaskStatus::Retrying && task.not_before == Some(*at) && task.attempts + 1 == *attempt
            }),
            Reason::TaskLimit { limit, held } => {
                let held: BTreeSet<AttemptId> = held.iter().copied().collect();
                what.task.is_some() && held.len() >= *limit && held.is_subset(&self.live)
            }
            Reason::PoolFull { pool, slots, held, .. } => {
                let held: BTreeSet<AttemptId> = held.iter().copied().collect();
                project().pools[&**pool] as usize == *slots && held.len() >= *slots && held.is_subset(&self.live)
            }
            Reason::NoWorker { .. } => self.workers == 0,
            Reason::WorkersFull { slots } => *slots <= self.workers * SLOTS && self.live.len() >= *slots,
            // Nothing may be left that could go: the loop gives out what it can before it answers.
            Reason::Stopping | Reason::Nothing => false,
        }
    }
}
