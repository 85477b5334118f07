//! Debezium's JSON: each record is one change, with the row before and after it. Changes are written as Flink writes them: a row more
//! is `c` with the row *after*, a row less is `d` with the row *before*. What is read may also be `r`, a row that was there when
//! reading the database began, and `u`, which is both rows of an update.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions, StringArray, StructArray, UInt8Array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use mulgil_dataflow::batch::{Batch, RowKind};
use serde_json::Value;

use super::cells::{Decoded, find_nulls, nullable};
use super::json::{self, JsonDecoder};
use super::quoted;

/// The value of the option `format`.
pub(crate) const NAME: &str = "debezium-json";
/// Whether records that cannot be read are left out.
pub(crate) const IGNORE_PARSE_ERRORS: &str = "debezium-json.ignore-parse-errors";
/// Whether records are `{"schema": ..., "payload": change}`.
pub(crate) const SCHEMA_INCLUDE: &str = "debezium-json.schema-include";
/// The options of the format.
pub(crate) const OPTIONS: [&str; 2] = [IGNORE_PARSE_ERRORS, SCHEMA_INCLUDE];

/// Decodes changes: Arrow's decoder reads them as rows with the columns *before*, *after* and *op*, which are then rows of the
/// table.
pub(crate) struct DebeziumDecoder {
    schema: SchemaRef,
    has_schema: bool,
    changes: JsonDecoder,
    /// Finds out what is wrong with a row.
    rows: JsonDecoder,
}

/// The parts of some changes.
struct Changes<'a> {
    /// The rows before and after.
    sides: [&'a StructArray; 2],
    op: &'a StringArray,
}

/// Where a row of the table comes from.
struct Origin {
    /// The index of its record.
    record: usize,
    /// The change, and which of its sides.
    change: usize,
    side: usize,
    kind: RowKind,
}

const BEFORE: usize = 0;
const AFTER: usize = 1;

impl DebeziumDecoder {
    /// A decoder for these columns; other fields are passed over.
    pub(crate) fn new(schema: SchemaRef, has_schema: bool) -> Self {
        let row = DataType::Struct(nullable(&schema).fields().clone());
        let change = Fields::from(vec![
            Field::new("before", row.clone(), true),
            Field::new("after", row, true),
            Field::new("op", DataType::Utf8, true),
        ]);
        let fields =
            if has_schema { vec![Field::new("payload", DataType::Struct(change), true)].into() } else { change };
        let changes = JsonDecoder::new(Arc::new(Schema::new(fields)));
        Self { has_schema, changes, rows: JsonDecoder::new(Arc::clone(&schema)), schema }
    }

    /// Decodes records. Those that are empty say that Kafka may forget a key: they are passed over.
    pub(crate) fn decode(&self, records: &[&[u8]]) -> Result<Decoded, ArrowError> {
        let there = || records.iter().enumerate().filter(|(_, record)| !record.is_empty());
        let texts: Vec<&[u8]> = there().map(|(_, record)| *record).collect();
        let read = self.changes.decode(&texts)?;
        let is_bad = |text: usize| read.bad.binary_search_by_key(&text, |(bad, _)| *bad).is_ok();
        let mut bad: BTreeMap<usize, String> = BTreeMap::new();
        let mut readable = Vec::with_capacity(texts.len());
        for (text, (record, value)) in there().enumerate() {
            if is_bad(text) {
                bad.insert(record, self.reason(value));
            } else {
                readable.push(record);
            }
        }
        let changes = self.changes_of(&read.rows)?;
        let mut origins = Vec::with_capacity(readable.len());
        for (change, record) in readable.into_iter().enumerate() {
            if let Err(reason) = changes.add_origins(change, record, &mut origins) {
                bad.insert(record, reason);
            }
        }
        let mut rows = self.rows_of(&changes, &origins)?;
        let mut nulls = Vec::new();
        for (column, field) in rows.columns().iter().zip(self.schema.fields()) {
            find_nulls(column.as_ref(), field, &mut nulls);
        }
        if !nulls.is_empty() {
            for (row, reason) in nulls {
                bad.extend(origins.get(row).map(|origin| (origin.record, reason)));
            }
            origins.retain(|origin| !bad.contains_key(&origin.record));
            rows = self.rows_of(&changes, &origins)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(origins.len()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), rows.columns().to_vec(), &options)?;
        let kinds = UInt8Array::from_iter_values(origins.iter().map(|origin| origin.kind as u8));
        Ok(Decoded { rows, kinds: Some(kinds), bad: bad.into_iter().collect() })
    }

    fn changes_of<'a>(&self, read: &'a RecordBatch) -> Result<Changes<'a>, ArrowError> {
        let payload = if self.has_schema { read.column(0).as_struct_opt() } else { None };
        let columns = payload.map_or(read.columns(), StructArray::columns);
        let parts = match columns {
            [before, after, op] => (before.as_struct_opt(), after.as_struct_opt(), op.as_string_opt::<i32>()),
            _ => (None, None, None),
        };
        let (Some(before), Some(after), Some(op)) = parts else {
            return Err(ArrowError::JsonError("a change was decoded into other columns".to_owned()));
        };
        Ok(Changes { sides: [before, after], op })
    }

    /// The rows of the table, NULLs not checked.
    fn rows_of(&self, changes: &Changes<'_>, origins: &[Origin]) -> Result<RecordBatch, ArrowError> {
        let indices: Vec<(usize, usize)> = origins.iter().map(|origin| (origin.side, origin.change)).collect();
        let [before, after] = changes.sides;
        let columns = before.columns().iter().zip(after.columns());
        let columns = columns.map(|(before, after)| interleave(&[before.as_ref(), after.as_ref()], &indices));
        let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(origins.len()));
        RecordBatch::try_new_with_options(nullable(&self.schema), columns, &options)
    }

    /// Why a single record does not decode.
    fn reason(&self, record: &[u8]) -> String {
        let value: Value = match serde_json::from_slice(record) {
            Ok(value) => value,
            Err(error) => return format!("not JSON: {error}"),
        };
        let change = if self.has_schema { value.get("payload").unwrap_or(&Value::Null) } else { &value };
        for side in ["before", "after"] {
            let Some(row) = change.get(side).filter(|row| !row.is_null()) else { continue };
            let decoded = self.rows.decode(&[row.to_string()]);
            if let Ok(Some((_, reason))) = decoded.map(|decoded| decoded.bad.into_iter().next()) {
                return format!("\"{side}\": {reason}");
            }
        }
        format!(
            "this is no change with \"before\", \"after\" and \"op\"{}",
            if self.has_schema { " in a \"payload\"" } else { "" }
        )
    }
}

impl Changes<'_> {
    /// Adds the rows that a change speaks of.
    fn add_origins(&self, change: usize, record: usize, origins: &mut Vec<Origin>) -> Result<(), String> {
        let origin = |side: usize, kind| Origin { record, change, side, kind };
        let op = if self.op.is_valid(change) { self.op.value(change) } else { "" };
        let of_change: &[_] = match op {
            "c" | "r" => &[(AFTER, RowKind::Insert)],
            "u" => &[(BEFORE, RowKind::UpdateBefore), (AFTER, RowKind::UpdateAfter)],
            "d" => &[(BEFORE, RowKind::Delete)],
            "" => return Err("there is no \"op\"; if the change stands in a \"payload\", set 'debezium-json.schema-include' = 'true'".to_owned()),
            other => return Err(format!("\"op\" is {}; expected c, r, u or d", quoted(other))),
        };
        let [before, after] = self.sides;
        for (side, _) in of_change {
            let (name, rows, remedy) = match *side {
                BEFORE => {
                    ("before", before, "; the database has to log whole rows (PostgreSQL: REPLICA IDENTITY FULL)")
                }
                _ => ("after", after, ""),
            };
            if rows.is_null(change) {
                return Err(format!("\"{name}\" is null in a change with \"op\" {op:?}{remedy}"));
            }
        }
        origins.extend(of_change.iter().map(|(side, kind)| origin(*side, *kind)));
        Ok(())
    }
}

/// One record a change, in order.
pub(crate) fn encode(rows: &RecordBatch, batch: &Batch) -> Result<Vec<Bytes>, ArrowError> {
    let text = json::write_lines(Vec::new(), rows)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let is_less = |row: usize| {
        let kind = batch.kinds.as_ref().map(|kinds| kinds.value(row));
        kind == Some(RowKind::UpdateBefore as u8) || kind == Some(RowKind::Delete as u8)
    };
    let records = lines.enumerate().map(|(row, line)| {
        let mut record = Vec::with_capacity(line.len() + 40);
        let (before, after, op): (&[u8], &[u8], _) =
            if is_less(row) { (line, b"null", "d") } else { (b"null", line, "c") };
        record.extend_from_slice(b"{\"before\":");
        record.extend_from_slice(before);
        record.extend_from_slice(b",\"after\":");
        record.extend_from_slice(after);
        write!(record, ",\"op\":\"{op}\"}}")?;
        Ok(Bytes::from(record))
    });
    records.collect::<std::io::Result<Vec<Bytes>>>().map_err(ArrowError::from)
}
