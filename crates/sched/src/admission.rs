//! Who may go next: which queued run may begin, and which ready task may take a slot.
//!
//! Every pool has its own queue of ready tasks, so a full pool delays no other. Used slots are the live leases
//! themselves, in a set, never a counter that could drift. A task at its own limit has a queue of its own, so it delays nothing either.
//! Where workers are scarce, daily work goes first, then the pool that uses the least of its slots: no pool starves another.
//! Runs wait in groups, one for a flow's own runs and one for
//! each of its backfills; the flow's own runs go first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::demand::Demand;
use crate::id::{AttemptId, BackfillId, RunId, TaskIndex};
use crate::why::Reason;

mod limit;

pub use limit::TaskKey;
use limit::TaskLimits;

/// The pool of tasks that name none.
pub const DEFAULT_POOL: &str = "default";

/// What goes first when both wait for the same thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Scheduled and manual runs.
    Daily,
    /// Runs of a backfill.
    Backfill,
}

/// A run waiting for its turn.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedRun {
    /// Which.
    pub run: RunId,
    /// Of which flow.
    pub flow: Arc<str>,
    /// Of which backfill.
    pub backfill: Option<BackfillId>,
    /// Within its group, earlier goes first: the start of its data interval, or when it was asked for.
    pub order: Timestamp,
}

/// A task waiting for a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyTask {
    /// Of which run.
    pub run: RunId,
    /// Which task.
    pub task: TaskIndex,
    /// Which task of its flow: what a limit of its own goes by.
    pub key: TaskKey,
    /// The pool whose slot it takes.
    pub pool: Arc<str>,
    /// What it asks of its worker.
    pub demand: Arc<Demand>,
    /// Its lane.
    pub lane: Lane,
    /// Within a lane, higher goes first.
    pub priority: i32,
}

type Turn = (Lane, Reverse<i32>, RunId, TaskIndex);

/// What keeps tasks of a pool apart: each class has its own queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    /// What they ask of their worker: what no worker can take delays nothing else.
    demand: Arc<Demand>,
    /// The task whose limit they share.
    limited: Option<TaskKey>,
}

/// Where a ready task waits.
#[derive(Clone, Debug)]
struct Place {
    pool: Arc<str>,
    class: Class,
    turn: Turn,
    key: TaskKey,
}

#[derive(Debug, Default)]
struct Pool {
    slots: usize,
    ready: BTreeMap<Class, BTreeSet<Turn>>,
    live: BTreeSet<AttemptId>,
}

impl Pool {
    fn has_room(&self) -> bool {
        self.live.len() < self.slots
    }

    /// How much of its slots is in use, in millionths.
    fn fill(&self) -> usize {
        self.live.len().saturating_mul(1_000_000).checked_div(self.slots).unwrap_or(usize::MAX)
    }

    fn waiting(&self) -> usize {
        self.ready.values().map(BTreeSet::len).sum()
    }

    fn remove(&mut self, place: &Place) {
        if let Some(queue) = self.ready.get_mut(&place.class) {
            queue.remove(&place.turn);
            if queue.is_empty() {
                self.ready.remove(&place.class);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Group {
    queued: BTreeSet<(Timestamp, RunId)>,
    active: BTreeSet<RunId>,
}

impl Group {
    /// Takes the run out whose turn it is: the first, or the first of those that may begin anyway.
    fn next(&mut self, any: bool, exempt: &BTreeSet<RunId>) -> Option<RunId> {
        if any {
            return self.queued.pop_first().map(|(_, run)| run);
        }
        let turn = self.queued.iter().find(|(_, run)| exempt.contains(run)).copied()?;
        self.queued.remove(&turn);
        Some(turn.1)
    }
}

type GroupKey = (Arc<str>, Option<BackfillId>);

/// A pool's load, for people.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PoolLoad {
    /// Its name.
    pub pool: String,
    /// How many tasks may run at once.
    pub slots: usize,
    /// How many hold a live lease.
    pub used: usize,
    /// How many wait.
    pub ready: usize,
}

/// The queues in front of pools, flows and backfills.
#[derive(Debug, Default)]
pub struct Admission {
    pools: BTreeMap<Arc<str>, Pool>,
    /// Tasks that only wait while they run: they take no slot.
    free: BTreeSet<(RunId, TaskIndex)>,
    ready: HashMap<(RunId, TaskIndex), Place>,
    held: HashMap<AttemptId, (Arc<str>, TaskKey)>,
    task_limits: TaskLimits,
    groups: BTreeMap<GroupKey, Group>,
    group_of: HashMap<RunId, (GroupKey, Timestamp)>,
    flow_limits: HashMap<Arc<str>, usize>,
    own_limits: HashMap<Arc<str>, usize>,
    backfill_limits: HashMap<BackfillId, usize>,
    allowances: HashMap<BackfillId, usize>,
    exempt: BTreeSet<RunId>,
}

impl Admission {
    /// No queue yet; [`DEFAULT_POOL`] has this many slots.
    pub fn new(default_slots: usize) -> Self {
        let mut admission = Self::default();
        admission.set_pool(DEFAULT_POOL, default_slots);
        admission
    }

    /// Sets a pool's slots. Leases beyond a lowered limit live on.
    pub fn set_pool(&mut self, pool: &str, slots: usize) {
        self.pools.entry(pool.into()).or_default().slots = slots;
    }

    /// Sets how many runs of a flow may be active at once; `None` for no limit.
    pub fn set_flow_limit(&mut self, flow: &str, limit: Option<usize>) {
        match limit {
            Some(limit) => self.flow_limits.insert(flow.into(), limit),
            None => self.flow_limits.remove(flow),
        };
    }

    /// Sets how many of a flow's own runs, those of no backfill, may be active at once; `None` for no limit.
    pub fn set_own_limit(&mut self, flow: &str, limit: Option<usize>) {
        match limit {
            Some(limit) => self.own_limits.insert(flow.into(), limit),
            None => self.own_limits.remove(flow),
        };
    }

    /// Sets how many attempts of single tasks may be live at once, over all runs: these tasks and no others have a limit.
    pub fn set_task_limits(&mut self, limits: impl IntoIterator<Item = (TaskKey, usize)>) {
        self.task_limits.replace(limits);
        let waiting: Vec<(RunId, TaskIndex)> = self.ready.keys().copied().collect();
        for (run, task) in waiting {
            if let Some(place) = self.take(run, task) {
                self.put(run, task, place);
            }
        }
    }

    /// Sets how many runs of a backfill may be active at once.
    pub fn set_backfill_limit(&mut self, backfill: BackfillId, limit: usize) {
        self.backfill_limits.insert(backfill, limit);
    }

    /// Forgets a backfill that has ended.
    pub fn forget_backfill(&mut self, backfill: BackfillId) {
        self.backfill_limits.remove(&backfill);
        self.allowances.remove(&backfill);
    }

    /// Sets how many runs of a backfill may still begin: none while it is paused, so many during a trial; `None`: all.
    pub fn set_allowance(&mut self, backfill: BackfillId, allowance: Option<usize>) {
        match allowance {
            Some(allowance) => self.allowances.insert(backfill, allowance),
            None => self.allowances.remove(&backfill),
        };
    }

    /// This run may begin whatever the allowance of its backfill is.
    pub fn exempt(&mut self, run: RunId) {
        self.exempt.insert(run);
    }

    /// A run waits for its turn.
    pub fn queue_run(&mut self, run: QueuedRun) {
        let key = (run.flow, run.backfill);
        self.groups.entry(key.clone()).or_default().queued.insert((run.order, run.run));
        self.group_of.insert(run.run, (key, run.order));
    }

    /// A run is active already: it was so when the server stopped.
    pub fn resume_run(&mut self, run: QueuedRun) {
        let key = (run.flow, run.backfill);
        self.groups.entry(key.clone()).or_default().active.insert(run.run);
        self.group_of.insert(run.run, (key, run.order));
    }

    /// A run has ended, or waits no longer.
    pub fn end_run(&mut self, run: RunId) {
        self.exempt.remove(&run);
        let Some((key, order)) = self.group_of.remove(&run) else { return };
        if let Some(group) = self.groups.get_mut(&key) {
            group.queued.remove(&(order, run));
            group.active.remove(&run);
            if group.queued.is_empty() && group.active.is_empty() {
                self.groups.remove(&key);
            }
        }
    }

    /// The runs whose turn has come; they count as active from now on.
    pub fn admit_runs(&mut self) -> Vec<RunId> {
        let waits = |(key, group): (&GroupKey, &Group)| (!group.queued.is_empty()).then(|| key.clone());
        let waiting: Vec<GroupKey> = self.groups.iter().filter_map(waits).collect();
        let mut admitted = Vec::new();
        // Within a flow `None`, its own runs, sorts before every backfill.
        for (flow, backfill) in waiting {
            let of_flow = self.groups.range((flow.clone(), None)..).take_while(|((of, _), _)| *of == flow);
            let mut active: usize = of_flow.map(|(_, group)| group.active.len()).sum();
            let flow_limit = self.flow_limits.get(&flow).copied().unwrap_or(usize::MAX);
            let limit = match &backfill {
                Some(id) => self.backfill_limits.get(id),
                None => self.own_limits.get(&flow),
            };
            let limit = limit.copied().unwrap_or(usize::MAX);
            let mut unlimited = usize::MAX;
            let allowance = backfill.and_then(|id| self.allowances.get_mut(&id)).unwrap_or(&mut unlimited);
            let Some(group) = self.groups.get_mut(&(flow, backfill)) else { continue };
            while active < flow_limit && group.active.len() < limit {
                let Some(run) = group.next(*allowance > 0, &self.exempt) else { break };
                *allowance -= usize::from(!self.exempt.remove(&run));
                group.active.insert(run);
                active += 1;
                admitted.push(run);
            }
        }
        admitted
    }

    /// A task waits for a slot of its pool; a pool that is not there stands for the default one.
    pub fn enqueue(&mut self, task: ReadyTask) {
        let turn = (task.lane, Reverse(task.priority), task.run, task.task);
        let class = Class { demand: task.demand, limited: None };
        let place = Place { pool: self.pool_named(task.pool), class, turn, key: task.key };
        self.put(task.run, task.task, place);
    }

    /// A task that only waits while it runs is ready: it takes no slot, so nothing holds it back.
    pub fn enqueue_free(&mut self, run: RunId, task: TaskIndex) {
        self.free.insert((run, task));
    }

    /// The next ready task that takes no slot.
    pub fn next_free(&mut self) -> Option<(RunId, TaskIndex)> {
        self.free.pop_first()
    }

    /// A task waits no longer.
    pub fn dequeue(&mut self, run: RunId, task: TaskIndex) {
        self.free.remove(&(run, task));
        self.take(run, task);
    }

    fn pool_named(&self, pool: Arc<str>) -> Arc<str> {
        if self.pools.contains_key(&pool) { pool } else { DEFAULT_POOL.into() }
    }

    fn put(&mut self, run: RunId, task: TaskIndex, place: Place) {
        let limited = self.task_limits.of(&place.key).map(|_| place.key.clone());
        let place = Place { class: Class { limited, ..place.class }, ..place };
        let pool = self.pools.entry(place.pool.clone()).or_default();
        pool.ready.entry(place.class.clone()).or_default().insert(place.turn);
        self.ready.insert((run, task), place);
    }

    fn take(&mut self, run: RunId, task: TaskIndex) -> Option<Place> {
        let place = self.ready.remove(&(run, task))?;
        if let Some(pool) = self.pools.get_mut(&place.pool) {
            pool.remove(&place);
        }
        Some(place)
    }

    /// The first of the tasks of a pool that may go, if one may.
    fn candidate(&self, pool: &Pool, can_be_met: impl Fn(&Demand) -> bool) -> Option<Turn> {
        let open = |class: &Class| class.limited.as_ref().is_none_or(|key| self.task_limits.has_room(key));
        let queues = pool.ready.iter().filter(|(class, _)| open(class) && can_be_met(&class.demand));
        queues.filter_map(|(_, queue)| queue.first().copied()).min()
    }

    /// Takes the next ready task that fits into its pool and its own limit, and whose demand can be met, out of the queues. The
    /// caller leases it and says so with [`Admission::lease`] before it asks again.
    pub fn next_task(&mut self, can_be_met: impl Fn(&Demand) -> bool) -> Option<(RunId, TaskIndex)> {
        let with_room = self.pools.values().filter(|pool| pool.has_room());
        let candidates =
            with_room.filter_map(|pool| self.candidate(pool, &can_be_met).map(|turn| (turn.0, pool.fill(), turn)));
        let (_, _, (_, _, run, task)) = candidates.min()?;
        let place = self.take(run, task)?;
        // The slot is held under the number 0, which no attempt has, until the lease says which attempt it is.
        self.hold(AttemptId { run, task, attempt: 0 }, place.pool, place.key);
        Some((run, task))
    }

    /// Demands of ready tasks, how many tasks have them, and one of those.
    pub fn demands(&self) -> BTreeMap<Arc<Demand>, (usize, RunId, TaskIndex)> {
        let mut demands = BTreeMap::new();
        for (class, queue) in self.pools.values().flat_map(|pool| &pool.ready) {
            let Some((_, _, run, task)) = queue.first() else { continue };
            demands.entry(class.demand.clone()).or_insert((0, *run, *task)).0 += queue.len();
        }
        demands
    }

    /// A task taken by [`Admission::next_task`] is leased as this attempt.
    pub fn lease(&mut self, attempt: AttemptId) {
        let held = AttemptId { attempt: 0, ..attempt };
        if let Some((pool, key)) = self.release(held) {
            self.hold(attempt, pool, key);
        }
    }

    /// A lease that another server gave and that may still live holds its slot here too.
    pub fn adopt(&mut self, attempt: AttemptId, pool: &Arc<str>, key: TaskKey) {
        let pool = self.pool_named(pool.clone());
        self.hold(attempt, pool, key);
    }

    fn hold(&mut self, attempt: AttemptId, pool: Arc<str>, key: TaskKey) {
        self.pools.entry(pool.clone()).or_default().live.insert(attempt);
        self.task_limits.hold(attempt, &key);
        self.held.insert(attempt, (pool, key));
    }

    /// A lease is over: its slot is free. Gives the pool and the task that it was of.
    pub fn release(&mut self, attempt: AttemptId) -> Option<(Arc<str>, TaskKey)> {
        let (name, key) = self.held.remove(&attempt)?;
        if let Some(pool) = self.pools.get_mut(&name) {
            pool.live.remove(&attempt);
        }
        self.task_limits.release(attempt, &key);
        Some((name, key))
    }

    /// Why a queued run does not begin; `None` if it could.
    pub(crate) fn run_reason(&self, run: RunId) -> Option<Reason> {
        let ((flow, backfill), _) = self.group_of.get(&run)?;
        let groups = || self.groups.iter().filter(|((of, _), _)| of == flow);
        if let Some(&limit) = self.flow_limits.get(flow) {
            let active: Vec<RunId> = groups().flat_map(|(_, group)| group.active.iter().copied()).collect();
            if active.len() >= limit {
                return Some(Reason::FlowLimit { limit, active });
            }
        }
        let active = groups().filter(|((_, of), _)| of == backfill).flat_map(|(_, group)| &group.active);
        let active: Vec<RunId> = active.copied().collect();
        let Some(backfill) = *backfill else {
            let limit = *self.own_limits.get(flow)?;
            return (active.len() >= limit).then_some(Reason::Overlap { active });
        };
        if self.allowances.get(&backfill) == Some(&0) && !self.exempt.contains(&run) {
            return Some(Reason::BackfillHeld { backfill });
        }
        let limit = *self.backfill_limits.get(&backfill)?;
        (active.len() >= limit).then_some(Reason::BackfillLimit { backfill, limit, active })
    }

    /// Why a ready task does not get a slot of its pool; `None` if it could.
    pub(crate) fn task_reason(&self, run: RunId, task: TaskIndex) -> Option<Reason> {
        let place = self.ready.get(&(run, task))?;
        if let Some(limit) = self.task_limits.of(&place.key).filter(|_| !self.task_limits.has_room(&place.key)) {
            return Some(Reason::TaskLimit { limit, held: self.task_limits.live(&place.key).collect() });
        }
        let pool = self.pools.get(&place.pool)?;
        (!pool.has_room()).then(|| Reason::PoolFull {
            pool: place.pool.clone(),
            slots: pool.slots,
            held: pool.live.iter().copied().collect(),
            ahead: pool.ready.values().map(|queue| queue.range(..place.turn).count()).sum(),
        })
    }

    /// How many leases are live.
    pub fn live_leases(&self) -> usize {
        self.held.len()
    }

    /// The load of every pool, by name.
    pub fn loads(&self) -> Vec<PoolLoad> {
        let load = |(name, pool): (&Arc<str>, &Pool)| PoolLoad {
            pool: name.to_string(),
            slots: pool.slots,
            used: pool.live.len(),
            ready: pool.waiting(),
        };
        self.pools.iter().map(load).collect()
    }
}

#[cfg(test)]
mod tests;
