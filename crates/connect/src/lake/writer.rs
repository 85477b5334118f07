//! Writes a lake table: files first, side by side with other writers, then one commit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use mulgil_dataflow::batch::Batch;

use super::schema::LakeSchema;
use super::stage::Stage;
use super::table::{Appended, Commit, LakeTable, Replace};
use super::transaction::LakeTransaction;
use crate::conform::Conform;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::partition::{PartitionColumns, PartitionValues};
use crate::sink::{Sink, SinkWriter, inserts};
use crate::transaction::Transaction;
use crate::writer::{Append, TableWriter, WriteSummary};

/// Writes one lake table.
#[derive(Clone)]
pub(super) struct LakeWriter {
    pub(super) table: LakeTable,
    pub(super) schema: Arc<LakeSchema>,
    conform: Conform,
    pub(super) partitions: PartitionColumns,
    /// Whether small files of a stream are put together.
    pub(super) compacts: bool,
}

impl LakeWriter {
    /// For the table that `definition` describes.
    pub(super) fn new(
        table: LakeTable,
        schema: Arc<LakeSchema>,
        definition: &TableDefinition,
        compacts: bool,
    ) -> Result<Self, ConnectError> {
        let conform = Conform::new(definition.name.to_string(), Arc::clone(&schema.stored));
        Ok(Self { table, schema, conform, partitions: PartitionColumns::new(definition)?, compacts })
    }

    async fn write(&self, mut rows: SendableRecordBatchStream, replace: Replace) -> Result<WriteSummary, ConnectError> {
        let open = self.table.for_writing(&self.schema).await?;
        let mut stage = Stage::new(self.table.clone(), &open)?;
        let partition = match &replace {
            Replace::Partition(values) => Some(values.clone()),
            _ => None,
        };
        while let Some(batch) = rows.try_next().await? {
            if batch.num_rows() > 0 {
                stage.write(self.conform(&batch, partition.as_ref())?).await?;
            }
        }
        self.commit(stage, replace).await
    }

    pub(super) fn conform(
        &self,
        rows: &RecordBatch,
        partition: Option<&PartitionValues>,
    ) -> Result<RecordBatch, ConnectError> {
        let rows = self.conform.rows(rows)?;
        if let Some(values) = partition {
            self.partitions.check(&rows, values)?;
        }
        Ok(rows)
    }

    async fn commit(&self, stage: Stage, replace: Replace) -> Result<WriteSummary, ConnectError> {
        let (adds, summary) = stage.close().await?;
        let version = self.table.commit(&self.schema, Commit { adds, replace, epoch: None }).await?;
        Ok(WriteSummary { version, ..summary })
    }

    async fn append_in_name(
        &self,
        append: &Append,
        mut rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        let open = self.table.for_writing(&self.schema).await?;
        let known = self.table.last_epoch(&self.schema, Appended::writer(&append.name)).await?;
        let mut stage = Stage::new(self.table.clone(), &open)?.in_name_of(&append.name);
        while let Some(batch) = rows.try_next().await? {
            if batch.num_rows() > 0 {
                stage.write(self.conform(&batch, None)?).await?;
            }
        }
        let Append { name, attempt } = append.clone();
        self.commit(stage, Replace::Appended(Appended { name, attempt, known })).await
    }
}

#[async_trait]
impl TableWriter for LakeWriter {
    async fn replace_partition(
        &self,
        partition: &[(String, String)],
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        let values = self.partitions.parse(partition)?;
        self.write(rows, Replace::Partition(values)).await
    }

    async fn replace_table(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        self.write(rows, Replace::Table).await
    }

    async fn merge(&self, key: &[String], rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        self.merge_by(key, rows).await
    }

    async fn append_once(
        &self,
        append: &Append,
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        self.append_in_name(append, rows).await
    }

    async fn append(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        self.write(rows, Replace::Nothing).await
    }
}

#[async_trait]
impl Sink for LakeWriter {
    fn accepts_changes(&self) -> bool {
        false
    }

    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        Some(Arc::new(LakeTransaction(self.clone())))
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(LakeSinkWriter { writer: self.clone(), stage: None }))
    }
}

/// Appends what came between two commits as one version of the table, where no checkpoints are made.
struct LakeSinkWriter {
    writer: LakeWriter,
    stage: Option<Stage>,
}

#[async_trait]
impl SinkWriter for LakeSinkWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let rows = self.writer.conform(inserts(&self.writer.schema.table, &batch)?, None)?;
        let mut stage = match self.stage.take() {
            Some(stage) => stage,
            None => {
                let open = self.writer.table.for_writing(&self.writer.schema).await?;
                Stage::new(self.writer.table.clone(), &open)?
            }
        };
        stage.write(rows).await?;
        self.stage = Some(stage);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        match self.stage.take() {
            Some(stage) => self.writer.commit(stage, Replace::Nothing).await.map(|_| ()),
            None => Ok(()),
        }
    }
}
