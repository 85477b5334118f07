//! Tables × intervals: what is done, missing, stale or failed. Each flow with a schedule has its intervals as columns, and
//! each table that one of its tasks writes as a row.
//!
//! A cell is *stale* when something that it was made from was written after it. What a table is made from is told by the
//! definition: what its transfer reads, the tables that its flow's schedule waits for (`on:`), and those that the tasks before
//! it write.

use std::collections::{BTreeSet, HashMap};

use axum::extract::State;
use jiff::Timestamp;
use mulgil_flow::{DataInterval, Flow, RunKey, Schedule, Task, TaskKind};
use mulgil_history::written::TableWrite;
use mulgil_sched::status::RunStatus;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Query};
use crate::node::Node;
use crate::runs::{Interval, label};
use crate::scheduler::written_by;

/// How many intervals are shown unless told.
const COUNT_DEFAULT: usize = 30;
/// A screen shows no more.
const COUNT_MAX: usize = 400;

/// Which part of the matrix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MatrixQuery {
    /// Only this flow.
    pub flow: Option<String>,
    /// The latest so many intervals of each flow; 30 unless told, 400 at most.
    pub count: Option<usize>,
    /// Only intervals that have ended by then; by now unless told. Where a page's first interval starts, the page before it ends.
    pub until: Option<Timestamp>,
}

/// The tables of one flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowMatrix {
    /// The flow.
    pub flow: String,
    /// Its latest intervals that have ended by then, oldest first: the columns.
    pub intervals: Vec<MatrixInterval>,
    /// The tables that it writes.
    pub rows: Vec<TableRow>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MatrixInterval {
    /// The local date or time of its start.
    pub label: String,
    /// The interval.
    pub interval: Interval,
    /// Its run, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
}

/// A row: a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TableRow {
    /// The table.
    pub table: String,
    /// The task that writes it.
    pub task: String,
    /// What it is made from.
    pub inputs: Vec<String>,
    /// How it stands for each interval.
    pub cells: Vec<TableCell>,
}

/// How a table stands for an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TableCell {
    /// Written, after all that it is made from.
    Done,
    /// Written, but something that it is made from was written after it.
    Stale,
    /// Not written: the run failed or was cancelled.
    Failed,
    /// Not written yet: the run waits or is under way.
    Running,
    /// Not written, and there is no run that could, or one that has ended without.
    Missing,
}

/// Tables × intervals, of all flows that have a schedule and write tables.
#[utoipa::path(get, path = "/matrix", tag = "flows", params(MatrixQuery),
    responses((status = 200, body = [FlowMatrix]), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_matrix(
    State(node): State<Node>,
    Query(ask): Query<MatrixQuery>,
) -> Result<Json<Vec<FlowMatrix>>, ApiError> {
    let loaded = node.loaded();
    let wanted = |name: &str| ask.flow.as_deref().is_none_or(|flow| flow == name);
    let flows: Vec<_> = loaded.folder.flows.iter().filter(|source| wanted(&source.flow.name)).collect();
    if let (Some(name), true) = (&ask.flow, flows.is_empty()) {
        return Err(ApiError::not_found("flow", name));
    }
    let count = ask.count.unwrap_or(COUNT_DEFAULT).clamp(1, COUNT_MAX);
    let now = Timestamp::now();
    let until = ask.until.map_or(now, |until| until.min(now));
    let mut matrices = Vec::new();
    for flow in flows.into_iter().map(|source| &source.flow) {
        let Some(schedule) = &flow.schedule else { continue };
        if flow.tasks.iter().any(|task| written_by(&task.kind).is_some()) {
            matrices.push(matrix(&node, flow, schedule, count, until).await?);
        }
    }
    Ok(Json(matrices))
}

async fn matrix(
    node: &Node,
    flow: &Flow,
    schedule: &Schedule,
    count: usize,
    until: Timestamp,
) -> Result<FlowMatrix, ApiError> {
    let intervals = schedule.latest(until, count);
    let params = flow.default_params();
    let keys: Vec<RunKey> = intervals.iter().map(|interval| RunKey::new(flow, Some(*interval), &params)).collect();
    let texts: Vec<String> = keys.iter().map(|key| key.text().to_owned()).collect();
    let runs = node.history.runs_by_key(&flow.name, &texts).await?;
    let runs: HashMap<String, _> = runs.into_iter().map(|run| (run.key, (run.id.0, run.status))).collect();
    let rows: Vec<(String, &Task, BTreeSet<String>)> = flow
        .tasks
        .iter()
        .filter_map(|task| Some((written_by(&task.kind)?.to_owned(), task, inputs(flow, schedule, task))))
        .collect();
    let tables: BTreeSet<String> =
        rows.iter().flat_map(|(table, _, inputs)| inputs.iter().cloned().chain([table.clone()])).collect();
    let span = intervals.first().zip(intervals.last()).map(|(first, last)| (first.start, last.end));
    let writes = match span {
        Some((from, to)) => node.history.table_writes(&Vec::from_iter(tables), from, to).await?,
        None => Vec::new(),
    };
    let row = |(table, task, inputs): (String, &Task, BTreeSet<String>)| {
        let status = |key: &RunKey| runs.get(key.text()).map(|(_, status)| *status);
        let columns = intervals.iter().zip(&keys);
        let cells = columns.map(|(interval, key)| cell(&writes, &table, &inputs, *interval, status(key))).collect();
        TableRow { task: task.name.clone(), inputs: inputs.into_iter().collect(), cells, table }
    };
    let rows = rows.into_iter().map(row).collect();
    let column = |(interval, key): (&DataInterval, &RunKey)| MatrixInterval {
        label: label(&flow.name, key.run_id()),
        interval: (*interval).into(),
        run: runs.get(key.text()).map(|(id, _)| *id),
    };
    Ok(FlowMatrix { flow: flow.name.clone(), intervals: intervals.iter().zip(&keys).map(column).collect(), rows })
}

/// What the table of a task is made from.
fn inputs(flow: &Flow, schedule: &Schedule, task: &Task) -> BTreeSet<String> {
    let mut inputs: BTreeSet<String> = schedule.on.iter().cloned().collect();
    let mut before: BTreeSet<&str> = task.needs.iter().map(String::as_str).collect();
    // Tasks stand in running order, so one pass back finds all that is upstream.
    for other in flow.tasks.iter().rev() {
        if before.contains(other.name.as_str()) {
            before.extend(other.needs.iter().map(String::as_str));
            inputs.extend(written_by(&other.kind).map(str::to_owned));
        }
    }
    if let TaskKind::Transfer { from, .. } = &task.kind {
        inputs.insert(from.clone());
    }
    if let Some(own) = written_by(&task.kind) {
        inputs.remove(own);
    }
    inputs
}

fn cell(
    writes: &[TableWrite],
    table: &str,
    inputs: &BTreeSet<String>,
    interval: DataInterval,
    run: Option<RunStatus>,
) -> TableCell {
    let overlaps = |write: &&TableWrite| write.start < interval.end && write.end > interval.start;
    let own = writes.iter().filter(overlaps).filter(|write| write.table == table).map(|write| write.at).max();
    let Some(own) = own else {
        return match run {
            Some(RunStatus::Failed | RunStatus::Cancelled) => TableCell::Failed,
            Some(RunStatus::Queued | RunStatus::Running | RunStatus::Cancelling) => TableCell::Running,
            Some(RunStatus::Succeeded) | None => TableCell::Missing,
        };
    };
    let later = writes.iter().filter(overlaps).any(|write| inputs.contains(&write.table) && write.at > own);
    if later { TableCell::Stale } else { TableCell::Done }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(show_matrix))
}
