//! Appends rows to a topic, batch by batch, over its partitions in turn. With checkpoints, rows go in epoch by epoch, exactly once
//! (see [`super::transaction`]); without, they are visible as soon as the log acknowledges them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;
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

    /// One record a row, in order, as of now.
    pub(super) fn records(&self, batch: &Batch) -> Result<Vec<Record>, ConnectError> {
        let rows = if self.format.has_changes() { &batch.rows } else { inserts(&self.table, batch)? };
        let rows = self.conform.rows(rows)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let values = self.format.encode(&rows, batch)?;
        Ok(values.into_iter().map(|value| Record { timestamp_ms, key: None, value }).collect())
    }
}

/// Whose turn it is among the partitions.
pub(super) fn partition_of(topic: &Topic, turn: usize) -> u32 {
    u32::try_from(turn % topic.partitions().max(1) as usize).unwrap_or(0)
}

#[async_trait]
impl SinkWriter for TopicWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let records = self.encoder.records(&batch)?;
        if records.is_empty() {
            return Ok(());
        }
        if self.pending.len() >= APPENDS_PENDING_MAX
            && let Some(oldest) = self.pending.pop_front()
        {
            oldest.await?;
        }
        let partition = partition_of(&self.topic, self.turn);
        self.turn = self.turn.wrapping_add(1);
        self.pending.push_back(self.topic.send(partition, &records).await?);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        while let Some(appended) = self.pending.pop_front() {
            appended.await?;
        }
        Ok(())
    }
}
