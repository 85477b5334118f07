//! Why something does not run: `sched`'s reasons, with the names that people know.

use mulgil_sched::demand::Demand;
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::status::{RunStatus, TaskStatus};
use mulgil_sched::why::{Names, Reason, Workforce, of_run, of_task};

use super::batch::Now;
use super::error::SchedulerError;
use super::state::{OpenRun, Scheduler, Seat};

/// Tasks that one answer tells of; those of a wide run are asked for by name.
const TASKS_MAX: usize = 1000;

/// Why a run, and each task of it that waits, does not run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunWaits {
    /// The run's name for people.
    pub name: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Why it does not begin, if it waits.
    pub why: Option<Why>,
    /// The tasks that wait, in the graph's order.
    pub tasks: Vec<TaskWaits>,
    /// How many more wait than are told of.
    pub left_out: usize,
}

/// Why a task does not run.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskWaits {
    /// Its name.
    pub task: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// Why.
    pub why: Why,
}

/// A reason: one word for programs, one sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The word.
    pub kind: &'static str,
    /// The sentence, without the full stop.
    pub sentence: String,
}

impl Why {
    fn of(reason: &Reason, names: &dyn Names) -> Self {
        Self { kind: reason.word(), sentence: reason.sentence(names) }
    }

    fn new(kind: &'static str, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into() }
    }
}

impl Names for Scheduler {
    fn run(&self, run: RunId) -> String {
        self.runs.get(&run).map_or_else(|| format!("run {run}"), |open| open.name.clone())
    }

    fn task(&self, run: RunId, task: TaskIndex) -> String {
        let name = self.runs.get(&run).and_then(|open| open.state.graph.task(task)).map(|node| node.name.to_string());
        format!("{} of {}", name.unwrap_or_else(|| format!("task {task}")), Names::run(self, run))
    }
}

impl Scheduler {
    /// Why a run or a task of it waits, after everything that can go has gone.
    pub(super) async fn why_run(&mut self, id: RunId, task: Option<String>) -> Result<RunWaits, SchedulerError> {
        self.settle().await?;
        let Some(open) = self.runs.get(&id) else { return self.why_closed(id).await };
        let chosen = match task {
            None => None,
            Some(name) => Some(open.state.graph.index_of(&name).ok_or_else(|| unknown_task(open, &name))?),
        };
        let is_asked = |index: &TaskIndex| chosen.is_none_or(|chosen| chosen == *index);
        let mut tasks: Vec<TaskWaits> = Vec::new();
        let mut left_out = 0;
        for index in open.state.graph.indices().filter(is_asked) {
            let workforce = self.workforce(open.state.graph.task(index).map(|node| &*node.demand));
            let reason = of_task(&open.state, index, &self.admission, workforce);
            let why = reason.map(|reason| Why::of(&reason, self)).or_else(|| self.why_calls(id, index));
            let Some(why) = why else { continue };
            if tasks.len() == TASKS_MAX {
                left_out += 1;
                continue;
            }
            let status = open.state.task(index).map_or(TaskStatus::Waiting, |state| state.status);
            let task = open.state.graph.task(index).map_or_else(String::new, |node| node.name.to_string());
            tasks.push(TaskWaits { task, status, why });
        }
        let why = of_run(&open.state, &self.admission, self.workforce(None)).map(|reason| Why::of(&reason, self));
        Ok(RunWaits { name: open.name.clone(), status: open.state.status, why, tasks, left_out })
    }

    /// A task that runs another flow runs, and waits all the same: for that run.
    fn why_calls(&self, run: RunId, task: TaskIndex) -> Option<Why> {
        let (name, called, status) = self.why_called(run, task)?;
        let open = self.runs.get(&called)?;
        let queued = of_run(&open.state, &self.admission, self.workforce(None));
        let because = queued.map_or_else(String::new, |reason| format!(": {}", reason.sentence(self)));
        Some(Why::new("call", format!("waits for run {name}, which is {status}{because}")))
    }

    /// A run that is not open has ended, or nobody can read its definition any more.
    async fn why_closed(&mut self, id: RunId) -> Result<RunWaits, SchedulerError> {
        let row = self.history.run(id).await?.ok_or(SchedulerError::UnknownRun(id))?.run;
        let unreadable = "its definition cannot be read any more; the server's log says why";
        let why = (!row.status.is_terminal()).then(|| Why::new("definition", unreadable));
        Ok(RunWaits { name: row.name, status: row.status, why, tasks: Vec::new(), left_out: 0 })
    }

    /// Why a flow makes no new run just now.
    pub(super) fn why_flow(&self, name: &str, now: Now) -> Result<Why, SchedulerError> {
        let source = self.flow(name)?;
        let Some(schedule) = &source.flow.schedule else {
            let triggers = &source.flow.triggers;
            let sentence = match (triggers.files.is_empty(), &triggers.webhook) {
                (false, _) if self.paused.contains(&source.flow.name) => "it is paused: files that have come wait",
                (true, Some(_)) if self.paused.contains(&source.flow.name) => "it is paused: its webhook refuses",
                (false, None) => "it runs when a file comes, or when somebody asks for it",
                (true, Some(_)) => "it runs when its webhook is called, or when somebody asks for it",
                (false, Some(_)) => {
                    "it runs when a file comes, when its webhook is called, or when somebody asks for it"
                }
                (true, None) => "it has no schedule: it runs when somebody asks for it",
            };
            return Ok(Why::new("no_schedule", sentence));
        };
        if self.draining {
            return Ok(Why::of(&Reason::Stopping, self));
        }
        if !self.options.schedules {
            return Ok(Why::new("schedules_off", "this server starts no runs by schedule"));
        }
        if self.paused.contains(name) {
            return Ok(Why::new("paused", "its schedule is paused: resume it, or run it by hand"));
        }
        Ok(match schedule.next_after(now) {
            Some(next) => Why::new("schedule", format!("its next run begins at {}", next.at)),
            None => Why::new("schedule_ended", "its schedule has ended: no data interval is left"),
        })
    }

    /// Who could take work now that asks for this.
    pub(super) fn workforce(&self, demand: Option<&Demand>) -> Workforce {
        let fits = |seat: &&Seat| demand.is_none_or(|demand| seat.offer.meets(demand));
        let seats = || self.seats.values().filter(|seat| seat.slots > 0 && !seat.orders.is_closed()).filter(fits);
        Workforce {
            draining: self.draining,
            workers: seats().count(),
            slots: seats().map(|seat| seat.slots).sum(),
            free: seats().map(|seat| seat.slots.saturating_sub(seat.live.len())).sum(),
        }
    }
}

fn unknown_task(run: &OpenRun, task: &str) -> SchedulerError {
    SchedulerError::UnknownTask { run: run.name.clone(), task: task.to_owned(), known: run.state.graph.known() }
}
