//! Avro: container files, and records of a topic, plain or framed as Confluent's schema registry has them.
//!
//! What is read is decoded with the schema that it was written with. Its fields are then found by the names of the table's
//! columns and cast to their types; fields that the table does not know are passed over, columns that are not there are NULL.

pub(crate) mod records;
pub(crate) mod registry;

use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::compression::CompressionCodec;
use arrow_avro::reader::{Reader, ReaderBuilder};
use arrow_avro::schema::AvroSchema;
use arrow_avro::writer::format::AvroOcfFormat;
use arrow_avro::writer::{Writer, WriterBuilder};

use super::cells::{Decoded, find_nulls, nullable, unreadable, without_bad};
use super::{BadRecord, Chunk, Stop, sql_type};
use crate::error::ConnectError;
use crate::options::Options;

/// The options of format `avro` in files.
pub(crate) const FILE_OPTIONS: [&str; 2] = ["avro.codec", "avro.ignore-parse-errors"];

/// How the blocks of a container file are packed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AvroCodec(Option<CompressionCodec>);

impl AvroCodec {
    /// Reads `avro.codec`.
    pub(crate) fn new(options: &Options<'_>) -> Result<Self, ConnectError> {
        let codecs = [
            ("snappy", Some(CompressionCodec::Snappy)),
            ("null", None),
            ("deflate", Some(CompressionCodec::Deflate)),
            ("zstandard", Some(CompressionCodec::ZStandard)),
        ];
        options.one_of("avro.codec", &codecs, Some(CompressionCodec::Snappy)).map(Self)
    }
}

/// Why rows of these columns cannot be Avro, if they cannot.
pub(crate) fn check_columns(schema: &Schema) -> Result<(), String> {
    AvroSchema::try_from(schema).map(|_| ()).map_err(|error| format!("'format' = 'avro': {error}"))
}

/// Reads the rows of one container file. A row is told by its number.
pub(crate) struct AvroReader<R: BufRead> {
    reader: Reader<R>,
    schema: SchemaRef,
    position: u64,
    /// Rows that were read before.
    known: u64,
}

impl<R: BufRead + Seek> AvroReader<R> {
    /// Starts behind the first `from` rows. `schema` are the wanted columns, `table` those that the file must have.
    pub(crate) fn new(
        mut file: R,
        table: &Schema,
        schema: SchemaRef,
        from: u64,
        batch_rows: usize,
    ) -> Result<Self, Stop> {
        let last = last_bytes(&mut file).map_err(|error| (0, format!("cannot be read: {error}")))?;
        let reader = ReaderBuilder::new().with_batch_size(batch_rows).build(file);
        let reader = reader.map_err(|error| (0, format!("this is not an Avro file: {error}")))?;
        if last != Some(reader.avro_header().sync()) {
            // The reader would leave out a block that is not whole, and say nothing.
            return Err((0, "it ends in the middle of a block: fetch the file again".to_owned()));
        }
        let found = reader.schema();
        let is_missing = |field: &&Arc<Field>| !field.is_nullable() && found.index_of(field.name()).is_err();
        if let Some(field) = table.fields().iter().find(is_missing) {
            let names: Vec<&str> = found.fields().iter().map(|field| field.name().as_str()).collect();
            return Err((0, format!("column \"{}\" is missing; the file has: {}", field.name(), names.join(", "))));
        }
        Ok(Self { reader, schema, position: 0, known: from })
    }

    /// The next rows, none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk>, Stop> {
        loop {
            let Some(rows) = self.reader.next() else { return Ok(None) };
            let rows = rows.map_err(|error| (0, format!("cannot read on behind row {}: {error}", self.position)))?;
            let first = self.position;
            self.position += rows.num_rows() as u64;
            if self.position <= self.known {
                continue;
            }
            let skipped = usize::try_from(self.known.saturating_sub(first)).unwrap_or(0);
            let rows = rows.slice(skipped, rows.num_rows() - skipped);
            let first = first + skipped as u64 + 1;
            let fitted = fit(&rows, &self.schema).map_err(|error| (0, error.to_string()))?;
            let bad = fitted
                .bad
                .into_iter()
                .map(|(row, reason)| BadRecord::without_text(format!("row {}: {reason}", first + row as u64)));
            return Ok(Some(Chunk { rows: fitted.rows, records: rows.num_rows() as u64, bad: bad.collect() }));
        }
    }
}

/// The marker behind the last block; `None` if there is no room for one.
fn last_bytes<R: Read + Seek>(file: &mut R) -> io::Result<Option<[u8; 16]>> {
    let mut marker = [0; 16];
    if file.seek(SeekFrom::End(0))? < marker.len() as u64 {
        file.rewind()?;
        return Ok(None);
    }
    file.seek(SeekFrom::End(-16))?;
    file.read_exact(&mut marker)?;
    file.rewind()?;
    Ok(Some(marker))
}

/// A container file being written.
pub(crate) type AvroFile<W> = Writer<W, AvroOcfFormat>;

/// Writes rows with these columns.
pub(crate) fn writer<W: io::Write>(file: W, schema: &SchemaRef, codec: AvroCodec) -> io::Result<AvroFile<W>> {
    let builder = WriterBuilder::new(schema.as_ref().clone()).with_compression(codec.0);
    builder.build::<W, AvroOcfFormat>(file).map_err(io::Error::other)
}

/// Rows as they were written, in the columns of a table.
pub(super) fn fit(rows: &RecordBatch, schema: &SchemaRef) -> Result<Decoded, ArrowError> {
    let mut bad = Vec::new();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = match rows.column_by_name(field.name()) {
            Some(column) => fit_column(column, field, &mut bad)?,
            None => new_null_array(field.data_type(), rows.num_rows()),
        };
        find_nulls(column.as_ref(), field, &mut bad);
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(nullable(schema), columns, &options)?;
    without_bad(rows, bad, schema)
}

fn fit_column(column: &ArrayRef, field: &Field, bad: &mut Vec<(usize, String)>) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    let cannot = |error: &dyn std::fmt::Display| {
        ArrowError::SchemaError(format!(
            "column \"{}\" cannot be read as {}: {error}",
            field.name(),
            sql_type(field.data_type())
        ))
    };
    if matches!(column.data_type(), DataType::Union(..) | DataType::FixedSizeBinary(_)) {
        return Err(cannot(&format!("it was written as {}", column.data_type())));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let fitted = cast_with_options(column, field.data_type(), &options).map_err(|error| cannot(&error))?;
    if fitted.null_count() > column.logical_null_count() {
        let text = cast_with_options(column, &DataType::Utf8, &options)?;
        let text = arrow::array::AsArray::as_string::<i32>(&text);
        let lost = (0..fitted.len()).filter(|row| fitted.is_null(*row) && column.is_valid(*row));
        bad.extend(lost.map(|row| (row, unreadable(field, text.value(row)))));
    }
    Ok(fitted)
}
