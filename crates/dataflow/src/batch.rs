//! What flows along an edge: rows in Arrow form, and for updating results the kind of change each row is.

use arrow::array::{RecordBatch, UInt8Array};

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
}
