//! What tasks give to those after them: kept with the run, read by conditions and templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use mulgil_flow::{
    ForEach, ResultsRead, SqlText, Task, TaskKind, Variables, Write, WriteTarget, holds, packed, results_read,
};
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::status::TaskStatus;
use mulgil_sched::step::{Decision, Event};

use super::runs::Detail;
use super::state::{OpenRun, Scheduler};

impl Scheduler {
    /// A task has changed: with its success its result is known, and forgotten when it waits to run again.
    pub(super) fn keep_result(&mut self, id: RunId, task: TaskIndex, result: Option<serde_json::Value>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let before = match result {
            Some(result) => run.results.insert(task, Arc::new(result)),
            None => run.results.remove(&task),
        };
        run.count_gathered(task, before.as_deref());
    }

    /// Whether the condition of a task holds, and for which items it runs, as the event that answers.
    pub(super) fn decide(&self, id: RunId, task: TaskIndex, before: &Detail) -> (Event, Detail) {
        let run = self.runs.get(&id).and_then(|run| Some((run, run.task(task)?)));
        // An attempt of its own has found its items.
        let found =
            run.is_some_and(|(run, _)| run.state.task(task).is_some_and(|state| state.status == TaskStatus::Running));
        let held = run.filter(|_| !found).and_then(|(run, defined)| Some((run, defined.when.as_ref()?)));
        let held = held.map_or(Ok(true), |(run, when)| holds(when, &with_results(run, task, results_read(when))));
        let items = run.and_then(|(run, defined)| {
            let each = defined.for_each.as_ref()?;
            let items = match (each.query(), found) {
                (Some(_), false) => return None,
                (Some(_), true) => each.of_rows(before.result.as_ref()),
                (None, _) => each.items(&with_results(run, task, read_by(&each.texts()))),
            };
            Some(items.map(|items| match each.group {
                Some(group) => {
                    let size = group.size(items.len(), self.pace(&run.flow.name, &defined.name));
                    packed(items, size)
                }
                None => items,
            }))
        });
        let mut found = Vec::new();
        let (decision, note) = match (held, items) {
            (Ok(true), None) => (Decision::Run, None),
            (Ok(true), Some(Ok(items))) => {
                found = items;
                (Decision::FanOut { items: found.len() }, None)
            }
            (Ok(true), Some(Err(why))) => (Decision::Fail, Some(why)),
            (Ok(false), _) => (Decision::Skip, Some("its condition `when:` is false".to_owned())),
            (Err(error), _) => (Decision::Fail, Some(format!("in `when:`, {error}"))),
        };
        let note = note.map(|note| (task, note));
        (Event::Decided { task, decision }, Detail { note, items: found, ..Detail::default() })
    }
}

/// The values for the templates of a task: the run's, and the results that it reads.
pub(super) fn variables_of(run: &OpenRun, task: TaskIndex) -> Arc<Variables> {
    let read = run.task(task).map_or(ResultsRead::All, reads);
    let variables = with_results(run, run.origin(task), read);
    match run.items.get(&task) {
        Some(item) => Arc::new(Variables { item: Some((**item).clone()), ..(*variables).clone() }),
        None => variables,
    }
}

fn with_results(run: &OpenRun, task: TaskIndex, read: ResultsRead) -> Arc<Variables> {
    if run.results.is_empty() || read == ResultsRead::Of(Default::default()) {
        return run.variables.clone();
    }
    let graph = &run.state.graph;
    let given = |index: TaskIndex| Some((graph.task(index)?.name.to_string(), (**run.results.get(&index)?).clone()));
    let results: BTreeMap<_, _> = match read {
        // That they are upstream was checked with the flow; a long chain is not gone through for each of its tasks.
        ResultsRead::Of(names) => names.iter().filter_map(|name| given(graph.index_of(name)?)).collect(),
        ResultsRead::All => graph.upstream(task).into_iter().filter_map(given).collect(),
    };
    Arc::new(Variables { results, ..(*run.variables).clone() })
}

/// Which results a task's own templates read.
fn reads(task: &Task) -> ResultsRead {
    let target = |target: &WriteTarget| match &target.write {
        Write::ReplacePartition { partition } => partition.values().cloned().collect(),
        Write::ReplaceTable | Write::Merge { .. } | Write::Append => Vec::new(),
    };
    let mut texts: Vec<String> = task.env.values().cloned().collect();
    match task.for_each.as_ref().and_then(ForEach::query) {
        Some(SqlText::File(_)) => return ResultsRead::All,
        Some(SqlText::Inline(query)) => texts.push(query.clone()),
        None => {}
    }
    match &task.kind {
        TaskKind::Shell { command } => texts.push(command.clone()),
        TaskKind::Python(python) => texts.extend(python.args.texts()),
        // The file is read by the worker.
        TaskKind::Sql { sql: SqlText::File(_), .. } => return ResultsRead::All,
        TaskKind::Sql { sql: SqlText::Inline(text), target: to, .. } => {
            texts.push(text.clone());
            texts.extend(to.iter().flat_map(target));
        }
        TaskKind::Http(http) => texts.extend(http.texts().into_iter().map(str::to_owned)),
        TaskKind::Flow(call) => texts.extend(call.texts()),
        TaskKind::View(_) => {}
        TaskKind::Wait(wait) => texts.extend(wait.texts().into_iter().map(str::to_owned)),
        TaskKind::Transfer { target: to, .. } => texts.extend(target(to)),
    }
    read_by(&texts)
}

fn read_by(texts: &[String]) -> ResultsRead {
    texts.iter().map(|text| results_read(text)).fold(ResultsRead::Of(Default::default()), ResultsRead::and)
}
