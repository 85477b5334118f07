//! What a re-run runs beyond the runs that it names: the runs that their tasks call, and those that these call in turn.
//!
//! A call is foretold as it will be made, by the same steps, from what is known now. So a parameter that comes from a result which is made anew
//! may lead elsewhere in the end, and items that are made anew are those of the last time. What was foretold and confirmed is noted with the
//! tasks themselves, in the transaction of the re-run: only that may run a second time, however late the call comes and whoever dies meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet};

use mulgil_flow::{CallTask, RunKey};
use mulgil_history::call::Confirmation;
use mulgil_history::read::RunRow;
use mulgil_history::write::Write;
use mulgil_sched::graph::TaskNode;
use mulgil_sched::id::{RunId, TaskIndex};

use super::batch::Now;
use super::calls::{Wanted, again_by};
use super::error::SchedulerError;
use super::request::CalledRun;
use super::rerun::Reopening;
use super::state::Scheduler;

/// A run that does not exist yet has no number: none has this one.
const NEW: RunId = RunId(0);

/// A run that a task of a re-run will call.
pub(super) struct Foretold {
    /// The run of the task that calls, by its name, and the task.
    by: (String, String),
    /// How many runs call each other down to it.
    depth: usize,
    pub(super) again: Reopening,
}

/// What has been found so far: a run that several tasks call is told of once.
#[derive(Default)]
struct Seen {
    /// The runs that are named.
    named: HashSet<RunId>,
    /// What is called, by flow and key.
    called: HashSet<(String, String)>,
}

impl Foretold {
    /// It, for people.
    pub(super) fn for_people(&self) -> CalledRun {
        let run = &self.again.run;
        CalledRun {
            run: Some(run.state.id).filter(|run| *run != NEW),
            name: run.name.clone(),
            parent: self.by.0.clone(),
            task: self.by.1.clone(),
            tasks: self.again.for_people(),
        }
    }
}

impl Scheduler {
    /// The runs that each of these will call, directly or not. There is no bound but that of the tasks themselves: each is read back, as it is
    /// when it is called.
    pub(super) async fn foretell(&mut self, again: &[Reopening]) -> Result<Vec<Vec<Foretold>>, SchedulerError> {
        let named = again.iter().map(|again| again.run.state.id).collect();
        let mut seen = Seen { named, ..Seen::default() };
        let mut all = Vec::with_capacity(again.len());
        for again in again {
            let mut found = self.calls_of(again, 1, &mut seen).await?;
            let mut looked_at = 0;
            while let Some(caller) = found.get(looked_at) {
                let deeper = match caller.depth {
                    // A call of one more is refused.
                    CallTask::DEPTH_MAX.. => Vec::new(),
                    depth => self.calls_of(&caller.again, depth + 1, &mut seen).await?,
                };
                found.extend(deeper);
                looked_at += 1;
            }
            all.push(found);
        }
        Ok(all)
    }

    /// What the tasks of one run call.
    async fn calls_of(
        &mut self,
        caller: &Reopening,
        depth: usize,
        seen: &mut Seen,
    ) -> Result<Vec<Foretold>, SchedulerError> {
        let graph = &caller.run.state.graph;
        let calls = caller.tasks.iter().filter(|task| graph.task(**task).is_some_and(TaskNode::is_call));
        // What cannot be told now is said when the turn of the call has come.
        let wanted = calls.filter_map(|task| Some((*task, self.wanted(&caller.run, *task).ok()?)));
        let wanted: Vec<(TaskIndex, Wanted)> =
            wanted.filter(|(_, wanted)| seen.called.insert(place_of(&wanted.key))).collect();
        let mut rows = self.rows_of(&wanted).await?;
        let mut found = Vec::new();
        for (task, wanted) in wanted {
            let row = rows.remove(&place_of(&wanted.key));
            if row.as_ref().is_some_and(|row| seen.named.contains(&row.id)) {
                continue;
            }
            let retries = caller.run.state.retries;
            if let Some(again) = self.called_again(wanted, row, retries).await? {
                let name = graph.task(task).map_or(String::new(), |node| node.name.to_string());
                found.push(Foretold { by: (caller.run.name.clone(), name), depth, again });
            }
        }
        Ok(found)
    }

    /// The runs that are there already, a query for each flow.
    async fn rows_of(
        &mut self,
        wanted: &[(TaskIndex, Wanted)],
    ) -> Result<HashMap<(String, String), RunRow>, SchedulerError> {
        let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (_, wanted) in wanted {
            keys.entry(&wanted.key.flow).or_default().push(wanted.key.text().to_owned());
        }
        let mut rows = HashMap::new();
        for (flow, keys) in keys {
            let found = self.history.runs_by_key(flow, &keys).await?;
            rows.extend(found.into_iter().map(|row| ((row.flow.clone(), row.key.clone()), row)));
        }
        Ok(rows)
    }

    /// What a call makes run; nothing of a run that is under way, or stays as it is, or cannot run again.
    async fn called_again(
        &mut self,
        wanted: Wanted,
        row: Option<RunRow>,
        retries: bool,
    ) -> Result<Option<Reopening>, SchedulerError> {
        let again = match row {
            None => {
                let (flow, key) = (wanted.source.flow.clone(), wanted.key.clone());
                let now = self.clock.now();
                self.open_run(NEW, &flow, &key, &wanted.order(retries), now).map(Reopening::whole)
            }
            Some(row) if self.runs.contains_key(&row.id) => return Ok(None),
            Some(row) => match again_by(wanted.rerun_on, row.status) {
                Some(scope) => self.prepare_rerun(row.id, &scope, false).await,
                None => return Ok(None),
            },
        };
        match again {
            Err(error @ SchedulerError::History(_)) => Err(error),
            again => Ok(again.ok()),
        }
    }

    /// Notes that what was foretold may run once more, where it has to be confirmed.
    pub(super) fn confirm(&mut self, called: &[Vec<Foretold>], now: Now) {
        for again in called.iter().flatten().map(|foretold| &foretold.again) {
            for (task, attempts) in again.to_confirm() {
                let confirmation = Confirmation { run: again.run.state.id, task, attempts, at: now };
                self.batch.record(Write::Confirmed(confirmation), None);
            }
        }
    }
}

fn place_of(key: &RunKey) -> (String, String) {
    (key.flow.clone(), key.text().to_owned())
}
