//! JSON: one object a row, fields found by name. Arrow's decoder reads many rows at once; rows it refuses are found by
//! halving, so that a few bad ones among many cost little.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::reader::{Decoder, ReaderBuilder};
use arrow::json::writer::LineDelimited;
use serde_json::Value;

use super::cells::{Decoded, find_nulls, nullable, unreadable, without_bad};
use super::{BadRecord, Chunk, Stop};

/// The options of format `json`.
pub(crate) const OPTIONS: [&str; 1] = ["json.ignore-parse-errors"];

/// Reads the rows of one text of JSON lines. Empty lines are passed over.
pub(crate) struct JsonLines<R> {
    text: R,
    decoder: JsonDecoder,
    /// Lines read.
    line: u64,
}

impl<R: BufRead> JsonLines<R> {
    /// Nothing is read yet.
    pub(crate) fn new(text: R, schema: SchemaRef) -> Self {
        Self { text, decoder: JsonDecoder::new(schema), line: 0 }
    }

    /// The next `records_max` records, fewer at the end, none behind it.
    pub(crate) fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, Stop> {
        let mut lines = Vec::with_capacity(records_max);
        let mut records = Vec::with_capacity(records_max);
        while records.len() < records_max
            && let Some(record) = self.read_record()?
        {
            lines.push(self.line);
            records.push(record);
        }
        if records.is_empty() {
            return Ok(None);
        }
        let decoded = self.decoder.decode(&records).map_err(|error| (self.line, error.to_string()))?;
        let line_of = |row: usize| lines.get(row).copied().unwrap_or(0);
        let bad = decoded.bad.into_iter().map(|(row, reason)| {
            let raw = records.get(row).map(|record| record.trim_ascii_end().to_vec());
            BadRecord { line: line_of(row), reason, raw }
        });
        let bad = bad.collect();
        Ok(Some(Chunk { rows: decoded.rows, records: records.len() as u64, bad }))
    }

    /// Passes over records that were read before.
    pub(crate) fn skip(&mut self, records: u64) -> Result<(), Stop> {
        for _ in 0..records {
            if self.read_record()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn read_record(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        loop {
            let mut record = Vec::new();
            let read = self.text.read_until(b'\n', &mut record);
            let read = read.map_err(|error| (self.line + 1, format!("cannot read on: {error}")))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            if !record.trim_ascii().is_empty() {
                return Ok(Some(record));
            }
        }
    }
}

/// Decodes rows of JSON into the columns of one schema.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    /// The same columns, all nullable: absence is judged after decoding, to name the row.
    lenient: SchemaRef,
}

impl JsonDecoder {
    /// A decoder for these columns; other fields of the objects are passed over.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { lenient: nullable(&schema), schema }
    }

    /// Decodes rows, one object each.
    pub(crate) fn decode<B: AsRef<[u8]>>(&self, rows: &[B]) -> Result<Decoded, ArrowError> {
        let mut good = Vec::new();
        let mut bad = Vec::new();
        self.decode_range(rows, 0, &mut good, &mut bad)?;
        let decoded = match good.len() {
            0 => RecordBatch::new_empty(Arc::clone(&self.lenient)),
            1 => good.swap_remove(0),
            _ => concat_batches(&self.lenient, &good)?,
        };
        self.check_nulls(decoded, rows.len(), bad)
    }

    /// Decodes `rows`, the first of which has the index `first`; halves them where they do not decode together.
    fn decode_range<B: AsRef<[u8]>>(
        &self,
        rows: &[B],
        first: usize,
        good: &mut Vec<RecordBatch>,
        bad: &mut Vec<(usize, String)>,
    ) -> Result<(), ArrowError> {
        match (self.decode_together(rows)?, rows) {
            (Some(decoded), _) => good.push(decoded),
            (None, []) => {}
            (None, [row]) => bad.push((first, self.reason(row.as_ref()))),
            (None, _) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                self.decode_range(left, first, good, bad)?;
                self.decode_range(right, first + left.len(), good, bad)?;
            }
        }
        Ok(())
    }

    /// All rows at once, or `None` if one of them is not exactly one object of these columns.
    fn decode_together<B: AsRef<[u8]>>(&self, rows: &[B]) -> Result<Option<RecordBatch>, ArrowError> {
        if self.schema.fields().is_empty() {
            return self.count_objects(rows);
        }
        let mut decoder = self.decoder(&self.lenient, rows.len())?;
        for (index, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            let complete = decoder.decode(row).is_ok_and(|read| read == row.len())
                && decoder.len() == index + 1
                && !decoder.has_partial_record();
            if !complete {
                return Ok(None);
            }
        }
        Ok(decoder.flush().ok().flatten())
    }

    /// Where no column is wanted (`count(*)`), rows still have to be objects.
    fn count_objects<B: AsRef<[u8]>>(&self, rows: &[B]) -> Result<Option<RecordBatch>, ArrowError> {
        let is_object = |row: &B| serde_json::from_slice::<serde_json::Map<String, Value>>(row.as_ref()).is_ok();
        if !rows.iter().all(is_object) {
            return Ok(None);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        RecordBatch::try_new_with_options(Arc::clone(&self.lenient), vec![], &options).map(Some)
    }

    fn decoder(&self, schema: &SchemaRef, rows: usize) -> Result<Decoder, ArrowError> {
        // One row more than there are, or the decoder would leave the end of the last row unread.
        ReaderBuilder::new(Arc::clone(schema)).with_batch_size(rows + 1).with_coerce_primitive(true).build_decoder()
    }

    /// Why a single row does not decode.
    fn reason(&self, row: &[u8]) -> String {
        let value: Value = match serde_json::from_slice(row) {
            Ok(value) => value,
            Err(error) => return format!("not JSON: {error}"),
        };
        let Value::Object(fields) = &value else {
            return format!("expected a JSON object, found {}", kind(&value));
        };
        let refused = self.lenient.fields().iter().find(|field| !self.decodes_field(field, row));
        match refused {
            Some(field) => match fields.get(field.name()) {
                Some(Value::String(text)) => unreadable(field, text),
                Some(value) => unreadable(field, &value.to_string()),
                None => format!("column \"{}\" cannot be read", field.name()),
            },
            None => "this row cannot be read".to_owned(),
        }
    }

    fn decodes_field(&self, field: &Arc<Field>, row: &[u8]) -> bool {
        let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
        self.decoder(&schema, 1).is_ok_and(|mut decoder| decoder.decode(row).is_ok() && decoder.flush().is_ok())
    }

    /// Finds NULLs in NOT NULL columns. `bad` rows are not in `decoded`: indices have to be translated.
    fn check_nulls(
        &self,
        decoded: RecordBatch,
        row_count: usize,
        mut bad: Vec<(usize, String)>,
    ) -> Result<Decoded, ArrowError> {
        let mut nulls = Vec::new();
        for (column, field) in decoded.columns().iter().zip(self.schema.fields()) {
            find_nulls(column.as_ref(), field, &mut nulls);
        }
        if !nulls.is_empty() && !bad.is_empty() {
            let is_bad = |row: &usize| bad.binary_search_by_key(row, |(bad_row, _)| *bad_row).is_ok();
            let kept: Vec<usize> = (0..row_count).filter(|row| !is_bad(row)).collect();
            let without = without_bad(decoded, nulls, &self.schema)?;
            bad.extend(without.bad.into_iter().filter_map(|(row, reason)| Some((*kept.get(row)?, reason))));
            bad.sort_by_key(|(row, _)| *row);
            return Ok(Decoded { rows: without.rows, kinds: None, bad });
        }
        let without = without_bad(decoded, nulls, &self.schema)?;
        bad.extend(without.bad);
        Ok(Decoded { rows: without.rows, kinds: None, bad })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Writes rows as objects on lines of their own, NULLs written out, so that every row says all of its columns.
pub(crate) fn write_lines<W: Write>(file: W, rows: &RecordBatch) -> io::Result<W> {
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<W, LineDelimited>(file);
    writer.write(rows).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)?;
    Ok(writer.into_inner())
}
