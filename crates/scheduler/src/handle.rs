//! The scheduler's handle: what the rest of the program holds. Cheap to clone; every call becomes one event.

use std::sync::Arc;

use async_trait::async_trait;
use mulgil_flow::Project;
use mulgil_flow::backfill::Plan;
use mulgil_history::outbox::NoticeChange;
use mulgil_history::write::ProcessMark;
use mulgil_outbox::{Ledger, LedgerClosed};
use mulgil_sched::admission::PoolLoad;
use mulgil_sched::id::{AttemptId, BackfillId, RunId};
use mulgil_sched::usage::Usage;
use mulgil_worker::dispatcher::{DispatchError, Dispatcher, Joining, Order, Outcome};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};

use super::change::Change;
use super::error::SchedulerError;
use super::event::{Command, Event, Reply, Report};
use super::request::{
    BackfillRequest, BackfillStarted, Dropping, FlowSource, MarkRequest, RerunPreview, RerunRequest, TriggerRequest,
    Triggered,
};
use super::staff::Staff;
use super::tally::Gauges;

use super::why::{RunWaits, Why};

/// Events that may wait for the loop before callers have to.
pub(crate) const EVENTS_MAX: usize = 1024;
/// Changes that a slow subscriber may be behind before it loses the oldest.
pub(crate) const CHANGES_MAX: usize = 8192;

/// Talks to the scheduler's loop.
#[derive(Clone)]
pub struct SchedulerHandle {
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) outbox: Arc<Notify>,
}

impl SchedulerHandle {
    /// Makes one run, or finds the one that is that already.
    pub async fn trigger(&self, request: TriggerRequest) -> Result<Triggered, SchedulerError> {
        self.ask(|reply| Command::Trigger(request, reply)).await
    }

    /// Says what a backfill would do, and does nothing.
    pub async fn plan_backfill(&self, request: BackfillRequest) -> Result<Plan, SchedulerError> {
        self.ask(|reply| Command::PlanBackfill(request, reply)).await
    }

    /// Begins a backfill.
    pub async fn start_backfill(&self, request: BackfillRequest) -> Result<BackfillStarted, SchedulerError> {
        self.ask(|reply| Command::StartBackfill(request, reply)).await
    }

    /// Lets no further run of a backfill begin, or lets them begin again. Runs under way go on.
    pub async fn pause_backfill(&self, backfill: BackfillId, paused: bool) -> Result<(), SchedulerError> {
        self.ask(|reply| Command::PauseBackfill(backfill, paused, reply)).await
    }

    /// Stops a backfill: its waiting runs are cancelled, its running ones ended.
    pub async fn cancel_backfill(&self, backfill: BackfillId) -> Result<(), SchedulerError> {
        self.ask(|reply| Command::CancelBackfill(backfill, reply)).await
    }

    /// Says which tasks re-runs would run, and does nothing.
    pub async fn preview_rerun(&self, request: RerunRequest) -> Result<Vec<RerunPreview>, SchedulerError> {
        self.ask(|reply| Command::PreviewRerun(request, reply)).await
    }

    /// Runs tasks of ended runs again, with the same parameters: of all of them, or none.
    pub async fn rerun(&self, request: RerunRequest) -> Result<Vec<RerunPreview>, SchedulerError> {
        self.ask(|reply| Command::Rerun(request, reply)).await
    }

    /// Says which tasks would run if a task counted so, and does nothing.
    pub async fn preview_mark(&self, request: MarkRequest) -> Result<RerunPreview, SchedulerError> {
        self.ask(|reply| Command::PreviewMark(request, reply)).await
    }

    /// Says how a task counts, whatever it did. What never ran for its failure runs when it counts as succeeded.
    pub async fn mark(&self, request: MarkRequest) -> Result<RerunPreview, SchedulerError> {
        self.ask(|reply| Command::Mark(request, reply)).await
    }

    /// Stops a run: waiting tasks are cancelled at once, running ones are ended with their whole process group.
    pub async fn cancel_run(&self, run: RunId) -> Result<(), SchedulerError> {
        self.ask(|reply| Command::CancelRun(run, reply)).await
    }

    /// Pauses or resumes a flow's schedule. Runs under way go on; runs by hand are still possible.
    pub async fn set_paused(&self, flow: &str, paused: bool) -> Result<(), SchedulerError> {
        let flow = flow.to_owned();
        self.ask(|reply| Command::SetPaused(flow, paused, reply)).await
    }

    /// Replaces the project's flows: the whole list, without those that are broken; and its settings, where they are sound.
    pub async fn reload(&self, flows: Vec<FlowSource>, project: Option<Arc<Project>>) -> Result<(), SchedulerError> {
        self.ask(|reply| Command::Reload(flows, project, reply)).await
    }

    /// Why a run, or one task of it, does not run.
    pub async fn why_run(&self, run: RunId, task: Option<String>) -> Result<RunWaits, SchedulerError> {
        self.ask(|reply| Command::WhyRun(run, task, reply)).await
    }

    /// Why a flow makes no new run just now.
    pub async fn why_flow(&self, flow: &str) -> Result<Why, SchedulerError> {
        let flow = flow.to_owned();
        self.ask(|reply| Command::WhyFlow(flow, reply)).await
    }

    /// Who works, and which tasks wait for a worker that is not there.
    pub async fn workers(&self) -> Result<Staff, SchedulerError> {
        self.ask(Command::Workers).await
    }

    /// The log, relative to the project, of an attempt whose lease has this epoch.
    pub async fn log_of(&self, attempt: AttemptId, epoch: i64) -> Result<String, DispatchError> {
        self.report(|reply| Report::Log { attempt, epoch, reply }).await
    }

    /// How full the pools are.
    pub async fn pools(&self) -> Result<Vec<PoolLoad>, SchedulerError> {
        self.ask(Command::Pools).await
    }

    /// Drops runs that have ended, with all that belongs to them; which were dropped.
    pub async fn drop_runs(&self, dropping: Dropping) -> Result<Vec<RunId>, SchedulerError> {
        self.ask(|reply| Command::Drop(dropping, reply)).await
    }

    /// How the scheduler stands, and what it has done.
    pub async fn gauges(&self) -> Result<Gauges, SchedulerError> {
        self.ask(Command::Gauges).await
    }

    /// Hears every change from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Gives out no more work from now on. The first step of a clean end: then the worker is shut down, then the loop.
    pub async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        if self.events.send(Event::Drain(done)).await.is_ok() {
            // An error means that the loop has ended: it gives nothing out either.
            let _ = drained.await;
        }
    }

    /// Ends the loop once everything before this is stored. What is running stays leased in the history: the next
    /// start knows what to do about it.
    pub async fn shutdown(&self) {
        let (done, ended) = oneshot::channel();
        if self.events.send(Event::Shutdown(done)).await.is_ok() {
            // An error means that the loop has ended, which is what was asked for.
            let _ = ended.await;
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SchedulerError> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Command(command(reply))).await.map_err(|_| SchedulerError::Stopped)?;
        answer.await.map_err(|_| SchedulerError::Stopped)?
    }

    async fn report<T>(&self, report: impl FnOnce(Reply<T, DispatchError>) -> Report) -> Result<T, DispatchError> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Report(report(reply))).await.map_err(|_| DispatchError::Stopped)?;
        answer.await.map_err(|_| DispatchError::Stopped)?
    }
}

#[async_trait]
impl Dispatcher for SchedulerHandle {
    async fn attach(&self, joining: Joining) -> Result<mpsc::Receiver<Order>, DispatchError> {
        self.report(|reply| Report::Attach { joining, reply }).await
    }

    async fn leave(&self, worker: &str) -> Result<(), DispatchError> {
        let worker = worker.to_owned();
        self.report(|reply| Report::Leave { worker, reply }).await
    }

    async fn started(&self, attempt: AttemptId, epoch: i64, process: Option<ProcessMark>) -> Result<(), DispatchError> {
        self.report(|reply| Report::Started { attempt, epoch, process, reply }).await
    }

    async fn renew(&self, leases: &[(AttemptId, i64)]) -> Result<Vec<AttemptId>, DispatchError> {
        let leases = leases.to_vec();
        self.report(|reply| Report::Renew { leases, reply }).await
    }

    async fn measured(&self, attempt: AttemptId, epoch: i64, usage: Usage) -> Result<(), DispatchError> {
        let usage = Box::new(usage);
        self.report(|reply| Report::Measured { attempt, epoch, usage, reply }).await
    }

    async fn finished(&self, attempt: AttemptId, epoch: i64, outcome: Outcome) -> Result<(), DispatchError> {
        self.report(|reply| Report::Finished { attempt, epoch, outcome, reply }).await
    }
}

#[async_trait]
impl Ledger for SchedulerHandle {
    async fn told(&self, changes: Vec<NoticeChange>) -> Result<(), LedgerClosed> {
        let (reply, stored) = oneshot::channel();
        let report = Event::Report(Report::Told { changes, reply });
        self.events.send(report).await.map_err(|_| LedgerClosed)?;
        stored.await.map_err(|_| LedgerClosed)
    }

    fn filled(&self) -> Arc<Notify> {
        self.outbox.clone()
    }
}
