//! What subscribers hear: each change of a status, after it is durable.

use jiff::Timestamp;
use mulgil_history::write::BackfillStatus;
use mulgil_sched::id::{BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use serde::Serialize;

/// A status changed. A subscriber that falls behind loses the oldest changes and is told so: it then reads the whole
/// from the history.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// A run is new or changed.
    Run {
        /// Its flow.
        flow: String,
        /// Which run.
        run: RunId,
        /// Its name for people.
        name: String,
        /// Its status now.
        status: RunStatus,
        /// The start of its data interval.
        interval_start: Option<Timestamp>,
        /// The backfill it belongs to.
        backfill: Option<BackfillId>,
        /// When.
        at: Timestamp,
    },
    /// A task changed.
    Task {
        /// Its flow.
        flow: String,
        /// Its run.
        run: RunId,
        /// Its place in the graph.
        index: TaskIndex,
        /// Its name.
        task: String,
        /// Its status now.
        status: TaskStatus,
        /// Attempts so far.
        attempts: u32,
        /// When a retry is due.
        not_before: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// An attempt is new or changed.
    Attempt {
        /// Its flow.
        flow: String,
        /// Its run.
        run: RunId,
        /// Its task.
        task: String,
        /// Its number.
        attempt: u32,
        /// Its status now.
        status: AttemptStatus,
        /// Why it failed.
        error: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A backfill is new or changed.
    Backfill {
        /// Its flow.
        flow: String,
        /// Which backfill.
        backfill: BackfillId,
        /// Its status now.
        status: BackfillStatus,
        /// When.
        at: Timestamp,
    },
    /// A flow's schedule was paused or resumed.
    Paused {
        /// The flow.
        flow: String,
        /// Whether it is paused now.
        paused: bool,
        /// When.
        at: Timestamp,
    },
    /// The definitions were read again.
    Reloaded {
        /// When.
        at: Timestamp,
    },
}
