//! Parquet: columns found by name and cast to the declared types; only the wanted ones are read.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::cells::{find_nulls, nullable, without_bad};
use super::{BadRecord, Chunk, Stop, sql_type};

/// Reads the rows of one Parquet file. It has no lines: a row is told by its number.
pub(crate) struct ParquetReader {
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    /// Rows read.
    position: u64,
    rows_in_file: u64,
}

impl ParquetReader {
    /// Starts behind the first `from` rows. `schema` are the wanted columns, `table` those that the file must have.
    pub(crate) fn new(
        file: File,
        table: &Schema,
        schema: SchemaRef,
        from: u64,
        batch_rows: usize,
    ) -> Result<Self, Stop> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .map_err(|error| (0, format!("this is not a Parquet file: {error}")))?;
        let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        if let Some(field) = table.fields().iter().find(|field| !names.contains(field.name())) {
            let reason = format!("column \"{}\" is missing; the file has: {}", field.name(), names.join(", "));
            return Err((0, reason));
        }
        let wanted = schema.fields().iter().filter_map(|field| names.iter().position(|name| name == field.name()));
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let rows_in_file = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        let offset = usize::try_from(from).unwrap_or(usize::MAX);
        let reader = builder.with_projection(mask).with_batch_size(batch_rows).with_offset(offset).build();
        let reader = reader.map_err(|error| (0, format!("cannot be read: {error}")))?;
        Ok(Self { reader, schema, position: from, rows_in_file })
    }

    /// How many rows the file has, those before the first that is read included.
    pub(crate) fn rows_in_file(&self) -> u64 {
        self.rows_in_file
    }

    /// The next rows, none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk>, Stop> {
        let Some(rows) = self.reader.next() else { return Ok(None) };
        let rows = rows.map_err(|error| (0, format!("cannot read on behind row {}: {error}", self.position)))?;
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        let mut nulls = Vec::new();
        for field in self.schema.fields() {
            let cannot =
                |why: String| (0, format!("column \"{}\" {why} {}", field.name(), sql_type(field.data_type())));
            let column = rows.column_by_name(field.name()).ok_or_else(|| cannot("is missing; expected".to_owned()))?;
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let column = cast_with_options(column, field.data_type(), &options)
                .map_err(|error| cannot(format!("cannot be read ({error}) as")))?;
            find_nulls(column.as_ref(), field, &mut nulls);
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let checked = RecordBatch::try_new_with_options(nullable(&self.schema), columns, &options)
            .and_then(|rows| without_bad(rows, nulls, &self.schema))
            .map_err(|error| (0, error.to_string()))?;
        let first = self.position + 1;
        self.position += rows.num_rows() as u64;
        let bad = checked
            .bad
            .into_iter()
            .map(|(row, reason)| BadRecord::without_text(format!("row {}: {reason}", first + row as u64)));
        Ok(Some(Chunk { rows: checked.rows, records: rows.num_rows() as u64, bad: bad.collect() }))
    }
}

/// Writes rows with these columns.
pub(crate) fn writer<W: Write + Send>(file: W, schema: &SchemaRef) -> std::io::Result<parquet::arrow::ArrowWriter<W>> {
    parquet::arrow::ArrowWriter::try_new(file, Arc::clone(schema), None).map_err(std::io::Error::other)
}
