//! Running tasks of ended runs again: the same run and its parameters, its own definition or the latest; new attempt
//! numbers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use mulgil_flow::{DataInterval, Params, RunKey, Variables};
use mulgil_history::read::{RunRow, TaskRow};
use mulgil_history::write::{FlowVersion, VersionChange, Write};
use mulgil_sched::graph::Graph;
use mulgil_sched::id::{BackfillId, RunId, TaskIndex};
use mulgil_sched::rerun::{RerunError, RerunScope, rerun_tasks};
use mulgil_sched::run::{RunState, TaskState};
use mulgil_sched::status::TaskStatus;
use mulgil_sched::step::{Event, step};

use super::batch::Now;
use super::error::SchedulerError;
use super::foretell::Foretold;
use super::request::{RerunPreview, RerunRequest, RerunTask};
use super::runs::{Detail, lane_of, task_name};
use super::state::{OpenRun, Scheduler};
use super::watch::Watch;

/// A run that has ended, read back, and the tasks of it that are to run again.
pub(super) struct Reopening {
    pub(super) run: OpenRun,
    pub(super) tasks: Vec<TaskIndex>,
    /// Where it is to follow a later definition.
    pub(super) moved: Option<Moved>,
    /// The tasks of which somebody has confirmed that they may run once more after the attempts that they have had.
    confirmed: HashSet<TaskIndex>,
}

impl Reopening {
    /// All of a run of which nothing has begun.
    pub(super) fn whole(run: OpenRun) -> Self {
        Self { tasks: run.state.graph.indices().collect(), run, moved: None, confirmed: HashSet::new() }
    }

    /// What runs, for people.
    pub(super) fn for_people(&self) -> Vec<RerunTask> {
        self.tasks.iter().filter_map(|&task| rerun_task(&self.run, task)).collect()
    }

    /// The tasks that have begun before and are not idempotent, with the attempts that they have had.
    pub(super) fn to_confirm(&self) -> impl Iterator<Item = (TaskIndex, u32)> {
        let asked = |task: &TaskIndex| {
            let (node, state) = (self.run.state.graph.task(*task)?, self.run.state.task(*task)?);
            (!node.idempotent && state.attempts > 0).then_some((*task, state.attempts))
        };
        self.tasks.iter().filter_map(asked)
    }

    /// Those of them that nobody has confirmed so far, for people.
    pub(super) fn unconfirmed(&self) -> Vec<String> {
        self.to_confirm().filter(|(task, _)| !self.confirmed.contains(task)).map(|(task, _)| self.named(task)).collect()
    }

    fn named(&self, task: TaskIndex) -> String {
        format!("{} of {}", task_name(&self.run, task), self.run.name)
    }
}

/// The definition that a run follows from now on.
pub(super) struct Moved {
    change: VersionChange,
    definition: FlowVersion,
    dropped: Vec<TaskIndex>,
}

impl Scheduler {
    /// Says which tasks these re-runs would run, and does nothing.
    pub(super) async fn preview_reruns(&mut self, request: &RerunRequest) -> Result<Vec<RerunPreview>, SchedulerError> {
        let again = self.prepare_reruns(request).await?;
        let called = self.foretell(&again).await?;
        Ok(previews_of(&again, &called))
    }

    /// Runs tasks of ended runs again: all of these runs, or none.
    pub(super) async fn rerun(&mut self, request: RerunRequest, now: Now) -> Result<Vec<RerunPreview>, SchedulerError> {
        let again = self.prepare_reruns(&request).await?;
        let called = self.foretell(&again).await?;
        ask(&again, &called, request.confirmed)?;
        let previews = previews_of(&again, &called);
        self.confirm(&called, now);
        for reopening in again {
            if let Some(backfill) = reopening.run.backfill {
                self.reopen_backfill(backfill, &reopening.run, now).await?;
            }
            self.reopen(reopening, now)?;
        }
        Ok(previews)
    }

    /// Reads back what is to run again, each run once.
    async fn prepare_reruns(&mut self, request: &RerunRequest) -> Result<Vec<Reopening>, SchedulerError> {
        let mut again: Vec<Reopening> = Vec::new();
        for run in &request.runs {
            if again.iter().all(|other| other.run.state.id != *run) {
                again.push(self.prepare_rerun(*run, &request.scope, request.latest).await?);
            }
        }
        Ok(again)
    }

    /// Reads an ended run back and finds the tasks that the scope means.
    pub(super) async fn prepare_rerun(
        &mut self,
        id: RunId,
        scope: &RerunScope,
        latest: bool,
    ) -> Result<Reopening, SchedulerError> {
        if let Some(open) = self.runs.get(&id) {
            return Err(RerunError::NotEnded { run: id.0, status: open.state.status }.into());
        }
        let detail = self.history.run(id).await?.ok_or(SchedulerError::UnknownRun(id))?;
        let mut run = self.read_back(&detail.run, &detail.tasks).await?;
        run.watch.reopened(&detail.alerts, self.clock.now());
        let before = run.state.graph.clone();
        let moved = if latest { self.follow_latest(&mut run, &detail.run, &detail.tasks)? } else { None };
        // As it will be when what the definition has no more is out of the way.
        let mut state = run.state.clone();
        for &task in moved.iter().flat_map(|moved| &moved.dropped) {
            step(&mut state, Event::Drop { task }, self.clock.now())?;
        }
        let gone = |graph: &Graph, task| graph.task(task).is_some_and(|node| node.gone);
        let back = before.indices().filter(|task| gone(&before, *task) && !gone(&state.graph, *task));
        let tasks = rerun_tasks(&state, scope, &back.collect::<Vec<_>>())?;
        let confirmed = detail.tasks.iter().filter(|task| task.confirmed == Some(task.attempts));
        let confirmed = confirmed.map(|task| task.index).collect();
        Ok(Reopening { run, tasks, moved, confirmed })
    }

    /// Makes a run that was read back follow the flow as it is now. Its tasks keep their places; new ones come behind.
    fn follow_latest(
        &mut self,
        run: &mut OpenRun,
        row: &RunRow,
        tasks: &[TaskRow],
    ) -> Result<Option<Moved>, SchedulerError> {
        let source = self.flow(&row.flow)?;
        let flow = source.flow;
        let to = flow.version.to_string();
        if to == row.version {
            return Ok(None);
        }
        let had: HashSet<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        let new = flow.tasks.iter().map(|task| task.name.as_str()).filter(|name| !had.contains(name));
        let names: Vec<(&str, Option<TaskIndex>)> = named(tasks).chain(new.map(|name| (name, None))).collect();
        let graph = Graph::of_run(&flow, names.iter().copied());
        let graph = graph.map_err(|error| SchedulerError::BrokenFlow(error.to_string()))?;
        let mut states: Vec<TaskState> = tasks.iter().map(task_state).collect();
        states.resize(names.len(), TaskState::NEW);
        run.state = RunState::restored(row.id, Arc::new(graph), row.status, row.retries, states);
        let is_there = |task: &TaskRow| match task.item_of.and_then(|of| tasks.get(of as usize)) {
            Some(of) => flow.task(&of.name).is_some_and(|task| task.for_each.is_some()),
            None => flow.task(&task.name).is_some(),
        };
        let gone = |task: &&TaskRow| !is_there(task) && task.status != TaskStatus::Skipped;
        let dropped = tasks.iter().filter(gone).map(|task| task.index).collect();
        let mut params = flow.default_params();
        params.extend(run.variables.params.clone());
        run.variables = Arc::new(Variables { params, ..(*run.variables).clone() });
        let at = self.clock.now();
        let numbered = names.iter().enumerate().skip(tasks.len());
        let new = numbered.map(|(place, (name, _))| (place as TaskIndex, (*name).to_owned())).collect();
        let change = VersionChange { run: row.id, from: row.version.clone(), to: to.clone(), tasks: new, at };
        let definition = FlowVersion { hash: to, flow: row.flow.clone(), definition: source.text, at };
        run.flow = flow;
        Ok(Some(Moved { change, definition, dropped }))
    }

    /// Puts an ended run back among the open ones.
    pub(super) fn reopen(&mut self, reopening: Reopening, now: Now) -> Result<(), SchedulerError> {
        let Reopening { run, tasks, moved, .. } = reopening;
        let id = run.state.id;
        // The last one is taken first.
        let mut steps = vec![(Event::Rerun { tasks }, Detail::default())];
        if let Some(Moved { change, definition, dropped }) = moved {
            self.batch.record(Write::FlowVersion(definition), None);
            self.batch.record(Write::RunVersion(change), None);
            for task in dropped {
                let note = Some((task, "the flow has no such task any more".to_owned()));
                steps.push((Event::Drop { task }, Detail { note, ..Detail::default() }));
            }
        }
        self.runs.insert(id, run);
        if let Err(error) = self.apply_all(id, steps, now) {
            self.runs.remove(&id);
            return Err(error.into());
        }
        self.queue(id, now);
        self.watch(id, now);
        Ok(())
    }

    /// A stored run as the loop holds it.
    pub(super) async fn read_back(&mut self, row: &RunRow, tasks: &[TaskRow]) -> Result<OpenRun, SchedulerError> {
        let broken = |reason: String| SchedulerError::Definition { run: row.id, reason };
        let version = self.version(&row.flow, &row.version).await?.map_err(broken)?;
        let graph = if version.flow.tasks.iter().map(|task| (task.name.as_str(), None)).eq(named(tasks)) {
            version.graph
        } else {
            Arc::new(Graph::of_run(&version.flow, named(tasks)).map_err(|error| broken(error.to_string()))?)
        };
        let params: Params = match &row.params {
            serde_json::Value::Object(params) => params.clone().into_iter().collect(),
            _ => Params::new(),
        };
        let interval = row.interval_start.zip(row.interval_end).map(|(start, end)| DataInterval { start, end });
        let key = RunKey::new(&version.flow, interval, &params);
        let variables = Variables::new(&version.flow, &key, &params, &self.options.project);
        let states = tasks.iter().map(task_state).collect();
        let mut state = RunState::restored(row.id, graph, row.status, row.retries, states);
        state.timed_out = row.timed_out;
        let watch = Watch::new(&version.flow, interval, row.trigger, row.created_at);
        let mut run = OpenRun {
            state,
            watch: Watch { started: row.started_at, ..watch },
            variables: Arc::new(Variables { run_id: row.name.clone(), ..variables }),
            flow: version.flow,
            name: row.name.clone(),
            interval,
            trigger: row.trigger,
            backfill: row.backfill,
            lane: lane_of(row.backfill.is_some()),
            begun: row.started_at,
            newest_first: false,
            results: tasks.iter().filter_map(|task| Some((task.index, Arc::new(task.result.clone()?)))).collect(),
            items: tasks.iter().filter_map(|task| Some((task.index, Arc::new(task.item.clone()?)))).collect(),
            gathered: HashMap::new(),
        };
        tasks.iter().for_each(|task| run.count_gathered(task.index, None));
        Ok(run)
    }

    /// Makes an ended run part of a backfill.
    pub(super) fn adopt(&mut self, run: &mut OpenRun, backfill: BackfillId, retries: bool, now: Now) {
        run.backfill = Some(backfill);
        run.lane = lane_of(true);
        run.state.retries = retries;
        self.batch.record(Write::RunBackfill { run: run.state.id, backfill, retries, at: now }, None);
    }
}

/// The tasks of a stored run, by name and whose item they do.
fn named(tasks: &[TaskRow]) -> impl Iterator<Item = (&str, Option<TaskIndex>)> + Clone {
    tasks.iter().map(|task| (task.name.as_str(), task.item_of))
}

fn task_state(row: &TaskRow) -> TaskState {
    TaskState {
        status: row.status,
        attempts: row.attempts,
        retries_used: row.retries_used,
        losses: row.losses,
        since: row.since,
        not_before: row.not_before,
        // The caller adds live attempts, where there are any.
        live: None,
    }
}

/// A task that is to run again, for people.
pub(super) fn rerun_task(run: &OpenRun, task: TaskIndex) -> Option<RerunTask> {
    let state = run.state.task(task)?;
    let node = run.state.graph.task(task)?;
    Some(RerunTask {
        task: node.name.to_string(),
        status: state.status,
        idempotent: node.idempotent,
        attempts: state.attempts,
    })
}

fn previews_of(again: &[Reopening], called: &[Vec<Foretold>]) -> Vec<RerunPreview> {
    let preview = |(again, called): (&Reopening, &Vec<Foretold>)| RerunPreview {
        run: again.run.state.id,
        name: again.run.name.clone(),
        tasks: again.for_people(),
        called: called.iter().map(Foretold::for_people).collect(),
        needs_confirmation: all_of(again, called).any(|again| again.to_confirm().next().is_some()),
    };
    again.iter().zip(called).map(preview).collect()
}

/// A run that runs again, and all that it calls.
fn all_of<'a>(again: &'a Reopening, called: &'a [Foretold]) -> impl Iterator<Item = &'a Reopening> {
    std::iter::once(again).chain(called.iter().map(|foretold| &foretold.again))
}

/// Refuses what has to be confirmed first, and is not.
pub(super) fn ask(again: &[Reopening], called: &[Vec<Foretold>], confirmed: bool) -> Result<(), SchedulerError> {
    let all = again.iter().zip(called).flat_map(|(again, called)| all_of(again, called));
    let asks: Vec<String> = all.flat_map(|again| again.to_confirm().map(|(task, _)| again.named(task))).collect();
    match asks.is_empty() || confirmed {
        true => Ok(()),
        false => Err(SchedulerError::NeedsConfirmation { tasks: asks.join(", ") }),
    }
}
