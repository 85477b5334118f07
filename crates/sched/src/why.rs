//! Why something does not run yet: one reason for each run and each task that waits.
//!
//! Reasons are read from what the scheduler decides by (the run's graph and tallies, the queues of [`Admission`], the workers' free slots),
//! so they cannot differ from what it does.

use std::sync::Arc;

use jiff::Timestamp;

use crate::admission::Admission;
use crate::demand::Demand;
use crate::id::{AttemptId, BackfillId, RunId, TaskIndex};
use crate::run::RunState;
use crate::status::{RunStatus, TaskStatus};
use mulgil_flow::TriggerRule;

/// How many names a sentence lists before it only counts.
const NAMES_MAX: usize = 5;

/// Who could take work now: of the workers that may run what is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workforce {
    /// Whether the server is about to stop and gives nothing out.
    pub draining: bool,
    /// How many workers have joined.
    pub workers: usize,
    /// How many attempts they run at most, together.
    pub slots: usize,
    /// How many more they could take now.
    pub free: usize,
}

/// Why a run or a task waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The server is about to stop.
    Stopping,
    /// As many runs of its flow are active as may be.
    FlowLimit {
        /// How many may be.
        limit: usize,
        /// Which are.
        active: Vec<RunId>,
    },
    /// As many runs of its backfill are active as may be.
    BackfillLimit {
        /// Which backfill.
        backfill: BackfillId,
        /// How many may be.
        limit: usize,
        /// Which are.
        active: Vec<RunId>,
    },
    /// Its backfill is paused, or so many of its runs have begun as its trial has.
    BackfillHeld {
        /// Which backfill.
        backfill: BackfillId,
    },
    /// A run of its flow is active, and the schedule lets no other begin beside it.
    Overlap {
        /// Which are.
        active: Vec<RunId>,
    },
    /// Its run waits, for this reason.
    Run(Box<Reason>),
    /// Tasks that it needs have not ended.
    Needs {
        /// What it makes of how they end.
        rule: TriggerRule,
        /// Which, and where they stand.
        tasks: Vec<(Arc<str>, TaskStatus)>,
    },
    /// As many items of its task are under way as may be.
    Items {
        /// The task.
        of: Arc<str>,
        /// How many may be.
        at_once: u32,
        /// How many are.
        under_way: usize,
    },
    /// It has failed, and is tried again at this time.
    Retry {
        /// When.
        at: Timestamp,
        /// The number of the attempt to come.
        attempt: u32,
    },
    /// As many attempts of the task are live as may be, over all runs.
    TaskLimit {
        /// How many may be.
        limit: usize,
        /// Which are.
        held: Vec<AttemptId>,
    },
    /// Its pool has no free slot.
    PoolFull {
        /// Which pool.
        pool: Arc<str>,
        /// How many slots it has.
        slots: usize,
        /// Who holds them.
        held: Vec<AttemptId>,
        /// How many tasks go first.
        ahead: usize,
    },
    /// No worker has joined that may run it.
    NoWorker {
        /// What it asks of one.
        demand: Arc<Demand>,
    },
    /// Every worker runs as much as it may.
    WorkersFull {
        /// How much that is, of all together.
        slots: usize,
    },
    /// Nothing holds it back: it begins in a moment.
    Nothing,
}

/// What sentences call runs and tasks.
pub trait Names {
    /// A run, for people.
    fn run(&self, run: RunId) -> String;
    /// A task of a run, for people.
    fn task(&self, run: RunId, task: TaskIndex) -> String;
}

/// Why a run does not begin; `None` if it has begun.
pub fn of_run(run: &RunState, admission: &Admission, workforce: Workforce) -> Option<Reason> {
    if run.status != RunStatus::Queued {
        return None;
    }
    if workforce.draining {
        return Some(Reason::Stopping);
    }
    Some(admission.run_reason(run.id).unwrap_or(Reason::Nothing))
}

/// Why a task does not run; `None` if it runs or has ended. `workforce` are those that may run it.
pub fn of_task(run: &RunState, task: TaskIndex, admission: &Admission, workforce: Workforce) -> Option<Reason> {
    let state = run.task(task)?;
    match state.status {
        TaskStatus::Waiting => Some(match of_run(run, admission, workforce) {
            Some(reason) => Reason::Run(Box::new(reason)),
            None => needs(run, task),
        }),
        TaskStatus::Retrying => {
            Some(Reason::Retry { at: state.not_before.unwrap_or(Timestamp::MAX), attempt: state.attempts + 1 })
        }
        TaskStatus::Ready if workforce.draining => Some(Reason::Stopping),
        TaskStatus::Ready => Some(match admission.task_reason(run.id, task) {
            Some(reason) => reason,
            None if workforce.workers == 0 => {
                Reason::NoWorker { demand: run.graph.task(task).map(|node| node.demand.clone()).unwrap_or_default() }
            }
            None if workforce.free == 0 => Reason::WorkersFull { slots: workforce.slots },
            None => Reason::Nothing,
        }),
        _ => None,
    }
}

fn needs(run: &RunState, task: TaskIndex) -> Reason {
    let Some(node) = run.graph.task(task) else { return Reason::Nothing };
    if let Some(of) = node.item_of {
        return item(run, of);
    }
    let open = node.needs.iter().filter_map(|&need| {
        let status = run.task(need)?.status;
        (!status.is_terminal()).then(|| Some((run.graph.task(need)?.name.clone(), status)))?
    });
    match open.collect::<Vec<_>>() {
        tasks if tasks.is_empty() => Reason::Nothing,
        tasks => Reason::Needs { rule: node.rule, tasks },
    }
}

/// An item waits for its task, and then for its turn.
fn item(run: &RunState, of: TaskIndex) -> Reason {
    let (Some(node), Some(state)) = (run.graph.task(of), run.task(of)) else { return Reason::Nothing };
    let fan = run.fan(of).and_then(|fan| Some((fan.at_once()?, fan.under_way())));
    match (state.status, fan) {
        (status, _) if state.live.is_some() => {
            Reason::Needs { rule: TriggerRule::default(), tasks: vec![(node.name.clone(), status)] }
        }
        (TaskStatus::Running, Some((at_once, under_way))) => {
            Reason::Items { of: node.name.clone(), at_once, under_way }
        }
        (TaskStatus::Running, None) => Reason::Nothing,
        (status, _) => Reason::Needs { rule: TriggerRule::default(), tasks: vec![(node.name.clone(), status)] },
    }
}

impl Reason {
    /// One word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::FlowLimit { .. } => "flow_limit",
            Self::BackfillLimit { .. } => "backfill_limit",
            Self::BackfillHeld { .. } => "backfill_held",
            Self::Overlap { .. } => "overlap",
            Self::Run(reason) => reason.word(),
            Self::Needs { .. } => "needs",
            Self::Items { .. } => "items",
            Self::Retry { .. } => "retry",
            Self::TaskLimit { .. } => "task_limit",
            Self::PoolFull { .. } => "pool",
            Self::NoWorker { .. } => "no_worker",
            Self::WorkersFull { .. } => "workers_full",
            Self::Nothing => "nothing",
        }
    }

    /// One sentence for people, without the full stop.
    pub fn sentence(&self, names: &dyn Names) -> String {
        match self {
            Self::Stopping => "the server is about to stop and gives out no more work".to_owned(),
            Self::FlowLimit { limit, active } => {
                let runs = list(active.iter().map(|run| names.run(*run)));
                format!(
                    "waits for its turn: {} of this flow may be active at once, and {runs} {}",
                    runs_at_once(*limit),
                    is(active.len())
                )
            }
            Self::BackfillLimit { backfill, limit, active } => {
                let runs = list(active.iter().map(|run| names.run(*run)));
                format!(
                    "waits for its turn: {} of backfill {backfill} may be active at once, and {runs} {}",
                    runs_at_once(*limit),
                    is(active.len())
                )
            }
            Self::BackfillHeld { backfill } => {
                format!("backfill {backfill} is paused, or tries its first runs: the others wait until it is resumed")
            }
            Self::Overlap { active } => {
                let runs = list(active.iter().map(|run| names.run(*run)));
                format!(
                    "waits for the run before it: its schedule lets no two overlap, and {runs} {}",
                    is(active.len())
                )
            }
            Self::Run(reason) => format!("its run has not begun: {}", reason.sentence(names)),
            Self::Needs { rule, tasks } => {
                let open =
                    list(tasks.iter().map(|(name, status)| format!("{name} ({})", status.word().replace('_', " "))));
                match rule {
                    TriggerRule::OneSuccess => {
                        format!("waits until one of the tasks that it needs has succeeded: {open}")
                    }
                    TriggerRule::OneFailed => format!("waits until one of the tasks that it needs has failed: {open}"),
                    _ => format!("waits for {open}"),
                }
            }
            Self::Items { of, at_once, under_way } => {
                let items = if *at_once == 1 { "one item".to_owned() } else { format!("{at_once} items") };
                format!(
                    "waits for its turn: {items} of {of} may be under way at once, and {under_way} {}",
                    is(*under_way)
                )
            }
            Self::Retry { at, attempt } => format!("attempt {} failed; attempt {attempt} begins at {at}", attempt - 1),
            Self::TaskLimit { limit, held } => {
                let holders = list(held.iter().map(|attempt| names.task(attempt.run, attempt.task)));
                format!(
                    "waits for its turn: {limit} of this task may run at once, over all runs, and {holders} {}",
                    does(held.len())
                )
            }
            Self::PoolFull { pool, slots, held, ahead } => {
                let holders = list(held.iter().map(|attempt| names.task(attempt.run, attempt.task)));
                let first = match ahead {
                    0 => String::new(),
                    1 => "; one other task goes first".to_owned(),
                    _ => format!("; {ahead} other tasks go first"),
                };
                format!("waits for a slot of pool {pool}: {} of {slots} in use by {holders}{first}", held.len())
            }
            Self::NoWorker { demand } => format!("waits for {demand}: none has joined"),
            Self::WorkersFull { slots } => format!("waits for a worker: all of their {slots} slots are in use"),
            Self::Nothing => "begins in a moment".to_owned(),
        }
    }
}

fn runs_at_once(limit: usize) -> String {
    if limit == 1 { "one run".to_owned() } else { format!("{limit} runs") }
}

fn is(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn does(count: usize) -> &'static str {
    if count == 1 { "does" } else { "do" }
}

fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let mut names: Vec<String> = names.take(NAMES_MAX).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests;
