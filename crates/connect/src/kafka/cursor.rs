//! Records to rows: takes what the client has fetched of one partition, and decodes a batch of records at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::{Schema, SchemaRef};
use mulgil_dataflow::batch::Batch;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaTable;
use super::columns::{Metadata, Origin};
use super::link::{ANSWER_TIMEOUT, LinkContext};
use super::source::Client;
use crate::bad_rows::{BadRow, BadRows};
use crate::error::ConnectError;
use crate::format::cells::{Decoded, find_nulls};
use crate::format::records::RecordDecoder;
use crate::source::Position;

/// Rows of a batch, about.
const BATCH_ROWS: usize = 8192;
/// Bytes of a batch, about, where records are large.
const BATCH_BYTES: usize = 8 << 20;

/// What is read of a partition.
pub(super) struct Span {
    pub(super) partition: i32,
    /// The offset of the first record.
    pub(super) first: i64,
    /// Records from here on are not wanted.
    pub(super) end: Option<i64>,
    /// Where the partition ended when it was opened.
    pub(super) end_at_open: i64,
}

/// Reads one partition, a batch at a time.
pub(super) struct Cursor {
    client: Arc<Client>,
    queue: PartitionQueue<LinkContext>,
    topic: String,
    span: Span,
    /// The offset of the record that comes next.
    next: i64,
    is_at_end: bool,
    decoder: Decoder,
    bad_rows: BadRows,
    /// Records passed over because they could not be decoded.
    pub(super) skipped_rows: u64,
}

impl Cursor {
    /// Begins to fetch. `arrived` is called when something has come and nothing was there before.
    pub(super) fn open(
        table: &KafkaTable,
        client: Arc<Client>,
        span: Span,
        projection: &[usize],
        arrived: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, ConnectError> {
        let failed = |error: KafkaError| client.link.failure(error);
        let queue = client.consumer.split_partition_queue(&table.topic, span.partition);
        let mut queue = queue.ok_or_else(|| client.link.failure("the topic's name holds a NUL"))?;
        queue.set_nonempty_callback(arrived);
        let is_at_end = span.end.is_some_and(|end| span.first >= end);
        if !is_at_end {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition_offset(&table.topic, span.partition, Offset::Offset(span.first)).map_err(failed)?;
            client.consumer.incremental_assign(&wanted).map_err(failed)?;
        }
        Ok(Self {
            queue,
            topic: table.topic.clone(),
            next: span.first,
            is_at_end,
            decoder: Decoder::new(table, projection)?,
            bad_rows: table.bad_rows.clone(),
            skipped_rows: 0,
            client,
            span,
        })
    }

    /// The position behind what was read.
    pub(super) fn position(&self) -> Position {
        position_at(self.next)
    }

    /// Whether all that is wanted has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// No rows, with the columns of the others.
    pub(super) fn no_rows(&self) -> RecordBatch {
        RecordBatch::new_empty(Arc::clone(&self.decoder.schema))
    }

    /// The next rows, `None` if none are there now. Blocks on the processor alone, and at the end of the partition on one
    /// question.
    pub(super) fn read(&mut self) -> Result<Option<(Batch, Position)>, ConnectError> {
        let mut records: Vec<BorrowedMessage<'_>> = Vec::new();
        let mut bytes = 0;
        while !self.is_at_end && records.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                Some(Ok(record)) if self.span.end.is_some_and(|end| record.offset() >= end) => self.is_at_end = true,
                Some(Ok(record)) => {
                    self.next = record.offset() + 1;
                    self.is_at_end = self.span.end.is_some_and(|end| self.next >= end);
                    bytes += record.payload_len();
                    // A record without a value says that its key is gone: it is no row.
                    if record.payload().is_some() {
                        records.push(record);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    self.is_at_end = ends_here(&self.client, &self.topic, &self.span)?;
                }
                // What passes by itself is the link's to tell.
                Some(Err(error)) => self.client.link.judge(&error)?,
            }
        }
        if records.is_empty() {
            return Ok(None);
        }
        let decoded = self.decoder.decode(&records)?;
        let bad_row = |(index, reason): &(usize, String)| {
            let record = records.get(*index)?;
            let place = format!("topic {}, partition {}, offset {}", self.topic, record.partition(), record.offset());
            Some(BadRow { place, reason: reason.clone(), raw: record.payload().map(<[u8]>::to_vec) })
        };
        if self.bad_rows.are_fatal()
            && let Some(first) = decoded.bad.first()
        {
            bad_row(first).into_iter().for_each(|row| self.bad_rows.show(row));
            let offset = records.get(first.0).map_or(0, |record| record.offset());
            return Err(ConnectError::Record {
                topic: self.topic.clone(),
                partition: u32::try_from(self.span.partition).unwrap_or_default(),
                offset: u64::try_from(offset).unwrap_or_default(),
                reason: first.1.clone(),
            });
        }
        let bad: Vec<BadRow> = decoded.bad.iter().filter_map(bad_row).collect();
        self.bad_rows.put_aside(&bad)?;
        self.skipped_rows += bad.len() as u64;
        Ok(Some((Batch { rows: decoded.rows, kinds: decoded.kinds }, position_at(self.next))))
    }
}

impl Drop for Cursor {
    /// Nothing more of this partition is fetched.
    fn drop(&mut self) {
        let mut unwanted = TopicPartitionList::new();
        unwanted.add_partition(&self.topic, self.span.partition);
        if let Err(error) = self.client.consumer.incremental_unassign(&unwanted) {
            // It was never assigned, or the client is going too.
            tracing::debug!(topic = self.topic, partition = self.span.partition, "{error}");
        }
    }
}

/// The position of the record at `offset`.
fn position_at(offset: i64) -> Position {
    u64::try_from(offset).map_or(1, |offset| offset.saturating_add(1))
}

/// Whether a reader that has been told of the partition's end has everything. The last offsets may be no rows: what ends a
/// transaction has one too.
fn ends_here(client: &Client, topic: &str, span: &Span) -> Result<bool, ConnectError> {
    let Some(end) = span.end else { return Ok(false) };
    if end <= span.end_at_open {
        return Ok(true);
    }
    match client.consumer.fetch_watermarks(topic, span.partition, ANSWER_TIMEOUT) {
        Ok((_, end_now)) => Ok(end_now >= end),
        Err(error) => client.link.judge(&error).map(|()| false),
    }
}

/// Decodes records into the wanted columns.
struct Decoder {
    schema: SchemaRef,
    /// Which columns of the schema each part gives.
    value: (RecordDecoder, Vec<usize>),
    key: Option<(RecordDecoder, Vec<usize>)>,
    metadata: Vec<(Metadata, usize)>,
}

impl Decoder {
    fn new(table: &KafkaTable, projection: &[usize]) -> Result<Self, ConnectError> {
        let schema = Arc::new(table.schema.project(projection)?);
        let origins: Vec<Origin> = projection.iter().filter_map(|index| table.origins.get(*index)).copied().collect();
        let columns_of = |origin: Origin| -> Vec<usize> {
            origins.iter().enumerate().filter(|(_, of)| **of == origin).map(|(column, _)| column).collect()
        };
        let (values, keys) = (columns_of(Origin::Value), columns_of(Origin::Key));
        let all = Schema::new(table.fields_of(Origin::Value));
        let value = RecordDecoder::new(&table.value_format, &all, Arc::new(schema.project(&values)?))?;
        let key = match &table.key_format {
            Some(format) if !keys.is_empty() => {
                let all = table.schema.project(&table.key_columns())?;
                Some((RecordDecoder::new(format, &all, Arc::new(schema.project(&keys)?))?, keys))
            }
            _ => None,
        };
        let metadata = origins.iter().enumerate().filter_map(|(column, origin)| match origin {
            Origin::Metadata(metadata) => Some((*metadata, column)),
            _ => None,
        });
        Ok(Self { metadata: metadata.collect(), value: (value, values), key, schema })
    }

    fn decode(&self, records: &[BorrowedMessage<'_>]) -> Result<Decoded, ConnectError> {
        let values: Vec<&[u8]> = records.iter().map(|record| record.payload().unwrap_or_default()).collect();
        let decoded = self.value.0.decode(&values)?;
        if decoded.kinds.is_some() {
            // Where records say changes, there are no other columns: see `KafkaTable::check_readable`.
            return Ok(decoded);
        }
        let mut parts = vec![(decoded, &self.value.1)];
        if let Some((decoder, columns)) = &self.key {
            let keys: Vec<&[u8]> = records.iter().map(|record| record.key().unwrap_or_default()).collect();
            parts.push((decoder.decode(&keys)?, columns));
        }
        let mut metadata = Vec::with_capacity(self.metadata.len());
        let mut bad: Vec<(usize, String)> = Vec::new();
        for (kind, column) in &self.metadata {
            let field = self.schema.field(*column);
            let values = kind.column(records, field.data_type())?;
            find_nulls(values.as_ref(), field, &mut bad);
            metadata.push((values, *column));
        }
        bad.extend(parts.iter().flat_map(|(decoded, _)| decoded.bad.iter().cloned()));
        let bad: BTreeMap<usize, String> = bad.into_iter().rev().collect();
        self.assemble(records.len(), parts, metadata, bad)
    }

    /// Puts the columns together, without the rows of which any part is bad.
    fn assemble(
        &self,
        records: usize,
        parts: Vec<(Decoded, &Vec<usize>)>,
        metadata: Vec<(ArrayRef, usize)>,
        bad: BTreeMap<usize, String>,
    ) -> Result<Decoded, ConnectError> {
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        let mut put = |column: ArrayRef, at: usize, its_bad: &[(usize, String)]| -> Result<(), ConnectError> {
            let is_its_own = |index: &usize| its_bad.binary_search_by_key(index, |(bad, _)| *bad).is_ok();
            let column = if its_bad.len() == bad.len() {
                column
            } else {
                let there = (0..records).filter(|index| !is_its_own(index));
                filter(&column, &BooleanArray::from_iter(there.map(|index| Some(!bad.contains_key(&index)))))?
            };
            if let Some(slot) = columns.get_mut(at) {
                *slot = Some(column);
            }
            Ok(())
        };
        for (decoded, its_columns) in &parts {
            for (column, at) in decoded.rows.columns().iter().zip(its_columns.iter()) {
                put(Arc::clone(column), *at, &decoded.bad)?;
            }
        }
        for (column, at) in metadata {
            put(column, at, &[])?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(records - bad.len()));
        let columns = columns.into_iter().flatten().collect();
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        Ok(Decoded { rows, kinds: None, bad: bad.into_iter().collect() })
    }
}
