//! Where the columns of a table come from: the value of a record, its key, or what Kafka says about it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde_json::{Map, Value};

use crate::conform::keeps_values;
use crate::definition::{ColumnDefinition, TableDefinition};
use crate::error::ConnectError;
use crate::format::sql_type;
use crate::options::Options;

/// What `METADATA FROM` may name, in Flink's words.
pub(super) const METADATA: [&str; 6] = ["topic", "partition", "headers", "offset", "timestamp", "timestamp-type"];

/// Where a column comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    /// The record's value.
    Value,
    /// The record's key.
    Key,
    /// What Kafka says about the record.
    Metadata(Metadata),
}

/// See [`METADATA`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Headers,
    Offset,
    Timestamp,
    TimestampType,
}

/// Where the physical columns of a table come from; those of `keys` are not in the value.
pub(super) fn origins(
    table: &TableDefinition,
    options: &Options<'_>,
    keys: &[String],
) -> Result<Vec<Origin>, ConnectError> {
    let physical = table.columns.iter().filter(|column| column.computed.is_none());
    let origin = |column: &ColumnDefinition| match &column.metadata {
        None if keys.contains(&column.name) => Ok(Origin::Key),
        None => Ok(Origin::Value),
        Some(asked) => {
            let metadata = Metadata::of(&asked.key);
            let given = metadata.data_type();
            if given != column.data_type && !keeps_values(&given, &column.data_type) {
                let reason =
                    format!("column {}: metadata '{}' is {}; declare it so", column.name, asked.key, sql_type(&given));
                return Err(options.refusal(reason));
            }
            if !asked.is_virtual && !metadata.is_writable() {
                let reason = format!("column {}: metadata '{}' can only be read; add VIRTUAL", column.name, asked.key);
                return Err(options.refusal(reason));
            }
            Ok(Origin::Metadata(metadata))
        }
    };
    physical.map(origin).collect()
}

impl Metadata {
    /// The metadata of a known key.
    fn of(key: &str) -> Self {
        match key {
            "topic" => Self::Topic,
            "partition" => Self::Partition,
            "headers" => Self::Headers,
            "offset" => Self::Offset,
            "timestamp-type" => Self::TimestampType,
            _ => Self::Timestamp,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Topic | Self::Headers | Self::TimestampType => DataType::Utf8,
            Self::Partition => DataType::Int32,
            Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        }
    }

    /// Whether a writer may say it.
    fn is_writable(self) -> bool {
        matches!(self, Self::Timestamp | Self::Headers)
    }

    /// The column of some records, of the declared type.
    pub(super) fn column(self, records: &[BorrowedMessage<'_>], declared: &DataType) -> Result<ArrayRef, ArrowError> {
        let column: ArrayRef = match self {
            Self::Topic => Arc::new(StringArray::from_iter_values(records.iter().map(Message::topic))),
            Self::Partition => Arc::new(Int32Array::from_iter_values(records.iter().map(Message::partition))),
            Self::Offset => Arc::new(Int64Array::from_iter_values(records.iter().map(Message::offset))),
            Self::Timestamp => {
                let times = records.iter().map(|record| record.timestamp().to_millis());
                Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC"))
            }
            Self::TimestampType => {
                let name = |record: &BorrowedMessage<'_>| match record.timestamp() {
                    Timestamp::NotAvailable => "NoTimestampType",
                    Timestamp::CreateTime(_) => "CreateTime",
                    Timestamp::LogAppendTime(_) => "LogAppendTime",
                };
                Arc::new(StringArray::from_iter_values(records.iter().map(name)))
            }
            Self::Headers => Arc::new(StringArray::from_iter(records.iter().map(headers))),
        };
        cast_with_options(&column, declared, &CastOptions { safe: false, ..CastOptions::default() })
    }
}

/// The headers of a record as a JSON object of texts; where a name is there twice, its last value.
fn headers(record: &BorrowedMessage<'_>) -> Option<String> {
    let text = |value: &[u8]| Value::String(String::from_utf8_lossy(value).into_owned());
    let pairs = record.headers()?.iter();
    let pairs = pairs.map(|header| (header.key.to_owned(), header.value.map_or(Value::Null, text)));
    Some(Value::Object(pairs.collect::<Map<String, Value>>()).to_string())
}
