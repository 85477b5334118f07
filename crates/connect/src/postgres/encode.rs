//! Rows as the text that PostgreSQL's `COPY` takes: a line a row, cells between tabs.
//!
//! Text, because the database reads each cell as a value of its own column's type then (a UUID, JSON, an enumeration), and because
//! its complaint about one names line, column and value.

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use bytes::{BufMut, BytesMut};
use mulgil_dataflow::batch::{Batch, RowKind};
use xxhash_rust::xxh3::xxh3_64;

use crate::conform::Conform;
use crate::error::ConnectError;
use crate::format::quoted;

/// Writes batches as text for `COPY`.
pub(super) struct Encoder {
    conform: Conform,
    /// Whether each row begins with its number, its sign and its fingerprint: see [`super::target`].
    has_changes: bool,
    row_count: i64,
}

/// A column on its way to cells.
enum Cells {
    /// Letters of any kind.
    Text(StringArray),
    /// Digits and such: nothing to be escaped.
    Plain(StringArray),
    /// The same, of days and times, whose years before 1 the database spells otherwise.
    Time(StringArray),
    Bytes(BinaryArray),
}

impl Encoder {
    pub(super) fn new(conform: Conform, has_changes: bool) -> Self {
        Self { conform, has_changes, row_count: 0 }
    }

    /// Rows encoded so far.
    pub(super) fn row_count(&self) -> i64 {
        self.row_count
    }

    /// Appends the rows of a batch to `out`.
    pub(super) fn encode(&mut self, batch: &Batch, out: &mut BytesMut) -> Result<(), ConnectError> {
        let rows = self.conform.rows(&batch.rows)?;
        let columns = self.columns(&rows)?;
        let mut line = Vec::new();
        for row in 0..rows.num_rows() {
            line.clear();
            for (number, column) in columns.iter().enumerate() {
                if number > 0 {
                    line.push(b'\t');
                }
                column.write(row, &mut line);
            }
            if self.has_changes {
                let kind = batch.kinds.as_ref().map_or(RowKind::Insert as u8, |kinds| kinds.value(row));
                let is_gone = kind == RowKind::UpdateBefore as u8 || kind == RowKind::Delete as u8;
                let (number, sign, fingerprint) = (self.row_count, if is_gone { -1 } else { 1 }, xxh3_64(&line));
                out.put_slice(format!("{number}\t{sign}\t{}\t", fingerprint.cast_signed()).as_bytes());
            }
            self.row_count += 1;
            out.put_slice(&line);
            out.put_u8(b'\n');
        }
        Ok(())
    }

    fn columns(&self, rows: &RecordBatch) -> Result<Vec<Cells>, ConnectError> {
        let schema = rows.schema();
        let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| {
            if let Some(bytes) = column.as_binary_opt::<i32>() {
                return Ok(Cells::Bytes(bytes.clone()));
            }
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let text = cast_with_options(column, &DataType::Utf8, &options)?.as_string::<i32>().clone();
            Ok(match field.data_type() {
                DataType::Utf8 => {
                    self.check(field.name(), &text)?;
                    Cells::Text(text)
                }
                DataType::Date32 | DataType::Timestamp(..) => Cells::Time(text),
                _ => Cells::Plain(text),
            })
        });
        columns.collect()
    }

    /// The database's text knows no character 0.
    fn check(&self, column: &str, text: &StringArray) -> Result<(), ConnectError> {
        if !text.value_data().contains(&0) {
            return Ok(());
        }
        match text.iter().flatten().find(|value| value.contains('\0')) {
            Some(value) => Err(self.conform.refusal(format!(
                "column \"{column}\": {} holds the character U+0000, which a text of PostgreSQL cannot; take it out with \
                 REPLACE, or write BYTES into a bytea column",
                quoted(value)
            ))),
            None => Ok(()),
        }
    }
}

impl Cells {
    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Text(cells) | Self::Plain(cells) | Self::Time(cells) if cells.is_null(row) => {
                out.extend_from_slice(br"\N");
            }
            Self::Bytes(cells) if cells.is_null(row) => out.extend_from_slice(br"\N"),
            Self::Text(cells) => escape(cells.value(row).as_bytes(), out),
            Self::Plain(cells) => out.extend_from_slice(cells.value(row).as_bytes()),
            Self::Time(cells) => write_time(cells.value(row), out),
            Self::Bytes(cells) => {
                out.extend_from_slice(br"\\x");
                for byte in cells.value(row) {
                    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' + half - 10 };
                    out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
                }
            }
        }
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            other => out.push(*other),
        }
    }
}

/// `+10000-01-01` is `10000-01-01`, and `-0043-03-15`, the year before `-0042`, is `0044-03-15 BC`.
fn write_time(text: &str, out: &mut Vec<u8>) {
    let bare = text.strip_prefix(['+', '-']);
    let year =
        bare.and_then(|bare| bare.split_once('-')).and_then(|(year, rest)| Some((year.parse::<u32>().ok()?, rest)));
    match year {
        Some((year, rest)) if text.starts_with('-') => {
            out.extend_from_slice(format!("{:04}-{rest} BC", year + 1).as_bytes());
        }
        Some(_) => out.extend_from_slice(bare.unwrap_or(text).as_bytes()),
        None if text.starts_with("0000-") => {
            out.extend_from_slice(format!("0001{} BC", text.trim_start_matches("0000")).as_bytes());
        }
        None => out.extend_from_slice(text.as_bytes()),
    }
}
