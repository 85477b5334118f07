//! The items of a task: kept with the run, each done by a task of its own; and their results, gathered for the tasks after it.

use std::sync::Arc;

use mulgil_history::write::{NewItems, Write};
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};
use mulgil_sched::status::TaskStatus;
use mulgil_worker::dispatcher::Outcome;
use serde_json::Value;

use super::batch::Now;
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
        Outcome::Failed(format!(
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
    let results = items.iter().map(|item| run.results.get(item).map_or(Value::Null, |result| (**result).clone()));
    let gave = items.is_empty() || items.iter().any(|item| run.results.contains_key(item));
    gave.then(|| Value::Array(results.collect()))
}

/// How many items of a task have failed, for people.
pub(super) fn failed_items(run: &OpenRun, task: TaskIndex) -> Option<String> {
    let fan = run.state.fan(task)?;
    let (failed, skipped) = (fan.tally().failed, fan.tally().skipped as usize);
    (failed > 0).then(|| format!("{failed} of {} items failed", fan.len() - skipped))
}
