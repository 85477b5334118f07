//! How calls are stored: at both of their ends; and what was confirmed for them.

use mulgil_sched::id::{RunId, TaskIndex};
use serde_json::{Value, json};

use crate::write::Write;

pub(super) const CALLS: &str = "UPDATE tasks t SET child = c.child, child_started = c.starts \
    FROM json_to_recordset($1::text::json) AS c (run bigint, task bigint, child bigint, starts boolean) \
    WHERE t.run = c.run AND t.task = c.task";

pub(super) const PARENTS: &str = "UPDATE runs r SET parent_run = c.run, parent_task = c.task \
    FROM json_to_recordset($1::text::json) AS c (run bigint, task bigint, child bigint) WHERE r.id = c.child";

pub(super) const CONFIRMED: &str = "UPDATE tasks t SET confirmed = c.attempts \
    FROM json_to_recordset($1::text::json) AS c (run bigint, task bigint, attempts bigint) \
    WHERE t.run = c.run AND t.task = c.task";

/// Its key is the task that calls.
pub(super) fn call(write: &Write) -> Option<((RunId, TaskIndex), Value)> {
    let Write::Call(change) = write else { return None };
    let child = change.child.map(|child| child.0);
    let row = json!({"run": change.run.0, "task": change.task, "child": child, "starts": change.starts});
    Some(((change.run, change.task), row))
}

/// Its key is the run that is started.
pub(super) fn parent(write: &Write) -> Option<(RunId, Value)> {
    let Write::Call(change) = write else { return None };
    let child = change.child.filter(|_| change.starts)?;
    Some((child, json!({"run": change.run.0, "task": change.task, "child": child.0})))
}

/// Its key is the task that may run once more.
pub(super) fn confirmed(write: &Write) -> Option<((RunId, TaskIndex), Value)> {
    let Write::Confirmed(confirmed) = write else { return None };
    let row = json!({"run": confirmed.run.0, "task": confirmed.task, "attempts": confirmed.attempts});
    Some(((confirmed.run, confirmed.task), row))
}
