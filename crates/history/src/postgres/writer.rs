//! The one connection that writes: batches counted, each stored once even where the answer to its commit was lost.

use std::collections::HashMap;

use futures::future::join_all;
use mulgil_postgres::Address;
use tokio_postgres::{Client, Error, Row, Statement};

use super::plan::{Step, plan};
use super::{PREAMBLE, connect, failed};
use crate::error::HistoryError;
use crate::write::Write;

const COUNT: &str = "UPDATE leader SET batch = batch + 1 WHERE epoch = $1 AND batch = $2 RETURNING batch";

/// The connection that writes.
pub(super) struct Writer {
    address: Address,
    /// `None` while it is away, or after a batch was broken off half way.
    connection: Option<Connection>,
    /// The epoch in which this server leads, once it does.
    epoch: Option<i64>,
    /// Batches of this epoch that are known to be stored.
    batches: i64,
}

struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

/// How a batch went.
enum Stored {
    Yes,
    /// The leader's row has not what was expected.
    NotCounted,
}

impl Writer {
    pub(super) fn new(address: Address, client: Client) -> Self {
        let connection = Some(Connection { client, statements: HashMap::new() });
        Self { address, connection, epoch: None, batches: 0 }
    }

    /// From now on this server leads, in this epoch.
    pub(super) fn lead(&mut self, epoch: i64) {
        (self.epoch, self.batches) = (Some(epoch), 0);
    }

    /// Stores a batch. After an error that passes, the same batch has to be given again: whether it was stored is found out then.
    pub(super) async fn commit(&mut self, writes: &[Write]) -> Result<(), HistoryError> {
        let Some(epoch) = self.epoch else { return Err(HistoryError::Fenced) };
        let steps = plan(writes)?;
        // Taken out: if this is broken off half way, the connection is closed, and with it its transaction undone.
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => connection,
            _ => Connection { client: connect(&self.address, PREAMBLE).await?, statements: HashMap::new() },
        };
        match connection.store(epoch, self.batches, &steps).await {
            Ok(Stored::Yes) => {}
            Ok(Stored::NotCounted) => connection.was_stored(epoch, self.batches + 1).await?,
            Err(error) => {
                // Undone by itself where the connection is gone.
                if connection.client.batch_execute("ROLLBACK").await.is_ok() {
                    self.connection = Some(connection);
                }
                return Err(error);
            }
        }
        self.batches += 1;
        self.connection = Some(connection);
        Ok(())
    }
}

impl Connection {
    async fn store(&mut self, epoch: i64, batches: i64, steps: &[Step]) -> Result<Stored, HistoryError> {
        self.prepare(COUNT).await?;
        for step in steps {
            self.prepare(step.sql).await?;
        }
        let begin = self.client.batch_execute("BEGIN");
        let count = async { self.client.query(self.statement(COUNT)?, &[&epoch, &batches]).await.map_err(failed) };
        let work = join_all(steps.iter().map(|step| self.take(step)));
        // Sent together, in this order; the answers come in this order too.
        let (begun, counted, done) = tokio::join!(biased; begin, count, work);
        begun.map_err(failed)?;
        if counted?.is_empty() {
            self.client.batch_execute("ROLLBACK").await.map_err(failed)?;
            return Ok(Stored::NotCounted);
        }
        // The first that failed: those after it only say that it did.
        for (step, rows) in steps.iter().zip(done) {
            step.check(&numbers(&rows.map_err(failed)?)?)?;
        }
        self.client.batch_execute("COMMIT").await.map_err(failed)?;
        Ok(Stored::Yes)
    }

    /// The batch was not counted: because it is stored already, and only the answer was lost, or because another server leads.
    async fn was_stored(&self, epoch: i64, batch: i64) -> Result<(), HistoryError> {
        let row = self.client.query_one("SELECT epoch, batch FROM leader", &[]).await.map_err(failed)?;
        let stored: (i64, i64) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        if stored == (epoch, batch) { Ok(()) } else { Err(HistoryError::Fenced) }
    }

    async fn prepare(&mut self, sql: &'static str) -> Result<(), HistoryError> {
        if !self.statements.contains_key(sql) {
            let statement = self.client.prepare(sql).await.map_err(failed)?;
            self.statements.insert(sql, statement);
        }
        Ok(())
    }

    fn statement(&self, sql: &'static str) -> Result<&Statement, HistoryError> {
        self.statements.get(sql).ok_or_else(|| HistoryError::Damaged("a statement was not prepared".to_owned()))
    }

    async fn take(&self, step: &Step) -> Result<Vec<Row>, Error> {
        match self.statements.get(step.sql) {
            Some(statement) => self.client.query(statement, &[&step.rows]).await,
            None => self.client.query(step.sql, &[&step.rows]).await,
        }
    }
}

fn numbers(rows: &[Row]) -> Result<Vec<i64>, HistoryError> {
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}
