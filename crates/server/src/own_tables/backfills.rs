//! `mulgil.backfills`: what was asked to be run again over a stretch of time, and how far it has come.

use mulgil_history::read::BackfillRow;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::at_once;
use crate::cells::{Column, columns};
use crate::node::Node;

pub(super) const COLUMNS: &[Column<BackfillRow>] = columns! {
    "backfill" Number |row| row.id.0.into();
    "flow" Text |row| (&row.flow).into();
    "status" Text |row| row.status.word().into();
    "interval_start" Moment |row| row.from.into();
    "interval_end" Moment |row| row.to.into();
    "which" Text |row| (&row.which).into();
    "concurrency" Number |row| row.concurrency.into();
    "planned" Number |row| row.planned.into();
    "queued" Number |row| row.runs.queued.into();
    "running" Number |row| row.runs.running.into();
    "succeeded" Number |row| row.runs.succeeded.into();
    "failed" Number |row| row.runs.failed.into();
    "cancelled" Number |row| row.runs.cancelled.into();
    "mean_run_ms" Number |row| row.mean_run_us.map(|micros| micros / 1_000).into();
    "created_at" Moment |row| row.created_at.into();
    "ended_at" Moment |row| row.ended_at.into();
};

/// People ask for backfills, so there are few.
pub(super) fn rows(node: Node, wanted: &Wanted) -> SystemRows {
    let flow = wanted.text("flow").map(str::to_owned);
    at_once(COLUMNS, async move { node.history.backfills(flow.as_deref(), u32::MAX).await })
}
