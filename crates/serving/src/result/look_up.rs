//! Finds the rows of a key in a result, without reading the others.
//!
//! A look-up waits for nobody who changes the result for long: changes are applied a few rows at a time, and until the last one
//! is applied look-ups find what was there before the first ([`super::past`]). So an answer is of one cut, and no answer is
//! of an earlier one than the answer before.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::contents::{Contents, row_number};
use super::index::{Index, Keys};
use super::past::Past;
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
    /// type, which is not null.
    ///
    /// # Errors
    /// The values are not of the columns' types.
    pub fn find(&self, values: &[ArrayRef]) -> Result<Found, ResultError> {
        if self.key().is_none() {
            return Ok(Found::NoKey);
        }
        let Some(keys) = self.contents.lock().index.as_ref().map(|index| Arc::clone(&index.keys)) else {
            return Ok(Found::NotYet);
        };
        let Some(key) = keys.of_values(values)?.into_iter().next() else { return Ok(Found::NoKey) };
        let mut contents = self.contents.lock();
        contents.is_looked_up = true;
        if contents.is_torn {
            return Ok(Found::NotYet);
        }
        let rows = match contents.past.as_ref().and_then(|past| past.find(&key)) {
            Some(rows) => rows,
            None => contents.present(&key),
        };
        Ok(Found::Rows(rows))
    }

    /// Waits until the changes that are being applied are applied, and makes the index where there is none yet. A result that is
    /// pinned gets none.
    ///
    /// # Errors
    /// A key column's type cannot be compared.
    pub fn prepare_look_ups(&self) -> Result<(), ResultError> {
        let Some(key) = self.key() else { return Ok(()) };
        let _turn = self.turn.lock();
        let segments = {
            let mut contents = self.contents.lock();
            contents.is_looked_up = true;
            if contents.index.is_some() || contents.pinned.is_some() {
                return Ok(());
            }
            contents.numbered()
        };
        // Nothing changes meanwhile, and who reads waits for nothing: rows without an index are never taken back.
        let mut index = Index::new(Keys::new(&self.schema, key.to_vec())?, false);
        for (segment, rows) in segments {
            for (row, key) in index.keys.of(&rows)?.into_iter().enumerate() {
                index.insert(key, super::index::Place { segment, row: row_number(row) });
            }
        }
        self.contents.lock().index = Some(index);
        Ok(())
    }

    /// Lets readers see what they see now, until it is unpinned.
    pub(crate) fn pin(&self) {
        let _turn = self.turn.lock();
        let mut contents = self.contents.lock();
        contents.pinned = Some(contents.share());
        contents.past = contents.index.is_some().then(|| Past::of(&contents));
    }

    /// Lets readers see what has come meanwhile.
    pub(crate) fn unpin(&self) {
        let _turn = self.turn.lock();
        let mut contents = self.contents.lock();
        let seen = (contents.pinned.take(), contents.past.take());
        drop(contents);
        drop(seen);
    }
}

impl Contents {
    fn present(&self, key: &[u8]) -> Vec<RecordBatch> {
        let places = self.index.as_ref().and_then(|index| index.places.get(key));
        let places = places.map_or(&[][..], |places| places.as_slice());
        places.iter().filter_map(|place| self.row_at(*place)).collect()
    }

    /// Changes are about to be applied.
    pub(super) fn begin_step(&mut self) {
        if self.is_looked_up && self.index.is_some() && self.past.is_none() {
            self.past = Some(Past::of(self));
        }
        self.is_torn = self.past.is_none();
    }

    /// The changes are applied; gives what nobody needs any more.
    pub(super) fn end_step(&mut self) -> Option<Past> {
        self.is_torn = false;
        if self.pinned.is_some() { None } else { self.past.take() }
    }
}

#[cfg(test)]
mod tests;
