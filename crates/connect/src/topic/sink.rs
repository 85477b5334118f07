//! Appends rows to a topic as JSON lines, batch by batch, over its partitions in turn. Rows are visible as soon as the log
//! acknowledges them: at least once.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;
use mulgil_log::{Appended, Record, Topic};

use super::TopicTable;
use crate::conform::Conform;
use crate::error::ConnectError;
use crate::format::records::RecordFormat;
use crate::sink::{Sink, SinkWriter, inserts};

/// Appends that may wait for their acknowledgement.
const APPENDS_PENDING_MAX: usize = 16;

#[async_trait]
impl Sink for TopicTable {
    fn accepts_changes(&self) -> bool {
        false
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(TopicWriter {
            topic: self.topic()?,
            format: self.format,
            conform: Conform::new(self.table.clone(), self.schema.clone()),
            turn: subtask,
            pending: VecDeque::new(),
        }))
    }
}

struct TopicWriter {
    topic: Topic,
    format: RecordFormat,
    conform: Conform,
    /// Whose turn it is among the partitions.
    turn: usize,
    pending: VecDeque<Appended>,
}

impl TopicWriter {
    fn records(&self, batch: &Batch) -> Result<Vec<Record>, ConnectError> {
        let rows = self.conform.rows(inserts(self.topic.name(), batch)?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let values = self.format.encode(&rows)?;
        Ok(values.into_iter().map(|value| Record { timestamp_ms, key: None, value }).collect())
    }
}

#[async_trait]
impl SinkWriter for TopicWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        let records = self.records(&batch)?;
        if records.is_empty() {
            return Ok(());
        }
        if self.pending.len() >= APPENDS_PENDING_MAX
            && let Some(oldest) = self.pending.pop_front()
        {
            oldest.await?;
        }
        let partition = u32::try_from(self.turn % self.topic.partitions().max(1) as usize).unwrap_or(0);
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
