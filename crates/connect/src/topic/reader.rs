//! Follows one partition: waits for records, decodes them off tokio's threads, one batch ahead of its caller.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;
use mulgil_log::StartAt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::TopicTable;
use super::decode::Cursor;
use crate::error::ConnectError;
use crate::source::{BEGUN_AT_0, PartitionReader, Position, Read};

/// How long records are gathered once one has come: a batch costs far more than a row.
const GATHER: Duration = Duration::from_millis(2);

/// A partition being read.
pub(super) struct TopicReader {
    /// The reading and decoding that is under way. It is kept here, and not in `next`, which may be dropped.
    work: Option<JoinHandle<Worked>>,
    /// The cursor, while no work is under way.
    cursor: Option<Box<Cursor>>,
    high: watch::Receiver<u64>,
    skipped_rows: u64,
    /// Where reading has begun, to be told before anything is read: a restart does not decide again what *latest* means.
    beginning: Option<(RecordBatch, Position)>,
}

type Worked = (Box<Cursor>, Result<Option<(Batch, Position)>, ConnectError>);

impl TopicReader {
    /// Opens a partition. Without `follow` it ends where the partition ends now.
    pub(super) fn open(
        table: &TopicTable,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Self, ConnectError> {
        let topic = table.topic()?;
        // A number that is no partition's is refused by the log, with the numbers there are.
        let partition = u32::try_from(partition).unwrap_or(u32::MAX);
        let start = match from {
            0 => table.start,
            BEGUN_AT_0 => StartAt::Offset(0),
            from => StartAt::Offset(from),
        };
        let high = topic.watch(partition)?;
        let end = if follow { None } else { Some(topic.offsets(partition)?.end) };
        let reader = topic.reader(partition, start)?;
        let begins = from == 0 && table.start != StartAt::Earliest;
        let position = if reader.offset() == 0 { BEGUN_AT_0 } else { reader.offset() };
        let no_rows = RecordBatch::new_empty(Arc::new(table.schema.project(projection)?));
        let cursor = Cursor::new(table, partition, reader, end, projection)?;
        let beginning = begins.then_some((no_rows, position));
        Ok(Self { work: None, cursor: Some(Box::new(cursor)), high, skipped_rows: 0, beginning })
    }

    /// Starts to read on, unless that is under way.
    fn start_work(&mut self) {
        if let Some(mut cursor) = self.cursor.take() {
            self.work = Some(tokio::task::spawn_blocking(move || {
                let rows = cursor.read();
                (cursor, rows)
            }));
        }
    }

    /// Waits for more records than `position`.
    async fn wait_beyond(&mut self, position: Position) {
        if self.high.wait_for(|high| *high > position).await.is_err() {
            // The log is closed: nothing will come any more, and the engine will be told to stop by others.
            std::future::pending().await
        }
    }
}

#[async_trait]
impl PartitionReader for TopicReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        if let Some((no_rows, position)) = self.beginning.take() {
            return Ok(Read::Rows(no_rows, position));
        }
        loop {
            self.start_work();
            let worked = match &mut self.work {
                Some(work) => work.await,
                None => return Ok(Read::End),
            };
            self.work = None;
            let (cursor, rows) = worked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            self.skipped_rows = cursor.skipped_rows;
            let (position, is_at_end) = (cursor.position(), cursor.is_at_end());
            self.cursor = Some(cursor);
            if let Some((batch, position)) = rows? {
                self.start_work();
                return Ok(Read::of(batch, position));
            }
            if is_at_end {
                return Ok(Read::End);
            }
            self.wait_beyond(position).await;
            tokio::time::sleep(GATHER).await;
        }
    }

    fn skipped_rows(&self) -> u64 {
        self.skipped_rows
    }
}
