//! The history in PostgreSQL: for two or more servers, of which one decides.
//!
//! A batch is one transaction of at most a dozen statements, whatever its size, sent in one go; a second round trip commits it, on
//! disk. The transaction first counts itself in the row of the leader, whose epoch it names: a server that is not the leader any more
//! is refused there, and a commit whose answer was lost is recognised when the batch is given again.

use std::sync::PoisonError;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mulgil_postgres::{Address, failure};
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Error};

use crate::asked::Asked;
use crate::error::HistoryError;
use crate::history::History;
use crate::listing::{self, ListedAttempt, ListedTask, Page, Selection};
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
mod calling;
mod dropping;
pub mod leading;
mod plan;
mod readers;
mod rows;
mod schema;
mod telling;
mod writer;
mod written;

use leading::Leader;
use readers::Readers;
use writer::Writer;

/// Every connection that writes begins with this: a commit is on disk before it is answered, whatever the database is told otherwise;
/// a setting that asks for more stays. A server that stands still in the middle of a transaction holds the leader's row for no longer
/// than this, so that another one can take over.
const PREAMBLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                        WHERE current_setting('synchronous_commit') IN ('off', 'local'); \
                        SET idle_in_transaction_session_timeout = '3s'";

/// The history in PostgreSQL.
pub struct PostgresHistory {
    address: Address,
    readers: Readers,
    // One writer: the lock is only ever waited for if a caller breaks the contract of `commit`.
    writer: Mutex<Writer>,
    epoch: leading::Epoch,
    /// The connection over which the lease is renewed: never behind a batch.
    lease: Mutex<Option<Client>>,
    /// The server that leads, as far as this one knows.
    leader: std::sync::Mutex<Option<Leader>>,
}

impl PostgresHistory {
    /// Connects, and brings the schema up to date. The database is made by whoever runs it.
    ///
    /// # Errors
    /// The database is away (which [passes](HistoryError::is_passing)) or refuses.
    pub async fn open(address: Address) -> Result<Self, HistoryError> {
        let mut client = connect(&address, PREAMBLE).await?;
        schema::update(&mut client).await?;
        let writer = Mutex::new(Writer::new(address.clone(), client));
        Ok(Self {
            readers: Readers::new(address.clone()),
            address,
            writer,
            epoch: leading::Epoch::default(),
            lease: Mutex::default(),
            leader: std::sync::Mutex::default(),
        })
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        self.address.place()
    }

    /// The server that leads, as was last seen.
    pub fn leader(&self) -> Option<Leader> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn saw(&self, leader: Option<Leader>) {
        *self.leader.lock().unwrap_or_else(PoisonError::into_inner) = leader;
    }
}

async fn connect(address: &Address, preamble: &str) -> Result<Client, HistoryError> {
    let away = |failure: mulgil_postgres::address::ConnectFailure| HistoryError::Postgres {
        reason: format!("connect to {}: {}", address.place(), failure.words()),
        is_passing: failure.passes(),
    };
    address.connect(preamble).await.map_err(away)
}

fn failed(error: Error) -> HistoryError {
    HistoryError::Postgres { reason: failure::words(&error), is_passing: failure::passes(&error) }
}

fn stopped() -> HistoryError {
    HistoryError::Postgres { reason: "this server stops".to_owned(), is_passing: false }
}

#[async_trait]
impl History for PostgresHistory {
    async fn commit(&self, writes: &[Write]) -> Result<(), HistoryError> {
        if writes.is_empty() {
            return Ok(());
        }
        if self.epoch.get().is_none() {
            return Err(HistoryError::Fenced);
        }
        self.writer.lock().await.commit(writes).await
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
