//! `mulgil.views`: the views and where each is in its life.

use mulgil_serving::status::ViewStatus;
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::at_once;
use crate::cells::{Column, columns, moment, word};
use crate::node::Node;
use crate::views::{RefreshMode, ViewState};

pub(super) const COLUMNS: &[Column<ViewStatus>] = columns! {
    "view" Text |view| (&view.name).into();
    "mode" Text |view| word(&RefreshMode::from(view.mode));
    "state" Text |view| word(&ViewState::from(view.state));
    "error" Text |view| view.error.as_ref().into();
    "watermark" Moment |view| moment(view.watermark_ms);
    "lag_ms" Number |view| view.lag_ms.into();
    "rows" Number |view| view.rows.into();
    "rows_in" Number |view| view.rows_in.into();
    "rows_per_second" Real |view| view.rows_per_second.into();
    "late_updated" Number |view| view.late_updated.into();
    "late_dropped" Number |view| view.late_dropped.into();
    "null_event_times" Number |view| view.null_event_times.into();
    "skipped_rows" Number |view| view.skipped_rows.into();
    "restarts" Number |view| view.restarts.count.into();
    "generation" Number |view| view.generation.into();
    "boundary" Moment |view| moment(view.layers.as_ref().and_then(|layers| layers.boundary_ms));
    "refreshed_at" Moment |view| moment(view.refreshed_ms);
    "version" Number |view| view.version.into();
    "file" Text |view| (&view.file).into();
};

pub(super) fn rows(node: Node, _: &Wanted) -> SystemRows {
    at_once(COLUMNS, async move { Ok(node.loaded().views.list()) })
}
