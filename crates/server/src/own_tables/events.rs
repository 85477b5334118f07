//! `mulgil.events`: every change of the history, oldest first.

use mulgil_history::read::EventRow;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::{PAGE_ROWS, pages};
use crate::cells::{Column, columns};
use crate::node::Node;

pub(super) const COLUMNS: &[Column<EventRow>] = columns! {
    "seq" Number |event| event.seq.into();
    "at" Moment |event| event.at.into();
    "kind" Text |event| (&event.kind).into();
    "run" Number |event| event.run.map(|run| run.0).into();
    "task_index" Number |event| event.task.into();
    "attempt" Number |event| event.attempt.into();
    "change" Text |event| (&event.payload).into();
};

pub(super) fn rows(node: Node, wanted: &Wanted) -> SystemRows {
    let first = wanted.least("seq").map_or(i64::MIN, |seq| seq.saturating_sub(1));
    let ask = move |after: Option<i64>| {
        let node = node.clone();
        async move { node.history.events(after.unwrap_or(first), PAGE_ROWS).await }
    };
    pages(COLUMNS, ask, |event| event.seq)
}
