//! The items of a task: kept with the run, each done by a task of its own; and their results, gathered for the tasks after it.

use std::sync::Arc;

use jiff::SignedDuration;
use mulgil_flow::{Grouping, Task};
use mulgil_history::read::RunQuery;
use mulgil_history::write::{NewItems, Write};
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, TaskStatus};
use mulgil_worker::dispatcher::Outcome;
use serde_json::Value;

use super::batch::Now;
use super::error::SchedulerError;
use super::runs::{Detail, task_name};
use super::state::{OpenRun, Scheduler};

/// What the results of a task's items may have together: they are one result for the tasks after it.
const GATHERED_BYTES_MAX: usize = 1024 * 1024;

impl Scheduler {
    /// A task goes over these items from now on.
    pub(super) fn keep_items(&mut self, id: RunId, of: TaskIndex, count: usize, detail: &Detail, now: Now) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let tasks: Vec<TaskIndex> = run.state.graph.items(of).iter().take(count).copied().collect();
        let items: Vec<_> = tasks.into_iter().zip(&detail.items).collect();
        if items.is_empty() {
            return;
        }
        run.items.extend(items.iter().map(|(task, item)| (*task, Arc::new((*item).clone()))));
        let named = items.into_iter().map(|(task, item)| (task, task_name(run, task), item.clone()));
        let new = NewItems { run: id, of, items: named.collect(), at: now };
        self.batch.record(Write::Items(new), None);
    }

    /// A success of an item whose result no longer fits beside the others is a failure.
    pub(super) fn within_limits(&self, attempt: AttemptId, outcome: Outcome) -> Outcome {
        let Outcome::Succeeded(Some(result)) = &outcome else { return outcome };
        let Some(run) = self.runs.get(&attempt.run) else { return outcome };
        let Some(of) = run.state.graph.task(attempt.task).and_then(|node| node.item_of) else { return outcome };
        let bytes = run.gathered.get(&of).copied().unwrap_or(0) + bytes_of(result);
        if bytes <= GATHERED_BYTES_MAX {
            return outcome;
        }
        Outcome::failed(format!(
            "the results of the items of {} have more than {GATHERED_BYTES_MAX} bytes together: write large data to a table, and \
             give its name or a count as the result",
            task_name(run, of)
        ))
    }
}

impl OpenRun {
    /// The result of an item has changed: how much there is of its task's items is counted.
    pub(super) fn count_gathered(&mut self, task: TaskIndex, before: Option<&Value>) {
        let Some(of) = self.state.graph.task(task).and_then(|node| node.item_of) else { return };
        let now = self.results.get(&task).map_or(0, |result| bytes_of(result));
        let bytes = self.gathered.entry(of).or_default();
        *bytes = (*bytes + now).saturating_sub(before.map_or(0, bytes_of));
    }
}

fn bytes_of(result: &Value) -> usize {
    result.to_string().len() + 1
}

/// What a task gives with its success: what its attempt gave, or the list of what its items gave.
pub(super) fn result_of(run: &OpenRun, task: TaskIndex, to: TaskStatus, detail: &Detail) -> Option<Value> {
    if to != TaskStatus::Succeeded {
        return None;
    }
    if run.state.graph.task(task)?.fan_out.is_none() {
        return detail.result.clone();
    }
    // What was skipped is an item no more.
    let is_item = |item: &&TaskIndex| run.state.task(**item).is_some_and(|state| state.status == TaskStatus::Succeeded);
    let items: Vec<TaskIndex> = run.state.graph.items(task).iter().filter(is_item).copied().collect();
    let grouped = run.task(task).and_then(|task| task.for_each.as_ref()).is_some_and(|each| each.group.is_some());
    let results = items.iter().flat_map(|item| match (run.results.get(item).map(|result| &**result), grouped) {
        (Some(Value::Array(of_items)), true) => of_items.clone(),
        (_, true) => vec![Value::Null; run.items.get(item).and_then(|items| items.as_array()).map_or(1, Vec::len)],
        (result, false) => vec![result.cloned().unwrap_or_default()],
    });
    let gave = items.is_empty() || items.iter().any(|item| run.results.contains_key(item));
    gave.then(|| Value::Array(results.collect()))
}

/// How much of the newest pace counts, against those before it.
const NEWEST: f64 = 0.2;

impl Scheduler {
    /// How long an item of a task took lately.
    pub(super) fn pace(&self, flow: &str, task: &str) -> Option<SignedDuration> {
        let seconds = self.paces.get(&(flow.to_owned(), task.to_owned()))?;
        SignedDuration::try_from_secs_f64(*seconds).ok()
    }

    /// A group of items has been done from then to now.
    pub(super) fn count_pace(&mut self, attempt: AttemptId, now: Now) {
        let Some(begun) = self.leases.get(&attempt).and_then(|lease| lease.begun) else { return };
        let Some(run) = self.runs.get(&attempt.run) else { return };
        let Some(items) = run.items.get(&attempt.task) else { return };
        let Some(task) = run.task(attempt.task) else { return };
        if task.for_each.as_ref().is_some_and(|each| each.group.is_some()) {
            let seconds = begun.duration_until(now).as_secs_f64().max(0.0) / number_of(items);
            self.learn_pace((run.flow.name.clone(), task.name.clone()), seconds);
        }
    }

    fn learn_pace(&mut self, of: (String, String), seconds: f64) {
        self.paces.entry(of).and_modify(|pace| *pace += NEWEST * (seconds - *pace)).or_insert(seconds);
    }

    /// Learns from the last runs how long items take: what this process has not seen itself.
    pub(super) async fn recall_paces(&mut self) -> Result<(), SchedulerError> {
        let is_auto = |task: &Task| task.for_each.as_ref().is_some_and(|each| each.group == Some(Grouping::Auto));
        let flows = self.flows.values().map(|source| source.flow.clone());
        for flow in flows.filter(|flow| flow.tasks.iter().any(is_auto)).collect::<Vec<_>>() {
            let known = |task: &&Task| self.paces.contains_key(&(flow.name.clone(), task.name.clone()));
            if flow.tasks.iter().filter(|task| is_auto(task)).all(|task| known(&task)) {
                continue;
            }
            let query = RunQuery { flow: Some(flow.name.clone()), limit: RUNS_RECALLED, ..RunQuery::default() };
            for row in self.history.runs(&query).await?.into_iter().rev() {
                let Some(run) = self.history.run(row.id).await? else { continue };
                for attempt in run.attempts.iter().filter(|attempt| attempt.status == AttemptStatus::Succeeded) {
                    let item = run.tasks.get(attempt.task_index as usize);
                    let of = item.and_then(|item| run.tasks.get(item.item_of? as usize));
                    let (Some(begun), Some(ended)) = (attempt.started_at, attempt.ended_at) else { continue };
                    if let (Some(item), Some(of)) = (item.and_then(|item| item.item.as_ref()), of) {
                        let seconds = begun.duration_until(ended).as_secs_f64().max(0.0) / number_of(item);
                        self.learn_pace((flow.name.clone(), of.name.clone()), seconds);
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many runs are looked at for how long items take.
const RUNS_RECALLED: u32 = 3;

fn number_of(items: &Value) -> f64 {
    items.as_array().map_or(1, |items| items.len().max(1)) as f64
}

/// How many items of a task have failed, for people.
pub(super) fn failed_items(run: &OpenRun, task: TaskIndex) -> Option<String> {
    let fan = run.state.fan(task)?;
    let (failed, skipped) = (fan.tally().failed, fan.tally().skipped as usize);
    (failed > 0).then(|| format!("{failed} of {} items failed", fan.len() - skipped))
}
