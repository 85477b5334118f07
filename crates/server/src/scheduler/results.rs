//! What tasks give to those after them: kept with the run, read by conditions and templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use mulgil_flow::{ResultsRead, SqlText, Task, TaskKind, Variables, Write, WriteTarget, holds, results_read};
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::status::TaskStatus;
use mulgil_sched::step::{Decision, Event};

use super::runs::Detail;
use super::state::{OpenRun, Scheduler};

impl Scheduler {
    /// A task has changed: with its success its result is known, and forgotten when it waits to run again.
    pub(super) fn keep_result(&mut self, id: RunId, task: TaskIndex, to: TaskStatus, detail: &Detail) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        match (to, &detail.result) {
            (TaskStatus::Succeeded, Some(result)) => {
                run.results.insert(task, Arc::new(result.clone()));
            }
            _ => {
                run.results.remove(&task);
            }
        }
    }

    /// Whether the condition of a task holds, as the event that answers.
    pub(super) fn decide(&self, id: RunId, task: TaskIndex) -> (Event, Detail) {
        let run = self.runs.get(&id);
        let when = run.and_then(|run| Some((run, run.task(task)?.when.as_ref()?)));
        let held = when.map_or(Ok(true), |(run, when)| holds(when, &with_results(run, task, results_read(when))));
        let (decision, note) = match held {
            Ok(true) => (Decision::Run, None),
            Ok(false) => (Decision::Skip, Some("its condition `when:` is false".to_owned())),
            Err(error) => (Decision::Fail, Some(format!("in `when:`, {error}"))),
        };
        let note = note.map(|note| (task, note));
        (Event::Decided { task, decision }, Detail { note, ..Detail::default() })
    }
}

/// The values for the templates of a task: the run's, and the results that it reads.
pub(super) fn variables_of(run: &OpenRun, task: TaskIndex) -> Arc<Variables> {
    let read = run.task(task).map_or(ResultsRead::All, reads);
    with_results(run, task, read)
}

fn with_results(run: &OpenRun, task: TaskIndex, read: ResultsRead) -> Arc<Variables> {
    if run.results.is_empty() || read == ResultsRead::Of(Default::default()) {
        return run.variables.clone();
    }
    let graph = &run.state.graph;
    let upstream = graph.upstream(task);
    let wanted = |name: &str| match &read {
        ResultsRead::All => true,
        ResultsRead::Of(names) => names.contains(name),
    };
    let named =
        upstream.into_iter().filter_map(|index| Some((graph.task(index)?.name.clone(), run.results.get(&index)?)));
    let results: BTreeMap<_, _> =
        named.filter(|(name, _)| wanted(name)).map(|(name, result)| (name.to_string(), (**result).clone())).collect();
    Arc::new(Variables { results, ..(*run.variables).clone() })
}

/// Which results a task's own templates read.
fn reads(task: &Task) -> ResultsRead {
    let target = |target: &WriteTarget| match &target.write {
        Write::ReplacePartition { partition } => partition.values().cloned().collect(),
        Write::ReplaceTable | Write::Append => Vec::new(),
    };
    let mut texts: Vec<String> = task.env.values().cloned().collect();
    match &task.kind {
        TaskKind::Shell { command } => texts.push(command.clone()),
        // The file is read by the worker; arguments may be anything.
        TaskKind::Sql { sql: SqlText::File(_), .. } | TaskKind::Python(_) => return ResultsRead::All,
        TaskKind::Sql { sql: SqlText::Inline(text), target: to, .. } => {
            texts.push(text.clone());
            texts.extend(to.iter().flat_map(target));
        }
        TaskKind::Transfer { target: to, .. } => texts.extend(target(to)),
    }
    texts.iter().map(|text| results_read(text)).fold(ResultsRead::Of(Default::default()), ResultsRead::and)
}
