//! A topic that takes epochs as transactions: the log appends each as a whole, together with a note of it.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_dataflow::batch::Batch;

use super::TopicTable;
use super::sink::Encoder;
use crate::error::ConnectError;
use crate::transaction::Transaction;

/// Epochs of a table over a topic.
pub(super) struct TopicTransaction(pub(super) TopicTable);

impl TopicTransaction {
    /// By which name the topic knows the epochs of this table: a pipeline may write one topic by two tables.
    fn writer(&self, pipeline: &str) -> String {
        format!("{pipeline}/{}", self.0.table)
    }
}

#[async_trait]
impl Transaction for TopicTransaction {
    async fn last_epoch(&self, pipeline: &str) -> Result<Option<u64>, ConnectError> {
        Ok(self.0.topic()?.last_epoch(&self.writer(pipeline)))
    }

    async fn apply(
        &self,
        pipeline: &str,
        epoch: u64,
        mut rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let topic = self.0.topic()?;
        let encoder = Encoder::new(&self.0);
        let mut append = topic.begin_epoch(&self.writer(pipeline), epoch).await?;
        // Where an epoch begins among the partitions does not matter, so long as all get their share.
        let mut turn = usize::try_from(epoch).unwrap_or(0);
        while let Some(batch) = rows.next().await {
            for (partition, records) in encoder.records(&batch?, topic.partitions(), &mut turn)? {
                append.append(partition, &records).await?;
            }
        }
        Ok(append.commit().await?)
    }
}
