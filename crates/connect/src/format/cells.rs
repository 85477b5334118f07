//! Cells to columns: rows of text become typed columns, and a cell that is not of its column's type is found exactly.
//!
//! Text is gathered a column at a time and cast by Arrow's vectorised kernel in its lenient form, which gives NULL for
//! what it cannot read. A cell that had text and became NULL is therefore a bad one; so the fast path and the exact
//! message come from the same pass.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, UInt8Array,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;

use super::{quoted, sql_type};

/// Text of some rows, column by column.
pub(crate) struct Cells {
    schema: SchemaRef,
    columns: Vec<StringBuilder>,
    rows: usize,
}

/// Rows, and those that could not be read: their index and the reason.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The rows that could be read, in order.
    pub(crate) rows: RecordBatch,
    /// What kind of change each row is, where the format says changes; `None` where all are new.
    pub(crate) kinds: Option<UInt8Array>,
    /// The index of each row that could not be read, among all rows, and why.
    pub(crate) bad: Vec<(usize, String)>,
}

impl Cells {
    /// No rows yet.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|_| StringBuilder::new()).collect();
        Self { schema, columns, rows: 0 }
    }

    /// Rows gathered.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Adds a row: one cell a column, `None` for NULL.
    pub(crate) fn push<'a>(&mut self, row: impl Iterator<Item = Option<&'a str>>) {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.append_option(cell);
        }
        self.rows += 1;
    }

    /// Turns what was gathered into typed rows, and starts anew.
    pub(crate) fn take(&mut self) -> Result<Decoded, ArrowError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut bad: Vec<(usize, String)> = Vec::new();
        for (builder, field) in self.columns.iter_mut().zip(self.schema.fields()) {
            let text = builder.finish();
            let values = cast_leniently(&text, field.data_type())?;
            find_bad_cells(&text, &values, field, &mut bad);
            columns.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.rows)));
        let rows = RecordBatch::try_new_with_options(nullable(&self.schema), columns, &options)?;
        without_bad(rows, bad, &self.schema)
    }
}

/// The text as values of `data_type`; what cannot be read becomes NULL.
fn cast_leniently(text: &StringArray, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    cast_with_options(text, data_type, &options)
}

/// Adds the rows whose cell could not be read, or is NULL where that is not allowed.
fn find_bad_cells(text: &StringArray, values: &ArrayRef, field: &Field, bad: &mut Vec<(usize, String)>) {
    if values.null_count() > text.null_count() {
        for (row, cell) in text.iter().enumerate() {
            if let Some(cell) = cell
                && values.is_null(row)
            {
                bad.push((row, unreadable(field, cell)));
            }
        }
    }
    find_nulls(text, field, bad);
}

/// Adds the rows that are NULL where the column is NOT NULL.
pub(crate) fn find_nulls(values: &dyn Array, field: &Field, bad: &mut Vec<(usize, String)>) {
    if !field.is_nullable() && values.null_count() > 0 {
        let nulls = (0..values.len()).filter(|row| values.is_null(*row));
        bad.extend(nulls.map(|row| (row, format!("column \"{}\": NULL in a NOT NULL column", field.name()))));
    }
}

/// `column "dep_delay": cannot read "5x7" as DOUBLE`.
pub(crate) fn unreadable(field: &Field, cell: &str) -> String {
    format!("column \"{}\": cannot read {} as {}", field.name(), quoted(cell), sql_type(field.data_type()))
}

/// Leaves the bad rows out, and says of each only the first reason.
pub(crate) fn without_bad(
    rows: RecordBatch,
    mut bad: Vec<(usize, String)>,
    schema: &SchemaRef,
) -> Result<Decoded, ArrowError> {
    bad.sort_by_key(|(row, _)| *row);
    bad.dedup_by_key(|(row, _)| *row);
    let rows = if bad.is_empty() {
        rows
    } else {
        let mut keep = vec![true; rows.num_rows()];
        for (row, _) in &bad {
            if let Some(kept) = keep.get_mut(*row) {
                *kept = false;
            }
        }
        filter_record_batch(&rows, &BooleanArray::from(keep))?
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(Arc::clone(schema), rows.columns().to_vec(), &options)?;
    Ok(Decoded { rows, kinds: None, bad })
}

/// The schema with every column nullable, for rows that are not checked yet.
pub(crate) fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

/// The columns of `rows` as text, for writers of text formats.
pub(crate) fn as_text(rows: &RecordBatch) -> Result<Vec<StringArray>, ArrowError> {
    let text = rows.columns().iter().map(|column| {
        let text = cast_with_options(column, &DataType::Utf8, &CastOptions { safe: false, ..CastOptions::default() })?;
        Ok(text.as_string::<i32>().clone())
    });
    text.collect()
}
