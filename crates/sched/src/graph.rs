//! A run's graph, cut down to what scheduling has to know: who needs whom, which pool, how often again.
//!
//! A task that fans out gets one more task for each of its items when its turn has come, behind the tasks of the flow. It is
//! then their join: it ends when they have ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mulgil_flow::{Flow, Retries, TriggerRule};

use crate::admission::DEFAULT_POOL;
use crate::demand::Demand;
use crate::id::TaskIndex;

/// The tasks of a run, and their edges in both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    tasks: Vec<TaskNode>,
    dependents: Vec<Vec<TaskIndex>>,
    /// The tasks of the items of each task that has fanned out, in the items' order.
    items: BTreeMap<TaskIndex, Vec<TaskIndex>>,
    places: HashMap<Arc<str>, TaskIndex>,
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
    /// Whether it only waits while it runs: then it takes no slot.
    pub only_waits: bool,
    /// Whether a run of another flow does its work: then its caller makes or finds that run, and says when it has ended.
    pub calls: bool,
    /// Whether it has a condition: then its caller decides, once its rule allows it to run.
    pub conditional: bool,
    /// Whether the run's definition has no such task any more: it never runs, and counts as skipped.
    pub gone: bool,
    /// Whether it does its work once for each of some items: then its caller says how many there are, once its rule allows it
    /// to run.
    pub fan_out: Option<FanOut>,
    /// The task whose item it does.
    pub item_of: Option<TaskIndex>,
    /// The group that it is in.
    pub group: Option<Arc<str>>,
    /// The pool whose slots it takes.
    pub pool: Arc<str>,
    /// What it asks of its worker.
    pub demand: Arc<Demand>,
    /// Among the ready tasks of a pool, higher goes first.
    pub priority: i32,
    /// How often, and after what delay, it is tried again by itself.
    pub retries: Retries,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
}

/// How a task does its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FanOut {
    /// How many may be under way at once; `None` for no limit beyond the pool's.
    pub at_once: Option<u32>,
    /// Whether an attempt of its own finds out which they are, before there are any.
    pub queried: bool,
}

impl TaskNode {
    /// The task of the item with this number.
    fn item(&self, of: TaskIndex, number: usize) -> Self {
        Self {
            name: format!("{}[{number}]", self.name).into(),
            needs: Vec::new(),
            rule: TriggerRule::default(),
            conditional: false,
            fan_out: None,
            item_of: Some(of),
            ..self.clone()
        }
    }

    /// Whether its caller has to be asked before it runs.
    pub fn is_asked_for(&self) -> bool {
        self.conditional || self.fan_out.is_some_and(|fan_out| !fan_out.queried)
    }

    /// Whether an attempt of its own finds out which items it has.
    pub fn queries_items(&self) -> bool {
        self.fan_out.is_some_and(|fan_out| fan_out.queried)
    }

    /// Whether it runs while a run of another flow does; the join of such tasks does not.
    pub fn is_call(&self) -> bool {
        self.calls && self.fan_out.is_none()
    }

    /// The name by which its limit goes: the items of one task, which have numbers in brackets, share it.
    pub fn limited_as(&self) -> &str {
        self.name.split_once('[').map_or(&self.name, |(task, _)| task)
    }

    /// A task that its run's flow has no more.
    fn gone(name: &str) -> Self {
        Self {
            name: name.into(),
            needs: Vec::new(),
            rule: TriggerRule::default(),
            only_waits: false,
            calls: false,
            conditional: false,
            gone: true,
            fan_out: None,
            item_of: None,
            group: None,
            pool: DEFAULT_POOL.into(),
            demand: Arc::default(),
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
        let mut items: BTreeMap<TaskIndex, Vec<TaskIndex>> = BTreeMap::new();
        for (index, task) in tasks.iter().enumerate() {
            if let Some(of) = task.item_of {
                items.entry(of).or_default().push(index as TaskIndex);
            }
        }
        let places = tasks.iter().enumerate().map(|(place, task)| (task.name.clone(), place as TaskIndex)).collect();
        let graph = Self { tasks, dependents, items, places };
        match graph.first_of_a_cycle() {
            Some(task) => Err(GraphError::Cycle { task }),
            None => Ok(graph),
        }
    }

    /// What scheduling knows about a flow.
    pub fn of_flow(flow: &Flow) -> Result<Self, GraphError> {
        Self::of_run(flow, flow.tasks.iter().map(|task| (task.name.as_str(), None)))
    }

    /// The graph of a run that has these tasks, by name and whose item they do, and follows this flow: its tasks keep their
    /// places when the flow changes. A task that the flow has no more needs nothing, and nothing needs it.
    pub fn of_run<'a>(
        flow: &Flow,
        names: impl Iterator<Item = (&'a str, Option<TaskIndex>)> + Clone,
    ) -> Result<Self, GraphError> {
        let places: HashMap<&str, usize> = names.clone().enumerate().map(|(place, (name, _))| (name, place)).collect();
        let tasks: HashMap<&str, &mulgil_flow::Task> =
            flow.tasks.iter().map(|task| (task.name.as_str(), task)).collect();
        let place_of = |name: &String| places.get(name.as_str()).copied();
        let node = |task: &mulgil_flow::Task| TaskNode {
            name: task.name.as_str().into(),
            // A need that is not there becomes an index that is not there, which `new` refuses.
            needs: task.needs.iter().map(|need| place_of(need).unwrap_or(usize::MAX) as TaskIndex).collect(),
            rule: task.trigger_rule,
            only_waits: task.kind.is_slotless(),
            calls: task.kind.is_call(),
            conditional: task.when.is_some(),
            gone: false,
            fan_out: task
                .for_each
                .as_ref()
                .map(|each| FanOut { at_once: each.max_parallel, queried: each.query().is_some() }),
            item_of: None,
            group: task.group.as_deref().map(Into::into),
            pool: task.pool.as_str().into(),
            priority: task.priority,
            demand: Arc::new(Demand::of(task)),
            retries: task.retries.clone(),
            idempotent: task.idempotent,
        };
        let mut nodes: Vec<TaskNode> = Vec::new();
        let mut items: HashMap<TaskIndex, usize> = HashMap::new();
        for (name, item_of) in names {
            let of = item_of.and_then(|of| Some((of, nodes.get(of as usize).filter(|node| node.fan_out.is_some())?)));
            nodes.push(match of {
                Some((of, fanned)) => {
                    let number = items.entry(of).or_default();
                    *number += 1;
                    fanned.item(of, *number - 1)
                }
                None => tasks.get(name).map_or_else(|| TaskNode::gone(name), |task| node(task)),
            });
        }
        Self::new(nodes)
    }

    /// Makes sure that a task has tasks for so many items, and returns those that it has: maybe more, from the time before.
    pub(crate) fn add_items(&mut self, of: TaskIndex, count: usize) -> &[TaskIndex] {
        let Some(node) = self.task(of).cloned() else { return &[] };
        let items = self.items.entry(of).or_default();
        for number in items.len()..count {
            items.push(self.tasks.len() as TaskIndex);
            let item = node.item(of, number);
            self.places.insert(item.name.clone(), self.tasks.len() as TaskIndex);
            self.tasks.push(item);
            self.dependents.push(Vec::new());
        }
        items
    }

    /// The tasks of a task's items, in the items' order.
    pub fn items(&self, of: TaskIndex) -> &[TaskIndex] {
        self.items.get(&of).map_or(&[], |items| items)
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
        self.places.get(name).copied().filter(|index| self.task(*index).is_some_and(|task| !task.gone))
    }

    /// The names of the tasks that the run's definition has, for messages.
    pub fn known(&self) -> String {
        let here = self.tasks.iter().filter(|task| !task.gone && task.item_of.is_none()).map(|task| &*task.name);
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

    /// The given tasks and everything downstream of them, in index order. A task comes with its items, unless only some of
    /// them are why it comes.
    pub fn with_downstream(&self, tasks: impl IntoIterator<Item = TaskIndex>) -> Vec<TaskIndex> {
        let mut reached = vec![false; self.tasks.len()];
        let mut todo: Vec<TaskIndex> = tasks.into_iter().collect();
        while let Some(task) = todo.pop() {
            if let Some(mark) = reached.get_mut(task as usize)
                && !*mark
            {
                *mark = true;
                todo.extend_from_slice(self.dependents(task));
                todo.extend(self.task(task).and_then(|node| node.item_of));
            }
        }
        let is_in = |reached: &[bool], task: &TaskIndex| reached.get(*task as usize).copied().unwrap_or(false);
        for (of, items) in &self.items {
            let for_some_items = items.iter().any(|item| is_in(&reached, item));
            let anew = self.needs(*of).iter().any(|need| is_in(&reached, need));
            if is_in(&reached, of) && (anew || !for_some_items) {
                for item in items {
                    if let Some(mark) = reached.get_mut(*item as usize) {
                        *mark = true;
                    }
                }
            }
        }
        self.indices().zip(reached).filter(|(_, mark)| *mark).map(|(task, _)| task).collect()
    }
}
