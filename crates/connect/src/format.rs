//! Formats: how rows are written as text, independent of where the text is.

pub(crate) mod avro;
pub(crate) mod cells;
pub(crate) mod csv;
pub(crate) mod debezium;
pub(crate) mod json;
pub(crate) mod parquet;
pub(crate) mod records;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};

/// Some rows of a file, and what was wrong with the others.
pub(crate) struct Chunk {
    /// The rows that could be read.
    pub(crate) rows: RecordBatch,
    /// Records read, bad ones included.
    pub(crate) records: u64,
    /// The records that could not be read, in the order of the file.
    pub(crate) bad: Vec<BadRecord>,
}

/// A record of a file that could not be read.
pub(crate) struct BadRecord {
    /// Its line; 0 where there are none.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) reason: String,
    /// The record as it stands there, where it is at hand.
    pub(crate) raw: Option<Vec<u8>>,
}

impl BadRecord {
    /// One that is not text of its own.
    pub(crate) fn without_text(reason: String) -> Self {
        Self { line: 0, reason, raw: None }
    }
}

/// What stops a file from being read at all, and at which line; 0 where there are no lines.
pub(crate) type Stop = (u64, String);

/// The name of a type as `CREATE TABLE` spells it, for messages.
pub(crate) fn sql_type(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING",
        DataType::Date32 | DataType::Date64 => "DATE",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTES",
        DataType::Timestamp(unit, zone) => {
            let digits = match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            };
            let name = if zone.is_some() { "TIMESTAMP_LTZ" } else { "TIMESTAMP" };
            return format!("{name}({digits})");
        }
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        other => return other.to_string(),
    };
    name.to_owned()
}

/// A value as a message quotes it: not longer than a line.
pub(crate) fn quoted(value: &str) -> String {
    /// Longer values are cut.
    const SHOWN_CHARS: usize = 40;
    let mut shown: String = value.chars().take(SHOWN_CHARS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
