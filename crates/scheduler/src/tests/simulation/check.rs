//! What must hold in every world, checked at every commit, at every piece of work, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mulgil_flow::Flow;
use mulgil_history::write::{BackfillStatus, NewLease, RunChange, Write};
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use super::flows::{SLOTS, project};
use super::store::{Stored, StoredRun};
use super::telling::Told;
use crate::{RerunPreview, SchedulerError, Triggered};

/// Watches a world, and puts down what must not be.
#[derive(Default)]
pub(super) struct Checker {
    flows: BTreeMap<String, Arc<Flow>>,
    last_epoch: i64,
    /// Work that has begun and that was done, by its lease's epoch.
    begun: BTreeMap<i64, AttemptId>,
    /// Runs of which somebody has marked a task.
    pub(super) marked_runs: BTreeSet<RunId>,
    /// Of each backfill, what had failed before each of its rounds.
    pub(super) rounds: BTreeMap<BackfillId, Vec<u64>>,
    done: BTreeSet<i64>,
    /// Runs that somebody has asked to run again.
    again: BTreeSet<RunId>,
    /// How often a task that is not idempotent may begin: once, and once more for each confirmed re-run.
    allowed: BTreeMap<(RunId, TaskIndex), u32>,
    /// What was confirmed for called runs, and after how many attempts.
    pub(super) confirmed: BTreeSet<(RunId, TaskIndex, u32)>,
    /// What came from outside, and the run that was told of.
    arrivals: BTreeMap<(String, String), RunId>,
    pub(super) told: Told,
    pub(super) violations: Vec<String>,
    pub(super) tally: Tally,
}

/// How much of everything there was, so that a simulation in which nothing happens is seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) commits: u64,
    pub(super) runs: u64,
    pub(super) attempts: u64,
    pub(super) lost: u64,
    pub(super) timed_out: u64,
    pub(super) retried: u64,
    pub(super) overdue: u64,
    pub(super) cancelled: u64,
    pub(super) backfills: u64,
    pub(super) waited: u64,
    pub(super) pauses: u64,
    pub(super) paces: u64,
    pub(super) rounds: u64,
    pub(super) reruns: u64,
    pub(super) previews: u64,
    pub(super) marked: u64,
    pub(super) moved: u64,
    pub(super) at_limit: u64,
    pub(super) deaths: u64,
    pub(super) deaths_in_commit: u64,
    pub(super) answers_lost: u64,
    pub(super) fenced: u64,
    pub(super) notices: u64,
    pub(super) late: u64,
    pub(super) slow: u64,
    pub(super) told_again: u64,
    pub(super) clock_jumps: u64,
    pub(super) reasons: u64,
    pub(super) items: u64,
    pub(super) calls: u64,
    pub(super) joined: u64,
    pub(super) called_again: u64,
    pub(super) confirmed: u64,
    pub(super) keys_again: u64,
    pub(super) arrived_again: u64,
    pub(super) far_began: u64,
    pub(super) far_came_back: u64,
    pub(super) far_silent: u64,
    pub(super) orders_again: u64,
    pub(super) views: u64,
}

impl Tally {
    fn numbers(&mut self) -> [&mut u64; 40] {
        [
            &mut self.commits,
            &mut self.runs,
            &mut self.attempts,
            &mut self.lost,
            &mut self.timed_out,
            &mut self.retried,
            &mut self.overdue,
            &mut self.cancelled,
            &mut self.backfills,
            &mut self.waited,
            &mut self.pauses,
            &mut self.paces,
            &mut self.rounds,
            &mut self.reruns,
            &mut self.previews,
            &mut self.marked,
            &mut self.moved,
            &mut self.at_limit,
            &mut self.deaths,
            &mut self.deaths_in_commit,
            &mut self.answers_lost,
            &mut self.fenced,
            &mut self.notices,
            &mut self.late,
            &mut self.slow,
            &mut self.told_again,
            &mut self.clock_jumps,
            &mut self.reasons,
            &mut self.items,
            &mut self.calls,
            &mut self.joined,
            &mut self.called_again,
            &mut self.confirmed,
            &mut self.keys_again,
            &mut self.arrived_again,
            &mut self.far_began,
            &mut self.far_came_back,
            &mut self.far_silent,
            &mut self.orders_again,
            &mut self.views,
        ]
    }

    pub(super) fn add(&mut self, mut other: Self) {
        for (mine, theirs) in self.numbers().into_iter().zip(other.numbers()) {
            *mine += *theirs;
        }
    }

    pub(super) fn assert_everything_happened(&mut self) {
        let nothing = self.numbers().into_iter().any(|number| *number == 0);
        assert!(!nothing, "something never happened, so it was not tested: {self:?}");
    }
}

impl Checker {
    pub(super) fn fault(&mut self, holds: bool, fault: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(fault());
        }
    }

    pub(super) fn flow_of(&mut self, stored: &Stored, run: &StoredRun) -> Option<Arc<Flow>> {
        let hash = &run.row.version;
        if let Some(flow) = self.flows.get(hash) {
            return Some(flow.clone());
        }
        let text = &stored.versions.get(hash)?.definition;
        let flow = Arc::new(Flow::parse("flows/stored.yaml", text, project()).ok()?);
        self.flows.insert(hash.clone(), flow.clone());
        Some(flow)
    }

    /// A run was asked for, perhaps with a key: what the key stood for `before` and `after` that.
    pub(super) fn asked(
        &mut self,
        with_key: bool,
        before: Option<RunId>,
        after: Option<RunId>,
        answer: Option<Result<Triggered, SchedulerError>>,
    ) {
        let Some(Ok(told)) = answer.filter(|_| with_key) else { return };
        self.tally.keys_again += u64::from(before.is_some());
        let is_same = after == Some(told.run) && before.is_none_or(|before| before == told.run && !told.created);
        self.fault(is_same, || format!("a key stood for {before:?}, stands for {after:?}, and {told:?} was said"));
    }

    /// Something has come from outside: whatever has come before has its run already.
    pub(super) fn arrived(&mut self, flow: String, id: String, told: &Triggered) {
        let what = (flow, id);
        let before = self.arrivals.insert(what.clone(), told.run);
        self.tally.arrived_again += u64::from(before.is_some());
        let is_same = before.is_none_or(|before| before == told.run && !told.created);
        self.fault(is_same, || format!("{what:?} had run {before:?}, and now {told:?}"));
    }

    /// A commit: `stored` is what there is after it.
    pub(super) fn committed(&mut self, stored: &Stored, writes: &[Write]) {
        self.tally.commits += 1;
        for (number, write) in writes.iter().enumerate() {
            match write {
                Write::Run(run) => {
                    self.tally.runs += 1;
                    self.fault(stored.versions.contains_key(&run.version), || format!("run {} has no version", run.id));
                }
                Write::Lease(lease) => self.leased(stored, lease),
                Write::RunStatus(change) => self.run_changed(stored, change, &writes[number..]),
                Write::Task(change) => {
                    if change.to == TaskStatus::Retrying {
                        self.retried(stored, change);
                    }
                    self.tally.cancelled += u64::from(change.to == TaskStatus::Cancelled);
                    let marked = change.note.as_ref().is_some_and(|note| note.contains("somebody"));
                    self.tally.marked += u64::from(marked);
                    self.call_ended(stored, writes, change);
                }
                Write::Call(change) => self.called(stored, change),
                Write::Confirmed(confirmed) => self.confirmed(stored, confirmed),
                Write::Items(new) => {
                    self.tally.items += new.items.len() as u64;
                }
                Write::Attempt(change) => {
                    self.tally.lost += u64::from(change.to == AttemptStatus::Lost);
                    self.tally.timed_out += u64::from(change.to == AttemptStatus::TimedOut);
                }
                Write::RunVersion(change) => {
                    self.tally.moved += 1;
                    let known = stored.versions.contains_key(&change.to);
                    self.fault(known, || format!("run {} follows a version that is not stored", change.run));
                }
                Write::Backfill(_) => self.tally.backfills += 1,
                Write::BackfillStatus { to: BackfillStatus::Paused, .. } => self.tally.pauses += 1,
                Write::BackfillPace { .. } => self.tally.paces += 1,
                Write::BackfillRound { backfill, round, failed, .. } => {
                    self.round(stored, writes, *backfill, *round, *failed)
                }
                _ => {}
            }
        }
        if writes.iter().any(|write| matches!(write, Write::Lease(_))) {
            self.limits(stored);
        }
        self.telling(stored, writes);
    }

    fn telling(&mut self, stored: &Stored, writes: &[Write]) {
        let ended = writes.iter().filter_map(|write| match write {
            Write::RunStatus(change) if change.to.is_terminal() => stored.runs.get(&change.run),
            _ => None,
        });
        let flows: BTreeMap<RunId, _> = ended
            .filter_map(|run| Some((run.row.id, (self.flow_of(stored, run)?, run.row.backfill.is_some()))))
            .collect();
        let faults = self.told.committed(writes, &|run| flows.get(&run).cloned());
        self.violations.extend(faults);
        let Told { notices, late, slow, again, .. } = self.told;
        let tally = &mut self.tally;
        (tally.notices, tally.late, tally.slow, tally.told_again) = (notices, late, slow, again);
    }

    fn leased(&mut self, stored: &Stored, lease: &NewLease) {
        self.tally.attempts += 1;
        let (epoch, last) = (lease.epoch, self.last_epoch);
        self.fault(epoch > last, || format!("{} got the epoch {epoch} after {last}", lease.attempt));
        self.last_epoch = epoch;
        let Some(run) = stored.runs.get(&lease.attempt.run) else { return };
        let Some(flow) = self.flow_of(stored, run) else { return };
        let row = run.tasks.get(lease.attempt.task as usize);
        let of = row.and_then(|row| run.tasks.get(row.item_of? as usize));
        if let Some(of) = of {
            let status = of.status;
            self.fault(status == TaskStatus::Running, || format!("{} was leased, its task is {status}", lease.attempt));
        }
        let task = of.or(row).and_then(|row| flow.task(&row.name));
        self.fault(task.is_some(), || format!("{} is a task that its definition has not", lease.attempt));
        let Some(task) = task else { return };
        let (has_items, is_item) = (task.for_each.is_some(), of.is_some());
        let asks = task.for_each.as_ref().is_some_and(|each| each.query().is_some());
        let queries = asks && !is_item;
        self.fault(!task.kind.is_call() || queries, || format!("{} was leased, and calls", lease.attempt));
        self.fault(has_items == is_item || asks, || format!("{} was leased in place of its items", lease.attempt));
        if let Some(limit) = task.for_each.as_ref().and_then(|each| each.max_parallel).filter(|_| is_item) {
            let live = run.attempts.values().filter(|attempt| !attempt.row.status.is_terminal());
            let item_of = |index: TaskIndex| run.tasks.get(index as usize).and_then(|row| row.item_of);
            let live = live.filter(|attempt| item_of(attempt.row.task_index) == of.map(|of| of.index)).count();
            self.fault(live <= limit as usize, || format!("{live} items of {} are live, {limit} may be", task.name));
        }
        for need in &task.needs {
            let met = run.tasks.iter().any(|state| state.name == *need && state.status == TaskStatus::Succeeded);
            self.fault(met, || format!("{} was leased before {need} had succeeded", lease.attempt));
        }
    }

    fn run_changed(&mut self, stored: &Stored, change: &RunChange, after: &[Write]) {
        let Some(run) = stored.runs.get(&change.run) else { return };
        if change.to.is_terminal() {
            let open = run.tasks.iter().find(|task| !task.status.is_terminal());
            self.fault(open.is_none(), || format!("run {} ended while {open:?} had not", change.run));
            // Skipped is what a later definition has no more, what waited in vain, and what needs that.
            let well = |status| matches!(status, TaskStatus::Succeeded | TaskStatus::Skipped);
            let all = run.tasks.iter().all(|task| well(task.status));
            for item in run.tasks.iter().filter(|task| task.item_of.is_some()) {
                let of = item.item_of.and_then(|of| run.tasks.get(of as usize)).map(|of| of.status);
                let fits = of != Some(TaskStatus::Succeeded) || !item.status.is_bad();
                self.fault(fits, || {
                    format!("run {}: {} is {}, its task is {of:?}", change.run, item.name, item.status)
                });
            }
            let right = (change.to == RunStatus::Succeeded) == all;
            self.fault(right, || format!("run {} is {}, its tasks are {:?}", change.run, change.to, run.tasks));
        }
        self.overdue(stored, run, change);
        if change.to != RunStatus::Running {
            return;
        }
        let active = stored.runs.values().filter(|run| run.row.status.is_active());
        let of_flow = active.clone().filter(|other| other.row.flow == run.row.flow).count();
        let limit = self.flow_of(stored, run).and_then(|flow| flow.concurrency);
        self.fault(limit.is_none_or(|limit| of_flow <= limit as usize), || {
            format!("{of_flow} runs of {} are active, {limit:?} may be", run.row.flow)
        });
        if let Some(backfill) = run.row.backfill.and_then(|id| stored.backfills.get(&id)) {
            let of_backfill = active.filter(|other| other.row.backfill == Some(backfill.id)).count();
            let fits = of_backfill <= backfill.concurrency as usize;
            self.fault(fits, || format!("{of_backfill} runs of backfill {} are active", backfill.id));
            // A trial of runs with nothing to do may begin, end and pause its backfill in one commit.
            let pauses =
                |write: &Write| matches!(write, Write::BackfillStatus { backfill: id, .. } if *id == backfill.id);
            let paused = backfill.status == BackfillStatus::Paused && !after.iter().any(pauses);
            // A person may let one run again meanwhile, also by a mark.
            let again = self.again.contains(&change.run);
            // So may a task that calls it.
            let called = stored.runs.values().flat_map(|caller| caller.calls.values());
            let called = called.into_iter().any(|(child, starts)| *starts && *child == change.run);
            let asked = again || called || self.marked_runs.contains(&change.run);
            self.fault(!paused || asked, || {
                format!(
                    "run {} ({}) began at {} while backfill {} was paused",
                    change.run, change.from, change.at, backfill.id
                )
            });
        }
    }

    /// Live leases never exceed the slots of their pool, nor the limit of their task.
    fn limits(&mut self, stored: &Stored) {
        let mut used: BTreeMap<String, u32> = BTreeMap::new();
        let mut of_task: BTreeMap<(String, String), (u32, u32)> = BTreeMap::new();
        for run in stored.runs.values().filter(|run| !run.row.status.is_terminal()) {
            let Some(flow) = self.flow_of(stored, run) else { continue };
            for attempt in run.attempts.values().filter(|attempt| !attempt.row.status.is_terminal()) {
                let index = attempt.row.task_index;
                let of = run.tasks.get(index as usize).and_then(|row| row.item_of).unwrap_or(index);
                let of = run.tasks.get(of as usize);
                if let Some(task) = of.and_then(|of| flow.task(&of.name)).filter(|task| !task.kind.is_slotless()) {
                    *used.entry(task.pool.clone()).or_default() += 1;
                    if let Some(limit) = task.concurrency {
                        of_task.entry((flow.name.clone(), task.name.clone())).or_insert((0, limit)).0 += 1;
                    }
                }
            }
        }
        for ((flow, task), (used, limit)) in of_task {
            self.tally.at_limit += u64::from(used == limit);
            self.fault(used <= limit, || format!("{used} leases of {task} of {flow} are live, {limit} may be"));
        }
        for (pool, used) in used {
            let slots = project().pools.get(&pool).copied().unwrap_or(0);
            self.fault(used <= slots, || format!("{used} leases are live in pool {pool}, which has {slots} slots"));
        }
    }

    /// A person has asked for a run again, and confirmed these tasks of it.
    pub(super) fn rerun(&mut self, run: RunId, tasks: impl IntoIterator<Item = TaskIndex>) {
        self.tally.reruns += 1;
        self.again.insert(run);
        for task in tasks {
            self.may_begin_again(run, task);
        }
    }

    pub(super) fn may_begin_again(&mut self, run: RunId, task: TaskIndex) {
        *self.allowed.entry((run, task)).or_insert(1) += 1;
    }

    /// What a preview said, and what the re-run right after it said that it runs.
    pub(super) fn foretold(&mut self, foretold: &[RerunPreview], happened: &[RerunPreview]) {
        self.tally.previews += 1;
        let same = foretold.iter().all(|preview| happened.contains(preview));
        self.fault(same, || format!("a preview said {foretold:?}, and it was {happened:?}"));
    }

    /// A worker begins the work of a lease.
    pub(super) fn work_begins(&mut self, attempt: AttemptId, epoch: i64, idempotent: bool) {
        let before = self.begun.insert(epoch, attempt);
        self.fault(before.is_none(), || format!("{attempt} began twice under the epoch {epoch}"));
        if !idempotent {
            let place = (attempt.run, attempt.task);
            let times = self.begun.values().filter(|other| (other.run, other.task) == place).count();
            let allowed = self.allowed.get(&place).copied().unwrap_or(1);
            self.fault(times <= allowed as usize, || {
                format!("{attempt} is not idempotent and began {times} times, {allowed} were asked for")
            });
        }
    }

    /// The work of a lease is done.
    pub(super) fn work_ends(&mut self, epoch: i64) {
        self.done.insert(epoch);
    }

    /// The end of the world: every run has ended, what succeeded was done, and of each schedule every slot has its run: if it
    /// goes by the clock, all of them, else those for which its table was written.
    pub(super) fn end(&mut self, stored: &Stored, by_clock: &BTreeMap<String, bool>) {
        for (id, run) in &stored.runs {
            let status = run.row.status;
            self.fault(status.is_terminal(), || format!("run {id} of {} is {status} for ever", run.row.flow));
            for attempt in run.attempts.values().filter(|attempt| attempt.row.status == AttemptStatus::Succeeded) {
                let done = self.done.contains(&attempt.epoch);
                self.fault(done, || format!("run {id}: {} succeeded and did nothing", attempt.row.task));
            }
        }
        let flows: BTreeMap<RunId, _> =
            stored.runs.iter().filter_map(|(id, run)| Some((*id, self.flow_of(stored, run)?))).collect();
        let faults = self.told.end(stored, &|run| flows.get(&run.row.id).cloned());
        self.violations.extend(faults);
        for (id, backfill) in &stored.backfills {
            let open = !backfill.status.is_terminal();
            self.fault(!open, || format!("backfill {id} runs for ever"));
        }
        for (flow, by_clock) in by_clock {
            let of_flow = stored.runs.values().map(|run| &run.row).filter(|row| row.flow == *flow);
            let starts: Vec<_> =
                of_flow.filter(|row| row.params["n"] == 0).filter_map(|row| row.interval_start).collect();
            let distinct: BTreeSet<_> = starts.iter().collect();
            self.fault(distinct.len() == starts.len(), || format!("{flow} ran a slot twice: {starts:?}"));
            if *by_clock {
                self.fault(distinct.len() == SLOTS, || format!("{flow} ran {} of {SLOTS} slots", distinct.len()));
                continue;
            }
            for write in stored.writes.values() {
                self.tally.waited += 1;
                let ran = distinct.contains(&write.start);
                self.fault(ran, || {
                    format!("{flow} has no run for {}, of which {} was written", write.start, write.table)
                });
            }
        }
    }
}
