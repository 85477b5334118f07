//! Why the scheduler does not do what it was asked.

use std::sync::Arc;

use mulgil_flow::ParamError;
use mulgil_flow::backfill::PlanError;
use mulgil_history::HistoryError;
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::life::IllegalTransition;
use mulgil_sched::rerun::RerunError;
use mulgil_sched::status::RunStatus;

/// Why the scheduler does not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SchedulerError {
    /// No such flow.
    #[error("there is no flow {flow}; the project has: {known}")]
    UnknownFlow {
        /// What was asked for.
        flow: String,
        /// What there is.
        known: String,
    },
    /// No such run.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// No such task.
    #[error("{run} has no task {task}; its tasks are {known}")]
    UnknownTask {
        /// The run.
        run: String,
        /// What was asked for.
        task: String,
        /// What there is.
        known: String,
    },
    /// No such backfill.
    #[error("there is no backfill {0}")]
    UnknownBackfill(BackfillId),
    /// The parameters do not fit the flow.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// The flow has no data interval that fits.
    #[error(
        "flow {flow} has no data interval {what}; `mulgil flow show {flow} --next 20` lists what its schedule gives"
    )]
    NoInterval {
        /// The flow.
        flow: String,
        /// Which was asked for.
        what: String,
    },
    /// The backfill cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The run cannot be run again as asked.
    #[error(transparent)]
    Rerun(#[from] RerunError),
    /// Tasks that are not idempotent would run again.
    #[error("{tasks} would run again, and the flow says `idempotent: false`: check what they did, then confirm")]
    NeedsConfirmation {
        /// Which, with their runs where there are several.
        tasks: String,
    },
    /// The task cannot be marked.
    #[error("task {task} cannot be marked: {reason}")]
    Mark {
        /// Which task.
        task: String,
        /// Why not.
        reason: String,
    },
    /// Nothing from outside starts runs of a flow that is paused.
    #[error("flow {0} is paused: resume it, and send this again")]
    Paused(String),
    /// More runs are open than anything from outside may add to.
    #[error("{0} runs are open: wait until some have ended, and send this again")]
    TooMany(usize),
    /// A key of the caller's own that cannot be one.
    #[error("a key has 1 to 255 characters, and no control characters")]
    Key,
    /// The key was used for something else.
    #[error(
        "the key {key:?} was used for run {run}, which was asked for with another interval or other parameters: take a new key"
    )]
    KeyUsed {
        /// The key.
        key: String,
        /// The run that it stands for.
        run: RunId,
    },
    /// The run has ended.
    #[error("run {run} is {status} already")]
    Ended {
        /// Which run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// The backfill has ended.
    #[error("backfill {0} has ended already")]
    BackfillEnded(BackfillId),
    /// The definition that a run was made from cannot be read any more.
    #[error("the definition of run {run} cannot be read any more: {reason}")]
    Definition {
        /// Which run.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// A flow's tasks make no graph: a mistake in Mulgil, since the flow was checked.
    #[error("{0}")]
    BrokenFlow(String),
    /// The life cycle forbids it: a mistake in Mulgil.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The history could not be read or written.
    #[error(transparent)]
    History(#[from] Arc<HistoryError>),
    /// Another server leads; this one stands by.
    #[error("this server stands by; the one that leads is {}", leader.as_deref().unwrap_or("not known yet"))]
    StandsBy {
        /// Where it answers.
        leader: Option<String>,
    },
    /// The scheduler has stopped.
    #[error("the scheduler has stopped; start `mulgil server` again")]
    Stopped,
}

impl SchedulerError {
    /// Whether it is because another server leads.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::History(error) if matches!(**error, HistoryError::Fenced))
    }
}

impl From<HistoryError> for SchedulerError {
    fn from(error: HistoryError) -> Self {
        Self::History(Arc::new(error))
    }
}
