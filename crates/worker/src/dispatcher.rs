//! The worker's view of the scheduler: orders come in, reports go out.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mulgil_flow::{Fault, Flow, Task, Variables};
pub use mulgil_history::write::ProcessMark;
use mulgil_sched::demand::Offer;
use mulgil_sched::id::AttemptId;
use mulgil_sched::usage::Usage;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Gives work to workers and hears how it went.
///
/// # Contract
/// An order is pushed only after it is durable. A report has been stored durably when its call returns `Ok`. A report
/// whose epoch is not the lease's is refused with [`DispatchError::Fenced`]: the worker ends what it runs and forgets
/// the attempt.
#[async_trait]
pub trait Dispatcher: Send + Sync + 'static {
    /// Joins as a worker. The queue holds at most two orders a slot: one to run, one to stop. A worker that joins again under its
    /// name takes the place of the one that it was: what it does not hold any more is given to others.
    async fn attach(&self, joining: Joining) -> Result<mpsc::Receiver<Order>, DispatchError>;

    /// The attempt is about to begin. `process` is the group that runs it, where it is a process: it waits for this
    /// call to return before it does anything, so that no unrecorded process ever works.
    async fn started(&self, attempt: AttemptId, epoch: i64, process: Option<ProcessMark>) -> Result<(), DispatchError>;

    /// The leases are still wanted. Returns those that are lost.
    async fn renew(&self, leases: &[(AttemptId, i64)]) -> Result<Vec<AttemptId>, DispatchError>;

    /// What the attempt used, told just before its end. Nothing depends on it.
    async fn measured(&self, _attempt: AttemptId, _epoch: i64, _usage: Usage) -> Result<(), DispatchError> {
        Ok(())
    }

    /// This worker is not heard any more: it gets nothing more, and what it has not begun is taken back at once.
    async fn leave(&self, _worker: &str) -> Result<(), DispatchError> {
        Ok(())
    }

    /// The attempt is over; its slot is free.
    async fn finished(&self, attempt: AttemptId, epoch: i64, outcome: Outcome) -> Result<(), DispatchError>;
}

/// A worker that joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Its name, unique among all that ever were: the owner of its leases.
    pub name: String,
    /// How many attempts it runs at once.
    pub slots: usize,
    /// What it has.
    pub offer: Offer,
    /// The leases that it holds from before, with their epochs: its server was started anew, or another one leads.
    pub held: Vec<(AttemptId, i64)>,
}

impl Joining {
    /// The server's own worker.
    pub fn own(name: &str, slots: usize) -> Self {
        Self { name: name.to_owned(), slots, offer: Offer::own(), held: Vec::new() }
    }
}

/// What a worker is told to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Run this attempt.
    Run(Box<Lease>),
    /// End this attempt: its run is to stop.
    Stop(AttemptId),
    /// End this attempt, and say nothing: its lease is lost.
    Drop(AttemptId),
}

/// A time-limited, fenced claim on one attempt, with everything needed to run it.
#[derive(Clone, Debug)]
pub struct Lease {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The lease's epoch: every report names it.
    pub epoch: i64,
    /// How long the lease lives without renewal.
    pub life: SignedDuration,
    /// When the task began: earlier than now if attempts were lost since. A task that waits counts its time from here.
    pub since: Timestamp,
    /// The flow, in the version that the run follows.
    pub flow: Arc<Flow>,
    /// The task's name: its place in the run need not be its place in the flow.
    pub task: Arc<str>,
    /// The values for the templates.
    pub variables: Arc<Variables>,
    /// The log's path, relative to the project.
    pub log: String,
}

impl Lease {
    /// The task to run.
    pub fn task(&self) -> Option<&Task> {
        let here = self.flow.tasks.get(self.attempt.task as usize).filter(|task| task.name == *self.task);
        here.or_else(|| self.flow.task(&self.task))
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should, and maybe gave a result.
    Succeeded(Option<serde_json::Value>),
    /// It is not to be done after all, for this reason.
    Skipped(String),
    /// It failed.
    Failed(Failure),
    /// It ran longer than its task may, and was ended.
    TimedOut(String),
    /// It was ended because its run is to stop.
    Cancelled,
    /// It was ended because the worker shuts down; another attempt may follow.
    Lost,
}

impl Outcome {
    /// A failure of which nothing more is known than this reason.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into().into())
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For people.
    pub reason: String,
    /// For what follows from it.
    pub fault: Fault,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { reason, fault: Fault::default() }
    }
}

/// Why the dispatcher did not take a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// The lease is not this worker's any more.
    #[error("the lease on {attempt} is lost: its epoch {epoch} is not the current one")]
    Fenced {
        /// Which attempt.
        attempt: AttemptId,
        /// The epoch that was named.
        epoch: i64,
    },
    /// The scheduler has stopped.
    #[error("the scheduler has stopped")]
    Stopped,
    /// The server does not take this worker.
    #[error("the server does not take this worker: {0}")]
    Refused(String),
}
