//! A lake table that takes epochs as transactions: the rows of one epoch come in with one commit, which says so under the
//! pipeline's name (Delta's `txn` action). Parquet files of an epoch that was not committed are in no version of the table; Delta's vacuum
//! removes them.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_dataflow::batch::Batch;

use super::compaction::{NEIGHBOURS, compact};
use super::stage::Stage;
use super::table::{Commit, Epoch, Replace};
use super::writer::LakeWriter;
use crate::error::ConnectError;
use crate::sink::inserts;
use crate::transaction::{EpochVersion, Transaction};

/// Epochs of one lake table.
pub(super) struct LakeTransaction(pub(super) LakeWriter);

impl LakeTransaction {
    fn epoch(&self, pipeline: &str, number: u64) -> Epoch {
        Epoch { writer: format!("mulgil/{pipeline}/{}", self.0.schema.table), number }
    }
}

impl LakeTransaction {
    /// Puts small files together beside the stream, after so many commits. What fails is tried again after so many more.
    fn compact_if_due(&self, version: Option<u64>) {
        if !self.0.compacts || version.is_none_or(|version| !version.is_multiple_of(NEIGHBOURS as u64)) {
            return;
        }
        let writer = self.0.clone();
        tokio::spawn(async move {
            if let Err(error) = compact(&writer).await {
                tracing::warn!(table = %writer.table.name, %error, "small files were not put together");
            }
        });
    }
}

#[async_trait]
impl Transaction for LakeTransaction {
    async fn last_epoch(&self, pipeline: &str) -> Result<Option<u64>, ConnectError> {
        self.0.table.last_epoch(&self.0.schema, self.epoch(pipeline, 0).writer).await
    }

    async fn version(&self, pipeline: &str) -> Result<Option<EpochVersion>, ConnectError> {
        self.0.table.version_of(&self.0.schema, self.epoch(pipeline, 0).writer).await.map(Some)
    }

    async fn apply(
        &self,
        pipeline: &str,
        epoch: u64,
        mut rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let LakeWriter { table, schema, .. } = &self.0;
        let mut stage = Stage::new(table.clone(), &table.for_writing(schema).await?)?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                stage.write(self.0.conform(inserts(&schema.table, &batch)?, None)?).await?;
            }
        }
        let (adds, _) = stage.close().await?;
        let epoch = Some(self.epoch(pipeline, epoch));
        let version = table.commit(schema, Commit { adds, replace: Replace::Nothing, epoch }).await?;
        self.compact_if_due(version);
        Ok(())
    }
}
