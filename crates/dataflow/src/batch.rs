//! What flows along an edge: rows in Arrow form, and for updating results the kind of change each row is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt8Array, UInt32Array};
use arrow::compute::{concat, concat_batches, take, take_arrays};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// What a row of a changelog says about the result, in Flink's letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RowKind {
    /// `+I`: a new row.
    Insert = 0,
    /// `-U`: the former value of a row that changes.
    UpdateBefore = 1,
    /// `+U`: the new value of a row that changes.
    UpdateAfter = 2,
    /// `-D`: the row is gone.
    Delete = 3,
}

/// Some rows on their way. `kinds` is `None` for an append-only stream (every row is `+I`), else it holds one
/// [`RowKind`] per row, as its number.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The rows.
    pub rows: RecordBatch,
    /// One [`RowKind`] a row, or `None` where all rows are inserts.
    pub kinds: Option<UInt8Array>,
}

impl Batch {
    /// Append-only rows.
    pub fn append(rows: RecordBatch) -> Self {
        Self { rows, kinds: None }
    }

    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// The same changes to other rows: `rows` has as many, in the same order.
    pub fn with_rows(self, rows: RecordBatch) -> Self {
        Self { rows, kinds: self.kinds }
    }

    /// Some of the rows, without copying.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            rows: self.rows.slice(offset, length),
            kinds: self.kinds.as_ref().map(|kinds| kinds.slice(offset, length)),
        }
    }

    /// The rows that `indices` names, in that order.
    ///
    /// # Errors
    /// An index is out of range, or a column would grow beyond what its type can address.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self, ArrowError> {
        let kinds = match &self.kinds {
            Some(kinds) => Some(take(kinds, indices, None)?.as_primitive().clone()),
            None => None,
        };
        Ok(Self { rows: take_rows(&self.rows, indices)?, kinds })
    }

    /// All rows of some batches of one schema, in order.
    ///
    /// # Errors
    /// The schemas differ, or a column would grow beyond what its type can address.
    pub fn concat(batches: &[Batch]) -> Result<Option<Self>, ArrowError> {
        let [first, rest @ ..] = batches else { return Ok(None) };
        if rest.is_empty() {
            return Ok(Some(first.clone()));
        }
        let rows = concat_batches(first.rows.schema_ref(), batches.iter().map(|batch| &batch.rows))?;
        if batches.iter().all(|batch| batch.kinds.is_none()) {
            return Ok(Some(Self { rows, kinds: None }));
        }
        let kinds: Vec<UInt8Array> = batches.iter().map(Batch::kinds_or_inserts).collect();
        let kinds: Vec<&dyn Array> = kinds.iter().map(|kinds| kinds as &dyn Array).collect();
        let kinds = concat(&kinds)?.as_primitive().clone();
        Ok(Some(Self { rows, kinds: Some(kinds) }))
    }

    /// Memory held by these very rows, in bytes: a slice counts as what it shows, not as what it is cut from.
    pub fn size_bytes(&self) -> usize {
        self.rows.columns().iter().map(column_bytes).sum::<usize>() + self.kinds.as_ref().map_or(0, Array::len)
    }

    fn kinds_or_inserts(&self) -> UInt8Array {
        let inserts = || UInt8Array::from_value(RowKind::Insert as u8, self.num_rows());
        self.kinds.clone().unwrap_or_else(inserts)
    }
}

/// The rows that `indices` names, in that order.
///
/// # Errors
/// As [`Batch::take`].
pub fn take_rows(rows: &RecordBatch, indices: &UInt32Array) -> Result<RecordBatch, ArrowError> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(indices.len()));
    let columns = take_arrays(rows.columns(), indices, None)?;
    RecordBatch::try_new_with_options(Arc::clone(rows.schema_ref()), columns, &options)
}

pub(crate) fn column_bytes(column: &ArrayRef) -> usize {
    let data = column.to_data();
    let fixed = data.get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    // A view's long values live in buffers that its slice size leaves out.
    let viewed = match column.data_type() {
        DataType::Utf8View => column.as_string_view().total_buffer_bytes_used(),
        DataType::BinaryView => column.as_binary_view().total_buffer_bytes_used(),
        _ => 0,
    };
    fixed + viewed
}

#[cfg(test)]
mod tests;
