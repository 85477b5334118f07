//! A table as the end of a stream.
//!
//! With checkpoints the engine keeps the rows of an epoch and hands them to [`super::transaction`]. Without, a writer holds rows
//! back until the commit interval is over or many have come, and puts them in as one transaction. A database that is away is
//! waited for, and the transaction done again from the rows held: at least once, and by key once.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use mulgil_dataflow::batch::Batch;

use super::PostgresTable;
use super::session::{Session, Way};
use super::transaction::PostgresTransaction;
use crate::error::ConnectError;
use crate::sink::{Sink, SinkWriter, inserts};
use crate::transaction::Transaction;
use crate::wait::Waits;

/// A writer holds no more than so much back.
const FLUSH_BYTES: usize = 64 << 20;

/// A table that is written.
pub(super) struct PostgresSink {
    table: Arc<PostgresTable>,
    transaction: Arc<PostgresTransaction>,
}

impl PostgresSink {
    /// Connects to nothing.
    pub(super) fn new(table: PostgresTable) -> Self {
        let table = Arc::new(table);
        Self { transaction: Arc::new(PostgresTransaction::new(Arc::clone(&table))), table }
    }
}

impl PostgresTable {
    /// How rows go into it.
    pub(super) fn way(&self) -> Way {
        if self.primary_key.is_empty() { Way::Add } else { Way::Merge }
    }

    /// Refuses what the table cannot take.
    pub(super) fn check_changes(&self, batch: &Batch) -> Result<(), ConnectError> {
        match self.way() {
            Way::Add => inserts(&self.name, batch).map(|_| ()),
            Way::Merge => Ok(()),
        }
    }
}

#[async_trait]
impl Sink for PostgresSink {
    fn accepts_changes(&self) -> bool {
        self.table.way() == Way::Merge
    }

    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        Some(Arc::<PostgresTransaction>::clone(&self.transaction))
    }

    fn waits(&self) -> Option<Waits> {
        Some(self.table.database.waits().clone())
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(Writer {
            table: Arc::clone(&self.table),
            session: None,
            held: Vec::new(),
            held_rows: 0,
            held_bytes: 0,
        }))
    }
}

struct Writer {
    table: Arc<PostgresTable>,
    session: Option<Session>,
    /// Rows that are in no transaction that has ended well.
    held: Vec<Batch>,
    held_rows: usize,
    held_bytes: usize,
}

impl Writer {
    async fn attempt(&mut self) -> Result<(), ConnectError> {
        // While it is out of its place, an error or a drop leaves nothing there.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(Arc::clone(&self.table), self.table.way()).await?,
        };
        session.begin().await?;
        session.load(futures::stream::iter(self.held.iter().cloned().map(Ok)).boxed()).await?;
        session.commit().await?;
        self.session = Some(session);
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for Writer {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        self.table.check_changes(&batch)?;
        self.held_rows += batch.num_rows();
        self.held_bytes += batch.rows.get_array_memory_size();
        self.held.push(batch);
        if self.held_rows >= self.table.flush_rows || self.held_bytes >= FLUSH_BYTES {
            self.commit().await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        if self.held_rows == 0 {
            return Ok(());
        }
        let mut wait = self.table.database.waits().wait();
        while let Err(error) = self.attempt().await {
            wait.again(error).await?;
        }
        wait.over(self.table.database.place());
        self.held.clear();
        (self.held_rows, self.held_bytes) = (0, 0);
        Ok(())
    }
}
