//! A run's graph, cut down to what scheduling has to know: who needs whom, which pool, how often again.

use std::collections::HashMap;
use std::sync::Arc;

use mulgil_flow::{Flow, Retries, TriggerRule};

use crate::admission::DEFAULT_POOL;
use crate::id::TaskIndex;

/// The tasks of a run, and their edges in both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    tasks: Vec<TaskNode>,
    dependents: Vec<Vec<TaskIndex>>,
}

/// What scheduling knows about a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskNode {
    /// Its name.
    pub name: Arc<str>,
    /// The tasks it needs.
    pub needs: Vec<TaskIndex>,
    /// What it makes of how they ended.
    pub rule: TriggerRule,
    /// Whether it has a condition: then its caller decides, once its rule allows it to run.
    pub conditional: bool,
    /// Whether the run's definition has no such task any more: it never runs, and counts as skipped.
    pub gone: bool,
    /// The group that it is in.
    pub group: Option<Arc<str>>,
    /// The pool whose slots it takes.
    pub pool: Arc<str>,
    /// Among the ready tasks of a pool, higher goes first.
    pub priority: i32,
    /// How often, and after what delay, it is tried again by itself.
    pub retries: Retries,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
}

impl TaskNode {
    /// A task that its run's flow has no more.
    fn gone(name: &str) -> Self {
        Self {
            name: name.into(),
            needs: Vec::new(),
            rule: TriggerRule::default(),
            conditional: false,
            gone: true,
            group: None,
            pool: DEFAULT_POOL.into(),
            priority: 0,
            retries: Retries::NONE,
            idempotent: true,
        }
    }
}

/// A graph that is none: an edge to nowhere, or a cycle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An edge leads to a task that is not there.
    #[error("task {task} needs task number {need}, which is not there")]
    NoSuchNeed {
        /// The task.
        task: String,
        /// What it asked for.
        need: TaskIndex,
    },
    /// Tasks need each other in a circle.
    #[error("task {task} needs itself, by way of others")]
    Cycle {
        /// One of the circle.
        task: String,
    },
}

impl Graph {
    /// Checks that every edge leads somewhere and that there is no cycle.
    pub fn new(tasks: Vec<TaskNode>) -> Result<Self, GraphError> {
        let mut dependents = vec![Vec::new(); tasks.len()];
        for (index, task) in tasks.iter().enumerate() {
            for &need in &task.needs {
                match dependents.get_mut(need as usize) {
                    Some(list) => list.push(index as TaskIndex),
                    None => return Err(GraphError::NoSuchNeed { task: task.name.to_string(), need }),
                }
            }
        }
        let graph = Self { tasks, dependents };
        match graph.first_of_a_cycle() {
            Some(task) => Err(GraphError::Cycle { task }),
            None => Ok(graph),
        }
    }

    /// What scheduling knows about a flow.
    pub fn of_flow(flow: &Flow) -> Result<Self, GraphError> {
        Self::of_run(flow, flow.tasks.iter().map(|task| task.name.as_str()))
    }

    /// The graph of a run that has these tasks and follows this flow: its tasks keep their places when the flow changes.
    /// A task that the flow has no more needs nothing, and nothing needs it.
    pub fn of_run<'a>(flow: &Flow, names: impl Iterator<Item = &'a str> + Clone) -> Result<Self, GraphError> {
        let places: HashMap<&str, usize> = names.clone().enumerate().map(|(place, name)| (name, place)).collect();
        let tasks: HashMap<&str, &mulgil_flow::Task> =
            flow.tasks.iter().map(|task| (task.name.as_str(), task)).collect();
        let place_of = |name: &String| places.get(name.as_str()).copied();
        let node = |task: &mulgil_flow::Task| TaskNode {
            name: task.name.as_str().into(),
            // A need that is not there becomes an index that is not there, which `new` refuses.
            needs: task.needs.iter().map(|need| place_of(need).unwrap_or(usize::MAX) as TaskIndex).collect(),
            rule: task.trigger_rule,
            conditional: task.when.is_some(),
            gone: false,
            group: task.group.as_deref().map(Into::into),
            pool: task.pool.as_str().into(),
            priority: task.priority,
            retries: task.retries,
            idempotent: task.idempotent,
        };
        Self::new(names.map(|name| tasks.get(name).map_or_else(|| TaskNode::gone(name), |task| node(task))).collect())
    }

    /// Kahn's algorithm: what is never freed of its needs is on, or behind, a cycle.
    fn first_of_a_cycle(&self) -> Option<String> {
        let mut unmet: Vec<usize> = self.tasks.iter().map(|task| task.needs.len()).collect();
        let mut free: Vec<TaskIndex> = self.indices().filter(|&task| self.needs(task).is_empty()).collect();
        while let Some(task) = free.pop() {
            for &dependent in self.dependents(task) {
                if let Some(count) = unmet.get_mut(dependent as usize) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(dependent);
                    }
                }
            }
        }
        self.tasks.iter().zip(unmet).find(|(_, count)| *count > 0).map(|(task, _)| task.name.to_string())
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The tasks, in the order of the definition.
    pub fn tasks(&self) -> &[TaskNode] {
        &self.tasks
    }

    /// Every task's index.
    pub fn indices(&self) -> std::ops::Range<TaskIndex> {
        0..self.tasks.len() as TaskIndex
    }

    /// A task.
    pub fn task(&self, task: TaskIndex) -> Option<&TaskNode> {
        self.tasks.get(task as usize)
    }

    /// The index of the task with this name, if the run's definition has it.
    pub fn index_of(&self, name: &str) -> Option<TaskIndex> {
        self.tasks.iter().position(|task| &*task.name == name && !task.gone).map(|index| index as TaskIndex)
    }

    /// The names of the tasks that the run's definition has, for messages.
    pub fn known(&self) -> String {
        let here = self.tasks.iter().filter(|task| !task.gone).map(|task| &*task.name);
        here.collect::<Vec<_>>().join(", ")
    }

    /// What a task needs.
    pub fn needs(&self, task: TaskIndex) -> &[TaskIndex] {
        self.task(task).map_or(&[], |task| &task.needs)
    }

    /// What needs a task.
    pub fn dependents(&self, task: TaskIndex) -> &[TaskIndex] {
        self.dependents.get(task as usize).map_or(&[], |list| list)
    }

    /// Everything that a task needs, directly or not, in index order.
    pub fn upstream(&self, task: TaskIndex) -> Vec<TaskIndex> {
        let mut reached = vec![false; self.tasks.len()];
        let mut todo = self.needs(task).to_vec();
        while let Some(need) = todo.pop() {
            if let Some(mark) = reached.get_mut(need as usize)
                && !*mark
            {
                *mark = true;
                todo.extend_from_slice(self.needs(need));
            }
        }
        self.indices().zip(reached).filter(|(_, mark)| *mark).map(|(task, _)| task).collect()
    }

    /// The given tasks and everything downstream of them, in index order.
    pub fn with_downstream(&self, tasks: impl IntoIterator<Item = TaskIndex>) -> Vec<TaskIndex> {
        let mut reached = vec![false; self.tasks.len()];
        let mut todo: Vec<TaskIndex> = tasks.into_iter().collect();
        while let Some(task) = todo.pop() {
            if let Some(mark) = reached.get_mut(task as usize)
                && !*mark
            {
                *mark = true;
                todo.extend_from_slice(self.dependents(task));
            }
        }
        self.indices().zip(reached).filter(|(_, mark)| *mark).map(|(task, _)| task).collect()
    }
}
