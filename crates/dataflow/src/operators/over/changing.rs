//! Partitions that may change anywhere: computed again as a whole, and compared with what was given out before.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{ArrayRef, DynComparator, RecordBatch, UInt8Array, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::SchemaRef;

use super::{OverDefinition, ROWS, evaluate, no_part};
use crate::batch::{Batch, RowKind};
use crate::coalesce::BATCH_ROWS;
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::partitions::Partitions;
use crate::operators::row_store::{Entry, Place};
use crate::operators::rows_of;
use crate::state::StatePart;
use crate::time::Watermark;

/// Computes window functions over partitions that change.
pub(super) struct Changing {
    definition: OverDefinition,
    schema: SchemaRef,
    partitions: Partitions,
    /// What was last given out for each partition: one array a function, one element a row. Empty where the partition has
    /// been restored, and what was given out is computed again when it is needed.
    given: Vec<Vec<ArrayRef>>,
}

/// A partition that has changed: its rows before and now, each side's rows standing in `Turn::places`.
struct Dirty {
    group: usize,
    before: Vec<Entry>,
    /// The rows now, among all that are computed.
    now: Range<usize>,
}

/// A row that comes or goes. Its results are element `result` of array `source`: 0 for those computed now, else those
/// that were given for a partition.
struct Change {
    place: Place,
    kind: RowKind,
    source: usize,
    result: usize,
}

impl Changing {
    pub(super) fn new(definition: OverDefinition, schema: SchemaRef) -> Result<Self, OperatorError> {
        let input = SchemaRef::clone(&definition.input);
        let partitions =
            Partitions::new(input, definition.partition.clone(), definition.order.clone(), definition.time_to_live)?;
        Ok(Self { definition, schema, partitions, given: Vec::new() })
    }

    /// Computes the partitions that have changed, about a batch's worth of rows at a time.
    fn compute(&mut self, dirty: &mut [Dirty], out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut entries: Vec<Entry> = Vec::new();
        for partition in dirty.iter_mut() {
            let begin = entries.len();
            entries.extend_from_slice(self.partitions.entries(partition.group));
            partition.now = begin..entries.len();
        }
        let store = self.partitions.store();
        let places: Vec<Place> = entries.iter().map(|entry| entry.place).collect();
        let rows = rows_of(&self.definition.input, store.gather(&places)?, places.len())?;
        let ranges: Vec<Range<usize>> = dirty.iter().map(|partition| partition.now.clone()).collect();
        let results = evaluate(&self.definition.functions, &rows, &ranges)?;
        let mut changes = Vec::new();
        let mut sources = vec![results.clone()];
        for partition in dirty.iter() {
            let given = self.given_of(partition)?;
            let now = entries.get(partition.now.clone()).unwrap_or_default();
            let same = comparators(&given, &results)?;
            self.compare(partition, now, &same, sources.len(), &mut changes);
            sources.push(given);
        }
        for part in changes.chunks(BATCH_ROWS) {
            out.emit(self.batch_of(part, &sources)?);
        }
        for partition in dirty.iter() {
            let indices = UInt32Array::from_iter_values(partition.now.clone().map(|row| row as u32));
            let own =
                results.iter().map(|result| take(result, &indices, None)).collect::<Result<Vec<ArrayRef>, _>>()?;
            if self.given.len() <= partition.group {
                self.given.resize(partition.group + 1, Vec::new());
            }
            if let Some(given) = self.given.get_mut(partition.group) {
                *given = own;
            }
        }
        Ok(())
    }

    /// What was given out for a partition before it changed.
    fn given_of(&self, partition: &Dirty) -> Result<Vec<ArrayRef>, OperatorError> {
        match self.given.get(partition.group).filter(|given| !given.is_empty()) {
            None if !partition.before.is_empty() => {
                let places: Vec<Place> = partition.before.iter().map(|entry| entry.place).collect();
                let columns = self.partitions.store().gather(&places)?;
                let rows = rows_of(&self.definition.input, columns, places.len())?;
                evaluate(&self.definition.functions, &rows, &[Range { start: 0, end: places.len() }])
            }
            given => Ok(given.cloned().unwrap_or_default()),
        }
    }

    /// Walks through a partition's rows before and now, both in order.
    fn compare(
        &self,
        partition: &Dirty,
        now: &[Entry],
        same: &[DynComparator],
        given: usize,
        changes: &mut Vec<Change>,
    ) {
        let store = self.partitions.store();
        let (mut old, mut new) = (0, 0);
        loop {
            let (gone, come) = (partition.before.get(old), now.get(new));
            let order = match (gone, come) {
                (Some(gone), Some(come)) => store.compare(gone, come),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return,
            };
            let computed = partition.now.start + new;
            let stays = order == Ordering::Equal;
            let is_same = stays && same.iter().all(|compare| compare(old, computed) == Ordering::Equal);
            if let Some(gone) = gone.filter(|_| order != Ordering::Greater) {
                if !is_same {
                    let kind = if stays { RowKind::UpdateBefore } else { RowKind::Delete };
                    changes.push(Change { place: gone.place, kind, source: given, result: old });
                }
                old += 1;
            }
            if let Some(come) = come.filter(|_| order != Ordering::Less) {
                if !is_same {
                    let kind = if stays { RowKind::UpdateAfter } else { RowKind::Insert };
                    changes.push(Change { place: come.place, kind, source: 0, result: computed });
                }
                new += 1;
            }
        }
    }

    /// Forgets partitions that have outlived their time, and rows that nobody wants.
    fn forget(&mut self) -> Result<(), OperatorError> {
        for group in self.partitions.forget(|_, _| false) {
            if let Some(given) = self.given.get_mut(group) {
                *given = Vec::new();
            }
        }
        if let Some(kept) = self.partitions.renumber()? {
            let given = |group: &usize| self.given.get_mut(*group).map(std::mem::take).unwrap_or_default();
            self.given = kept.iter().map(given).collect();
        }
        self.partitions.tidy(&mut [])?;
        Ok(())
    }

    fn batch_of(&self, changes: &[Change], sources: &[Vec<ArrayRef>]) -> Result<Batch, OperatorError> {
        let places: Vec<Place> = changes.iter().map(|change| change.place).collect();
        let mut columns = self.partitions.store().gather(&places)?;
        // Only arrays that a change names: a partition that is new has none of before.
        let mut known: Vec<Option<usize>> = vec![None; sources.len()];
        let mut used: Vec<&Vec<ArrayRef>> = Vec::new();
        let mut indices = Vec::with_capacity(changes.len());
        for change in changes {
            let (Some(at), Some(source)) = (known.get_mut(change.source), sources.get(change.source)) else { continue };
            let at = *at.get_or_insert_with(|| {
                used.push(source);
                used.len() - 1
            });
            indices.push((at, change.result));
        }
        for function in 0..self.definition.functions.len() {
            let arrays: Vec<&dyn arrow::array::Array> =
                used.iter().filter_map(|source| source.get(function)).map(AsRef::as_ref).collect();
            columns.push(interleave(&arrays, &indices)?);
        }
        let rows = rows_of(&self.schema, columns, changes.len())?;
        let kinds = UInt8Array::from_iter_values(changes.iter().map(|change| change.kind as u8));
        Ok(Batch { rows, kinds: Some(kinds) })
    }
}

fn comparators(given: &[ArrayRef], computed: &[ArrayRef]) -> Result<Vec<DynComparator>, OperatorError> {
    let comparator = |(given, computed): (&ArrayRef, &ArrayRef)| {
        make_comparator(given, computed, SortOptions::default()).map_err(OperatorError::from)
    };
    given.iter().zip(computed).map(comparator).collect()
}

impl Operator for Changing {
    fn process(&mut self, _port: usize, batch: Batch, _out: &mut dyn Output) -> Result<(), OperatorError> {
        self.partitions.change(&batch.rows, batch.kinds.as_ref())
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut dirty = Vec::new();
        self.partitions.settle(|group, entries, _| dirty.push(Dirty { group, before: entries.to_vec(), now: 0..0 }))?;
        let mut rest = dirty.as_mut_slice();
        while !rest.is_empty() {
            let mut row_count = 0;
            let enough = rest.iter().position(|partition| {
                row_count += self.partitions.entries(partition.group).len();
                row_count >= BATCH_ROWS
            });
            let (now, later) = rest.split_at_mut(enough.map_or(rest.len(), |last| last + 1));
            self.compute(now, out)?;
            rest = later;
        }
        self.forget()
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut dyn Output) -> Result<(), OperatorError> {
        self.partitions.on_watermark(watermark);
        Ok(())
    }

    fn wants_clock(&self) -> bool {
        self.partitions.wants_clock()
    }

    fn on_clock(&mut self, now_ms: i64, _: &mut dyn Output) -> Result<(), OperatorError> {
        self.partitions.on_clock(now_ms);
        Ok(())
    }

    /// Only the rows: the same rows in the same order give the same results.
    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        // What time has done may still be to be done.
        self.forget()?;
        let part = self.partitions.sealed(ROWS, &self.partitions.to_seal(whole), None)?;
        self.partitions.note_sealed();
        Ok(vec![part])
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        if name != ROWS {
            return Err(no_part(name));
        }
        self.partitions.restore(&rows, false).map(|_| ())
    }

    fn resume(&mut self, watermark: Watermark) {
        self.partitions.resume(watermark);
    }

    fn state_size_bytes(&self) -> usize {
        let given = self.given.iter().flatten().map(|array| array.get_array_memory_size()).sum::<usize>();
        self.partitions.size_bytes() + given
    }
}
