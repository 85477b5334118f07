//! What a store of the history has to do.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};

use crate::asked::Asked;
use crate::error::HistoryError;
use crate::listing::{ListedAttempt, ListedTask, Page, Selection};
use crate::read::{
    BackfillRow, EventRow, ExpiredRun, FlowSummary, Grid, Memory, NoticeCount, NoticeQuery, NoticeRow, Outbox,
    RunDetail, RunQuery, RunRow, VersionRow,
};
use crate::worked::WorkedRow;
use crate::write::{FlowVersion, Write};
use crate::written::TableWrite;

/// A store of the history.
///
/// # Contract
/// `commit` stores all writes of a batch, and an event row for each change, in one transaction that is on disk when it
/// returns, or none of them. Changes are compare-and-set: a `from` that is not what is stored is a
/// [`HistoryError::Conflict`]. There is one caller of `commit` at a time. Reads see what is committed.
///
/// An error that [passes](HistoryError::is_passing) may leave it open whether the batch was stored: the answer may have been lost.
/// The caller then gives the same batch again, before any other, and it is stored once.
#[async_trait]
pub trait History: Send + Sync + 'static {
    /// Stores a batch.
    async fn commit(&self, writes: &[Write]) -> Result<(), HistoryError>;

    /// What a scheduler has to know when it starts.
    async fn memory(&self) -> Result<Memory, HistoryError>;

    /// A flow's definition, by its hash.
    async fn flow_version(&self, hash: &str) -> Result<Option<FlowVersion>, HistoryError>;

    /// The definitions of a flow that runs were made from, newest first.
    async fn flow_versions(&self, flow: &str) -> Result<Vec<VersionRow>, HistoryError>;

    /// Runs, newest first.
    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, HistoryError>;

    /// A run with its tasks and attempts.
    async fn run(&self, run: RunId) -> Result<Option<RunDetail>, HistoryError>;

    /// The number of the run with this name (`daily_delays/2013-01-01`).
    async fn run_named(&self, name: &str) -> Result<Option<RunId>, HistoryError>;

    /// The runs of a flow with these keys.
    async fn runs_by_key(&self, flow: &str, keys: &[String]) -> Result<Vec<RunRow>, HistoryError>;

    /// The grid of the flow's `limit` newest runs by data interval.
    async fn grid(&self, flow: &str, limit: u32) -> Result<Grid, HistoryError>;

    /// Every flow that has a run or was ever paused, by name.
    async fn flows(&self) -> Result<Vec<FlowSummary>, HistoryError>;

    /// The start of the latest scheduled data interval of a flow that has a run.
    async fn last_scheduled(&self, flow: &str) -> Result<Option<Timestamp>, HistoryError>;

    /// A backfill and how far it has come.
    async fn backfill(&self, backfill: BackfillId) -> Result<Option<BackfillRow>, HistoryError>;

    /// Backfills, newest first, of a flow or of all.
    async fn backfills(&self, flow: Option<&str>, limit: u32) -> Result<Vec<BackfillRow>, HistoryError>;

    /// The notices that are to be delivered now, at most so many of a channel.
    async fn outbox(&self, now: Timestamp, of_channel: u32) -> Result<Outbox, HistoryError>;

    /// The writes of these tables whose intervals overlap `[from, to)`, by table, then interval; of each interval the latest.
    async fn table_writes(
        &self,
        tables: &[String],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<TableWrite>, HistoryError>;

    /// The run that was asked for with this key of the caller's own.
    async fn asked(&self, flow: &str, key: &str) -> Result<Option<Asked>, HistoryError>;

    /// Notices, newest first.
    async fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRow>, HistoryError>;

    /// Notices, counted by channel and status.
    async fn notice_counts(&self) -> Result<Vec<NoticeCount>, HistoryError>;

    /// Runs that ended before a time and need not be kept, the oldest first.
    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<ExpiredRun>, HistoryError>;

    /// How long the latest runs of a flow took that succeeded and belong to no backfill, the newest first.
    async fn durations(&self, flow: &str, limit: u32) -> Result<Vec<SignedDuration>, HistoryError>;

    /// The attempts of the newest `runs` that have ended, at most `limit`, the newest runs first.
    async fn worked(&self, runs: u32, limit: u32) -> Result<Vec<WorkedRow>, HistoryError>;

    /// Runs, newest first, below one in that order.
    async fn listed_runs(&self, of: &Selection, before: Option<RunId>, limit: u32) -> Page<RunRow>;

    /// Tasks, those of the newest run first, below one in that order.
    async fn listed_tasks(&self, of: &Selection, before: Option<(RunId, TaskIndex)>, limit: u32) -> Page<ListedTask>;

    /// Attempts, those of the newest run first, below one in that order.
    async fn listed_attempts(&self, of: &Selection, before: Option<AttemptId>, limit: u32) -> Page<ListedAttempt>;

    /// Events after a place in the history, oldest first.
    async fn events(&self, after_seq: i64, limit: u32) -> Result<Vec<EventRow>, HistoryError>;
}
