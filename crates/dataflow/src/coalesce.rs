//! Joins slivers: batches of a few rows are put together until a batch is worth its way through a queue.
//!
//! Nothing is held longer than its owner wants: [`Coalescer::flush`] gives out what is there.

use arrow::error::ArrowError;

use crate::batch::Batch;

/// Batches about this large are what operators like best: small enough for the cache, large enough to be vectorised.
pub const BATCH_ROWS: usize = 8_192;

/// Collects rows up to a number.
#[derive(Debug)]
pub struct Coalescer {
    target_rows: usize,
    pending: Vec<Batch>,
    pending_rows: usize,
}

impl Coalescer {
    /// Gives out batches of at least `target_rows` rows.
    pub fn new(target_rows: usize) -> Self {
        Self { target_rows, pending: Vec::new(), pending_rows: 0 }
    }

    /// Takes a batch, and gives out one when enough rows have come together.
    ///
    /// # Errors
    /// The batches do not fit together.
    pub fn push(&mut self, batch: Batch) -> Result<Option<Batch>, ArrowError> {
        self.pending_rows += batch.num_rows();
        self.pending.push(batch);
        if self.pending_rows >= self.target_rows { self.flush() } else { Ok(None) }
    }

    /// Gives out what is there, in the order in which it came.
    ///
    /// # Errors
    /// The batches do not fit together.
    pub fn flush(&mut self) -> Result<Option<Batch>, ArrowError> {
        self.pending_rows = 0;
        let pending = std::mem::take(&mut self.pending);
        Batch::concat(&pending)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, UInt8Array};

    use super::*;

    fn batch(values: std::ops::Range<i64>) -> Batch {
        let column = Arc::new(Int64Array::from_iter_values(values)) as _;
        Batch::append(RecordBatch::try_from_iter([("n", column)]).unwrap())
    }

    #[test]
    fn slivers_come_out_together_in_order() {
        let mut coalescer = Coalescer::new(10);
        assert!(coalescer.push(batch(0..4)).unwrap().is_none());
        let mut changes = batch(4..6);
        changes.kinds = Some(UInt8Array::from(vec![1, 2]));
        assert!(coalescer.push(changes).unwrap().is_none());
        let joined = coalescer.push(batch(6..10)).unwrap().unwrap();
        assert_eq!(joined.rows, batch(0..10).rows);
        assert_eq!(joined.kinds.unwrap().values().to_vec(), vec![0, 0, 0, 0, 1, 2, 0, 0, 0, 0]);
        assert!(coalescer.flush().unwrap().is_none());
    }

    #[test]
    fn flush_gives_out_what_is_there() {
        let mut coalescer = Coalescer::new(10);
        coalescer.push(batch(0..3)).unwrap();
        assert_eq!(coalescer.flush().unwrap().unwrap().rows, batch(0..3).rows);
    }
}
