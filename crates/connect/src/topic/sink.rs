//! Appends rows to a topic, batch by batch, over its partitions in turn; changes by the
//! row that they are of. With checkpoints, rows go in epoch by epoch, exactly once
//! (see [`super::transaction`]); without, they are visible as soon as the log acknowledges them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::key::{KEY_GROUP_COUNT, KeyEncoder, key_group, subtask_of};
use mulgil_log::{Appended, Record, Topic};

use super::TopicTable;
use super::transaction::TopicTransaction;
use crate::conform::Conform;
use crate::error::ConnectError;
use crate::format::records::RecordFormat;
use crate::sink::{Sink, SinkWriter, inserts};
use crate::transaction::Transaction;

/// Appends that may wait for their acknowledgement.
const APPENDS_PENDING_MAX: usize = 16;

#[async_trait]
impl Sink for TopicTable {
    fn accepts_changes(&self) -> bool {
        self.format.has_changes()
    }

    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        Some(Arc::new(TopicTransaction(self.clone())))
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(TopicWriter {
            topic: self.topic()?,
            encoder: Encoder::new(self),
            turn: subtask,
            pending: VecDeque::new(),
        }))
    }
}

struct TopicWriter {
    topic: Topic,
    encoder: Encoder,
    /// Whose turn it is among the partitions.
    turn: usize,
    pending: VecDeque<Appended>,
}

/// Makes records of the rows of one table.
pub(super) struct Encoder {
    table: String,
    format: RecordFormat,
    conform: Conform,
}

impl Encoder {
    /// For the columns of `table`.
    pub(super) fn new(table: &TopicTable) -> Self {
        let conform = Conform::new(table.table.clone(), table.schema.clone());
        Self { table: table.table.clone(), format: table.format.clone(), conform }
    }

    /// One record a row, as of now, in order in each partition. New rows go to the partition whose `turn` it is; the changes of one
    /// row always to the same.
    pub(super) fn records(
        &self,
        batch: &Batch,
        partitions: u32,
        turn: &mut usize,
    ) -> Result<Vec<(u32, Vec<Record>)>, ConnectError> {
        let rows = if self.format.has_changes() { &batch.rows } else { inserts(&self.table, batch)? };
        let rows = self.conform.rows(rows)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let values = self.format.encode(&rows, batch)?;
        let records = values.into_iter().map(|value| Record { timestamp_ms, key: None, value });
        let count = partitions.max(1) as usize;
        let mut spread: Vec<Vec<Record>> = vec![Vec::new(); count];
        let places: Vec<usize> = if self.format.has_changes() && count > 1 {
            let types: Vec<_> = rows.schema().fields().iter().map(|field| field.data_type().clone()).collect();
            let keys = KeyEncoder::new(types)?.encode(rows.columns(), rows.num_rows())?;
            keys.hashes().iter().map(|hash| subtask_of(key_group(*hash), count.min(KEY_GROUP_COUNT))).collect()
        } else {
            let place = *turn % count;
            *turn = turn.wrapping_add(1);
            vec![place; rows.num_rows()]
        };
        for (record, place) in records.zip(places) {
            if let Some(records) = spread.get_mut(place) {
                records.push(record);
            }
        }
        Ok((0..).zip(spread).filter(|(_, records)| !records.is_empty()).collect())
    }
}

#[async_trait]
impl SinkWriter for TopicWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        for (partition, records) in self.encoder.records(&batch, self.topic.partitions(), &mut self.turn)? {
            if self.pending.len() >= APPENDS_PENDING_MAX
                && let Some(oldest) = self.pending.pop_front()
            {
                oldest.await?;
            }
            self.pending.push_back(self.topic.send(partition, &records).await?);
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        while let Some(appended) = self.pending.pop_front() {
            appended.await?;
        }
        Ok(())
    }
}
