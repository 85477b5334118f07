//! Rows of a query made fit for a table: columns found by name, types cast where that loses no more than precision of
//! time, NULLs refused where the table wants none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, SchemaRef};

use crate::error::ConnectError;
use crate::format::sql_type;

/// Fits rows into the columns of one table.
#[derive(Clone, Debug)]
pub(crate) struct Conform {
    table: String,
    schema: SchemaRef,
}

impl Conform {
    /// For a table with these columns.
    pub(crate) fn new(table: impl Into<String>, schema: SchemaRef) -> Self {
        Self { table: table.into(), schema }
    }

    /// The columns of the table.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same rows with the table's columns, in the table's order, of the table's types.
    pub(crate) fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch, ConnectError> {
        if rows.schema_ref() == &self.schema {
            return Ok(rows.clone());
        }
        if let Some(extra) = rows.schema().fields().iter().find(|field| self.schema.index_of(field.name()).is_err()) {
            let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let suggestion = crate::options::suggestion(extra.name(), &names);
            return Err(self.refusal(format!("there is no column \"{}\"{suggestion}", extra.name())));
        }
        let columns = self.schema.fields().iter().map(|field| self.column(rows, field)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    fn column(&self, rows: &RecordBatch, field: &Field) -> Result<ArrayRef, ConnectError> {
        let name = field.name();
        let Some(column) = rows.column_by_name(name) else {
            return Err(self.refusal(format!("column \"{name}\" is missing in the rows to be written")));
        };
        let (from, to) = (column.data_type(), field.data_type());
        if from != to && !keeps_values(from, to) {
            return Err(self.refusal(format!(
                "column \"{name}\" is {}, the rows have {}; write CAST({name} AS {})",
                sql_type(to),
                sql_type(from),
                sql_type(to)
            )));
        }
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = cast_with_options(column, to, &options)
            .map_err(|error| self.refusal(format!("column \"{name}\" does not fit {}: {error}", sql_type(to))))?;
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(self.refusal(format!("column \"{name}\" is NOT NULL, but the rows to be written hold a NULL")));
        }
        Ok(column)
    }

    /// An error about the rows to be written.
    pub(crate) fn refusal(&self, reason: String) -> ConnectError {
        ConnectError::Definition { table: self.table.clone(), reason }
    }
}

/// Whether a cast keeps every value, or fails where one does not fit.
pub(crate) fn keeps_values(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Date32, Date64, Decimal128, LargeBinary, LargeUtf8, Timestamp, Utf8, Utf8View};
    let is_text = |data_type: &DataType| matches!(data_type, Utf8 | LargeUtf8 | Utf8View);
    let is_bytes = |data_type: &DataType| matches!(data_type, Binary | LargeBinary | BinaryView);
    match (from, to) {
        (DataType::Null, _) => true,
        (DataType::Dictionary(_, values), _) => values.as_ref() == to || keeps_values(values, to),
        (Decimal128(_, from_scale), Decimal128(_, to_scale)) => from_scale <= to_scale,
        (Decimal128(..), _) => to.is_floating(),
        (_, Decimal128(..)) => from.is_integer(),
        (Timestamp(..), Timestamp(..)) | (Date32 | Date64, Timestamp(..) | Date32 | Date64) => true,
        _ if from.is_integer() => to.is_integer() || to.is_floating(),
        _ if from.is_floating() => to.is_floating(),
        _ => (is_text(from) && is_text(to)) || (is_bytes(from) && is_bytes(to)),
    }
}
