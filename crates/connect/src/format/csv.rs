//! CSV: columns found by the names of the header line, rows told apart as RFC 4180 says, every problem with its line.

mod tape;

use std::io::{self, Read, Write};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use csv::ByteRecord;

use self::tape::Tape;
use super::cells::{Cells, as_text};
use super::{BadRecord, Chunk, Stop, quoted, sql_type};
use crate::error::ConnectError;
use crate::options::Options;

/// The options of format `csv`.
pub(crate) const OPTIONS: [&str; 4] =
    ["csv.field-delimiter", "csv.header", "csv.ignore-parse-errors", "csv.null-literal"];

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CsvOptions {
    delimiter: u8,
    /// The text that means NULL. An empty cell is NULL too, except in a string column when there is a literal.
    null_literal: Option<String>,
    /// Whether the first line names the columns.
    header: bool,
}

impl CsvOptions {
    /// Reads `csv.*`.
    pub(crate) fn new(options: &Options<'_>) -> Result<Self, ConnectError> {
        Ok(Self {
            delimiter: options.character("csv.field-delimiter", b',')?,
            null_literal: options.optional("csv.null-literal").map(str::to_owned),
            header: options.boolean("csv.header", true)?,
        })
    }
}

/// A text that surely ends with a line break: so each record has as many as it has lines.
type Lines<R> = Tape<io::Chain<R, &'static [u8]>>;

/// Reads the rows of one CSV text.
pub(crate) struct CsvReader<R> {
    reader: csv::Reader<Lines<R>>,
    record: ByteRecord,
    /// For each column wanted, where it stands in a record and how its cells are read.
    columns: Vec<Column>,
    /// Cells in each record.
    width: usize,
    cells: Cells,
    null_literal: Option<Vec<u8>>,
}

/// Where a record stands in the text.
#[derive(Clone, Copy)]
struct Place {
    line: u64,
    /// Its bytes, with empty lines before it.
    from: u64,
    to: u64,
}

struct Column {
    index: usize,
    name: String,
    empty_is_null: bool,
}

impl<R: Read> CsvReader<R> {
    /// Reads the header. `table` are the columns that the file must have, `projection` those of them that are wanted.
    pub(crate) fn new(text: R, options: &CsvOptions, table: &Schema, projection: &[usize]) -> Result<Self, Stop> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(options.delimiter)
            // A '\r' before it is taken off the last cell: the parser would else count the '\n' to the next record.
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(64 * 1024)
            .from_reader(Tape::new(text.chain(&b"\n"[..])));
        let names: Vec<String> = if options.header {
            read_header(&mut reader)?
        } else {
            table.fields().iter().map(|field| field.name().clone()).collect()
        };
        let missing = table.fields().iter().find(|field| !names.contains(field.name()));
        if let Some(field) = missing {
            let reason = format!("column \"{}\" is missing; the header names: {}", field.name(), names.join(", "));
            return Err((1, reason));
        }
        let schema = table.project(projection).map_err(|error| (1, error.to_string()))?;
        let columns = schema.fields().iter().filter_map(|field| {
            let index = names.iter().position(|name| name == field.name())?;
            let is_text = matches!(field.data_type(), DataType::Utf8);
            Some(Column {
                index,
                name: field.name().clone(),
                empty_is_null: !is_text || options.null_literal.is_none(),
            })
        });
        Ok(Self {
            reader,
            record: ByteRecord::new(),
            columns: columns.collect(),
            width: names.len(),
            cells: Cells::new(Arc::new(schema)),
            null_literal: options.null_literal.clone().map(String::into_bytes),
        })
    }

    /// The next `records_max` records, fewer at the end, none behind it.
    pub(crate) fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, Stop> {
        let read_to = self.reader.position().byte();
        self.reader.get_mut().forget(read_to);
        let mut places: Vec<Place> = Vec::with_capacity(records_max);
        let mut bad: Vec<BadRecord> = Vec::new();
        while self.cells.len() + bad.len() < records_max {
            if !self.read_record()? {
                break;
            }
            let place = self.place();
            match self.push_record() {
                Ok(()) => places.push(place),
                Err(reason) => bad.push(self.bad_record(place, reason)),
            }
        }
        let records = (places.len() + bad.len()) as u64;
        if records == 0 {
            return Ok(None);
        }
        let first_line = places.first().map_or(1, |place| place.line);
        let decoded = self.cells.take().map_err(|error| (first_line, error.to_string()))?;
        let placed = |(row, reason)| Some(self.bad_record(*places.get(row)?, reason));
        bad.extend(decoded.bad.into_iter().filter_map(placed));
        bad.sort_by_key(|record| record.line);
        Ok(Some(Chunk { rows: decoded.rows, records, bad }))
    }

    /// A bad record as it stands in the text, without the line breaks around it.
    fn bad_record(&self, Place { line, from, to }: Place, reason: String) -> BadRecord {
        let mut text = self.reader.get_ref().between(from, to).unwrap_or_default();
        while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = text {
            text = rest;
        }
        BadRecord { line, reason, raw: Some(text.to_vec()) }
    }

    /// Where the record that was read last stands.
    fn place(&self) -> Place {
        let from = self.record.position().map_or(0, csv::Position::byte);
        Place { line: self.line(), from, to: self.reader.position().byte() }
    }

    /// Passes over records that were read before.
    pub(crate) fn skip(&mut self, records: u64) -> Result<(), Stop> {
        for _ in 0..records {
            if !self.read_record()? {
                break;
            }
            let read_to = self.reader.position().byte();
            self.reader.get_mut().pass(read_to);
        }
        Ok(())
    }

    /// Reads the next record that is not an empty line.
    fn read_record(&mut self) -> Result<bool, Stop> {
        let Self { reader, record, .. } = self;
        while reader.read_byte_record(record).map_err(|error| (reader.position().line(), stop_reason(error)))? {
            if record.as_slice() != b"\r" {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The line on which the record begins. The parser's own position for it may be that of empty lines before it.
    fn line(&self) -> u64 {
        let breaks_inside = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let behind = self.reader.position().line();
        let before = self.record.position().map_or(1, csv::Position::line);
        behind.saturating_sub(1 + breaks_inside).max(before)
    }

    fn push_record(&mut self) -> Result<(), String> {
        let Self { record, columns, cells, null_literal, width, .. } = self;
        if record.len() != *width {
            return Err(format!("expected {width} fields, found {}", record.len()));
        }
        for column in columns.iter() {
            let cell = cell(record, column.index).unwrap_or_default();
            if std::str::from_utf8(cell).is_err() {
                let name = &column.name;
                return Err(format!("column \"{name}\": {} is not UTF-8", quoted(&String::from_utf8_lossy(cell))));
            }
        }
        cells.push(columns.iter().map(|column| {
            let cell = cell(record, column.index)?;
            let is_null = (cell.is_empty() && column.empty_is_null) || null_literal.as_deref() == Some(cell);
            if is_null { None } else { std::str::from_utf8(cell).ok() }
        }));
        Ok(())
    }
}

/// A cell of a record; the last one without the first half of a Windows line break.
fn cell(record: &ByteRecord, index: usize) -> Option<&[u8]> {
    let cell = record.get(index)?;
    Some(if index + 1 == record.len() { cell.strip_suffix(b"\r").unwrap_or(cell) } else { cell })
}

fn stop_reason(error: csv::Error) -> String {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => format!("cannot read on: {error}"),
        other => format!("cannot read on: {other:?}"),
    }
}

/// The names of the columns, once the first line looks like text at all.
fn read_header<R: Read>(reader: &mut csv::Reader<R>) -> Result<Vec<String>, Stop> {
    let mut header = ByteRecord::new();
    let found = reader.read_byte_record(&mut header).map_err(|error| (1, stop_reason(error)))?;
    if !found {
        return Err((1, "the file is empty; expected a line with the names of the columns".to_owned()));
    }
    let is_text = |cell: &[u8]| std::str::from_utf8(cell).is_ok_and(|text| !text.contains('\0'));
    if !header.iter().all(is_text) {
        return Err((1, "this is not a CSV file: its first line is not text".to_owned()));
    }
    let names =
        header.iter().map(|cell| String::from_utf8_lossy(cell).trim_matches(['\u{feff}', ' ', '\r']).to_owned());
    Ok(names.collect())
}

/// Writes rows as CSV.
pub(crate) struct CsvWriter<W: Write> {
    writer: csv::Writer<W>,
    null: String,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header, where there is to be one.
    pub(crate) fn new(file: W, options: &CsvOptions, schema: &Schema) -> io::Result<Self> {
        let mut writer = csv::WriterBuilder::new().delimiter(options.delimiter).from_writer(file);
        if options.header {
            writer.write_record(schema.fields().iter().map(|field| field.name()))?;
        }
        Ok(Self { writer, null: options.null_literal.clone().unwrap_or_default() })
    }

    /// Writes rows.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> io::Result<()> {
        let columns = as_text(rows).map_err(io::Error::other)?;
        for row in 0..rows.num_rows() {
            let cells = columns.iter().map(|column| if column.is_null(row) { &self.null } else { column.value(row) });
            self.writer.write_record(cells)?;
        }
        Ok(())
    }

    /// Hands all rows on, and lets the file hand them on.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Gives the file back once all is written to it.
    pub(crate) fn into_inner(self) -> io::Result<W> {
        self.writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Says which columns a text format cannot hold.
pub(crate) fn check_columns(schema: &SchemaRef) -> Result<(), String> {
    match schema.fields().iter().find(|field| field.data_type().is_nested()) {
        None => Ok(()),
        Some(field) => Err(format!(
            "column \"{}\" is {}, which a CSV file cannot hold; use 'format' = 'json'",
            field.name(),
            sql_type(field.data_type())
        )),
    }
}
