//! Rows that belong to sessions, by the slot of each: kept in batches, which are joined while they are small, and laid together
//! anew where few of their rows are still wanted.
//!
//! A row's *place* is its number among all rows that ever came, counted anew when rows are laid together; so joining
//! neighbouring batches moves no place.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use hashbrown::HashMap;

/// Fewer rows than this are not worth being laid together anew.
const SPARSE_ROWS_MIN: usize = 1_024;
/// Batches of more rows than this are not joined.
const JOINED_ROWS_MAX: usize = 32_768;

/// Rows by slot.
pub(crate) struct KeptRows {
    schema: SchemaRef,
    /// Each with the place of its first row, in order.
    batches: Vec<(usize, RecordBatch)>,
    next_place: usize,
    places: HashMap<usize, Vec<usize>>,
    /// How many rows have a slot.
    wanted: usize,
}

impl KeptRows {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, batches: Vec::new(), next_place: 0, places: HashMap::new(), wanted: 0 }
    }

    /// Takes rows in, each for a slot.
    pub(crate) fn add(&mut self, rows: RecordBatch, slots: impl Iterator<Item = usize>) -> Result<(), ArrowError> {
        self.tidy()?;
        for (slot, place) in slots.zip(self.next_place..) {
            self.places.entry(slot).or_default().push(place);
        }
        let first = self.next_place;
        self.next_place += rows.num_rows();
        self.wanted += rows.num_rows();
        let mut joined = (first, rows);
        while let Some((_, before)) = self.batches.last()
            && before.num_rows() < 2 * joined.1.num_rows()
            && before.num_rows() + joined.1.num_rows() <= JOINED_ROWS_MAX
            && let Some((first, before)) = self.batches.pop()
        {
            joined = (first, concat_batches(&self.schema, [&before, &joined.1])?);
        }
        self.batches.push(joined);
        Ok(())
    }

    /// Slots have gone into others.
    pub(crate) fn merge(&mut self, from: &[usize], to: &[usize]) {
        for (from, to) in from.iter().zip(to) {
            if let Some(places) = self.places.remove(from) {
                self.places.entry(*to).or_default().extend(places);
            }
        }
    }

    /// Where the rows of a slot are.
    pub(crate) fn places(&self, slot: usize) -> &[usize] {
        self.places.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// The rows at some places, in that order.
    pub(crate) fn rows(&self, places: &[usize]) -> Result<RecordBatch, ArrowError> {
        if places.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.schema)));
        }
        let in_batch = |place: &usize| {
            let batch = self.batches.partition_point(|(first, _)| first <= place).saturating_sub(1);
            (batch, place - self.batches.get(batch).map_or(0, |(first, _)| *first))
        };
        let indices: Vec<(usize, usize)> = places.iter().map(in_batch).collect();
        interleave_record_batch(&self.batches.iter().map(|(_, batch)| batch).collect::<Vec<_>>(), &indices)
    }

    /// The slot and the place of each row of some slots.
    pub(crate) fn all(&self, slots: impl Iterator<Item = usize>) -> (Vec<usize>, Vec<usize>) {
        slots.flat_map(|slot| self.places(slot).iter().map(move |place| (slot, *place))).unzip()
    }

    /// Forgets the rows of some slots.
    pub(crate) fn forget(&mut self, slots: impl Iterator<Item = usize>) {
        for slot in slots {
            self.wanted -= self.places.remove(&slot).map_or(0, |places| places.len());
        }
        if self.places.is_empty() {
            *self = Self::new(Arc::clone(&self.schema));
        }
    }

    /// Lays the rows together that are still wanted, where they have become few among the others.
    fn tidy(&mut self) -> Result<(), ArrowError> {
        let held: usize = self.next_place - self.batches.first().map_or(self.next_place, |(first, _)| *first);
        if held < SPARSE_ROWS_MIN || held < 2 * self.wanted {
            return Ok(());
        }
        let places: Vec<usize> = self.places.values().flatten().copied().collect();
        self.batches = vec![(0, self.rows(&places)?)];
        self.next_place = places.len();
        for (row, place) in self.places.values_mut().flatten().enumerate() {
            *place = row;
        }
        Ok(())
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        let places = self.places.values().map(|places| places.capacity() * size_of::<usize>());
        self.batches.iter().map(|(_, batch)| batch.get_array_memory_size()).sum::<usize>()
            + self.places.allocation_size()
            + places.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn rows(range: std::ops::Range<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef)]).unwrap()
    }

    /// Rows come one by one, each ten for a slot, and a few slots stay for ever: what is kept stays right and small.
    #[test]
    fn rows_are_found_again_however_they_are_laid_together() {
        let mut kept = KeptRows::new(rows(0..0).schema());
        for n in 0..20_000_i64 {
            kept.add(rows(n..n + 1), std::iter::once(n as usize / 10)).unwrap();
            let slot = n as usize / 10;
            if n % 10 == 9 && !slot.is_multiple_of(100) {
                kept.forget(std::iter::once(slot));
            }
        }
        kept.merge(&[100, 200], &[300, 300]);
        let found = kept.rows(kept.places(300)).unwrap();
        let found: Vec<i64> = found.column(0).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(found, (3_000..3_010).chain(1_000..1_010).chain(2_000..2_010).collect::<Vec<i64>>());
        let held: usize = kept.batches.iter().map(|(_, batch)| batch.num_rows()).sum();
        assert!(held < 3_000 && kept.batches.len() < 15, "{held} rows in {} batches", kept.batches.len());
        kept.forget(0..2_000);
        assert_eq!((kept.wanted, kept.batches.len()), (0, 0));
    }
}
