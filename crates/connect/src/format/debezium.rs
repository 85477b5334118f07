//! Debezium's JSON: each record is one change, with the row before and after it. Changes are written as Flink writes them: a row more
//! is `c` with the row *after*, a row less is `d` with the row *before*.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use bytes::Bytes;
use mulgil_dataflow::batch::{Batch, RowKind};

use super::json;

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
