//! Records to rows: reads frames of one partition and decodes a batch of records at once.

use std::sync::Arc;

use mulgil_dataflow::batch::Batch;
use mulgil_log::{Frame, PartitionReader};

use super::TopicTable;
use crate::bad_rows::{BadRow, BadRows};
use crate::error::ConnectError;
use crate::format::records::RecordDecoder;
use crate::source::Position;

/// Rows of a batch, about.
const BATCH_ROWS: usize = 8192;
/// Bytes of the first read, before the size of records is known.
const FIRST_READ_BYTES: usize = 1 << 20;
/// Bounds of a read: not too small to be worth it, not so large that memory notices.
const READ_BYTES: std::ops::RangeInclusive<usize> = (64 << 10)..=(8 << 20);

/// Reads one partition, a batch at a time.
pub(super) struct Cursor {
    topic: String,
    partition: u32,
    reader: PartitionReader,
    /// Records from here on are not wanted.
    end: Option<u64>,
    read_bytes: usize,
    decoder: RecordDecoder,
    bad_rows: BadRows,
    /// Records passed over because they could not be decoded.
    pub(super) skipped_rows: u64,
}

impl Cursor {
    /// Reads on with `reader`, up to `end` if there is one.
    pub(super) fn new(
        table: &TopicTable,
        partition: u32,
        reader: PartitionReader,
        end: Option<u64>,
        projection: &[usize],
    ) -> Result<Self, ConnectError> {
        let schema = Arc::new(table.schema.project(projection)?);
        let decoder = RecordDecoder::new(&table.format, &table.schema, schema)?;
        Ok(Self {
            topic: table.topic.clone(),
            partition,
            reader,
            end,
            read_bytes: FIRST_READ_BYTES,
            decoder,
            bad_rows: table.bad_rows.clone(),
            skipped_rows: 0,
        })
    }

    /// The offset of the record that comes next.
    pub(super) fn position(&self) -> Position {
        self.reader.offset()
    }

    /// Whether all that is wanted has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.position() >= end)
    }

    /// The next rows, `None` if none are there now. Blocks on files.
    pub(super) fn read(&mut self) -> Result<Option<(Batch, Position)>, ConnectError> {
        if self.is_at_end() {
            return Ok(None);
        }
        let frames = self.reader.read(self.read_bytes)?;
        let end = self.end.unwrap_or(u64::MAX);
        let records = || frames.iter().flat_map(Frame::records).take_while(|record| record.offset < end);
        let values: Vec<&[u8]> = records().map(|record| record.value).collect();
        if values.is_empty() {
            return Ok(None);
        }
        self.adapt_read_size(&values);
        let decoded = self.decoder.decode(&values)?;
        let bad_row = |(index, reason): &(usize, String)| {
            let offset = records().nth(*index).map_or(0, |record| record.offset);
            let place = format!("topic {}, partition {}, offset {offset}", self.topic, self.partition);
            BadRow { place, reason: reason.clone(), raw: values.get(*index).map(|value| value.to_vec()) }
        };
        if self.bad_rows.are_fatal()
            && let Some(first) = decoded.bad.first()
        {
            self.bad_rows.show(bad_row(first));
            let offset = records().nth(first.0).map_or(0, |record| record.offset);
            let (topic, partition, reason) = (self.topic.clone(), self.partition, first.1.clone());
            return Err(ConnectError::Record { topic, partition, offset, reason });
        }
        let bad: Vec<BadRow> = decoded.bad.iter().map(bad_row).collect();
        self.bad_rows.put_aside(&bad)?;
        self.skipped_rows += bad.len() as u64;
        Ok(Some((Batch { rows: decoded.rows, kinds: decoded.kinds }, self.position().min(end))))
    }

    /// Lets the next read bring about as many records as a batch has rows.
    fn adapt_read_size(&mut self, values: &[&[u8]]) {
        /// What a record takes in a frame beside its value, about.
        const OVERHEAD_BYTES: usize = 16;
        let bytes: usize = values.iter().map(|value| value.len() + OVERHEAD_BYTES).sum();
        let wanted = bytes.saturating_mul(BATCH_ROWS) / values.len().max(1);
        self.read_bytes = wanted.clamp(*READ_BYTES.start(), *READ_BYTES.end());
    }
}
