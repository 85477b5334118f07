//! A table of PostgreSQL as a bounded input: its rows as of the moment it is opened, one partition; a position counts rows.

use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::StreamExt;
use tokio_postgres::{Client, RowStream};

use super::PostgresTable;
use super::cells::RowBuilder;
use super::lookup::{Parameter, PostgresLookup};
use crate::error::ConnectError;
use crate::lookup::Lookup;
use crate::source::{PartitionReader, Position, Read, Source};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// A table, read once or looked up.
pub(super) struct PostgresSource {
    table: PostgresTable,
}

impl PostgresSource {
    pub(super) fn new(table: PostgresTable) -> Self {
        Self { table }
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(vec![format!("{} {}", self.table.database.place(), self.table.quoted_name)])
    }

    async fn open(
        &self,
        _partition: usize,
        from: Position,
        projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        let client = self.table.database.connect().await?;
        let statement = self.table.select(projection)?;
        let rows = client.query_typed_raw(&statement, Vec::<Parameter>::new()).await;
        let rows = Box::pin(rows.map_err(|error| self.table.database.failed("read from", &error))?);
        let builder = RowBuilder::new(Arc::new(self.table.schema.project(projection)?));
        let table = self.table.clone();
        Ok(Box::new(PostgresReader { table, _client: client, rows: Some(rows), builder, position: 0, from }))
    }

    fn lookup(&self, keys: &[usize], projection: &[usize]) -> Option<Result<Arc<dyn Lookup>, ConnectError>> {
        let lookup = PostgresLookup::new(self.table.clone(), keys, projection);
        Some(lookup.map(|lookup| Arc::new(lookup) as Arc<dyn Lookup>))
    }
}

struct PostgresReader {
    table: PostgresTable,
    /// Its connection lives as long.
    _client: Client,
    /// `None` behind the last row.
    rows: Option<Pin<Box<RowStream>>>,
    /// Rows that have come and were not given out yet: what is here outlives a dropped `next`.
    builder: RowBuilder,
    position: Position,
    /// Rows before this one have been read before.
    from: Position,
}

impl PostgresReader {
    fn give_out(&mut self) -> Result<Read, ConnectError> {
        let rows = self.builder.finish().map_err(|reason| self.table.database.refusal(reason))?;
        Ok(Read::Rows(rows, self.position))
    }
}

#[async_trait]
impl PartitionReader for PostgresReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        loop {
            if self.builder.row_count() >= BATCH_ROWS {
                return self.give_out();
            }
            let Some(rows) = &mut self.rows else { return Ok(Read::End) };
            match rows.next().await {
                Some(row) => {
                    let row = row.map_err(|error| self.table.database.failed("read from", &error))?;
                    self.position += 1;
                    if self.position > self.from {
                        self.builder.push(&row).map_err(|reason| self.table.database.refusal(reason))?;
                    }
                }
                None => {
                    self.rows = None;
                    if self.builder.row_count() > 0 {
                        return self.give_out();
                    }
                }
            }
        }
    }
}
