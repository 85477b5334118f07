//! The changes of a view page by page, for clients that cannot read a stream of events.

use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_serving::views::changes::{Start, Step};

use super::{ChangesPage, ChangesQuery, Telling};
use crate::error::ApiError;
use crate::extract::Json;
use crate::node::Node;

const ROWS_DEFAULT: u32 = 1_000;
const WAIT_MS_MAX: u32 = 60_000;

/// A page: all whole cuts up to the limit, and the first one in any case; where there is none, what comes while it waits.
pub(super) async fn read(
    node: &Node,
    view: &TableName,
    start: Start,
    query: &ChangesQuery,
) -> Result<Json<ChangesPage>, ApiError> {
    let mut subscription = node.loaded().views.changes(view, start.clone())?;
    let wait = Duration::from_millis(query.wait_ms.unwrap_or_default().min(WAIT_MS_MAX).into());
    let limit = query.limit.unwrap_or(ROWS_DEFAULT) as usize;
    let mut page = ChangesPage { steps: Vec::new(), cursor: None };
    let mut rows = 0;
    // A subscription that has only begun gets what there is, as soon as somebody has looked.
    let patience = if matches!(start, Start::After(_)) { wait } else { wait.max(FIRST_LOOK) };
    let mut next = tokio::select! {
        next = tokio::time::timeout(patience, subscription.next()) => next.ok().flatten(),
        () = node.stopping.cancelled() => None,
    };
    while let Some(step) = next {
        rows += match &step {
            Step::Begin(_) => 0,
            Step::Cut(cut) => cut.changes.kinds.len(),
        };
        let cursor = subscription.cursor().unwrap_or_default();
        for step in Telling::of(step, cursor).await?.steps() {
            page.steps.push(step?);
        }
        next = if rows < limit { subscription.step() } else { None };
    }
    page.cursor = subscription.cursor().or(match start {
        Start::After(cursor) => Some(cursor),
        Start::Snapshot | Start::Now => None,
    });
    Ok(Json(page))
}

/// How long the first page waits at least: nobody may have looked at the view yet.
const FIRST_LOOK: Duration = Duration::from_secs(5);
