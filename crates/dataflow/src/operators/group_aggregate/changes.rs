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

    /// The changes that bring what was given of `groups` to `results`; from now on those count as given. `groups` begins
    /// with the `known_count` groups that were given before. `keys` and `results` are in the order of `groups`.
    pub(crate) fn replace(
        &mut self,
        groups: &[usize],
        known_count: usize,
        keys: &[ArrayRef],
        results: &[ArrayRef],
        schema: &SchemaRef,
    ) -> Result<Option<Batch>, ArrowError> {
        let known = groups.get(..known_count).unwrap_or_default();
        let before = self.read(known)?;
        let mut changed = vec![false; known_count];
        for (before, after) in before.iter().zip(results) {
            // Results that cannot be compared count as changed: an update too many is right, one too few is not.
            let after = after.slice(0, known_count);
            let differs = distinct(before, &after).unwrap_or_else(|_| BooleanArray::from(vec![true; known_count]));
            for (changed, differs) in changed.iter_mut().zip(differs.values().iter()) {
                *changed |= differs;
            }
        }
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(groups.len() * 2);
        let mut kinds: Vec<u8> = Vec::with_capacity(groups.len() * 2);
        for (row, _) in changed.iter().enumerate().filter(|(_, changed)| **changed) {
            places.extend([(0, row), (1, row)]);
            kinds.extend([RowKind::UpdateBefore as u8, RowKind::UpdateAfter as u8]);
        }
        places.extend((known_count..groups.len()).map(|row| (1, row)));
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
        let kinds = (!results.is_empty()).then(|| UInt8Array::from(kinds));
        Ok(Some(Batch { rows, kinds }))
    }

    fn read(&self, groups: &[usize]) -> Result<Vec<ArrayRef>, ArrowError> {
        self.results.iter().map(|slots| slots.read(groups)).collect()
    }

    fn write(&mut self, groups: &[usize], results: &[ArrayRef]) -> Result<(), ArrowError> {
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
