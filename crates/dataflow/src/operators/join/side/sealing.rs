//! The stored rows of a side as they are sealed for a checkpoint, and taken over from one.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;

use super::{CHANGED, StoredSide};
use crate::batch::take_rows;
use crate::operator::OperatorError;
use crate::operators::join::journal::Journal;
use crate::operators::join::keys::NONE;

/// Rows of a side that are sealed.
#[derive(Debug)]
pub(in crate::operators::join) struct Sealed {
    /// Their numbers here.
    pub(in crate::operators::join) numbers: Vec<u32>,
    /// Themselves.
    pub(in crate::operators::join) rows: RecordBatch,
    /// The keys and lasting numbers of those that have gone since the last seal; `None` where these are all rows.
    pub(in crate::operators::join) gone: Option<Vec<(u32, u64)>>,
}

impl StoredSide {
    /// The rows that are to be sealed: all of them with `whole`, or where it is not known what has changed.
    pub(in crate::operators::join) fn seal(&mut self, whole: bool) -> Result<Sealed, OperatorError> {
        let row_count = self.next.len();
        let journal = self.journal.get_or_insert_with(|| Journal::new(row_count));
        let unsealed = journal.unsealed().filter(|_| !whole);
        let gone = journal.seal();
        let sealed = match unsealed {
            None => {
                let (numbers, rows) = self.living_from(0)?;
                Sealed { numbers, rows, gone: None }
            }
            Some(end) => {
                let changed = self.changed_before(end);
                let columns: Vec<usize> = (0..self.schema.fields().len()).collect();
                let before = self.gather(&changed, &columns)?;
                let before = crate::operators::rows_of(&self.schema, before, changed.len())?;
                let (numbers, new) = self.living_from(end)?;
                let rows = concat_batches(&self.schema, [&before, &new])?;
                Sealed { numbers: [changed, numbers].concat(), rows, gone: Some(gone) }
            }
        };
        self.matches.iter_mut().flatten().for_each(|count| *count &= !CHANGED);
        Ok(sealed)
    }

    /// The living rows below a number whose matches have changed since they were sealed.
    fn changed_before(&self, end: u32) -> Vec<u32> {
        let counts = self.matches.iter().flatten().zip(&self.keys).take(end as usize);
        let changed = (0..).zip(counts).filter(|(_, (count, key))| **count & CHANGED > 0 && **key != NONE);
        changed.map(|(row, _)| row).collect()
    }

    /// The living rows from a number on: block by block, so that most are copied as they lie.
    fn living_from(&self, from: u32) -> Result<(Vec<u32>, RecordBatch), OperatorError> {
        let (mut all, mut parts) = (Vec::new(), Vec::new());
        for block in self.blocks.iter().filter(|block| block.live_count > 0) {
            let begin = block.first.max(from as usize);
            let rows = begin..block.first + block.row_count;
            let count = rows.len();
            let is_living = |row: &usize| self.keys.get(*row).is_some_and(|key| *key != NONE);
            let numbers: Vec<u32> = rows.filter(is_living).map(|row| row as u32).collect();
            if numbers.is_empty() {
                continue;
            }
            parts.push(if numbers.len() == count {
                block.rows.slice(begin - block.first, count)
            } else {
                let places = numbers.iter().map(|number| number - block.first as u32);
                take_rows(&block.rows, &UInt32Array::from_iter_values(places))?
            });
            all.extend(numbers);
        }
        Ok((all, concat_batches(&self.schema, &parts)?))
    }

    /// What has changed until now is not known any longer: the next time all rows are sealed.
    pub(in crate::operators::join) fn lose_count(&mut self) {
        self.journal.iter_mut().for_each(Journal::lose_count);
    }

    /// The keys of some living rows.
    pub(in crate::operators::join) fn keys_of(&self, rows: &[u32]) -> Vec<u32> {
        rows.iter().map(|row| self.keys.get(*row as usize).copied().unwrap_or(NONE)).collect()
    }

    /// The lasting numbers of some rows, which have been sealed.
    pub(in crate::operators::join) fn ids_of(&self, rows: &[u32]) -> Vec<u64> {
        let id = |row: &u32| self.journal.as_ref().map_or(0, |journal| journal.id(*row));
        rows.iter().map(id).collect()
    }

    /// Adds rows that had been sealed, under their keys, lasting numbers and numbers of matches, which are none where they
    /// are not counted.
    pub(in crate::operators::join) fn restore(
        &mut self,
        rows: RecordBatch,
        keys: impl Iterator<Item = u32>,
        fingerprints: impl Iterator<Item = u128>,
        (ids, matches): (&[u64], &[u32]),
    ) -> Result<(), OperatorError> {
        let first = self.next.len();
        self.journal.get_or_insert_default();
        let rows = crate::operators::rows_of(&Arc::clone(&self.schema), rows.columns().to_vec(), rows.num_rows())?;
        self.insert(rows, keys, fingerprints)?;
        if let Some(known) = self.matches.as_mut().and_then(|known| known.get_mut(first..)) {
            known.iter_mut().zip(matches).for_each(|(known, count)| *known = *count);
        }
        if let Some(journal) = &mut self.journal {
            journal.restored(ids);
        }
        Ok(())
    }
}
