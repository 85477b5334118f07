//! Answers queries for the rows of a key from the index of a view's result: nothing is planned, and no other row is read.
//!
//! An answer is the one that the query gives in the ordinary way. Where that is not certain, there is none, and the query goes the
//! ordinary way: another key than the result's, a value that the column's type does not hold exactly, numbers with a floating
//! point, views in layers, columns that have changed since the query was planned.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use mulgil_sql::point_query::{Operand, PointQuery};

use super::{ViewError, Views};
use crate::result::{Found, ResultTable};

/// How often a look-up begins again because what it asked is no longer what answers.
const TRIES_MAX: usize = 4;

/// A value, or nothing at all: no row equals a null.
type Value = Option<ArrayRef>;

impl Views {
    /// The rows that a query asks for, of one cut; `None` where it is to go the ordinary way. Parameters are arrays of one value.
    ///
    /// # Errors
    /// The result cannot be read.
    pub async fn look_up(&self, query: &PointQuery, parameters: &[ArrayRef]) -> Result<Option<RecordBatch>, ViewError> {
        let Some(slot) = self.shared.slots.get(&query.view) else { return Ok(None) };
        for _ in 0..TRIES_MAX {
            let live = slot.live();
            let Some(table) = live.looked_up().filter(|table| same_columns(table.schema(), &query.view_schema)) else {
                return Ok(None);
            };
            let refused = |error| live.refused(&error);
            let Some(values) = values(query, parameters, table.schema()) else { return Ok(None) };
            let Some(Values { key, others }) = Values::of(&table, values) else { return Ok(None) };
            let key: Option<Vec<ArrayRef>> = key.into_iter().collect();
            let Some(key) = key else { return Ok(Some(RecordBatch::new_empty(Arc::clone(&query.schema)))) };
            match table.find(&key).map_err(refused)? {
                // Another generation may have taken over meanwhile, and others have seen more of it.
                Found::Rows(_) if !Arc::ptr_eq(&live, &slot.live()) => {}
                Found::Rows(rows) => return Ok(answer(query, rows, &others)),
                Found::NoKey => return Ok(None),
                Found::NotYet => {
                    let prepared = tokio::task::spawn_blocking(move || table.prepare_look_ups()).await;
                    if let Ok(prepared) = prepared {
                        prepared.map_err(refused)?;
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The names and types of columns, and their order.
fn same_columns(one: &SchemaRef, other: &SchemaRef) -> bool {
    let same =
        |(one, other): (&FieldRef, &FieldRef)| one.name() == other.name() && one.data_type() == other.data_type();
    Arc::ptr_eq(one, other)
        || (one.fields().len() == other.fields().len() && one.fields().iter().zip(other.fields()).all(same))
}

/// The columns that are compared, each with its value in the column's own type; `None` where one does not fit exactly.
fn values(query: &PointQuery, parameters: &[ArrayRef], schema: &Schema) -> Option<Vec<(usize, Value)>> {
    let value = |(column, operand): &(usize, Operand)| {
        let value = match operand {
            Operand::Parameter(place) => parameters.get(*place)?,
            Operand::Value(value) => value,
        };
        let value =
            if value.is_null(0) { None } else { Some(exact(value, schema.fields().get(*column)?.data_type())?) };
        Some((*column, value))
    };
    query.equals.iter().map(value).collect()
}

/// What is looked up, and what is left to compare.
struct Values {
    /// By key column.
    key: Vec<Value>,
    others: Vec<(usize, Value)>,
}

impl Values {
    /// `None` where a column of the key has no value.
    fn of(table: &ResultTable, mut values: Vec<(usize, Value)>) -> Option<Self> {
        let key = table.key()?.iter().map(|column| {
            let at = values.iter().position(|(compared, _)| compared == column)?;
            Some(values.swap_remove(at).1)
        });
        let key = key.collect::<Option<Vec<Value>>>()?;
        // No row equals a null, in whichever column.
        let key = if values.iter().any(|(_, value)| value.is_none()) { vec![None] } else { key };
        Some(Self { key, others: values })
    }
}

/// A value in another type that holds it exactly, if it is certain that the two are equal in SQL just where they are the same.
fn exact(value: &ArrayRef, to: &DataType) -> Option<ArrayRef> {
    let from = value.data_type();
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_known = match (from, to) {
        (DataType::Timestamp(from, zone), DataType::Timestamp(to, other)) => {
            zone.is_some() == other.is_some() && digits(*to) <= digits(*from)
        }
        (from, to) if from.is_integer() && to.is_integer() => true,
        (from, to) if is_text(from) && is_text(to) => true,
        (DataType::Decimal128(..), DataType::Decimal128(..)) => true,
        (from, to) => from == to && matches!(to, DataType::Boolean | DataType::Date32 | DataType::Binary),
    };
    if !is_known || from == to {
        return Some(Arc::clone(value)).filter(|_| is_known);
    }
    // What does not fit becomes a null, and is not the same on its way back.
    let there = cast(value, to).ok()?;
    let back = cast(&there, from).ok()?;
    (back.as_ref() == value.as_ref()).then_some(there)
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The columns that are asked for, of the rows of which the other columns have the values too.
fn answer(query: &PointQuery, rows: Vec<RecordBatch>, others: &[(usize, Value)]) -> Option<RecordBatch> {
    let fits = |row: &RecordBatch| {
        let mut others = others.iter();
        others.all(|(column, value)| value.as_ref().is_some_and(|value| row.columns().get(*column) == Some(value)))
    };
    let rows = rows.into_iter().filter(fits).take(query.limit.unwrap_or(usize::MAX));
    let projected = rows.map(|row| {
        let columns = query.columns.iter().map(|column| row.columns().get(*column).cloned());
        RecordBatch::try_new(Arc::clone(&query.schema), columns.collect::<Option<_>>()?).ok()
    });
    let mut projected = projected.collect::<Option<Vec<RecordBatch>>>()?;
    match projected.len() {
        1 => projected.pop(),
        _ => concat_batches(&query.schema, &projected).ok(),
    }
}
