//! A run as scheduling sees it: its graph, and where each task stands.

use std::sync::Arc;

use jiff::Timestamp;

use crate::graph::Graph;
use crate::id::{AttemptId, RunId, TaskIndex};
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
    /// Where each task stands, in the graph's order.
    pub tasks: Vec<TaskState>,
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
        not_before: None,
        live: None,
    };
}

impl RunState {
    /// A new run, queued.
    pub fn new(id: RunId, graph: Arc<Graph>, retries: bool) -> Self {
        let tasks = vec![TaskState::NEW; graph.len()];
        Self { id, graph, status: RunStatus::Queued, retries, tasks }
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

    /// How many of a task's needs have not succeeded yet.
    pub fn unmet_needs(&self, task: TaskIndex) -> usize {
        let met = |need: &&TaskIndex| self.task(**need).is_some_and(|state| state.status == TaskStatus::Succeeded);
        let needs = self.graph.needs(task);
        needs.len() - needs.iter().filter(met).count()
    }

    /// The tasks with this status.
    pub fn tasks_with(&self, status: TaskStatus) -> impl Iterator<Item = TaskIndex> {
        self.graph.indices().zip(&self.tasks).filter(move |(_, task)| task.status == status).map(|(index, _)| index)
    }
}
