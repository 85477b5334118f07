//! Records: how the bytes of one record of a topic say one row, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;

use super::cells::Decoded;
use super::json::{self, JsonDecoder};

/// How a record says a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RecordFormat {
    /// A JSON object.
    Json,
    /// The whole record is the one column.
    Raw,
}

impl RecordFormat {
    /// The values of the option `format`.
    pub(crate) const CHOICES: [(&'static str, Self); 2] = [("json", Self::Json), ("raw", Self::Raw)];
    /// The options of these formats.
    pub(crate) const OPTIONS: [&'static str; 1] = json::OPTIONS;

    /// Why rows of these columns cannot be written so.
    pub(crate) fn check(self, schema: &Schema) -> Result<(), String> {
        let is_raw = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::Binary);
        match (self, &schema.fields()[..]) {
            (Self::Json, _) => Ok(()),
            (Self::Raw, [field]) if is_raw(field.data_type()) => Ok(()),
            (Self::Raw, _) => Err("'format' = 'raw' needs exactly one physical column, a STRING or BYTES".to_owned()),
        }
    }

    /// Rows to records, one each, in order.
    pub(crate) fn encode(self, rows: &RecordBatch) -> Result<Vec<Bytes>, ArrowError> {
        if self == Self::Raw {
            let values = arrow::compute::cast(rows.column(0), &DataType::Binary)?;
            let values = values.as_binary::<i32>().iter();
            return Ok(values.map(|value| Bytes::copy_from_slice(value.unwrap_or_default())).collect());
        }
        let text = Bytes::from(json::write_lines(Vec::new(), rows)?);
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.map(|line| text.slice_ref(line)).collect())
    }
}

/// Decodes records into the columns of one schema.
pub(crate) enum RecordDecoder {
    /// See [`RecordFormat::Json`].
    Json(JsonDecoder),
    /// See [`RecordFormat::Raw`]: the one column, or none where it is not wanted.
    Raw(SchemaRef),
}

impl RecordDecoder {
    /// A decoder for these columns.
    pub(crate) fn new(format: RecordFormat, schema: SchemaRef) -> Self {
        match format {
            RecordFormat::Json => Self::Json(JsonDecoder::new(schema)),
            RecordFormat::Raw => Self::Raw(schema),
        }
    }

    /// Decodes records, one row each.
    pub(crate) fn decode(&self, records: &[&[u8]]) -> Result<Decoded, ArrowError> {
        match self {
            Self::Json(decoder) => decoder.decode(records),
            Self::Raw(schema) => decode_raw(schema, records),
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
    Ok(Decoded { rows: RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?, bad })
}
