//! Rows of PostgreSQL's binary protocol as Arrow's columns.
//!
//! The statement has asked for every column in one of ten types, so a value is a few bytes in network order. Days and
//! microseconds are counted from 2000-01-01.

use std::error::Error;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, RecordBatchOptions,
    StringBuilder,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// From 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;

/// A value as it was sent.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Gathers rows, and gives them out as a batch.
pub(super) struct RowBuilder {
    schema: SchemaRef,
    columns: Vec<Column>,
    row_count: usize,
}

enum Column {
    Boolean(BooleanBuilder),
    Number(Integer, Int64Builder),
    Float(Float64Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
}

/// What a whole number says.
#[derive(Clone, Copy)]
enum Integer {
    Plain,
    Days,
    Time(TimeUnit),
}

impl RowBuilder {
    pub(super) fn new(schema: SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|field| Column::of(field)).collect();
        Self { schema, columns, row_count: 0 }
    }

    pub(super) fn row_count(&self) -> usize {
        self.row_count
    }

    /// Where a row is in its table, which the first column says: the block and, in the lower 16 bits, the row in it, from 1.
    pub(super) fn place(row: &Row) -> Result<u64, String> {
        let place: Raw<'_> = row.try_get(0).map_err(|error| error.to_string())?;
        match *place.0 {
            [a, b, c, d, e, f] => Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f])),
            _ => Err("a row has no place".to_owned()),
        }
    }

    /// Adds a row of the statement that asked for these columns behind `skipped` others.
    pub(super) fn push(&mut self, row: &Row, skipped: usize) -> Result<(), String> {
        for (number, (column, field)) in self.columns.iter_mut().zip(self.schema.fields()).enumerate() {
            let in_column = |reason: &str| format!("column {}: {reason}", field.name());
            let value: Option<Raw<'_>> =
                row.try_get(number + skipped).map_err(|error| in_column(&error.to_string()))?;
            if value.is_none() && !field.is_nullable() {
                return Err(in_column("a row has NULL in a NOT NULL column"));
            }
            column.push(value.map(|raw| raw.0)).map_err(in_column)?;
        }
        self.row_count += 1;
        Ok(())
    }

    /// The rows gathered so far.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, String> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.row_count));
        let columns = self.columns.iter_mut().zip(self.schema.fields());
        let columns: Result<Vec<ArrayRef>, String> = columns.map(|(column, field)| column.finish(field)).collect();
        self.row_count = 0;
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns?, &options)
            .map_err(|error| error.to_string())
    }
}

impl Column {
    fn of(field: &Field) -> Self {
        match field.data_type() {
            DataType::Boolean => Self::Boolean(BooleanBuilder::new()),
            DataType::Float32 | DataType::Float64 => Self::Float(Float64Builder::new()),
            DataType::Date32 => Self::Number(Integer::Days, Int64Builder::new()),
            DataType::Timestamp(unit, _) => Self::Number(Integer::Time(*unit), Int64Builder::new()),
            DataType::Binary => Self::Bytes(BinaryBuilder::new()),
            data_type if data_type.is_integer() => Self::Number(Integer::Plain, Int64Builder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    fn push(&mut self, raw: Option<&[u8]>) -> Result<(), &'static str> {
        match self {
            Self::Boolean(cells) => cells.append_option(raw.map(|raw| raw.first().is_some_and(|byte| *byte != 0))),
            Self::Number(kind, cells) => cells.append_option(raw.map(|raw| kind.read(raw)).transpose()?),
            Self::Float(cells) => cells.append_option(raw.map(float).transpose()?),
            Self::Text(cells) => {
                let text = raw.map(std::str::from_utf8).transpose().map_err(|_| "a text is not UTF-8")?;
                cells.append_option(text);
            }
            Self::Bytes(cells) => cells.append_option(raw),
        }
        Ok(())
    }

    fn finish(&mut self, field: &Field) -> Result<ArrayRef, String> {
        let column: ArrayRef = match self {
            Self::Boolean(cells) => Arc::new(cells.finish()),
            Self::Number(Integer::Days, cells) => {
                let days: ArrayRef = Arc::new(cells.finish());
                as_type(&days, &DataType::Int32, field)?
            }
            Self::Number(_, cells) => Arc::new(cells.finish()),
            Self::Float(cells) => Arc::new(cells.finish()),
            Self::Text(cells) => Arc::new(cells.finish()),
            Self::Bytes(cells) => Arc::new(cells.finish()),
        };
        as_type(&column, field.data_type(), field)
    }
}

fn as_type(column: &ArrayRef, data_type: &DataType, field: &Field) -> Result<ArrayRef, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, data_type, &options).map_err(|error| format!("column {}: {error}", field.name()))
}

impl Integer {
    fn read(self, raw: &[u8]) -> Result<i64, &'static str> {
        let number = integer(raw)?;
        match self {
            Self::Plain => Ok(number),
            Self::Days if [i64::from(i32::MAX), i64::from(i32::MIN)].contains(&number) => Err("a date is infinite"),
            Self::Days => Ok(number + EPOCH_DAYS),
            Self::Time(_) if [i64::MAX, i64::MIN].contains(&number) => Err("a time is infinite"),
            Self::Time(unit) => {
                let out_of_range = "a time is out of the range of the declared type; declare TIMESTAMP(3)";
                let micros = number.checked_add(EPOCH_MICROS).ok_or(out_of_range)?;
                match unit {
                    TimeUnit::Second => Ok(micros.div_euclid(1_000_000)),
                    TimeUnit::Millisecond => Ok(micros.div_euclid(1_000)),
                    TimeUnit::Microsecond => Ok(micros),
                    TimeUnit::Nanosecond => micros.checked_mul(1_000).ok_or(out_of_range),
                }
            }
        }
    }
}

/// A whole number of 2, 4 or 8 bytes.
fn integer(raw: &[u8]) -> Result<i64, &'static str> {
    match *raw {
        [a, b] => Ok(i64::from(i16::from_be_bytes([a, b]))),
        [a, b, c, d] => Ok(i64::from(i32::from_be_bytes([a, b, c, d]))),
        _ => raw.try_into().map(i64::from_be_bytes).map_err(|_| "a number of unknown length"),
    }
}

/// A number with a fraction, of 4 or 8 bytes.
fn float(raw: &[u8]) -> Result<f64, &'static str> {
    match *raw {
        [a, b, c, d] => Ok(f64::from(f32::from_be_bytes([a, b, c, d]))),
        _ => raw.try_into().map(f64::from_be_bytes).map_err(|_| "a number of unknown length"),
    }
}
