//! `mulgil.flows`: the project's flows, whole or broken, with their runs counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use mulgil_flow::Flow;
use mulgil_history::read::{FlowSummary, RunRow};
use mulgil_sql::system::SystemRows;
use mulgil_sql::wanted::Wanted;

use super::at_once;
use crate::cells::{Cell, Column, between, columns};
use crate::flows::{schedule_text, zone_name};
use crate::node::Node;
use crate::project::ProblemKind;
use crate::reload::Loaded;

/// A flow as its file says it, and as the history knows it.
#[derive(Default)]
pub(super) struct NamedFlow {
    name: String,
    flow: Option<Arc<Flow>>,
    problem: Option<String>,
    known: Option<FlowSummary>,
}

impl NamedFlow {
    fn count(&self, count: fn(&FlowSummary) -> u64) -> Cell {
        self.known.as_ref().map_or(0, count).into()
    }

    fn is_paused(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.paused)
    }

    fn next_fire(&self) -> Option<Timestamp> {
        let schedule = self.flow.as_ref()?.schedule.as_ref()?;
        let fires = !self.is_paused() && schedule.on.is_empty();
        fires.then(|| schedule.next_after(Timestamp::now()))?.map(|fire| fire.at)
    }

    fn last<T>(&self, part: fn(&RunRow) -> T) -> Option<T> {
        self.known.as_ref()?.last_run.as_ref().map(part)
    }
}

pub(super) const COLUMNS: &[Column<NamedFlow>] = columns! {
    "flow" Text |of| (&of.name).into();
    "file" Text |of| of.flow.as_ref().map(|flow| &flow.file).into();
    "schedule" Text |of| of.flow.as_ref().and_then(|flow| flow.schedule.as_ref()).map(schedule_text).into();
    "timezone" Text |of| of.flow.as_ref().map(|flow| zone_name(&flow.timezone)).into();
    "paused" Truth |of| of.is_paused().into();
    "next_fire" Moment |of| of.next_fire().into();
    "tasks" Number |of| of.flow.as_ref().map(|flow| flow.tasks.len() as u64).into();
    "problem" Text |of| of.problem.as_ref().into();
    "queued" Number |of| of.count(|known| known.runs.queued);
    "running" Number |of| of.count(|known| known.runs.running);
    "succeeded" Number |of| of.count(|known| known.runs.succeeded);
    "failed" Number |of| of.count(|known| known.runs.failed);
    "cancelled" Number |of| of.count(|known| known.runs.cancelled);
    "last_run" Number |of| of.last(|run| run.id.0).into();
    "last_status" Text |of| of.last(|run| run.status.word()).into();
    "last_ended_at" Moment |of| of.last(|run| run.ended_at).flatten().into();
    "last_duration_ms" Number |of| of.last(|run| between(run.started_at, run.ended_at)).unwrap_or(Cell::Nothing);
};

pub(super) fn rows(node: Node, _: &Wanted) -> SystemRows {
    at_once(COLUMNS, async move { Ok(named(&node.loaded(), node.history.flows().await?)) })
}

/// Flows that are no longer in the project are still in the history.
fn named(loaded: &Loaded, known: Vec<FlowSummary>) -> Vec<NamedFlow> {
    let mut flows: BTreeMap<String, NamedFlow> = BTreeMap::new();
    for source in &loaded.folder.flows {
        flows.entry(source.flow.name.clone()).or_default().flow = Some(source.flow.clone());
    }
    for broken in loaded.folder.broken_flows() {
        flows.entry(broken.name.clone()).or_default();
    }
    for summary in known {
        let flow = flows.entry(summary.flow.clone()).or_default();
        flow.known = Some(summary);
    }
    for problem in loaded.problems.iter().filter(|problem| problem.kind == ProblemKind::Flow) {
        if let Some(flow) = problem.name.as_ref().and_then(|name| flows.get_mut(name)) {
            flow.problem.get_or_insert_with(|| problem.message.clone());
        }
    }
    flows.into_iter().map(|(name, flow)| NamedFlow { name, ..flow }).collect()
}
