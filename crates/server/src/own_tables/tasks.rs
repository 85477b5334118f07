//! `mulgil.tasks`: the tasks of all runs.

use mulgil_history::listing::ListedTask;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::{PAGE_ROWS, pages, selection};
use crate::cells::{Cell, Column, columns, json};
use crate::node::Node;

pub(super) const COLUMNS: &[Column<ListedTask>] = columns! {
    "run" Number |of| of.run.0.into();
    "flow" Text |of| (&of.flow).into();
    "task_index" Number |of| of.task.index.into();
    "task" Text |of| (&of.task.name).into();
    "status" Text |of| of.task.status.word().into();
    "attempts" Number |of| of.task.attempts.into();
    "retries" Number |of| of.task.retries_used.into();
    "losses" Number |of| of.task.losses.into();
    "since" Moment |of| of.task.since.into();
    "not_before" Moment |of| of.task.not_before.into();
    "result" Text |of| of.task.result.as_ref().map_or(Cell::Nothing, json);
    "note" Text |of| of.task.note.as_ref().into();
    "item_of" Number |of| of.task.item_of.into();
    "item" Text |of| of.task.item.as_ref().map_or(Cell::Nothing, json);
    "created_at" Moment |of| of.created_at.into();
};

pub(super) fn rows(node: Node, wanted: &Wanted) -> SystemRows {
    let selection = selection(wanted, "created_at");
    let ask = move |before| {
        let (node, selection) = (node.clone(), selection.clone());
        async move { node.history.listed_tasks(&selection, before, PAGE_ROWS).await }
    };
    pages(COLUMNS, ask, |of| (of.run, of.task.index))
}
