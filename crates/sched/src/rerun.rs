//! Which tasks a re-run runs again: what was asked for, and everything downstream of it.

use serde::{Deserialize, Serialize};

use crate::id::TaskIndex;
use crate::rule::Verdict;
use crate::run::RunState;
use crate::status::RunStatus;

/// What to run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerunScope {
    /// What failed, was cancelled or never ran for that; and everything downstream.
    Failed,
    /// This task; and everything downstream.
    From(String),
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
    /// A task upstream has to come first.
    #[error("task {task} needs {need}, which has not succeeded: re-run from {need}")]
    NeedNotMet {
        /// The task asked for.
        task: String,
        /// What it needs.
        need: String,
    },
}

/// The tasks that `scope` means in this run, in index order. The run has to have ended.
pub fn rerun_tasks(run: &RunState, scope: &RerunScope) -> Result<Vec<TaskIndex>, RerunError> {
    if !run.status.is_terminal() {
        return Err(RerunError::NotEnded { run: run.id.0, status: run.status });
    }
    let roots: Vec<TaskIndex> = match scope {
        RerunScope::All => run.graph.indices().collect(),
        RerunScope::Failed => {
            let bad = run.graph.indices().zip(&run.tasks).filter(|(_, task)| task.status.is_bad());
            bad.map(|(index, _)| index).collect()
        }
        RerunScope::From(name) => vec![task_named(run, name)?],
    };
    if roots.is_empty() {
        return Err(RerunError::NothingFailed { run: run.id.0 });
    }
    Ok(run.graph.with_downstream(roots))
}

fn task_named(run: &RunState, name: &str) -> Result<TaskIndex, RerunError> {
    let task_name = |index: TaskIndex| run.graph.task(index).map_or(String::new(), |task| task.name.to_string());
    let Some(task) = run.graph.index_of(name) else {
        let known: Vec<String> = run.graph.indices().map(task_name).collect();
        return Err(RerunError::NoSuchTask { run: run.id.0, task: name.to_owned(), known: known.join(", ") });
    };
    let bad = |need: &&TaskIndex| run.task(**need).is_some_and(|state| state.status.is_bad());
    match run.graph.needs(task).iter().find(bad) {
        Some(&need) if run.verdict(task) == Verdict::Fail => {
            Err(RerunError::NeedNotMet { task: name.to_owned(), need: task_name(need) })
        }
        _ => Ok(task),
    }
}
