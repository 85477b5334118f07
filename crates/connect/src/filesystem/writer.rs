//! Writes tables of files: in batch with [`FilesWriter`], from streams with [`FileSink`] where the table is one file.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use mulgil_dataflow::batch::Batch;

use super::Files;
use super::target::Stage;
use crate::conform::Conform;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::partition::{PartitionColumns, PartitionValues};
use crate::sink::{Sink, SinkWriter, inserts};
use crate::writer::{Append, TableWriter, WriteSummary};

/// Writes a table of files, a call at a time.
#[derive(Clone)]
pub(crate) struct FilesWriter {
    pub(super) files: Files,
    conform: Conform,
    partitions: PartitionColumns,
}

impl FilesWriter {
    /// For the table that `definition` describes.
    pub(crate) fn new(files: Files, definition: &TableDefinition) -> Result<Self, ConnectError> {
        let conform = Conform::new(definition.name.to_string(), definition.physical_schema());
        Ok(Self { files, conform, partitions: PartitionColumns::new(definition)? })
    }

    /// Writes rows into files that are not visible yet; of one partition only, if it is given.
    async fn stage(
        &self,
        mut rows: SendableRecordBatchStream,
        partition: Option<&PartitionValues>,
    ) -> Result<Stage, ConnectError> {
        let files = self.files.clone();
        let mut stage = blocking(move || Stage::new(&files)).await?;
        while let Some(batch) = rows.try_next().await? {
            let parts = self.parts(&batch, partition)?;
            stage = blocking(move || write_parts(stage, parts)).await?;
        }
        Ok(stage)
    }

    /// The rows as they are written: by partition, without the partition columns.
    pub(super) fn parts(
        &self,
        rows: &RecordBatch,
        partition: Option<&PartitionValues>,
    ) -> Result<Vec<(PartitionValues, RecordBatch)>, ConnectError> {
        let rows = self.conform.rows(rows)?;
        if let Some(values) = partition {
            self.partitions.check(&rows, values)?;
        }
        let schema = self.conform.schema();
        let kept = schema.fields().iter().enumerate();
        let kept = kept.filter(|(_, field)| !self.files.partitioned_by.contains(field.name()));
        let kept: Vec<usize> = kept.map(|(index, _)| index).collect();
        let parts = self.partitions.split(&rows)?.into_iter();
        parts.map(|(values, rows)| Ok((values, rows.project(&kept)?))).collect()
    }
}

fn write_parts(mut stage: Stage, parts: Vec<(PartitionValues, RecordBatch)>) -> Result<Stage, ConnectError> {
    for (values, rows) in parts {
        stage.write(values, &rows)?;
    }
    Ok(stage)
}

/// Runs file operations where they hold up no other task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ConnectError> + Send + 'static,
) -> Result<T, ConnectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

#[async_trait]
impl TableWriter for FilesWriter {
    async fn replace_partition(
        &self,
        partition: &[(String, String)],
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        let values = self.partitions.parse(partition)?;
        let stage = self.stage(rows, Some(&values)).await?;
        blocking(move || stage.replace_partition(&values)).await
    }

    async fn replace_table(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        let stage = self.stage(rows, None).await?;
        blocking(move || stage.replace_table()).await
    }

    async fn merge(&self, _key: &[String], _rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        Err(self.files.refusal(
            "rows of files cannot be merged by key; that needs a lake table ('connector' = 'delta') or PostgreSQL",
        ))
    }

    async fn append_once(
        &self,
        append: &Append,
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError> {
        let stage = self.stage(rows, None).await?.in_name_of(&append.name);
        blocking(move || stage.append_again()).await
    }

    async fn append(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError> {
        let stage = self.stage(rows, None).await?;
        blocking(move || stage.append()).await
    }
}

/// A table that is one file, at the end of a stream: each commit puts a longer one in its place.
pub(crate) struct FileSink(FilesWriter);

impl FileSink {
    /// For the table that `writer` writes.
    pub(crate) fn new(writer: FilesWriter) -> Self {
        Self(writer)
    }
}

#[async_trait]
impl Sink for FileSink {
    fn accepts_changes(&self) -> bool {
        false
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(FileSinkWriter { writer: self.0.clone(), stage: None }))
    }
}

struct FileSinkWriter {
    writer: FilesWriter,
    stage: Option<Stage>,
}

#[async_trait]
impl SinkWriter for FileSinkWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let rows = inserts(&self.writer.files.table, &batch)?;
        let parts = self.writer.parts(rows, None)?;
        let files = self.writer.files.clone();
        let stage = self.stage.take();
        let stage = blocking(move || write_parts(stage.map_or_else(|| Stage::new(&files), Ok)?, parts)).await?;
        self.stage = Some(stage);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        if let Some(stage) = self.stage.take() {
            blocking(move || stage.append()).await?;
        }
        Ok(())
    }
}
