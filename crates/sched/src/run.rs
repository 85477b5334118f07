//! A run as scheduling sees it: its graph, and where each task stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::fan::Fan;
use crate::graph::Graph;
use crate::id::{AttemptId, RunId, TaskIndex};
use crate::rule::{Tally, Verdict};
use crate::status::{AttemptStatus, RunStatus, TaskStatus};

/// How often an attempt of one task may be lost before the task counts as failed: a task that takes its worker down
/// with it must not do so for ever.
pub const LOSSES_MAX: u32 = 16;

/// A run under way, or one that may be run again.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Which run.
    pub id: RunId,
    /// Its tasks and their edges.
    pub graph: Arc<Graph>,
    /// Where it stands.
    pub status: RunStatus,
    /// Whether its tasks are tried again by themselves: off in a backfill, unless asked for.
    pub retries: bool,
    /// Whether it has had all its time and is to stop, or has stopped, for that.
    pub timed_out: bool,
    /// Where each task stands, in the graph's order.
    pub tasks: Vec<TaskState>,
    /// Of each task, how its needs have ended: counted as they do, so that nothing has to be scanned.
    tallies: Vec<Tally>,
    /// How many tasks have each status.
    by_status: BTreeMap<TaskStatus, usize>,
    /// The tasks whose condition the caller was asked for, and has not told yet.
    pub(crate) deciding: BTreeSet<TaskIndex>,
    /// Of each task that has fanned out, where its items stand.
    fans: BTreeMap<TaskIndex, Fan>,
}

/// Where a task of a run stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskState {
    /// Its status.
    pub status: TaskStatus,
    /// Attempts made so far, over all re-runs: the next one has the next number.
    pub attempts: u32,
    /// Automatic retries used since the run was created or last re-run.
    pub retries_used: u32,
    /// Attempts lost since the run was created or last re-run.
    pub losses: u32,
    /// Since when it has been under way: since its first lease after it was made, retried or re-run, whatever was lost since.
    pub since: Option<Timestamp>,
    /// When a retrying task is due.
    pub not_before: Option<Timestamp>,
    /// The attempt under way, while the task runs.
    pub live: Option<AttemptStatus>,
}

impl TaskState {
    /// A task of a new run.
    pub const NEW: TaskState = TaskState {
        status: TaskStatus::Waiting,
        attempts: 0,
        retries_used: 0,
        losses: 0,
        since: None,
        not_before: None,
        live: None,
    };
}

impl RunState {
    /// A new run, queued.
    pub fn new(id: RunId, graph: Arc<Graph>, retries: bool) -> Self {
        let tasks = vec![TaskState::NEW; graph.len()];
        Self::restored(id, graph, RunStatus::Queued, retries, tasks)
    }

    /// A run as it was stored. There is one state for each task of the graph.
    pub fn restored(id: RunId, graph: Arc<Graph>, status: RunStatus, retries: bool, tasks: Vec<TaskState>) -> Self {
        let status_of = |need: &TaskIndex| tasks.get(*need as usize).map_or(TaskStatus::Waiting, |task| task.status);
        let tallies = graph.indices().map(|task| Tally::of(graph.needs(task).iter().map(status_of))).collect();
        let mut by_status = BTreeMap::new();
        tasks.iter().for_each(|task| *by_status.entry(task.status).or_default() += 1);
        let mut run = Self {
            id,
            graph,
            status,
            retries,
            timed_out: false,
            tasks,
            tallies,
            by_status,
            deciding: BTreeSet::new(),
            fans: BTreeMap::new(),
        };
        run.count_items();
        run
    }

    fn count_items(&mut self) {
        for (task, state) in self.graph.indices().zip(&self.tasks) {
            if let Some(of) = self.graph.task(task).and_then(|node| node.item_of) {
                let at_once = self.graph.task(of).and_then(|node| node.fan_out?.at_once);
                self.fans.entry(of).or_insert_with(|| Fan::new(at_once)).add(task, state.status);
            }
        }
    }

    /// Gives a task so many items. Those that it had and has no more stay behind them.
    pub(crate) fn add_items(&mut self, of: TaskIndex, count: usize) -> Vec<TaskIndex> {
        let items = Arc::make_mut(&mut self.graph).add_items(of, count).to_vec();
        let at_once = self.graph.task(of).and_then(|node| node.fan_out?.at_once);
        let fan = self.fans.entry(of).or_insert_with(|| Fan::new(at_once));
        for item in items.iter().filter(|item| **item as usize >= self.tasks.len()) {
            fan.add(*item, TaskStatus::Waiting);
        }
        let new = self.graph.len() - self.tasks.len();
        self.tasks.resize(self.graph.len(), TaskState::NEW);
        self.tallies.resize(self.graph.len(), Tally::default());
        *self.by_status.entry(TaskStatus::Waiting).or_default() += new;
        items
    }

    /// Where the items of a task stand, once it has fanned out.
    pub fn fan(&self, of: TaskIndex) -> Option<&Fan> {
        self.fans.get(&of)
    }

    /// Whether a task that waits goes on with the items that it has: some of them have ended, and need not run again.
    pub(crate) fn keeps_items(&self, of: TaskIndex) -> bool {
        self.fan(of).is_some_and(|fan| fan.has_ended_items())
    }

    /// Changes a task's status, and what is counted by it.
    pub(crate) fn set_status(&mut self, task: TaskIndex, to: TaskStatus) {
        let Some(state) = self.tasks.get_mut(task as usize) else { return };
        let from = std::mem::replace(&mut state.status, to);
        if let Some(count) = self.by_status.get_mut(&from) {
            *count = count.saturating_sub(1);
        }
        *self.by_status.entry(to).or_default() += 1;
        if let Some(of) = self.graph.task(task).and_then(|node| node.item_of)
            && let Some(fan) = self.fans.get_mut(&of)
        {
            fan.change(task, from, to);
        }
        for dependent in self.graph.dependents(task) {
            if let Some(tally) = self.tallies.get_mut(*dependent as usize) {
                tally.change(from, to);
            }
        }
    }

    /// What is to become of a task, as far as the tasks that it needs have ended.
    pub fn verdict(&self, task: TaskIndex) -> Verdict {
        let tally = self.tallies.get(task as usize).copied().unwrap_or_default();
        let needs = self.graph.needs(task).len();
        match self.graph.task(task) {
            None => Verdict::Wait,
            // An item stands and falls with its task.
            Some(node) if let Some(of) = node.item_of => match self.task(of).map(|state| state.status) {
                // Which items it has is just being found out.
                Some(TaskStatus::Running) if self.live_attempt(of).is_some() => Verdict::Wait,
                Some(TaskStatus::Running) => Verdict::Run,
                Some(TaskStatus::Succeeded | TaskStatus::Skipped) => Verdict::Skip,
                Some(status) if status.is_bad() => Verdict::Fail,
                _ => Verdict::Wait,
            },
            Some(node) => tally.verdict(node.rule, needs),
        }
    }

    /// How many tasks have this status.
    pub fn count(&self, status: TaskStatus) -> usize {
        self.by_status.get(&status).copied().unwrap_or(0)
    }

    /// Whether every task has succeeded or was skipped.
    pub fn all_well(&self) -> bool {
        self.count(TaskStatus::Succeeded) + self.count(TaskStatus::Skipped) == self.tasks.len()
    }

    /// Whether every task has ended.
    pub fn all_ended(&self) -> bool {
        self.by_status.iter().all(|(status, count)| *count == 0 || status.is_terminal())
    }

    /// A task's state.
    pub fn task(&self, task: TaskIndex) -> Option<&TaskState> {
        self.tasks.get(task as usize)
    }

    /// The attempt under way of a task.
    pub fn live_attempt(&self, task: TaskIndex) -> Option<AttemptId> {
        let state = self.task(task)?;
        state.live.map(|_| AttemptId { run: self.id, task, attempt: state.attempts })
    }

    /// The attempts under way.
    pub fn live_attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.graph.indices().filter_map(|task| self.live_attempt(task))
    }

    /// The tasks with this status.
    pub fn tasks_with(&self, status: TaskStatus) -> impl Iterator<Item = TaskIndex> {
        self.graph.indices().zip(&self.tasks).filter(move |(_, task)| task.status == status).map(|(index, _)| index)
    }
}
