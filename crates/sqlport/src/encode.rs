//! Values of Arrow arrays as bytes on the wire, as text or binary.
//!
//! A column is looked at once a batch; then each value is one call. The forms are PostgreSQL's own, with ISO dates,
//! `hex` for bytes and the shortest digits that give the same number back.

mod json;
mod list;
mod scalar;
pub(crate) mod time;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use bytes::{BufMut, BytesMut};
use jiff::tz::TimeZone;
use pgwire::messages::data::DataRow;

use crate::service::QueryError;

/// How a value looks.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// As binary, and not as text.
    pub(crate) binary: bool,
    /// The zone in which moments are written as text.
    pub(crate) zone: TimeZone,
}

/// Writes the value of a row that is not null.
type Write = Box<dyn Fn(usize, &mut BytesMut) -> Result<(), QueryError> + Send + Sync>;

/// One column of a batch.
struct Column {
    nulls: Option<NullBuffer>,
    write: Write,
}

impl Column {
    fn new(array: &ArrayRef, look: &Look) -> Result<Self, QueryError> {
        let array = match array.data_type() {
            DataType::Dictionary(_, values) => cast_to(array, values)?,
            DataType::RunEndEncoded(_, values) => cast_to(array, values.data_type())?,
            _ => Arc::clone(array),
        };
        Ok(Self { nulls: array.logical_nulls(), write: writer(&array, look)? })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// A value with its length before it; -1 and nothing for a null.
    fn put(&self, row: usize, out: &mut BytesMut) -> Result<(), QueryError> {
        let begin = out.len();
        out.put_i32(-1);
        if self.is_null(row) {
            return Ok(());
        }
        (self.write)(row, out)?;
        let length = i32::try_from(out.len() - begin - size_of::<i32>())
            .map_err(|_| QueryError::new("54000", "a value is longer than the protocol can say"))?;
        if let Some(place) = out.get_mut(begin..begin + size_of::<i32>()) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

fn writer(array: &ArrayRef, look: &Look) -> Result<Write, QueryError> {
    match array.data_type() {
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => Ok(json::writer(array)),
        other => match crate::types::item_of(other) {
            Some(_) if crate::types::wire_type(other).kind == pgwire::api::Type::JSON => Ok(json::writer(array)),
            Some(_) => list::writer(array, look),
            None => scalar::writer(array, look),
        },
    }
}

/// The rows of one batch.
pub(crate) struct BatchRows {
    columns: Vec<Column>,
    row_count: usize,
}

impl BatchRows {
    /// Prepares a batch whose columns go out as `schema` has been described to the client; one look a column.
    pub(crate) fn new(batch: &RecordBatch, schema: &SchemaRef, looks: &[Look]) -> Result<Self, QueryError> {
        let described = schema.fields().iter().zip(batch.columns()).zip(looks);
        let columns = described.map(|((field, array), look)| Column::new(&cast_to(array, field.data_type())?, look));
        Ok(Self { columns: columns.collect::<Result<_, _>>()?, row_count: batch.num_rows() })
    }

    /// The rows, each encoded when it is asked for.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = Result<DataRow, QueryError>> + Send {
        let field_count = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        let mut buffer = BytesMut::new();
        (0..self.row_count).map(move |row| {
            for column in &self.columns {
                column.put(row, &mut buffer)?;
            }
            Ok(DataRow::new(buffer.split(), field_count))
        })
    }
}

fn cast_to(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, QueryError> {
    if array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    cast(array, data_type).map_err(|error| QueryError::new(QueryError::INTERNAL, error.to_string()))
}

#[cfg(test)]
mod tests;
