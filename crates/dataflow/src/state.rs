//! What an operator has to keep across a restart, as tables of rows: sealed at a cut, stored, and restored, maybe by
//! another number of subtasks.
//!
//! State is rows because rows can be told apart: each says by its key which subtask it belongs to, so the state of four
//! subtasks can be given to three. An operator seals what it needs to go on as if nothing had happened, and no more: what
//! it can compute again (indexes, caches, sums of what is kept anyway) it does not seal. How far event time has come is
//! kept by the runtime.

use std::borrow::Cow;

use arrow::array::RecordBatch;

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
    pub rows: RecordBatch,
    /// Where they belong.
    pub lies: Lies,
    /// How much they are.
    pub extent: Extent,
}

impl StatePart {
    /// All rows of a part.
    pub fn whole(name: &'static str, rows: RecordBatch, lies: Lies) -> Self {
        Self { name: Cow::Borrowed(name), rows, lies, extent: Extent::Whole }
    }

    /// What has changed in a part whose rows are named by their first `key_count` columns.
    pub fn changes(name: &'static str, rows: RecordBatch, lies: Lies, key_count: usize, gone: RecordBatch) -> Self {
        Self { name: Cow::Borrowed(name), rows, lies, extent: Extent::Changes { key_count, gone } }
    }
}
