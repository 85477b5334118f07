//! `mulgil.attempts`: the attempts at all tasks, with what they used.

use mulgil_history::listing::ListedAttempt;
use mulgil_sched::id::AttemptId;
use mulgil_sched::usage::TreeUsage;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::{PAGE_ROWS, pages, selection};
use crate::cells::{Cell, Column, between, columns};
use crate::node::Node;

pub(super) const COLUMNS: &[Column<ListedAttempt>] = columns! {
    "run" Number |of| of.run.0.into();
    "flow" Text |of| (&of.flow).into();
    "task_index" Number |of| of.attempt.task_index.into();
    "task" Text |of| (&of.attempt.task).into();
    "attempt" Number |of| of.attempt.attempt.into();
    "status" Text |of| of.attempt.status.word().into();
    "worker" Text |of| (&of.attempt.owner).into();
    "leased_at" Moment |of| of.attempt.leased_at.into();
    "started_at" Moment |of| of.attempt.started_at.into();
    "ended_at" Moment |of| of.attempt.ended_at.into();
    "duration_ms" Number |of| between(of.attempt.started_at, of.attempt.ended_at);
    "error" Text |of| of.attempt.error.as_ref().into();
    "cpu_ms" Number |of| tree(of, |used| used.cpu_ms);
    "memory_peak_bytes" Number |of| tree(of, |used| used.memory_peak_bytes);
    "read_bytes" Number |of| tree(of, |used| used.read_bytes);
    "written_bytes" Number |of| tree(of, |used| used.written_bytes);
    "log" Text |of| (&of.attempt.log).into();
};

/// What the attempt's processes used, where it has some.
fn tree(of: &ListedAttempt, used: fn(&TreeUsage) -> u64) -> Cell {
    of.attempt.usage.as_ref().and_then(|usage| usage.tree.as_ref()).map(used).into()
}

pub(super) fn rows(node: Node, wanted: &Wanted) -> SystemRows {
    let selection = selection(wanted, "leased_at");
    let ask = move |before| {
        let (node, selection) = (node.clone(), selection.clone());
        async move { node.history.listed_attempts(&selection, before, PAGE_ROWS).await }
    };
    let place =
        |of: &ListedAttempt| AttemptId { run: of.run, task: of.attempt.task_index, attempt: of.attempt.attempt };
    pages(COLUMNS, ask, place)
}
