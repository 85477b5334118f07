//! A lake table that takes epochs as transactions: the rows of one epoch come in with one commit, which says so under the
//! pipeline's name (Delta's `txn` action). Parquet files of an epoch that was not committed are in no version of the table; Delta's vacuum
//! removes them.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_dataflow::batch::Batch;

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
        table.commit(schema, Commit { adds, replace: Replace::Nothing, epoch }).await.map(|_| ())
    }
}
