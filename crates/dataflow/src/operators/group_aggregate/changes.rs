//! What was given out of each group, and how the present results differ from it.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt8Array, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{interleave, take_arrays};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::slots::{Slots, slots_for};
use crate::batch::{Batch, RowKind};
use crate::operators::rows_of;

/// The results that the operators behind know.
pub(crate) struct Given {
    results: Vec<Box<dyn Slots>>,
    is_given: Vec<bool>,
}

/// The results of some groups now.
pub(crate) struct Present {
    /// The groups; those whose results were given out before stand first.
    pub(crate) groups: Vec<usize>,
    /// How many were given out before.
    pub(crate) known_count: usize,
    /// Their keys.
    pub(crate) keys: Vec<ArrayRef>,
    /// Their results.
    pub(crate) results: Vec<ArrayRef>,
}

impl Given {
    /// Nothing has been given out. `schema` is that of the output, whose first `key_count` columns are keys.
    pub(crate) fn new(schema: &SchemaRef, key_count: usize) -> Result<Self, ArrowError> {
        let results = schema.fields().iter().skip(key_count).map(|field| slots_for(field.data_type()));
        Ok(Self { results: results.collect::<Result<_, _>>()?, is_given: Vec::new() })
    }

    /// Whether a group's row is known downstream.
    pub(crate) fn is_given(&self, group: usize) -> bool {
        self.is_given.get(group).copied().unwrap_or(false)
    }

    /// The changes that bring what was given to what is present; from now on that counts as given.
    pub(crate) fn replace(
        &mut self,
        present: &Present,
        schema: &SchemaRef,
        is_updating: bool,
    ) -> Result<Option<Batch>, ArrowError> {
        let Present { groups, known_count, keys, results } = present;
        let before = self.read(groups.get(..*known_count).unwrap_or_default())?;
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(groups.len() * 2);
        let mut kinds: Vec<u8> = Vec::with_capacity(groups.len() * 2);
        for row in changed_rows(&before, results, *known_count) {
            places.extend([(0, row), (1, row)]);
            kinds.extend([RowKind::UpdateBefore as u8, RowKind::UpdateAfter as u8]);
        }
        places.extend((*known_count..groups.len()).map(|row| (1, row)));
        kinds.resize(places.len(), RowKind::Insert as u8);
        self.write(groups, results)?;
        if places.is_empty() {
            return Ok(None);
        }
        let rows = UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row as u32));
        let mut columns = take_arrays(keys, &rows, None)?;
        for (before, after) in before.iter().zip(results) {
            columns.push(interleave(&[before.as_ref(), after.as_ref()], &places)?);
        }
        let rows = rows_of(schema, columns, places.len())?;
        // Keys alone never change.
        let kinds = (is_updating || !results.is_empty()).then(|| UInt8Array::from(kinds));
        Ok(Some(Batch { rows, kinds }))
    }

    /// What takes back what was given of `groups`, whose keys these are.
    pub(crate) fn deletions(
        &self,
        groups: &[usize],
        keys: Vec<ArrayRef>,
        schema: &SchemaRef,
    ) -> Result<Option<Batch>, ArrowError> {
        if groups.is_empty() {
            return Ok(None);
        }
        let mut columns = keys;
        columns.extend(self.read(groups)?);
        let rows = rows_of(schema, columns, groups.len())?;
        Ok(Some(Batch { rows, kinds: Some(UInt8Array::from_value(RowKind::Delete as u8, groups.len())) }))
    }

    /// Forgets what was given of some groups.
    pub(crate) fn forget(&mut self, groups: &[usize]) {
        for slots in &mut self.results {
            slots.forget(groups);
        }
        for group in groups {
            if let Some(is_given) = self.is_given.get_mut(*group) {
                *is_given = false;
            }
        }
    }

    /// What was given of some groups, all of which are given.
    pub(crate) fn read(&self, groups: &[usize]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.results.iter().map(|slots| slots.read(groups)).collect()
    }

    /// From now on these results of some groups count as given.
    pub(crate) fn write(&mut self, groups: &[usize], results: &[ArrayRef]) -> Result<(), ArrowError> {
        for (slots, column) in self.results.iter_mut().zip(results) {
            slots.write(groups, column)?;
        }
        let bound = groups.iter().max().map_or(0, |group| group + 1);
        self.is_given.resize(bound.max(self.is_given.len()), false);
        for group in groups {
            if let Some(is_given) = self.is_given.get_mut(*group) {
                *is_given = true;
            }
        }
        Ok(())
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.results.iter().map(|slots| slots.size_bytes()).sum::<usize>() + self.is_given.capacity()
    }
}

/// The rows, of the first `row_count`, in which some result is another than before. Results that cannot be compared count
/// as changed: an update too many is right, one too few is not.
fn changed_rows(before: &[ArrayRef], after: &[ArrayRef], row_count: usize) -> Vec<usize> {
    let mut changed = vec![false; row_count];
    for (before, after) in before.iter().zip(after) {
        let differs = distinct(before, &after.slice(0, row_count));
        let differs = differs.unwrap_or_else(|_| BooleanArray::from(vec![true; row_count]));
        for (changed, differs) in changed.iter_mut().zip(differs.values().iter()) {
            *changed |= differs;
        }
    }
    changed.iter().enumerate().filter(|(_, changed)| **changed).map(|(row, _)| row).collect()
}
