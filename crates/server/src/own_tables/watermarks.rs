//! `mulgil.watermarks`: how far each view has come in each partition that it reads.

use jiff::Timestamp;
use mulgil_engine::status::{HeldBackBy, PartitionStatus};
use mulgil_serving::status::ViewStatus;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::at_once;
use crate::cells::{Cell, Column, columns, moment};
use crate::node::Node;
use crate::progress::state_word;

/// A partition of a view.
pub(super) struct ReadPartition {
    view: String,
    holds_back: bool,
    partition: PartitionStatus,
}

pub(super) const COLUMNS: &[Column<ReadPartition>] = columns! {
    "view" Text |of| (&of.view).into();
    "source" Text |of| (&of.partition.table).into();
    "partition" Text |of| (&of.partition.partition).into();
    "state" Text |of| state_word(of.partition.state).into();
    "watermark" Moment |of| moment(of.partition.watermark_ms);
    "watermark_since" Moment |of| moment(Some(of.partition.watermark_since_ms));
    "behind_ms" Number |of| behind(of.partition.watermark_ms);
    "holds_back" Truth |of| of.holds_back.into();
    "position" Number |of| of.partition.position.into();
    "lag_rows" Number |of| of.partition.lag_rows.into();
    "rows" Number |of| of.partition.rows.into();
    "rows_per_second" Real |of| of.partition.rows_per_second.into();
    "skipped_rows" Number |of| of.partition.skipped_rows.into();
    "waits_for" Text |of| of.partition.waits_for.as_ref().into();
};

/// By how much a watermark is behind the server's clock.
fn behind(watermark_ms: Option<i64>) -> Cell {
    watermark_ms.map(|watermark| Timestamp::now().as_millisecond().saturating_sub(watermark)).into()
}

fn partitions(view: ViewStatus) -> impl Iterator<Item = ReadPartition> {
    let ViewStatus { name, partitions, held_back_by, .. } = view;
    partitions.into_iter().map(move |partition| {
        let is_it = |held: &HeldBackBy| held.table == partition.table && held.partition == partition.partition;
        ReadPartition { view: name.clone(), holds_back: held_back_by.as_ref().is_some_and(is_it), partition }
    })
}

pub(super) fn rows(node: Node, _: &Wanted) -> SystemRows {
    at_once(COLUMNS, async move { Ok(node.loaded().views.list().into_iter().flat_map(partitions).collect()) })
}
