//! Runs that call runs, as the API tells it: from either end.

use std::collections::HashMap;

use mulgil_history::call::{ChildRow, ParentRow};
use mulgil_sched::id::TaskIndex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::status::RunStatus;

/// The task of another run that started a run, first or again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParentRun {
    /// That run's id.
    pub id: i64,
    /// That run's name for people.
    pub name: String,
    /// That run's flow.
    pub flow: String,
    /// The task's name.
    pub task: String,
}

/// The run that does a task's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChildRun {
    /// Its id.
    pub id: i64,
    /// Its name for people.
    pub name: String,
    /// Its flow.
    pub flow: String,
    /// Where it stands.
    pub status: RunStatus,
}

impl From<ParentRow> for ParentRun {
    fn from(row: ParentRow) -> Self {
        Self { id: row.run.0, name: row.name, flow: row.flow, task: row.task }
    }
}

/// The runs that do the work of tasks, by the tasks' places.
pub(crate) fn children_of(rows: &[ChildRow]) -> HashMap<TaskIndex, ChildRun> {
    let child = |row: &ChildRow| ChildRun {
        id: row.run.0,
        name: row.name.clone(),
        flow: row.flow.clone(),
        status: row.status.into(),
    };
    rows.iter().map(|row| (row.task, child(row))).collect()
}
