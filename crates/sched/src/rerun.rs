//! Which tasks a re-run runs again: what was asked for, and everything downstream of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::TaskIndex;
use crate::rule::{Tally, Verdict};
use crate::run::RunState;
use crate::status::{RunStatus, TaskStatus};

/// What to run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerunScope {
    /// What failed, was cancelled or never ran for that; and everything downstream.
    Failed,
    /// This task; and everything downstream.
    From(String),
    /// The tasks of this group; and everything downstream.
    Group(String),
    /// Every task.
    All,
}

/// Why a run cannot be run again as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RerunError {
    /// It has not ended.
    #[error("run {run} is {status}: wait for its end or cancel it, then re-run it")]
    NotEnded {
        /// The run.
        run: i64,
        /// Its status.
        status: RunStatus,
    },
    /// Nothing in it failed.
    #[error("nothing of run {run} failed: to run it again all the same, name a task or ask for all")]
    NothingFailed {
        /// The run.
        run: i64,
    },
    /// No such task.
    #[error("run {run} has no task {task}; its tasks are {known}")]
    NoSuchTask {
        /// The run.
        run: i64,
        /// What was asked for.
        task: String,
        /// What there is.
        known: String,
    },
    /// No such group.
    #[error("run {run} has no group {group}; its groups are: {known}")]
    NoSuchGroup {
        /// The run.
        run: i64,
        /// What was asked for.
        group: String,
        /// What there is, `none` when there is none.
        known: String,
    },
    /// A task upstream has to come first.
    #[error("task {task} needs {need}, which has not succeeded: re-run from {need}")]
    NeedNotMet {
        /// The task asked for.
        task: String,
        /// What it needs.
        need: String,
    },
}

/// The tasks that `scope` means in this run, in index order. The run has to have ended. What the definition that it
/// follows from now on has and it had not, comes along: tasks that wait, and these that were `gone` for a while.
pub fn rerun_tasks(run: &RunState, scope: &RerunScope, back: &[TaskIndex]) -> Result<Vec<TaskIndex>, RerunError> {
    if !run.status.is_terminal() {
        return Err(RerunError::NotEnded { run: run.id.0, status: run.status });
    }
    let new: Vec<TaskIndex> = run.tasks_with(TaskStatus::Waiting).chain(back.iter().copied()).collect();
    let roots: Vec<TaskIndex> = match scope {
        RerunScope::All => run.graph.indices().collect(),
        RerunScope::Failed => {
            let bad = run.graph.indices().zip(&run.tasks).filter(|(_, task)| task.status.is_bad());
            bad.map(|(index, _)| index).chain(new.iter().copied()).collect()
        }
        RerunScope::From(name) => vec![task_named(run, name)?],
        RerunScope::Group(name) => group_named(run, name)?,
    };
    if roots.is_empty() {
        return Err(RerunError::NothingFailed { run: run.id.0 });
    }
    let gone = |task: &TaskIndex| run.graph.task(*task).is_some_and(|node| node.gone);
    let tasks = run.graph.with_downstream(roots.into_iter().chain(new));
    Ok(tasks.into_iter().filter(|task| !gone(task)).collect())
}

fn task_named(run: &RunState, name: &str) -> Result<TaskIndex, RerunError> {
    let Some(task) = run.graph.index_of(name) else {
        return Err(RerunError::NoSuchTask { run: run.id.0, task: name.to_owned(), known: run.graph.known() });
    };
    needs_met(run, [task].as_slice())?;
    Ok(task)
}

fn group_named(run: &RunState, name: &str) -> Result<Vec<TaskIndex>, RerunError> {
    let of = |index: &TaskIndex| run.graph.task(*index).and_then(|task| task.group.as_deref());
    let members: Vec<TaskIndex> = run.graph.indices().filter(|index| of(index) == Some(name)).collect();
    if members.is_empty() {
        let known: BTreeSet<&str> = run.graph.tasks().iter().filter_map(|task| task.group.as_deref()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.into_iter().collect::<Vec<_>>().join(", ") };
        return Err(RerunError::NoSuchGroup { run: run.id.0, group: name.to_owned(), known });
    }
    needs_met(run, &members)?;
    Ok(members)
}

/// Whether these tasks could run again: nothing that failed outside of what runs again stands in their way.
fn needs_met(run: &RunState, roots: &[TaskIndex]) -> Result<(), RerunError> {
    let name = |index: TaskIndex| run.graph.task(index).map_or(String::new(), |task| task.name.to_string());
    let again = run.graph.with_downstream(roots.iter().copied());
    let status = |need: &TaskIndex| run.task(*need).map_or(TaskStatus::Waiting, |state| state.status);
    for &task in roots {
        let Some(node) = run.graph.task(task) else { continue };
        let stands =
            |need: &TaskIndex| if again.binary_search(need).is_ok() { TaskStatus::Waiting } else { status(need) };
        let verdict = Tally::of(node.needs.iter().map(stands)).verdict(node.rule, node.needs.len());
        if verdict == Verdict::Fail
            && let Some(need) = node.needs.iter().find(|need| stands(need).is_bad())
        {
            return Err(RerunError::NeedNotMet { task: name(task), need: name(*need) });
        }
    }
    Ok(())
}
