//! Records: how the bytes of one record of a topic say one row, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use mulgil_dataflow::batch::Batch;

use super::avro::records::{AvroDecoder, AvroRecords};
use super::cells::Decoded;
use super::debezium::DebeziumDecoder;
use super::json::{self, JsonDecoder};
use super::{avro, debezium};
use crate::error::ConnectError;
use crate::options::Options;

/// How a record says a row.
#[derive(Clone, Debug)]
pub(crate) enum RecordFormat {
    /// A JSON object.
    Json,
    /// A change, as JSON.
    DebeziumJson {
        /// Whether it stands beside its schema, as Debezium writes where it is told to.
        has_schema: bool,
    },
    /// The whole record is the one column.
    Raw,
    /// Avro.
    Avro(AvroRecords),
}

#[derive(Clone, Copy)]
enum Name {
    Json,
    DebeziumJson,
    Raw,
    Avro,
    AvroConfluent,
}

impl RecordFormat {
    /// The options of these formats.
    pub(crate) fn options() -> impl Iterator<Item = &'static str> {
        json::OPTIONS.into_iter().chain(avro::records::OPTIONS).chain(debezium::OPTIONS)
    }

    /// Reads the option `name` and those of the format that it chooses, for records of `topic`.
    pub(crate) fn new(options: &Options<'_>, name: &str, topic: &str) -> Result<Self, ConnectError> {
        let names = [
            ("json", Name::Json),
            ("raw", Name::Raw),
            ("avro", Name::Avro),
            ("avro-confluent", Name::AvroConfluent),
            (debezium::NAME, Name::DebeziumJson),
        ];
        options.required(name, "json")?;
        Ok(match options.one_of(name, &names, Name::Json)? {
            Name::Json => Self::Json,
            Name::DebeziumJson => Self::DebeziumJson { has_schema: options.boolean(debezium::SCHEMA_INCLUDE, false)? },
            Name::Raw => Self::Raw,
            Name::Avro => Self::Avro(AvroRecords::plain(options)?),
            Name::AvroConfluent => Self::Avro(AvroRecords::confluent(options, topic)?),
        })
    }

    /// Whether records that cannot be read are left out and counted.
    pub(crate) fn ignores_parse_errors(&self, options: &Options<'_>) -> Result<bool, ConnectError> {
        match self {
            Self::Json | Self::Raw => options.boolean("json.ignore-parse-errors", false),
            Self::DebeziumJson { .. } => options.boolean(debezium::IGNORE_PARSE_ERRORS, false),
            Self::Avro(AvroRecords::Plain(_)) => options.boolean("avro.ignore-parse-errors", false),
            Self::Avro(AvroRecords::Registry(_)) => options.boolean("avro-confluent.ignore-parse-errors", false),
        }
    }

    /// Whether records say changes, and not only rows.
    pub(crate) fn has_changes(&self) -> bool {
        matches!(self, Self::DebeziumJson { .. })
    }

    /// Why nothing can be written so.
    pub(crate) fn check_writable(&self) -> Result<(), String> {
        match self {
            Self::DebeziumJson { has_schema: true } => {
                Err(format!("changes are written without a schema; leave out '{}'", debezium::SCHEMA_INCLUDE))
            }
            _ => Ok(()),
        }
    }

    /// Why rows of these columns cannot be written so.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), String> {
        let is_raw = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Binary);
        match (self, &schema.fields()[..]) {
            (Self::Json | Self::DebeziumJson { .. }, _) => Ok(()),
            (Self::Avro(_), _) => avro::check_columns(schema),
            (Self::Raw, [field]) if is_raw(field.data_type()) => Ok(()),
            (Self::Raw, _) => Err("'format' = 'raw' needs exactly one physical column, a STRING or BYTES".to_owned()),
        }
    }

    /// Rows to records, one each, in order. `batch` says of each what kind of change it is.
    pub(crate) fn encode(&self, rows: &RecordBatch, batch: &Batch) -> Result<Vec<Bytes>, ArrowError> {
        match self {
            Self::Raw => {
                let values = arrow::compute::cast(rows.column(0), &DataType::Binary)?;
                let values = values.as_binary::<i32>().iter();
                Ok(values.map(|value| Bytes::copy_from_slice(value.unwrap_or_default())).collect())
            }
            Self::Json => {
                let text = Bytes::from(json::write_lines(Vec::new(), rows)?);
                let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                Ok(lines.map(|line| text.slice_ref(line)).collect())
            }
            Self::DebeziumJson { .. } => debezium::encode(rows, batch),
            Self::Avro(format) => format.encode(rows),
        }
    }
}

/// Decodes records into the columns of one schema.
pub(crate) enum RecordDecoder {
    /// See [`RecordFormat::Json`].
    Json(JsonDecoder),
    /// See [`RecordFormat::DebeziumJson`].
    DebeziumJson(DebeziumDecoder),
    /// See [`RecordFormat::Raw`]: the one column, or none where it is not wanted.
    Raw(SchemaRef),
    /// See [`RecordFormat::Avro`].
    Avro(AvroDecoder),
}

impl RecordDecoder {
    /// A decoder for these columns of records that have the columns `all`.
    pub(crate) fn new(format: &RecordFormat, all: &Schema, schema: SchemaRef) -> Result<Self, ArrowError> {
        Ok(match format {
            RecordFormat::Json => Self::Json(JsonDecoder::new(schema)),
            RecordFormat::Raw => Self::Raw(schema),
            RecordFormat::Avro(format) => Self::Avro(AvroDecoder::new(format.clone(), all, schema)?),
            RecordFormat::DebeziumJson { has_schema } => Self::DebeziumJson(DebeziumDecoder::new(schema, *has_schema)),
        })
    }

    /// Decodes records, one row each; changes, up to two.
    pub(crate) fn decode(&self, records: &[&[u8]]) -> Result<Decoded, ArrowError> {
        match self {
            Self::Json(decoder) => decoder.decode(records),
            Self::DebeziumJson(decoder) => decoder.decode(records),
            Self::Raw(schema) => decode_raw(schema, records),
            Self::Avro(decoder) => decoder.decode(records),
        }
    }
}

/// Records as they are: the one column of the table, or none of it.
fn decode_raw(schema: &SchemaRef, records: &[&[u8]]) -> Result<Decoded, ArrowError> {
    let mut bad = Vec::new();
    let mut good = records.len();
    let columns: Vec<ArrayRef> = match schema.fields().first().map(|field| field.data_type()) {
        None => vec![],
        Some(DataType::Binary) => vec![Arc::new(BinaryArray::from_iter_values(records))],
        Some(_) => {
            let mut texts = Vec::with_capacity(records.len());
            for (index, value) in records.iter().enumerate() {
                match std::str::from_utf8(value) {
                    Ok(text) => texts.push(text),
                    Err(_) => bad.push((index, "the value is not UTF-8 text".to_owned())),
                }
            }
            good = texts.len();
            vec![Arc::new(StringArray::from_iter_values(texts))]
        }
    };
    let options = RecordBatchOptions::new().with_row_count(Some(good));
    let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
    Ok(Decoded { rows, kinds: None, bad })
}
