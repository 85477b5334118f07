//! A lake table as a bounded input: its rows as of the moment it is opened, one partition; a position counts rows. Or what
//! changes in it since a version: see [`super::changes`].

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;

use super::changes::{ChangesReader, Since};
use super::provider::provider;
use super::schema::LakeSchema;
use super::table::LakeTable;
use crate::conform::Conform;
use crate::error::ConnectError;
use crate::source::{PartitionReader, Position, Read, Source};

/// A lake table that is read.
pub(super) struct LakeSource {
    table: LakeTable,
    schema: Arc<LakeSchema>,
    /// From where on changes are read; `None` reads it once.
    since: Option<Since>,
}

impl LakeSource {
    /// The rows of `table`.
    pub(super) fn new(table: LakeTable, schema: Arc<LakeSchema>, since: Option<Since>) -> Self {
        Self { table, schema, since }
    }
}

#[async_trait]
impl Source for LakeSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema.declared)
    }

    fn is_bounded(&self) -> bool {
        self.since.is_none()
    }

    fn has_changes(&self) -> bool {
        self.since.is_some_and(|since| since.takes_back)
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(vec![self.table.path.display().to_string()])
    }

    async fn open(
        &self,
        _partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        if let Some(since) = self.since {
            let table = (self.table.clone(), Arc::clone(&self.schema));
            return Ok(Box::new(ChangesReader::new(table, since, from, projection, follow)));
        }
        // One partition, so that rows come in the same order each time and a position means something.
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let wanted = Arc::new(self.schema.declared.project(projection)?);
        let columns: Vec<&str> = wanted.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = session.read_table(provider(&self.table, &self.schema).await?)?.select_columns(&columns)?;
        let rows = rows.execute_stream().await?;
        Ok(Box::new(LakeReader { rows, conform: Conform::new(&*self.table.name, wanted), position: 0, from }))
    }

    async fn state(&self) -> Result<Option<String>, ConnectError> {
        let latest = self.table.latest(&self.schema).await?;
        Ok(Some(latest.map_or_else(String::new, |latest| format!("version {}", latest.snapshot.version()))))
    }
}

struct LakeReader {
    rows: SendableRecordBatchStream,
    conform: Conform,
    position: Position,
    /// Rows before this one have been read before.
    from: Position,
}

#[async_trait]
impl PartitionReader for LakeReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        while let Some(batch) = self.rows.try_next().await? {
            let rows = batch.num_rows() as u64;
            let known = self.from.saturating_sub(self.position).min(rows);
            self.position += rows;
            if known < rows {
                let fresh =
                    usize::try_from(known).map_or(batch.clone(), |known| batch.slice(known, batch.num_rows() - known));
                return Ok(Read::Rows(self.conform.rows(&fresh)?, self.position));
            }
        }
        Ok(Read::End)
    }
}
