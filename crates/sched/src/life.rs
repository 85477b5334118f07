//! The life cycle: one `match (status, event)` for each of run, task and attempt, behind the one function
//! [`next_status`]. What is not in the table is an [`IllegalTransition`]. The habit is steno's (Oxide): recovery
//! replays the same function that made the history.

use std::fmt;

use crate::status::{AttemptStatus, RunStatus, TaskStatus};

/// A status with a table of what may happen to it.
pub trait Life: Copy + fmt::Display {
    /// What can happen.
    type Event: Copy + fmt::Debug;
    /// `a run`, `a task` or `an attempt`.
    const WHAT: &'static str;
    /// The table: the status after `event`, or `None` where that cannot happen.
    fn after(self, event: Self::Event) -> Option<Self>;
}

/// Something that cannot happen to a thing with this status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot happen to {what} that is {status}")]
pub struct IllegalTransition {
    /// `a run`, `a task` or `an attempt`.
    pub what: &'static str,
    /// Its status.
    pub status: String,
    /// What was said to have happened.
    pub event: String,
}

/// The status after `event`. Every status change in Mulgil goes through here.
pub fn next_status<S: Life>(status: S, event: S::Event) -> Result<S, IllegalTransition> {
    status.after(event).ok_or_else(|| IllegalTransition {
        what: S::WHAT,
        status: status.to_string(),
        event: format!("{event:?}"),
    })
}

/// What can happen to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// Its turn has come.
    Admitted,
    /// Someone asked to stop it.
    CancelAsked,
    /// It has had all the time that its flow allows.
    TimeUp,
    /// Its last task ended, and all succeeded or were skipped.
    AllSucceeded,
    /// Its last task ended, and some failed.
    SomeFailed,
    /// Its last task ended, and some were cancelled.
    SomeCancelled,
    /// Some of its tasks are to run again.
    RerunAsked,
    /// Somebody marked a task of it, and with that all succeeded or were skipped.
    MarkedSucceeded,
    /// Somebody marked a task of it as failed.
    MarkedFailed,
}

/// What can happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEvent {
    /// The tasks that it needs have ended as its rule asks.
    NeedsMet,
    /// A task that it needs has failed, and its rule does not allow that.
    NeedFailed,
    /// Its rule or its condition says that it does not run; or it has waited in vain, and says that this is no failure.
    Skipped,
    /// Its items have become tasks; it ends with the last of them.
    FannedOut,
    /// A run of another flow does its work; it ends with that run.
    Called,
    /// A worker took it.
    Leased,
    /// Its attempt succeeded.
    Succeeded,
    /// Its attempt failed, and no try is left; or whether it should run could not be told.
    Failed,
    /// Its attempt failed, and another follows after a delay.
    RetryPlanned,
    /// The delay is over.
    RetryDue,
    /// Its attempt was lost, and another follows at once.
    Lost,
    /// Its run is to stop, and no attempt is under way.
    CancelAsked,
    /// Its attempt was ended since its run is to stop.
    Stopped,
    /// It is to run again.
    RerunAsked,
    /// Somebody says that it counts as succeeded.
    MarkedSucceeded,
    /// Somebody says that it counts as failed.
    MarkedFailed,
    /// The definition that its run follows from now on has no such task.
    Dropped,
}

/// What can happen to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEvent {
    /// The worker has begun.
    Started,
    /// It did what it should.
    Succeeded,
    /// It failed.
    Failed,
    /// It ran too long and was ended.
    TimedOut,
    /// It was ended because its run is to stop.
    Stopped,
    /// Its worker is gone.
    Lost,
}

impl Life for RunStatus {
    type Event = RunEvent;
    const WHAT: &'static str = "a run";

    fn after(self, event: RunEvent) -> Option<Self> {
        use RunEvent as E;
        use RunStatus as S;
        Some(match (self, event) {
            (S::Queued, E::Admitted) => S::Running,
            (S::Queued | S::Running, E::CancelAsked) | (S::Running, E::TimeUp) => S::Cancelling,
            (S::Running | S::Cancelling, E::AllSucceeded) => S::Succeeded,
            (S::Running | S::Cancelling, E::SomeFailed) => S::Failed,
            (S::Cancelling, E::SomeCancelled) => S::Cancelled,
            (S::Succeeded | S::Failed | S::Cancelled, E::RerunAsked) => S::Queued,
            (S::Failed | S::Cancelled, E::MarkedSucceeded) => S::Succeeded,
            (S::Succeeded | S::Cancelled, E::MarkedFailed) => S::Failed,
            _ => return None,
        })
    }
}

impl Life for TaskStatus {
    type Event = TaskEvent;
    const WHAT: &'static str = "a task";

    fn after(self, event: TaskEvent) -> Option<Self> {
        use TaskEvent as E;
        use TaskStatus as S;
        Some(match (self, event) {
            (S::Waiting, E::NeedsMet) => S::Ready,
            (S::Waiting, E::NeedFailed) => S::UpstreamFailed,
            (S::Waiting | S::Running, E::Skipped) => S::Skipped,
            (S::Waiting, E::FannedOut | E::Called) | (S::Ready, E::Leased) => S::Running,
            (S::Running, E::Succeeded) => S::Succeeded,
            (S::Waiting | S::Running, E::Failed) => S::Failed,
            (S::Running, E::RetryPlanned) => S::Retrying,
            (S::Running, E::Lost) => S::Ready,
            (S::Running, E::Stopped) => S::Cancelled,
            (S::Retrying, E::RetryDue) => S::Ready,
            (S::Waiting | S::Ready | S::Retrying, E::CancelAsked) => S::Cancelled,
            (S::Succeeded | S::Skipped | S::Failed | S::UpstreamFailed | S::Cancelled, E::RerunAsked) => S::Waiting,
            (
                S::Waiting | S::Ready | S::Retrying | S::Skipped | S::Failed | S::UpstreamFailed | S::Cancelled,
                E::MarkedSucceeded,
            ) => S::Succeeded,
            (
                S::Waiting | S::Ready | S::Retrying | S::Succeeded | S::Skipped | S::UpstreamFailed | S::Cancelled,
                E::MarkedFailed,
            ) => S::Failed,
            (S::Succeeded | S::Failed | S::UpstreamFailed | S::Cancelled, E::Dropped) => S::Skipped,
            _ => return None,
        })
    }
}

impl Life for AttemptStatus {
    type Event = AttemptEvent;
    const WHAT: &'static str = "an attempt";

    fn after(self, event: AttemptEvent) -> Option<Self> {
        use AttemptEvent as E;
        use AttemptStatus as S;
        Some(match (self, event) {
            (S::Leased, E::Started) => S::Running,
            (S::Leased | S::Running, E::Succeeded) => S::Succeeded,
            (S::Leased | S::Running, E::Failed) => S::Failed,
            (S::Leased | S::Running, E::TimedOut) => S::TimedOut,
            (S::Leased | S::Running, E::Stopped) => S::Cancelled,
            (S::Leased | S::Running, E::Lost) => S::Lost,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
