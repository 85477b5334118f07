//! Exactly once: the rows of an epoch and a note of it in one transaction.
//!
//! The notes are a table in the same database, a row for each pipeline and table. Whoever begins with a pipeline writes a word of
//! its own into the row: an older instance that still runs finds another word there, and is shut out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_dataflow::batch::Batch;
use tokio::sync::Mutex;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::PostgresTable;
use super::session::Session;
use crate::error::ConnectError;
use crate::transaction::Transaction;

/// The table of the notes, where the table does not name one.
pub(super) const EPOCH_TABLE: &str = "mulgil_epochs";

/// A table that takes epochs.
pub(super) struct PostgresTransaction {
    table: Arc<PostgresTable>,
    state: Mutex<State>,
    /// The word of this instance.
    owner: String,
}

#[derive(Default)]
struct State {
    /// Nothing while no pipeline has begun, and after a failure: the next call begins anew.
    ready: Option<Ready>,
    /// Pipelines that this instance has taken over. It does so once: later it may be the older one.
    claimed: HashSet<String>,
}

struct Ready {
    pipeline: String,
    session: Session,
    last_epoch: Option<u64>,
}

impl PostgresTransaction {
    /// Connects to nothing.
    pub(super) fn new(table: Arc<PostgresTable>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self {
            owner: format!("{now:x}-{}-{:p}", std::process::id(), Arc::as_ptr(&table)),
            table,
            state: Mutex::default(),
        }
    }

    /// Asks the row of this pipeline and table with `statement`, whose parameters are these two, the table there, and `last`.
    async fn ask(
        &self,
        session: &Session,
        statement: &str,
        pipeline: &str,
        last: Option<(&(dyn ToSql + Sync), Type)>,
    ) -> Result<Vec<Row>, ConnectError> {
        let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> =
            vec![(&pipeline, Type::TEXT), (&self.table.name, Type::TEXT), (&self.table.quoted_name, Type::TEXT)];
        parameters.extend(last);
        session.ask(statement, &parameters).await
    }

    /// A session of a pipeline, taken over from whoever had it.
    async fn begin(&self, pipeline: &str, claimed: &mut HashSet<String>) -> Result<Ready, ConnectError> {
        let session = Session::open(Arc::clone(&self.table), self.table.way()).await?;
        let notes = &self.table.epoch_table;
        make_notes(&session, notes).await?;
        let statement = if claimed.contains(pipeline) {
            format!(
                "SELECT epoch FROM {notes} WHERE pipeline = $1 AND table_name = $2 AND target = $3 AND owner = $4 FOR UPDATE"
            )
        } else {
            format!(
                "INSERT INTO {notes} (pipeline, table_name, target, owner) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (pipeline, table_name, target) DO UPDATE SET owner = EXCLUDED.owner RETURNING epoch"
            )
        };
        let found = self.ask(&session, &statement, pipeline, Some((&self.owner, Type::TEXT))).await?;
        let Some(found) = found.first() else { return Err(self.taken_over()) };
        claimed.insert(pipeline.to_owned());
        let last_epoch = found.get::<_, Option<i64>>(0).map(|epoch| self.number(epoch)).transpose()?;
        Ok(Ready { pipeline: pipeline.to_owned(), session, last_epoch })
    }

    fn taken_over(&self) -> ConnectError {
        let name = &self.table.quoted_name;
        let reason = format!("another writer of the same pipeline has taken over {name}; end one of the two");
        self.table.database.refusal(reason)
    }

    fn number(&self, epoch: i64) -> Result<u64, ConnectError> {
        u64::try_from(epoch).map_err(|_| {
            let notes = &self.table.epoch_table;
            self.table.database.refusal(format!("the epoch {epoch} in {notes} is none that Mulgil has written"))
        })
    }

    /// Writes an epoch with its note. After an error or a drop the session is of no use.
    async fn write(
        &self,
        ready: &mut Ready,
        epoch: u64,
        rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let Ready { pipeline, session, .. } = ready;
        let notes = &self.table.epoch_table;
        session.begin().await?;
        let note =
            format!("SELECT owner FROM {notes} WHERE pipeline = $1 AND table_name = $2 AND target = $3 FOR UPDATE");
        let found = self.ask(session, &note, pipeline, None).await?;
        if found.first().map(|row| row.get::<_, String>(0)).as_deref() != Some(&self.owner) {
            return Err(self.taken_over());
        }
        let rows = rows.map(|batch| {
            let batch = batch?;
            self.table.check_changes(&batch)?;
            Ok(batch)
        });
        session.load(rows.boxed()).await?;
        let note = format!(
            "UPDATE {notes} SET epoch = $4, written_at = now() WHERE pipeline = $1 AND table_name = $2 AND target = $3"
        );
        let number = i64::try_from(epoch).unwrap_or(i64::MAX);
        self.ask(session, &note, pipeline, Some((&number, Type::INT8))).await?;
        session.commit().await
    }
}

/// Makes the table of the notes, if it is not there.
pub(super) async fn make_notes(session: &Session, notes: &String) -> Result<(), ConnectError> {
    if has_notes(session, notes).await? {
        return Ok(());
    }
    let make = format!(
        "CREATE TABLE IF NOT EXISTS {notes} (pipeline text, table_name text, target text, epoch int8, owner text NOT NULL, \
         written_at timestamptz, PRIMARY KEY (pipeline, table_name, target))"
    );
    match session.run(&make).await {
        // `IF NOT EXISTS` does not keep two that make it at the same time apart.
        Err(_) if has_notes(session, notes).await? => Ok(()),
        made => made,
    }
}

async fn has_notes(session: &Session, notes: &String) -> Result<bool, ConnectError> {
    let there = session.ask("SELECT to_regclass($1) IS NOT NULL", &[(notes, Type::TEXT)]).await?;
    Ok(there.first().is_some_and(|row| row.get::<_, bool>(0)))
}

#[async_trait]
impl Transaction for PostgresTransaction {
    async fn last_epoch(&self, pipeline: &str) -> Result<Option<u64>, ConnectError> {
        let mut state = self.state.lock().await;
        let State { ready, claimed } = &mut *state;
        if let Some(ready) = ready.as_ref().filter(|ready| ready.pipeline == pipeline) {
            return Ok(ready.last_epoch);
        }
        let mut wait = self.table.database.waits().wait();
        loop {
            match self.begin(pipeline, claimed).await {
                Ok(begun) => {
                    wait.over(self.table.database.place());
                    return Ok(ready.insert(begun).last_epoch);
                }
                Err(error) => wait.again(error).await?,
            }
        }
    }

    async fn apply(
        &self,
        pipeline: &str,
        epoch: u64,
        rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let mut state = self.state.lock().await;
        let State { ready: slot, claimed } = &mut *state;
        // While it is out of its place, an error or a drop leaves nothing there.
        let mut ready = match slot.take().filter(|ready| ready.pipeline == pipeline) {
            Some(ready) => ready,
            None => self.begin(pipeline, claimed).await?,
        };
        if ready.last_epoch.is_none_or(|last| last < epoch) {
            self.write(&mut ready, epoch, rows).await?;
            ready.last_epoch = Some(epoch);
        }
        *slot = Some(ready);
        Ok(())
    }
}
