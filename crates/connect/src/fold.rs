//! What a changelog comes to: the rows that have been given and not taken back. A row is told from others by all of its columns, as
//! everywhere in a stream.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use mulgil_dataflow::batch::{Batch, RowKind};

/// The rows so far.
#[derive(Debug)]
pub struct Fold {
    schema: SchemaRef,
    /// Made with the first changes.
    converter: Option<RowConverter>,
    /// How often a row is there. Below zero where it was taken back before it was given: other partitions may still give it.
    rows: HashMap<Box<[u8]>, Count>,
    row_bytes: usize,
    /// The number of the row that is new next.
    next: u64,
    /// What is left to be taken, last row first.
    left: Option<Vec<Box<[u8]>>>,
}

#[derive(Debug)]
struct Count {
    times: i64,
    /// When it was new.
    number: u64,
}

impl Fold {
    /// No rows yet, with these columns.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, converter: None, rows: HashMap::new(), row_bytes: 0, next: 0, left: None }
    }

    /// Takes changes in.
    ///
    /// # Errors
    /// The rows have other columns.
    pub fn add(&mut self, batch: &Batch) -> Result<(), ArrowError> {
        if self.schema.fields().is_empty() {
            (0..batch.num_rows()).for_each(|row| self.count(&[], sign(batch, row)));
            return Ok(());
        }
        let encoded = self.converter()?.convert_columns(batch.rows.columns())?;
        encoded.iter().enumerate().for_each(|(row, bytes)| self.count(bytes.as_ref(), sign(batch, row)));
        Ok(())
    }

    /// What it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        /// What a row takes beside its bytes.
        const OVERHEAD_BYTES: usize = 40;
        self.row_bytes + self.rows.len() * OVERHEAD_BYTES
    }

    /// The next rows of the result, at most so many; `None` when all are taken. In the order in which they were given.
    ///
    /// # Errors
    /// A column grows beyond what its type can address.
    pub fn take(&mut self, rows_max: usize) -> Result<Option<RecordBatch>, ArrowError> {
        let left = match &mut self.left {
            Some(left) => left,
            none => none.insert(in_order(std::mem::take(&mut self.rows))),
        };
        if left.is_empty() {
            return Ok(None);
        }
        let mut taken = left.split_off(left.len().saturating_sub(rows_max.max(1)));
        taken.reverse();
        let options = RecordBatchOptions::new().with_row_count(Some(taken.len()));
        let columns = if self.schema.fields().is_empty() {
            Vec::new()
        } else {
            let converter = self.converter()?;
            let parser = converter.parser();
            converter.convert_rows(taken.iter().map(|bytes| parser.parse(bytes)))?
        };
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map(Some)
    }

    fn converter(&mut self) -> Result<&mut RowConverter, ArrowError> {
        match &mut self.converter {
            Some(converter) => Ok(converter),
            none => {
                let fields = self.schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
                Ok(none.insert(RowConverter::new(fields.collect())?))
            }
        }
    }

    fn count(&mut self, row: &[u8], times: i64) {
        let Some(count) = self.rows.get_mut(row) else {
            self.row_bytes += row.len();
            self.rows.insert(row.into(), Count { times, number: self.next });
            self.next += 1;
            return;
        };
        count.times += times;
        if count.times == 0 {
            self.rows.remove(row);
            self.row_bytes -= row.len();
        }
    }
}

/// What a change adds to how often its row is there.
fn sign(batch: &Batch, row: usize) -> i64 {
    let kind = batch.kinds.as_ref().map(|kinds| kinds.value(row));
    let is_less = kind == Some(RowKind::UpdateBefore as u8) || kind == Some(RowKind::Delete as u8);
    if is_less { -1 } else { 1 }
}

/// Each row as often as it is there, the oldest last.
fn in_order(rows: HashMap<Box<[u8]>, Count>) -> Vec<Box<[u8]>> {
    let mut rows: Vec<(Box<[u8]>, Count)> = rows.into_iter().collect();
    rows.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(count.number));
    let times = |count: &Count| usize::try_from(count.times).unwrap_or(0);
    rows.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, times(&count))).collect()
}
