//! Rows to records: value, key, and what of its metadata a writer says.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use bytes::Bytes;
use mulgil_dataflow::batch::Batch;
use rdkafka::message::{Header, OwnedHeaders};
use serde_json::Value;

use super::KafkaTable;
use super::columns::{Metadata, Origin};
use crate::conform::Conform;
use crate::error::ConnectError;
use crate::format::records::RecordFormat;
use crate::sink::inserts;

/// A record to be written.
pub(super) struct Outgoing {
    pub(super) key: Option<Bytes>,
    pub(super) value: Bytes,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) headers: Option<OwnedHeaders>,
}

/// Encodes the rows of one table.
pub(super) struct Encoder {
    table: String,
    conform: Conform,
    value: (RecordFormat, Vec<usize>),
    key: Option<(RecordFormat, Vec<usize>)>,
    timestamp: Option<usize>,
    headers: Option<usize>,
}

impl Encoder {
    /// For the columns that the table takes.
    pub(super) fn new(table: &KafkaTable) -> Self {
        let origin = |name: &str| {
            let index = table.schema.index_of(name).ok()?;
            table.origins.get(index).copied()
        };
        let origins: Vec<Option<Origin>> = table.writable.fields().iter().map(|field| origin(field.name())).collect();
        let first = |wanted: Origin| origins.iter().position(|origin| *origin == Some(wanted));
        let values = (0..origins.len()).filter(|index| origins.get(*index) == Some(&Some(Origin::Value)));
        let keys = table.key_fields.iter().filter_map(|name| table.writable.index_of(name).ok());
        Self {
            table: table.name.clone(),
            conform: Conform::new(table.name.clone(), table.writable.clone()),
            value: (table.value_format.clone(), values.collect()),
            key: table.key_format.clone().map(|format| (format, keys.collect())),
            timestamp: first(Origin::Metadata(Metadata::Timestamp)),
            headers: first(Origin::Metadata(Metadata::Headers)),
        }
    }

    /// One record a row, in order.
    pub(super) fn encode(&self, batch: &Batch) -> Result<Vec<Outgoing>, ConnectError> {
        let (format, columns) = &self.value;
        let rows = if format.has_changes() { &batch.rows } else { inserts(&self.table, batch)? };
        if rows.num_rows() == 0 {
            return Ok(vec![]);
        }
        let rows = self.conform.rows(rows)?;
        let values = format.encode(&rows.project(columns)?, batch)?;
        let mut records: Vec<Outgoing> =
            values.into_iter().map(|value| Outgoing { key: None, value, timestamp_ms: None, headers: None }).collect();
        if let Some((format, columns)) = &self.key {
            let keys = format.encode(&rows.project(columns)?, batch)?;
            records.iter_mut().zip(keys).for_each(|(record, key)| record.key = Some(key));
        }
        if let Some(column) = self.timestamp {
            let times = cast(rows.column(column), &DataType::Timestamp(TimeUnit::Millisecond, None))?;
            let times = cast(&times, &DataType::Int64)?;
            let times = times.as_primitive::<Int64Type>().iter();
            records.iter_mut().zip(times).for_each(|(record, time_ms)| record.timestamp_ms = time_ms);
        }
        if let Some(column) = self.headers {
            let texts = cast(rows.column(column), &DataType::Utf8)?;
            for (record, text) in records.iter_mut().zip(texts.as_string::<i32>().iter()) {
                record.headers = text.map(|text| self.headers(text)).transpose()?;
            }
        }
        Ok(records)
    }

    /// Headers from a JSON object of texts.
    fn headers(&self, text: &str) -> Result<OwnedHeaders, ConnectError> {
        let Ok(Value::Object(pairs)) = serde_json::from_str(text) else {
            return Err(self.conform.refusal(format!("headers are written as a JSON object, not as {text:?}")));
        };
        let add = |headers: OwnedHeaders, (key, value): (&String, &Value)| match value {
            Value::Null => headers.insert(Header::<&str> { key, value: None }),
            Value::String(value) => headers.insert(Header { key, value: Some(value) }),
            other => headers.insert(Header { key, value: Some(&other.to_string()) }),
        };
        Ok(pairs.iter().fold(OwnedHeaders::new_with_capacity(pairs.len()), add))
    }
}
