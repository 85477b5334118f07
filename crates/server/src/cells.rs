//! Rows of tables that the server fills itself: each column is a name, a type, and how its value is made of a row's subject.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use jiff::Timestamp;
use mulgil_sqlport::small_vector;
use serde::Serialize;

/// The zone of moments.
const UTC: &str = "UTC";

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Number(i64),
    Real(f64),
    Text(String),
    Truth(bool),
    Numbers(Vec<i64>),
    /// Microseconds since the epoch.
    Moment(i64),
    Nothing,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Real,
    Text,
    Truth,
    Moment,
    /// A list of numbers.
    Numbers,
    /// Small numbers as a text: PostgreSQL's `int2vector`.
    Vector,
    /// A list of texts, of which nobody has said any.
    Texts,
}

/// A column of a table whose rows are made of `R`.
pub(crate) struct Column<R> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) value: fn(&R) -> Cell,
}

/// The columns of a table, as a table: one line a column.
macro_rules! columns {
    ($($name:literal $kind:ident $value:expr;)+) => {
        &[$($crate::cells::Column { name: $name, kind: $crate::cells::Kind::$kind, value: $value }),+]
    };
}

pub(crate) use columns;

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<bool> for Cell {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

impl From<Vec<i64>> for Cell {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Numbers(numbers)
    }
}

impl From<Timestamp> for Cell {
    fn from(moment: Timestamp) -> Self {
        Self::Moment(moment.as_microsecond())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

/// The word for one of a few things, as the HTTP API says it.
pub(crate) fn word(value: &impl Serialize) -> Cell {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Cell::Text(word),
        _ => Cell::Nothing,
    }
}

/// JSON as its text.
pub(crate) fn json(value: &serde_json::Value) -> Cell {
    Cell::Text(value.to_string())
}

/// Milliseconds since the epoch as a moment.
pub(crate) fn moment(milliseconds: Option<i64>) -> Cell {
    milliseconds.and_then(|ms| ms.checked_mul(1_000)).map_or(Cell::Nothing, Cell::Moment)
}

/// The milliseconds from one moment to another, where both are there.
pub(crate) fn between(from: Option<Timestamp>, to: Option<Timestamp>) -> Cell {
    from.zip(to).map(|(from, to)| to.as_millisecond() - from.as_millisecond()).into()
}

fn texts() -> DataType {
    DataType::new_list(DataType::Utf8, true)
}

/// The columns as a schema; any may be null.
pub(crate) fn schema<R>(columns: &[Column<R>]) -> SchemaRef {
    let field = |column: &Column<R>| {
        let data_type = match column.kind {
            Kind::Number => DataType::Int64,
            Kind::Real => DataType::Float64,
            Kind::Text => DataType::Utf8,
            Kind::Vector => return small_vector(column.name),
            Kind::Truth => DataType::Boolean,
            Kind::Moment => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Kind::Numbers => DataType::new_list(DataType::Int64, true),
            Kind::Texts => texts(),
        };
        Field::new(column.name, data_type, true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// One row of each subject.
///
/// # Errors
/// A sentence, where rows and schema do not fit.
pub(crate) fn batch<R>(columns: &[Column<R>], subjects: &[R]) -> Result<RecordBatch, String> {
    let arrays = columns.iter().map(|column| array(column.kind, subjects.iter().map(column.value)));
    RecordBatch::try_new(schema(columns), arrays.collect()).map_err(|error| error.to_string())
}

/// The values of a column. One of another type than the column's is null.
fn array(kind: Kind, cells: impl Iterator<Item = Cell>) -> ArrayRef {
    macro_rules! take {
        ($variant:ident) => {
            cells.map(|cell| if let Cell::$variant(value) = cell { Some(value) } else { None })
        };
    }
    match kind {
        Kind::Number => Arc::new(take!(Number).collect::<Int64Array>()),
        Kind::Real => Arc::new(take!(Real).collect::<Float64Array>()),
        Kind::Text | Kind::Vector => Arc::new(take!(Text).collect::<StringArray>()),
        Kind::Truth => Arc::new(take!(Truth).collect::<BooleanArray>()),
        Kind::Numbers => {
            let mut lists = ListBuilder::new(Int64Builder::new());
            take!(Numbers)
                .for_each(|numbers| lists.append_option(numbers.map(|numbers| numbers.into_iter().map(Some))));
            Arc::new(lists.finish())
        }
        Kind::Texts => new_null_array(&texts(), cells.count()),
        Kind::Moment => Arc::new(take!(Moment).collect::<TimestampMicrosecondArray>().with_timezone(UTC)),
    }
}
