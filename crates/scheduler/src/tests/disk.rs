//! A disk that is full for a while: the loop waits and tries again, and nothing is lost or doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mulgil_flow::Project;
use mulgil_history::listing::{ListedAttempt, ListedTask, Page, Selection};
use mulgil_history::read::{
    BackfillRow, EventRow, ExpiredRun, FlowSummary, Grid, Memory, NoticeCount, NoticeQuery, NoticeRow, Outbox,
    RunDetail, RunQuery, RunRow, VersionRow,
};
use mulgil_history::sqlite::SqliteHistory;
use mulgil_history::write::{FlowVersion, Write};
use mulgil_history::{History, HistoryError};
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{RunStatus, TaskStatus};

use super::fixture::{source, statuses, wait_for, worker_options};
use crate::{Change, SchedulerOptions, SystemClock, TriggerRequest, start};

/// Every third commit fails as on a full disk, and stores nothing; the first looks at written tables fail too.
struct FullNowAndThen {
    inner: SqliteHistory,
    commits: AtomicU32,
    blind_looks: AtomicU32,
}

#[async_trait]
impl History for FullNowAndThen {
    async fn commit(&self, writes: &[Write]) -> Result<(), HistoryError> {
        if !writes.is_empty() && self.commits.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            return Err(HistoryError::Full("no space left on device".to_owned()));
        }
        self.inner.commit(writes).await
    }

    async fn memory(&self) -> Result<Memory, HistoryError> {
        self.inner.memory().await
    }

    async fn flow_version(&self, hash: &str) -> Result<Option<FlowVersion>, HistoryError> {
        self.inner.flow_version(hash).await
    }

    async fn flow_versions(&self, flow: &str) -> Result<Vec<VersionRow>, HistoryError> {
        self.inner.flow_versions(flow).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, HistoryError> {
        self.inner.runs(query).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunDetail>, HistoryError> {
        self.inner.run(run).await
    }

    async fn run_named(&self, name: &str) -> Result<Option<RunId>, HistoryError> {
        self.inner.run_named(name).await
    }

    async fn runs_by_key(&self, flow: &str, keys: &[String]) -> Result<Vec<RunRow>, HistoryError> {
        self.inner.runs_by_key(flow, keys).await
    }

    async fn grid(&self, flow: &str, limit: u32) -> Result<Grid, HistoryError> {
        self.inner.grid(flow, limit).await
    }

    async fn flows(&self) -> Result<Vec<FlowSummary>, HistoryError> {
        self.inner.flows().await
    }

    async fn last_scheduled(&self, flow: &str) -> Result<Option<Timestamp>, HistoryError> {
        self.inner.last_scheduled(flow).await
    }

    async fn backfill(&self, backfill: BackfillId) -> Result<Option<BackfillRow>, HistoryError> {
        self.inner.backfill(backfill).await
    }

    async fn backfills(&self, flow: Option<&str>, limit: u32) -> Result<Vec<BackfillRow>, HistoryError> {
        self.inner.backfills(flow, limit).await
    }

    async fn outbox(&self, now: Timestamp, of_channel: u32) -> Result<Outbox, HistoryError> {
        self.inner.outbox(now, of_channel).await
    }

    async fn table_writes(
        &self,
        tables: &[String],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<mulgil_history::written::TableWrite>, HistoryError> {
        let left = self.blind_looks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return Err(HistoryError::Full("the file cannot be opened".to_owned()));
        }
        self.inner.table_writes(tables, from, to).await
    }

    async fn asked(&self, flow: &str, key: &str) -> Result<Option<mulgil_history::asked::Asked>, HistoryError> {
        self.inner.asked(flow, key).await
    }

    async fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRow>, HistoryError> {
        self.inner.notices(query).await
    }

    async fn notice_counts(&self) -> Result<Vec<NoticeCount>, HistoryError> {
        self.inner.notice_counts().await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<ExpiredRun>, HistoryError> {
        self.inner.expired(before, limit).await
    }

    async fn durations(&self, flow: &str, limit: u32) -> Result<Vec<SignedDuration>, HistoryError> {
        self.inner.durations(flow, limit).await
    }

    async fn worked(&self, runs: u32, limit: u32) -> Result<Vec<mulgil_history::worked::WorkedRow>, HistoryError> {
        self.inner.worked(runs, limit).await
    }

    async fn listed_runs(&self, of: &Selection, before: Option<RunId>, limit: u32) -> Page<RunRow> {
        self.inner.listed_runs(of, before, limit).await
    }

    async fn listed_tasks(&self, of: &Selection, before: Option<(RunId, TaskIndex)>, limit: u32) -> Page<ListedTask> {
        self.inner.listed_tasks(of, before, limit).await
    }

    async fn listed_attempts(&self, of: &Selection, before: Option<AttemptId>, limit: u32) -> Page<ListedAttempt> {
        self.inner.listed_attempts(of, before, limit).await
    }

    async fn events(&self, after_seq: i64, limit: u32) -> Result<Vec<EventRow>, HistoryError> {
        self.inner.events(after_seq, limit).await
    }
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let inner = SqliteHistory::open(&folder.path().join("history.db")).await.unwrap();
    let history = Arc::new(FullNowAndThen { inner, commits: AtomicU32::new(0), blind_looks: AtomicU32::new(0) });
    let options = SchedulerOptions::new(Arc::new(Project::default()), folder.path().to_owned());
    let flow = "flow: f\ntasks: {a: {shell: 'echo a >> done'}, b: {needs: [a], shell: 'echo b >> done'}}";
    let (handle, _) = start(history.clone(), Arc::new(SystemClock), options, vec![source(flow)]).await.unwrap();
    let worker = mulgil_worker::worker::start(handle.clone(), worker_options(folder.path().to_owned())).await.unwrap();
    let mut changes = handle.subscribe();
    let run = handle.trigger(TriggerRequest { flow: "f".to_owned(), ..Default::default() }).await.unwrap().run;
    wait_for(&mut changes, |change| matches!(change, Change::Run { status, .. } if status.is_terminal())).await;
    let detail = history.run(run).await.unwrap().unwrap();
    assert_eq!(statuses(&detail), (RunStatus::Succeeded, vec![TaskStatus::Succeeded; 2]));
    assert_eq!(std::fs::read_to_string(folder.path().join("done")).unwrap(), "a\nb\n");
    let commits = history.commits.load(Ordering::SeqCst);
    assert!(commits > 3, "some commits failed: {commits}");
    worker.shutdown(Default::default()).await;
    handle.shutdown().await;
}

const MAKES: &str = "
flow: makes
schedule: {every: 1d, start: 2026-01-01, end: 2026-01-02, catchup: all}
tasks: {t: {sql: SELECT 1, to: made}}
";
const WAITS: &str = "
flow: waits
schedule: {every: 1d, start: 2026-01-01, end: 2026-01-02, on: made, catchup: all}
tasks: {t: {shell: 'true'}}
";

#[tokio::test]
async fn a_history_that_cannot_be_read_for_a_while_only_delays_what_waits_for_tables() {
    let folder = tempfile::tempdir().unwrap();
    let inner = SqliteHistory::open(&folder.path().join("history.db")).await.unwrap();
    let history = Arc::new(FullNowAndThen { inner, commits: AtomicU32::new(0), blind_looks: AtomicU32::new(0) });
    let options = SchedulerOptions::new(Arc::new(Project::default()), folder.path().to_owned());
    let flows = vec![source(MAKES), source(WAITS)];
    let (handle, _) = start(history.clone(), Arc::new(SystemClock), options, flows).await.unwrap();
    let mut changes = handle.subscribe();
    history.blind_looks.store(2, Ordering::SeqCst);
    let worker = mulgil_worker::worker::start(handle.clone(), worker_options(folder.path().to_owned())).await.unwrap();
    let waited =
        |change: &Change| matches!(change, Change::Run { flow, status: RunStatus::Succeeded, .. } if flow == "waits");
    wait_for(&mut changes, waited).await;
    assert_eq!(history.blind_looks.load(Ordering::SeqCst), 0);
    worker.shutdown(Default::default()).await;
    handle.shutdown().await;
}
