//! What a connector is to the registry: the four faces of a table. A connector overrides those that its system has.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use mulgil_dataflow::batch::Batch;

use crate::conform::Conform;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::refusal;
use crate::provider::SourceProvider;
use crate::sink::Sink;
use crate::source::Source;
use crate::writer::{Append, TableWriter, WriteSummary};

/// A kind of outside system.
///
/// # Contract
/// Every method refuses a definition with unknown options. `check`, `source`, `sink` and `writer` touch no system: that
/// begins with the first read or write.
#[async_trait]
pub(crate) trait Connector: Send + Sync {
    /// The value of the option `connector`.
    fn name(&self) -> &'static str;

    /// What the system says about a row beside the row: the keys that `METADATA FROM` may name.
    fn metadata(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the definition can be served.
    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError>;

    /// The table as an input.
    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        self.check(table)?;
        Err(refusal(table, format!("a table of connector '{}' can only be written", self.name())))
    }

    /// The table as it was at a version, as an input of one partition that ends.
    fn source_at(&self, table: &TableDefinition, version: u64) -> Result<Arc<dyn Source>, ConnectError> {
        self.check(table)?;
        Err(refusal(table, format!("connector '{}' keeps no version {version} of it", self.name())))
    }

    /// The table for batch reads.
    async fn provider(&self, table: &TableDefinition) -> Result<Arc<dyn TableProvider>, ConnectError> {
        Ok(Arc::new(SourceProvider::new(self.source(table)?)))
    }

    /// The table as the end of a stream.
    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError>;

    /// The table as the target of a batch write.
    fn writer(&self, table: &TableDefinition) -> Result<Arc<dyn TableWriter>, ConnectError> {
        Ok(Arc::new(AppendOnly::new(table, self.sink(table)?)))
    }
}

/// Batch writes through a sink: they can only append. Systems without transactions show rows as they come.
pub(crate) struct AppendOnly {
    definition: TableDefinition,
    sink: Arc<dyn Sink>,
    conform: Conform,
    /// Why an append that is tried again would double rows, where it would.
    doubles: Option<&'static str>,
}

impl AppendOnly {
    /// Appends through `sink`.
    pub(crate) fn new(table: &TableDefinition, sink: Arc<dyn Sink>) -> Self {
        let conform = Conform::new(table.name.to_string(), table.writable_schema());
        Self { definition: table.clone(), sink, conform, doubles: None }
    }

    /// Refuses appends that are to be there once.
    pub(crate) fn doubling(self, reason: &'static str) -> Self {
        Self { doubles: Some(reason), ..self }
    }

    fn refuse(&self) -> ConnectError {
        refusal(
            &self.definition,
            "it can only be appended to; replacing needs a lake table ('connector' = 'delta') or files",
        )
    }
}

#[async_trait]
impl TableWriter for AppendOnly {
    async fn replace_partition(
        &self,
        _partition: &[(String, String)],
        _rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        Err(self.refuse())
    }

    async fn replace_table(&self, _rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        Err(self.refuse())
    }

    async fn merge(&self, _key: &[String], _rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        Err(refusal(
            &self.definition,
            "its rows cannot be merged by key; that needs a lake table ('connector' = 'delta') or PostgreSQL",
        ))
    }

    async fn append_once(
        &self,
        append: &Append,
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        if let Some(reason) = self.doubles {
            return Err(refusal(&self.definition, reason));
        }
        // A system without transactions keeps nothing, or takes the same row twice as one.
        let Some(transaction) = self.sink.transaction() else { return self.append(rows).await };
        if transaction.last_epoch(&append.name).await?.is_some() {
            return Ok(WriteSummary { is_repeated: true, ..WriteSummary::default() });
        }
        let mut summary = WriteSummary::default();
        let rows = rows.map_err(ConnectError::from).map(|batch| {
            let batch = self.conform.rows(&batch?)?;
            summary.rows += batch.num_rows() as u64;
            summary.bytes += batch.get_array_memory_size() as u64;
            Ok(Batch::append(batch))
        });
        transaction.apply(&append.name, 1, rows.boxed()).await?;
        Ok(summary)
    }

    async fn append(&self, mut rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        let mut summary = WriteSummary::default();
        let mut writer = self.sink.writer(0).await?;
        while let Some(batch) = rows.try_next().await? {
            let batch = self.conform.rows(&batch)?;
            summary.rows += batch.num_rows() as u64;
            summary.bytes += batch.get_array_memory_size() as u64;
            writer.write(Batch::append(batch)).await?;
        }
        writer.commit().await?;
        Ok(summary)
    }
}
