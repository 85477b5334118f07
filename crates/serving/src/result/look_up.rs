//! Finds the rows of a key in a result, without reading the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::contents::{Contents, row_number};
use super::index::{Index, Keys, Place};
use super::shown::{Side, Touched};
use super::{ResultError, ResultTable};

/// What a look-up has found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The rows that have the key.
    Rows(Vec<RecordBatch>),
    /// The result cannot be asked by a key yet: [`ResultTable::prepare_look_ups`] sees to it, and takes its time.
    NotYet,
    /// No columns name its rows.
    NoKey,
}

impl ResultTable {
    /// The columns that together name a row, by which rows can be looked up; `None` where there are none.
    pub fn key(&self) -> Option<&[usize]> {
        self.key.as_deref().filter(|key| !key.is_empty())
    }

    /// The rows whose key columns have these values: for each of [`ResultTable::key`] an array of one value of the column's
    /// type, which is not null. It waits for nobody who changes the result.
    ///
    /// # Errors
    /// The values are not of the columns' types.
    pub fn find(&self, values: &[ArrayRef]) -> Result<Found, ResultError> {
        if self.key().is_none() {
            return Ok(Found::NoKey);
        }
        let Some(side) = self.shown.side() else { return Ok(Found::NotYet) };
        let Some(key) = side.index.keys.of_values(values)?.into_iter().next() else { return Ok(Found::NoKey) };
        Ok(Found::Rows(side.rows(&key)))
    }

    /// Waits until the changes that are being applied are applied, and makes what look-ups need where there is nothing yet. A result
    /// that is pinned gets nothing.
    ///
    /// # Errors
    /// A key column's type cannot be compared.
    pub fn prepare_look_ups(&self) -> Result<(), ResultError> {
        let Some(key) = self.key() else { return Ok(()) };
        let mut contents = self.contents.lock();
        if contents.touched.is_some() || self.pinned.lock().is_some() {
            return Ok(());
        }
        if contents.index.is_none() {
            contents.index = Some(contents.indexed(Keys::new(&self.schema, key.to_vec())?)?);
        }
        let Some(index) = contents.index.clone() else { return Ok(()) };
        self.shown.begin(Side::new(index, &contents));
        contents.touched = Some(Touched::default());
        Ok(())
    }

    /// Lets readers see what they see now, until it is unpinned.
    pub(crate) fn pin(&self) {
        let mut contents = self.contents.lock();
        *self.pinned.lock() = Some(contents.share());
    }

    /// Lets readers see what has come meanwhile.
    pub(crate) fn unpin(&self) {
        let mut contents = self.contents.lock();
        let mut pinned = self.pinned.lock();
        let hidden = contents.show(&self.shown);
        *pinned = None;
        drop(pinned);
        contents.follow(hidden);
    }
}

impl Contents {
    /// An index of rows that are never taken back.
    fn indexed(&self, keys: Keys) -> Result<Index, ResultError> {
        let mut index = Index::new(keys, false);
        for (segment, rows) in self.numbered() {
            let keys = Arc::clone(&index.keys).of(&rows)?;
            for (row, key) in keys.into_iter().enumerate() {
                index.insert(key, Place { segment, row: row_number(row) });
            }
        }
        Ok(index)
    }
}

#[cfg(test)]
mod tests;
