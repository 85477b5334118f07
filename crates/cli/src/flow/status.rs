//! Statuses as the command line says them.

use mulgil_server::status::{RunStatus, TaskStatus};
use serde::Serialize;

/// The word of the API for a status: `upstream_failed` reads `upstream failed`.
pub(crate) fn word(status: &impl Serialize) -> String {
    match serde_json::to_value(status) {
        Ok(serde_json::Value::String(word)) => word.replace('_', " "),
        _ => String::new(),
    }
}

/// Whether nothing more will happen to the run by itself.
pub(crate) fn run_has_ended(status: RunStatus) -> bool {
    match status {
        RunStatus::Queued | RunStatus::Running | RunStatus::Cancelling => false,
        RunStatus::Succeeded | RunStatus::Failed | RunStatus::Cancelled => true,
    }
}

/// Whether nothing more will happen to the task by itself.
pub(crate) fn task_has_ended(status: TaskStatus) -> bool {
    match status {
        TaskStatus::Waiting | TaskStatus::Ready | TaskStatus::Running | TaskStatus::Retrying => false,
        TaskStatus::Succeeded
        | TaskStatus::Skipped
        | TaskStatus::Failed
        | TaskStatus::UpstreamFailed
        | TaskStatus::Cancelled => true,
    }
}
