//! What an operator has to keep across a restart, as tables of rows: sealed at a cut, stored, and restored, maybe by
//! another number of subtasks.
//!
//! State is rows because rows can be told apart: each says by its key which subtask it belongs to, so the state of four
//! subtasks can be given to three. An operator seals what it needs to go on as if nothing had happened, and no more: what
//! it can compute again (indexes, caches, sums of what is kept anyway) it does not seal. How far event time has come is
//! kept by the runtime.
//!
//! Rows may be put away (see [`crate::spill`]): then a part names where they are, and they are read batch by batch.

use std::borrow::Cow;
use std::fmt;
use std::iter::once;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::batch::Batch;

/// Where rows are put away, and read again.
pub trait StateStore: fmt::Debug + Send + Sync {
    /// Puts batches of one schema away.
    ///
    /// # Errors
    /// There is no room.
    fn put(&self, rows: &[RecordBatch]) -> Result<Arc<dyn StoredRows>, StoreError>;
}

/// Rows that are put away, until nobody names them any more.
pub trait StoredRows: fmt::Debug + Send + Sync {
    /// Reads them, batch by batch, as they were put.
    ///
    /// # Errors
    /// They are gone.
    fn read(&self) -> Result<ReadRows, StoreError>;
    /// How many there are.
    fn row_count(&self) -> usize;
    /// How much room they take where they are, in bytes.
    fn size_bytes(&self) -> usize;
}

/// Batches that are read one after the other.
pub type ReadRows = Box<dyn Iterator<Item = Result<RecordBatch, StoreError>> + Send>;

/// Rows could not be put away, or read again: where, why, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Rows of one schema, in batches of which some may be put away.
#[derive(Clone, Debug)]
pub struct StateRows {
    schema: SchemaRef,
    chunks: Vec<Chunk>,
}

#[derive(Clone, Debug)]
enum Chunk {
    Here(RecordBatch),
    Stored(Arc<dyn StoredRows>),
}

impl StateRows {
    /// No rows of this schema.
    pub fn none(schema: SchemaRef) -> Self {
        Self { schema, chunks: Vec::new() }
    }

    /// Rows that are put away.
    pub fn stored(schema: SchemaRef, rows: Arc<dyn StoredRows>) -> Self {
        Self { schema, chunks: vec![Chunk::Stored(rows)] }
    }

    /// Their columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many there are.
    pub fn row_count(&self) -> usize {
        self.chunks.iter().map(Chunk::row_count).sum()
    }

    /// Adds more rows behind them.
    pub fn append(&mut self, mut rows: Self) {
        self.chunks.append(&mut rows.chunks);
    }

    /// Reads them, batch by batch.
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch, StoreError>> {
        self.chunks.iter().flat_map(|chunk| match chunk {
            Chunk::Here(rows) => Box::new(once(Ok(rows.clone()))) as ReadRows,
            Chunk::Stored(rows) => rows.read().unwrap_or_else(|error| Box::new(once(Err(error)))),
        })
    }

    /// All of them in one batch.
    ///
    /// # Errors
    /// They cannot be read, or are too many for one batch.
    pub fn to_batch(&self) -> Result<RecordBatch, StoreError> {
        let batches = self.batches().collect::<Result<Vec<RecordBatch>, StoreError>>()?;
        match batches.as_slice() {
            [only] => Ok(only.clone()),
            batches => concat_batches(&self.schema, batches).map_err(|error| StoreError(error.to_string())),
        }
    }

    /// The same rows, all put away but what takes no room.
    ///
    /// # Errors
    /// There is no room.
    pub(crate) fn put_away(self, store: &dyn StateStore) -> Result<Self, StoreError> {
        let mut away = Self::none(self.schema);
        let mut here = Vec::new();
        for chunk in self.chunks {
            match chunk {
                Chunk::Here(rows) if rows.num_rows() > 0 => here.push(rows),
                Chunk::Here(_) => {}
                Chunk::Stored(_) => away.chunks.push(chunk),
            }
        }
        if !here.is_empty() {
            away.chunks.push(Chunk::Stored(store.put(&here)?));
        }
        Ok(away)
    }

    /// How much memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let here = |chunk: &Chunk| match chunk {
            Chunk::Here(rows) => Batch::append(rows.clone()).size_bytes(),
            Chunk::Stored(_) => 0,
        };
        self.chunks.iter().map(here).sum()
    }

    /// How much room those take that are put away, in bytes.
    pub fn stored_bytes(&self) -> usize {
        let stored = |chunk: &Chunk| match chunk {
            Chunk::Here(_) => 0,
            Chunk::Stored(rows) => rows.size_bytes(),
        };
        self.chunks.iter().map(stored).sum()
    }
}

impl From<RecordBatch> for StateRows {
    fn from(rows: RecordBatch) -> Self {
        Self { schema: rows.schema(), chunks: vec![Chunk::Here(rows)] }
    }
}

impl Chunk {
    fn row_count(&self) -> usize {
        match self {
            Chunk::Here(rows) => rows.num_rows(),
            Chunk::Stored(rows) => rows.row_count(),
        }
    }
}

/// Where the rows of a part belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lies {
    /// With the subtask that holds the key in these columns of the part: the columns that
    /// [`crate::definition::Distribution::Keyed`] names, in that order.
    Keyed(Vec<usize>),
    /// With any subtask, each row with one.
    Anywhere,
    /// With every subtask: each has sealed the same rows.
    Everywhere,
}

/// How much of a part was sealed.
#[derive(Clone, Debug)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What has changed since it was sealed last: the rows replace those with the same key.
    Changes {
        /// How many of the first columns are the key, which names a row.
        key_count: usize,
        /// The keys that are gone; their columns are the key's.
        gone: RecordBatch,
    },
}

/// One table of an operator's state.
#[derive(Clone, Debug)]
pub struct StatePart {
    /// Its name among the parts of the operator. It is stored, so it does not change between versions.
    pub name: Cow<'static, str>,
    /// The rows.
    pub rows: StateRows,
    /// Where they belong.
    pub lies: Lies,
    /// How much they are.
    pub extent: Extent,
}

impl StatePart {
    /// All rows of a part.
    pub fn whole(name: &'static str, rows: RecordBatch, lies: Lies) -> Self {
        Self { name: Cow::Borrowed(name), rows: rows.into(), lies, extent: Extent::Whole }
    }

    /// What has changed in a part whose rows are named by their first `key_count` columns.
    pub fn changes(name: &'static str, rows: RecordBatch, lies: Lies, key_count: usize, gone: RecordBatch) -> Self {
        Self { name: Cow::Borrowed(name), rows: rows.into(), lies, extent: Extent::Changes { key_count, gone } }
    }

    /// Whether it says that nothing has changed.
    pub(crate) fn is_unchanged(&self) -> bool {
        match &self.extent {
            Extent::Whole => false,
            Extent::Changes { gone, .. } => gone.num_rows() == 0 && self.rows.row_count() == 0,
        }
    }
}
