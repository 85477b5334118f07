//! Everything that can happen to the scheduler, in one closed list.

use std::sync::Arc;

use mulgil_flow::Project;
use mulgil_flow::backfill::Plan;
use mulgil_history::outbox::NoticeChange;
use mulgil_history::write::ProcessMark;
use mulgil_sched::admission::PoolLoad;
use mulgil_sched::id::{AttemptId, BackfillId, RunId};
use mulgil_sched::usage::Usage;
use mulgil_worker::dispatcher::{DispatchError, Joining, Order, Outcome};
use tokio::sync::{mpsc, oneshot};

use super::error::SchedulerError;
use super::request::{
    BackfillRequest, BackfillStarted, Dropping, FlowSource, MarkRequest, RerunPreview, RerunRequest, TriggerRequest,
    Triggered,
};
use super::staff::Staff;
use super::tally::Gauges;
use super::why::{RunWaits, Why};

/// Where an answer goes. A caller that has gone away does not mind.
pub(crate) type Reply<T, E = SchedulerError> = oneshot::Sender<Result<T, E>>;

/// Something that happened outside the loop.
pub(crate) enum Event {
    /// A person's or program's command.
    Command(Command),
    /// A worker's report.
    Report(Report),
    /// Give out no more work: the worker is about to be shut down.
    Drain(oneshot::Sender<()>),
    /// End the loop once everything before this is stored.
    Shutdown(oneshot::Sender<()>),
}

/// A command, with the place for its answer.
pub(crate) enum Command {
    Trigger(TriggerRequest, Reply<Triggered>),
    PlanBackfill(BackfillRequest, Reply<Plan>),
    StartBackfill(BackfillRequest, Reply<BackfillStarted>),
    CancelBackfill(BackfillId, Reply<()>),
    PauseBackfill(BackfillId, bool, Reply<()>),
    PreviewRerun(RerunRequest, Reply<Vec<RerunPreview>>),
    Rerun(RerunRequest, Reply<Vec<RerunPreview>>),
    PreviewMark(MarkRequest, Reply<RerunPreview>),
    Mark(MarkRequest, Reply<RerunPreview>),
    CancelRun(RunId, Reply<()>),
    SetPaused(String, bool, Reply<()>),
    Reload(Vec<FlowSource>, Option<Arc<Project>>, Reply<()>),
    WhyRun(RunId, Option<String>, Reply<RunWaits>),
    WhyFlow(String, Reply<Why>),
    Workers(Reply<Staff>),
    Pools(Reply<Vec<PoolLoad>>),
    Gauges(Reply<Gauges>),
    Drop(Dropping, Reply<Vec<RunId>>),
}

/// A report of a worker or of the postman, with the place for its answer.
pub(crate) enum Report {
    Attach { joining: Joining, reply: Reply<mpsc::Receiver<Order>, DispatchError> },
    Leave { worker: String, reply: Reply<(), DispatchError> },
    Log { attempt: AttemptId, epoch: i64, reply: Reply<String, DispatchError> },
    Started { attempt: AttemptId, epoch: i64, process: Option<ProcessMark>, reply: Reply<(), DispatchError> },
    Renew { leases: Vec<(AttemptId, i64)>, reply: Reply<Vec<AttemptId>, DispatchError> },
    Measured { attempt: AttemptId, epoch: i64, usage: Box<Usage>, reply: Reply<(), DispatchError> },
    Told { changes: Vec<NoticeChange>, reply: oneshot::Sender<()> },
    Finished { attempt: AttemptId, epoch: i64, outcome: Outcome, reply: Reply<(), DispatchError> },
}
