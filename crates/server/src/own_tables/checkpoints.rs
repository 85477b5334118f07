//! `mulgil.checkpoints`: how the checkpoints of each view go.

use mulgil_engine::status::CheckpointStatus;
use mulgil_serving::status::ViewStatus;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::at_once;
use crate::cells::{Column, columns, moment};
use crate::node::Node;

pub(super) const COLUMNS: &[Column<(String, CheckpointStatus)>] = columns! {
    "view" Text |of| (&of.0).into();
    "completed" Number |of| of.1.completed.into();
    "failed" Number |of| of.1.failed.into();
    "given_up" Number |of| of.1.given_up.into();
    "completed_at" Moment |of| moment(of.1.completed_ms);
    "covered_rows" Number |of| of.1.covered_rows.into();
    "pause_ms" Real |of| of.1.pause_ms.into();
    "took_ms" Real |of| of.1.took_ms.into();
    "written_bytes" Number |of| of.1.written_bytes.into();
    "state_bytes" Number |of| of.1.state_bytes.into();
    "error" Text |of| of.1.error.as_ref().into();
};

pub(super) fn rows(node: Node, _: &Wanted) -> SystemRows {
    let of = |view: ViewStatus| Some((view.name, view.checkpoints?));
    at_once(COLUMNS, async move { Ok(node.loaded().views.list().into_iter().filter_map(of).collect()) })
}
