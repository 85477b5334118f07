//! A store that is memory itself: for tests of what is put away when, without files.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::batch::Batch;
use crate::state::{ReadRows, StateStore, StoreError, StoredRows};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct InMemory;

#[derive(Debug)]
struct Kept(Vec<RecordBatch>);

impl StateStore for InMemory {
    fn put(&self, rows: &[RecordBatch]) -> Result<Arc<dyn StoredRows>, StoreError> {
        Ok(Arc::new(Kept(rows.to_vec())))
    }
}

impl StoredRows for Kept {
    fn read(&self) -> Result<ReadRows, StoreError> {
        Ok(Box::new(self.0.clone().into_iter().map(Ok)))
    }

    fn row_count(&self) -> usize {
        self.0.iter().map(RecordBatch::num_rows).sum()
    }

    fn size_bytes(&self) -> usize {
        self.0.iter().map(|rows| Batch::append(rows.clone()).size_bytes()).sum()
    }
}
