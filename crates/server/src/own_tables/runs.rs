//! `mulgil.runs`: the runs of all flows.

use mulgil_history::read::RunRow;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::{PAGE_ROWS, pages, selection};
use crate::cells::{Column, between, columns, json};
use crate::node::Node;

pub(super) const COLUMNS: &[Column<RunRow>] = columns! {
    "run" Number |run| run.id.0.into();
    "flow" Text |run| (&run.flow).into();
    "name" Text |run| (&run.name).into();
    "status" Text |run| run.status.word().into();
    "trigger" Text |run| run.trigger.word().into();
    "interval_start" Moment |run| run.interval_start.into();
    "interval_end" Moment |run| run.interval_end.into();
    "params" Text |run| json(&run.params);
    "version" Text |run| (&run.version).into();
    "backfill" Number |run| run.backfill.map(|backfill| backfill.0).into();
    "timed_out" Truth |run| run.timed_out.into();
    "created_at" Moment |run| run.created_at.into();
    "started_at" Moment |run| run.started_at.into();
    "ended_at" Moment |run| run.ended_at.into();
    "waited_ms" Number |run| between(Some(run.created_at), run.started_at);
    "duration_ms" Number |run| between(run.started_at, run.ended_at);
};

pub(super) fn rows(node: Node, wanted: &Wanted) -> SystemRows {
    let selection = selection(wanted, "created_at");
    let ask = move |before| {
        let (node, selection) = (node.clone(), selection.clone());
        async move { node.history.listed_runs(&selection, before, PAGE_ROWS).await }
    };
    pages(COLUMNS, ask, |run| run.id)
}
