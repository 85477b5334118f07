//! The items of a task: how many there are and how they stand, and each of them, page by page.

use std::collections::HashMap;

use axum::extract::State;
use mulgil_history::read::{AttemptRow, RunDetail, TaskRow};
use mulgil_sched::id::{RunId, TaskIndex};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::calls::{ChildRun, children_of};
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::node::Node;
use crate::runs::Attempt;
use crate::status::TaskStatus;

const ITEMS_DEFAULT: u32 = 100;
const ITEMS_MAX: u32 = 1000;

/// How many items a task has, and how they stand. Those that it has no more are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ItemCounts {
    /// All of them.
    pub total: u64,
    /// Waiting for their turn or for a slot.
    pub waiting: u64,
    /// Under way, those that wait to be tried again included.
    pub running: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Cancelled, or never run since something failed upstream.
    pub cancelled: u64,
}

/// An item of a task in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ItemRun {
    /// The name of the task that does it: `load[3]`.
    pub name: String,
    /// Its number, from 0.
    pub number: u32,
    /// The item.
    pub item: serde_json::Value,
    /// Where it stands.
    pub status: TaskStatus,
    /// When it will be tried again, where it is `retrying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<jiff::Timestamp>,
    /// Why it stands where it stands, where no attempt says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The run that does it, where its task runs another flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<ChildRun>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
}

/// A page of items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ItemPage {
    /// How all items of the task stand.
    pub counts: ItemCounts,
    /// The items, in their order.
    pub items: Vec<ItemRun>,
    /// Pass it as `after` for the next page. Absent: this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u32>,
}

/// Which items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ItemsQuery {
    /// Only items with this status.
    #[param(inline)]
    pub status: Option<TaskStatus>,
    /// Only items with a higher number: the `next_after` of the page before.
    pub after: Option<u32>,
    /// At most so many; 100 unless told, 1000 at most.
    pub limit: Option<u32>,
}

/// The items of a task of a run.
#[utoipa::path(get, path = "/runs/{run}/tasks/{task}/items", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), ("task" = String, Path, description = "The task's name."), ItemsQuery),
    responses((status = 200, body = ItemPage), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_items(
    State(node): State<Node>,
    Path((run, task)): Path<(i64, String)>,
    Query(page): Query<ItemsQuery>,
) -> Result<Json<ItemPage>, ApiError> {
    let found = node.history.run(RunId(run)).await?.ok_or_else(|| ApiError::not_found("run", run))?;
    let of = found.tasks.iter().find(|row| row.name == task && row.item_of.is_none());
    let of = of.map(|row| row.index).ok_or_else(|| ApiError::not_found("task", format!("{task} in run {run}")))?;
    let counts = counts(&found.tasks).remove(&of).unwrap_or_default();
    let limit = page.limit.unwrap_or(ITEMS_DEFAULT).clamp(1, ITEMS_MAX) as usize;
    let items = found.tasks.iter().filter(|row| row.item_of == Some(of)).zip(0..);
    let wanted = |(row, number): &(&TaskRow, u32)| {
        let status = TaskStatus::from(row.status);
        let fits = page.status.map_or(is_item(row), |wanted| wanted == status);
        fits && page.after.is_none_or(|after| *number > after)
    };
    let mut chosen: Vec<(&TaskRow, u32)> = items.filter(wanted).take(limit + 1).collect();
    let more = chosen.len() > limit;
    chosen.truncate(limit);
    let next_after = chosen.last().filter(|_| more).map(|(_, number)| *number);
    let mut attempts = attempts_of(&found, &chosen);
    let mut children = children_of(&found.children);
    let items = chosen.iter().map(|(row, number)| ItemRun {
        name: row.name.clone(),
        number: *number,
        item: row.item.clone().unwrap_or_default(),
        status: row.status.into(),
        retry_at: row.not_before,
        note: row.note.clone(),
        child: children.remove(&row.index),
        result: row.result.clone(),
        attempts: attempts
            .remove(&row.index)
            .unwrap_or_default()
            .into_iter()
            .map(|row| Attempt::of(row, &node))
            .collect(),
    });
    let items = items.collect();
    Ok(Json(ItemPage { counts, items, next_after }))
}

fn attempts_of(found: &RunDetail, chosen: &[(&TaskRow, u32)]) -> HashMap<TaskIndex, Vec<AttemptRow>> {
    let mut attempts: HashMap<TaskIndex, Vec<AttemptRow>> =
        chosen.iter().map(|(row, _)| (row.index, Vec::new())).collect();
    for attempt in &found.attempts {
        if let Some(list) = attempts.get_mut(&attempt.task_index) {
            list.push(attempt.clone());
        }
    }
    attempts
}

/// What its task has no more is skipped.
fn is_item(row: &TaskRow) -> bool {
    row.status != mulgil_sched::status::TaskStatus::Skipped
}

/// The counts of each task that has items.
pub(crate) fn counts(tasks: &[TaskRow]) -> HashMap<TaskIndex, ItemCounts> {
    use mulgil_sched::status::TaskStatus as S;
    let mut all: HashMap<TaskIndex, ItemCounts> = HashMap::new();
    for row in tasks.iter().filter(|row| is_item(row)) {
        let Some(of) = row.item_of else { continue };
        let counts = all.entry(of).or_default();
        counts.total += 1;
        *match row.status {
            S::Waiting | S::Ready => &mut counts.waiting,
            S::Running | S::Retrying => &mut counts.running,
            S::Succeeded | S::Skipped => &mut counts.succeeded,
            S::Failed => &mut counts.failed,
            S::UpstreamFailed | S::Cancelled => &mut counts.cancelled,
        } += 1;
    }
    all
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(list_items))
}
