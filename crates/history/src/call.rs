//! Runs that do a task's work in another run: which run a task has called, and which task started a run last.
//!
//! The two are one write, so that a restart finds a call from either end. A task that only waits for a run which somebody else started has
//! called it all the same, and is not its parent. What somebody has confirmed for a run that will be called waits with that run's tasks.

use jiff::Timestamp;
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::status::RunStatus;
use serde::Serialize;

use crate::question::{Columns, Read};
use crate::row::{maybe_time, number, run_status, text};

/// A task calls a run, or none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallChange {
    /// Of which run.
    pub run: RunId,
    /// Which task.
    pub task: TaskIndex,
    /// The run that does its work.
    pub child: Option<RunId>,
    /// Whether the task has started that run, first or again: then it is its parent.
    pub starts: bool,
    /// When.
    pub at: Timestamp,
}

/// Somebody has confirmed that a task which is not idempotent may run once more, for whoever calls its run next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Of which run, which has ended.
    pub run: RunId,
    /// Which task.
    pub task: TaskIndex,
    /// How many attempts it had then. With the next one this means nothing any more: one more attempt was confirmed, not two.
    pub attempts: u32,
    /// When.
    pub at: Timestamp,
}

/// A call of an open run: what a scheduler has to know of it when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRow {
    /// Of which run.
    pub run: RunId,
    /// Which task.
    pub task: TaskIndex,
    /// The run that does its work.
    pub child: RunId,
    /// That run's name for people.
    pub name: String,
    /// Where that run stands.
    pub status: RunStatus,
    /// Whether the task has started that run.
    pub starts: bool,
}

/// The task that started a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParentRow {
    /// Its run.
    pub run: RunId,
    /// That run's name for people.
    pub name: String,
    /// That run's flow.
    pub flow: String,
    /// The task's name.
    pub task: String,
}

/// The run that does a task's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildRow {
    /// The task's place in the graph.
    pub task: TaskIndex,
    /// The run.
    pub run: RunId,
    /// Its name for people.
    pub name: String,
    /// Its flow.
    pub flow: String,
    /// Where it stands.
    pub status: RunStatus,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

pub(crate) const OPEN_CALLS: &str = "SELECT t.run, t.task, t.child, c.name, c.status, \
    t.child_started AS starts \
    FROM tasks t JOIN runs r ON r.id = t.run JOIN runs c ON c.id = t.child \
    WHERE r.status IN ('queued', 'running', 'cancelling') AND t.status = 'running' ORDER BY t.run, t.task";

pub(crate) const PARENT: &str = "SELECT p.id AS run, p.name, p.flow, t.name AS task FROM runs r \
    JOIN runs p ON p.id = r.parent_run JOIN tasks t ON t.run = r.parent_run AND t.task = r.parent_task WHERE r.id = $1";

pub(crate) const CHILDREN: &str = "SELECT t.task, c.id AS run, c.name, c.flow, c.status, c.started_at_us, c.ended_at_us FROM tasks t \
    JOIN runs c ON c.id = t.child WHERE t.run = $1 ORDER BY t.task";

pub(crate) fn call(row: &impl Columns) -> Read<CallRow> {
    Ok(CallRow {
        run: RunId(number(row, "run")?),
        task: number(row, "task")?,
        child: RunId(number(row, "child")?),
        name: text(row, "name")?,
        status: run_status(row)?,
        starts: row.flag("starts")?,
    })
}

pub(crate) fn parent(row: &impl Columns) -> Read<ParentRow> {
    Ok(ParentRow {
        run: RunId(number(row, "run")?),
        name: text(row, "name")?,
        flow: text(row, "flow")?,
        task: text(row, "task")?,
    })
}

pub(crate) fn child(row: &impl Columns) -> Read<ChildRow> {
    Ok(ChildRow {
        task: number(row, "task")?,
        run: RunId(number(row, "run")?),
        name: text(row, "name")?,
        flow: text(row, "flow")?,
        status: run_status(row)?,
        started_at: maybe_time(row, "started_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
    })
}
