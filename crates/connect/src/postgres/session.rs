//! A connection over which rows are written, and its transactions. A session in which something went wrong is dropped, and the
//! database undoes what was not committed.

use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use mulgil_dataflow::batch::Batch;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::PostgresTable;
use super::encode::Encoder;
use super::target::Target;
use crate::conform::Conform;
use crate::error::ConnectError;

/// How much is sent at once, about.
const CHUNK_BYTES: usize = 256 << 10;

/// See the module.
pub(super) struct Session {
    table: Arc<PostgresTable>,
    target: Target,
    client: Client,
    way: Way,
}

/// What goes into the table how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Rows are added.
    Add,
    /// By key: rows are added, update or are deleted.
    Merge,
}

impl Session {
    pub(super) async fn open(table: Arc<PostgresTable>, way: Way) -> Result<Self, ConnectError> {
        let client = table.database.connect_for_writing().await?;
        let session = Self { target: Target::new(&table), table, client, way };
        if way == Way::Merge {
            session.run(&session.target.make_changes()).await?;
        }
        Ok(session)
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) async fn begin(&mut self) -> Result<(), ConnectError> {
        self.run("BEGIN ISOLATION LEVEL READ COMMITTED").await
    }

    /// When this has failed, nobody knows whether the rows are in, unless something that is in with them says so.
    pub(super) async fn commit(&mut self) -> Result<(), ConnectError> {
        self.run("COMMIT").await
    }

    pub(super) async fn run(&self, statement: &str) -> Result<(), ConnectError> {
        let done = self.table.database.patiently(self.client.batch_execute(statement)).await;
        done.map_err(|error| self.failed(&error))
    }

    /// The rows that a statement with parameters gives.
    pub(super) async fn ask(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, ConnectError> {
        let asked = self.table.database.patiently(self.client.query_typed(statement, parameters)).await;
        asked.map_err(|error| self.failed(&error))
    }

    /// Puts rows into the table, within the transaction that is open. Gives their number.
    pub(super) async fn load(
        &mut self,
        mut rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<u64, ConnectError> {
        let is_merge = self.way == Way::Merge;
        let statement = if is_merge { self.target.copy_changes() } else { self.target.copy() };
        let database = &self.table.database;
        let copy = database.patiently(self.client.copy_in::<_, Bytes>(&statement)).await;
        let mut copy = pin!(copy.map_err(|error| self.failed(&error))?);
        let conform = Conform::new(self.table.name.clone(), Arc::clone(&self.table.writable));
        let mut encoder = Encoder::new(conform, is_merge);
        let mut text = BytesMut::new();
        let mut has_updates = false;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            has_updates |= batch.kinds.is_some();
            encoder.encode(&batch, &mut text)?;
            while text.len() >= CHUNK_BYTES {
                let chunk = text.split_to(CHUNK_BYTES).freeze();
                database.patiently(copy.send(chunk)).await.map_err(|error| self.failed(&error))?;
            }
        }
        if !text.is_empty() {
            database.patiently(copy.send(text.freeze())).await.map_err(|error| self.failed(&error))?;
        }
        database.patiently(copy.finish()).await.map_err(|error| self.failed(&error))?;
        if is_merge {
            let merge = if has_updates { self.target.merge_changes() } else { self.target.merge_rows() };
            self.run(&merge).await?;
        }
        Ok(encoder.row_count().unsigned_abs())
    }

    fn failed(&self, error: &tokio_postgres::Error) -> ConnectError {
        /// Nothing says that the columns of the declared key are unique.
        const NO_SUCH_CONSTRAINT: &str = "42P10";
        let key = &self.table.primary_key;
        if error.code().is_some_and(|code| code.code() == NO_SUCH_CONSTRAINT) && !key.is_empty() {
            return self.table.database.refusal(format!(
                "rows are merged by key ({key}), but in {place} nothing makes these columns unique; say there ALTER TABLE {name} ADD \
                 PRIMARY KEY ({key})",
                key = key.join(", "),
                place = self.table.database.place(),
                name = self.table.quoted_name,
            ));
        }
        self.table.database.failed("write to", error)
    }
}
