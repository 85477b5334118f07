//! The statuses of runs, tasks and attempts as the API says them. They mirror `mulgil_sched::status`, one to one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Recorded; waits for its turn among the runs of its flow or backfill.
    Queued,
    /// Its tasks may run.
    Running,
    /// Asked to stop; its last tasks are being ended.
    Cancelling,
    /// Every task succeeded.
    Succeeded,
    /// A task failed, and everything that could still run has run.
    Failed,
    /// Stopped before its end.
    Cancelled,
}

/// Where a task of a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Waits for the tasks that it needs.
    Waiting,
    /// Waits for a slot and a worker.
    Ready,
    /// A worker holds a lease on an attempt.
    Running,
    /// Failed, and waits to be tried again.
    Retrying,
    /// Done.
    Succeeded,
    /// Never ran, since its rule or its condition says so. That is no failure.
    Skipped,
    /// Failed for good.
    Failed,
    /// Never ran, since a task that it needs failed.
    UpstreamFailed,
    /// Stopped, or never ran since its run was stopped.
    Cancelled,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStatus {
    /// Given to a worker; nothing of it has run yet.
    Leased,
    /// The worker has begun.
    Running,
    /// Done.
    Succeeded,
    /// Failed.
    Failed,
    /// Ran longer than its task may.
    TimedOut,
    /// Ended because its run was stopped.
    Cancelled,
    /// Its worker is gone; what it did is unknown.
    Lost,
}

/// How many runs have each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunCounts {
    /// Waiting for their turn.
    pub queued: u64,
    /// Running, or being cancelled.
    pub running: u64,
    /// Done.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Stopped before their end.
    pub cancelled: u64,
}

impl From<mulgil_sched::status::RunStatus> for RunStatus {
    fn from(status: mulgil_sched::status::RunStatus) -> Self {
        use mulgil_sched::status::RunStatus as S;
        match status {
            S::Queued => Self::Queued,
            S::Running => Self::Running,
            S::Cancelling => Self::Cancelling,
            S::Succeeded => Self::Succeeded,
            S::Failed => Self::Failed,
            S::Cancelled => Self::Cancelled,
        }
    }
}

impl From<RunStatus> for mulgil_sched::status::RunStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Queued => Self::Queued,
            RunStatus::Running => Self::Running,
            RunStatus::Cancelling => Self::Cancelling,
            RunStatus::Succeeded => Self::Succeeded,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl From<mulgil_sched::status::TaskStatus> for TaskStatus {
    fn from(status: mulgil_sched::status::TaskStatus) -> Self {
        use mulgil_sched::status::TaskStatus as S;
        match status {
            S::Waiting => Self::Waiting,
            S::Ready => Self::Ready,
            S::Running => Self::Running,
            S::Retrying => Self::Retrying,
            S::Succeeded => Self::Succeeded,
            S::Failed => Self::Failed,
            S::Skipped => Self::Skipped,
            S::UpstreamFailed => Self::UpstreamFailed,
            S::Cancelled => Self::Cancelled,
        }
    }
}

impl From<mulgil_sched::status::AttemptStatus> for AttemptStatus {
    fn from(status: mulgil_sched::status::AttemptStatus) -> Self {
        use mulgil_sched::status::AttemptStatus as S;
        match status {
            S::Leased => Self::Leased,
            S::Running => Self::Running,
            S::Succeeded => Self::Succeeded,
            S::Failed => Self::Failed,
            S::TimedOut => Self::TimedOut,
            S::Cancelled => Self::Cancelled,
            S::Lost => Self::Lost,
        }
    }
}

impl From<mulgil_history::read::RunCounts> for RunCounts {
    fn from(counts: mulgil_history::read::RunCounts) -> Self {
        let mulgil_history::read::RunCounts { queued, running, succeeded, failed, cancelled } = counts;
        Self { queued, running, succeeded, failed, cancelled }
    }
}
