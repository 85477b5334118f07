//! The history in one SQLite file.
//!
//! Write-ahead logging with one writing connection and a few reading ones: readers never wait for the writer, and a
//! batch of writes costs one sync to disk (`synchronous = FULL`). The schema lives in `migrations/`.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, SqlStr, SqliteConnection};
use tokio::sync::Mutex;

use crate::asked::Asked;
use crate::error::HistoryError;
use crate::history::History;
use crate::listing::{self, ListedAttempt, ListedTask, Page, Selection};
use crate::lock::patiently;
use crate::outbox;
use crate::read::{
    BackfillRow, EventRow, ExpiredRun, FlowSummary, Grid, Memory, NoticeCount, NoticeQuery, NoticeRow, Outbox,
    RunDetail, RunQuery, RunRow, VersionRow,
};
use crate::worked::WorkedRow;
use crate::write::{FlowVersion, Write};
use crate::written::TableWrite;
use crate::{reading, retention};

mod answering;
mod asked;
mod backfilling;
mod calling;
mod dropping;
mod telling;
mod writing;
mod written;

/// Reads that run at once; more wait for one another.
const READERS_MAX: u32 = 4;
/// How long to wait for a lock that another program holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The history in one SQLite file.
pub struct SqliteHistory {
    // One writer: the lock is only ever waited for if a caller breaks the contract of `commit`.
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    // Held as long as this lives, and let go by the system when the process ends, however it ends.
    _lock: File,
}

/// Takes the lock file beside the history: one server at a time has a project.
async fn lock(path: &Path) -> Result<File, HistoryError> {
    let open_error = |error: std::io::Error| HistoryError::Open { path: path.to_owned(), reason: error.to_string() };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(open_error)?;
    }
    let lock_path = path.with_extension("lock");
    let file = File::options().create(true).truncate(false).write(true).open(lock_path).map_err(open_error)?;
    match patiently(|| file.try_lock(), |error| matches!(error, TryLockError::WouldBlock)).await {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(HistoryError::Taken { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(open_error(error)),
    }
}

impl SqliteHistory {
    /// Opens the file, which is made if it is not there with its folder, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, HistoryError> {
        let open_error = |reason: String| HistoryError::Open { path: path.to_owned(), reason };
        let lock = lock(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let mut writer =
            SqliteConnection::connect_with(&options).await.map_err(|error| open_error(error.to_string()))?;
        let migrator = Migrator::with_migrations(migrations());
        migrator.run_direct(None, &mut writer, false).await.map_err(|error| open_error(error.to_string()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .min_connections(0)
            .connect_lazy_with(options.read_only(true).create_if_missing(false));
        Ok(Self { writer: Mutex::new(writer), readers, _lock: lock })
    }

    /// Closes every connection; what was committed is on disk already.
    pub async fn close(self) -> Result<(), HistoryError> {
        self.readers.close().await;
        Ok(self.writer.into_inner().close().await?)
    }
}

#[async_trait]
impl History for SqliteHistory {
    async fn commit(&self, writes: &[Write]) -> Result<(), HistoryError> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
        writing::write_all(&mut transaction, writes).await?;
        Ok(transaction.commit().await?)
    }

    async fn memory(&self) -> Result<Memory, HistoryError> {
        reading::memory(&self.readers).await
    }

    async fn flow_version(&self, hash: &str) -> Result<Option<FlowVersion>, HistoryError> {
        reading::flow_version(&self.readers, hash).await
    }

    async fn flow_versions(&self, flow: &str) -> Result<Vec<VersionRow>, HistoryError> {
        reading::flow_versions(&self.readers, flow).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, HistoryError> {
        reading::runs(&self.readers, query).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunDetail>, HistoryError> {
        reading::run(&self.readers, run).await
    }

    async fn run_named(&self, name: &str) -> Result<Option<RunId>, HistoryError> {
        reading::run_named(&self.readers, name).await
    }

    async fn runs_by_key(&self, flow: &str, keys: &[String]) -> Result<Vec<RunRow>, HistoryError> {
        reading::runs_by_key(&self.readers, flow, keys).await
    }

    async fn grid(&self, flow: &str, limit: u32) -> Result<Grid, HistoryError> {
        reading::grid(&self.readers, flow, limit).await
    }

    async fn flows(&self) -> Result<Vec<FlowSummary>, HistoryError> {
        reading::flows(&self.readers).await
    }

    async fn last_scheduled(&self, flow: &str) -> Result<Option<Timestamp>, HistoryError> {
        reading::last_scheduled(&self.readers, flow).await
    }

    async fn backfill(&self, backfill: BackfillId) -> Result<Option<BackfillRow>, HistoryError> {
        reading::backfill(&self.readers, backfill).await
    }

    async fn backfills(&self, flow: Option<&str>, limit: u32) -> Result<Vec<BackfillRow>, HistoryError> {
        reading::backfills(&self.readers, flow, limit).await
    }

    async fn outbox(&self, now: Timestamp, of_channel: u32) -> Result<Outbox, HistoryError> {
        outbox::outbox(&self.readers, now, of_channel).await
    }

    async fn table_writes(
        &self,
        tables: &[String],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<TableWrite>, HistoryError> {
        crate::written::writes(&self.readers, tables, from, to).await
    }

    async fn asked(&self, flow: &str, key: &str) -> Result<Option<Asked>, HistoryError> {
        crate::asked::asked(&self.readers, flow, key).await
    }

    async fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRow>, HistoryError> {
        outbox::notices(&self.readers, query).await
    }

    async fn notice_counts(&self) -> Result<Vec<NoticeCount>, HistoryError> {
        outbox::notice_counts(&self.readers).await
    }

    async fn expired(&self, before: Timestamp, limit: u32) -> Result<Vec<ExpiredRun>, HistoryError> {
        retention::expired(&self.readers, before, limit).await
    }

    async fn durations(&self, flow: &str, limit: u32) -> Result<Vec<SignedDuration>, HistoryError> {
        reading::durations(&self.readers, flow, limit).await
    }

    async fn worked(&self, runs: u32, limit: u32) -> Result<Vec<WorkedRow>, HistoryError> {
        crate::worked::worked(&self.readers, runs, limit).await
    }

    async fn listed_runs(&self, of: &Selection, before: Option<RunId>, limit: u32) -> Page<RunRow> {
        listing::runs(&self.readers, of, before, limit).await
    }

    async fn listed_tasks(&self, of: &Selection, before: Option<(RunId, TaskIndex)>, limit: u32) -> Page<ListedTask> {
        listing::tasks(&self.readers, of, before, limit).await
    }

    async fn listed_attempts(&self, of: &Selection, before: Option<AttemptId>, limit: u32) -> Page<ListedAttempt> {
        listing::attempts(&self.readers, of, before, limit).await
    }

    async fn events(&self, after_seq: i64, limit: u32) -> Result<Vec<EventRow>, HistoryError> {
        reading::events(&self.readers, after_seq, limit).await
    }
}

/// The schema's history. Read into the program without sqlx's macros: they would build SQLite a second time, for the
/// compiler.
fn migrations() -> Vec<Migration> {
    let scripts = [
        (1, "history", include_str!("../migrations/sqlite/0001_history.sql")),
        (2, "results", include_str!("../migrations/sqlite/0002_results.sql")),
        (3, "outbox", include_str!("../migrations/sqlite/0003_outbox.sql")),
        (4, "items", include_str!("../migrations/sqlite/0004_items.sql")),
        (5, "backfill pace", include_str!("../migrations/sqlite/0005_backfill_pace.sql")),
        (6, "since", include_str!("../migrations/sqlite/0006_since.sql")),
        (7, "table writes", include_str!("../migrations/sqlite/0007_table_writes.sql")),
        (8, "usage", include_str!("../migrations/sqlite/0008_usage.sql")),
        (9, "calls", include_str!("../migrations/sqlite/0009_calls.sql")),
        (10, "run timeout", include_str!("../migrations/sqlite/0010_run_timeout.sql")),
        (11, "backfill rounds", include_str!("../migrations/sqlite/0011_backfill_rounds.sql")),
        (12, "asked", include_str!("../migrations/sqlite/0012_asked.sql")),
        (13, "call starts", include_str!("../migrations/sqlite/0013_call_starts.sql")),
        (14, "confirmed", include_str!("../migrations/sqlite/0014_confirmed.sql")),
    ];
    let migration = |(version, name, script): (i64, &'static str, &'static str)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, SqlStr::from_static(script), false)
    };
    scripts.into_iter().map(migration).collect()
}
