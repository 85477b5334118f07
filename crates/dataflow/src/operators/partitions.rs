//! The rows of all partitions, each partition in order, with rows coming and going: the state of ranking and OVER windows.
//!
//! Over inserts only, its owner puts rows where they belong one by one, and may forget some. Over a changelog, a turn's
//! changes are gathered, netted and merged: equal rows that came and went in one turn have not happened.

mod sealing;

use std::cmp::Ordering;

use arrow::array::{ArrayRef, RecordBatch, UInt8Array, UInt32Array};
use arrow::compute::take_arrays;
use arrow::datatypes::{DataType, SchemaRef};

use self::sealing::Journal;
use super::group_aggregate::lifetime::Lifetime;
use super::partition::Partition;
use super::row_store::{Entry, OrderColumn, Place, RowStore};
use crate::batch::RowKind;
use crate::group::GroupTable;
use crate::key::KeyEncoder;
use crate::operator::OperatorError;
use crate::time::Watermark;
use crate::time_to_live::TimeToLive;

/// With so many changes to one partition, merging is cheaper than moving its rows once for each.
const MERGE_FROM: usize = 8;

/// Partitions by number: numbers are given in the order in which partitions first came.
pub(crate) struct Partitions {
    columns: Vec<usize>,
    encoder: KeyEncoder,
    groups: GroupTable,
    lists: Vec<Partition>,
    store: RowStore,
    /// How many rows the partitions hold.
    row_count: usize,
    pending: Vec<Pending>,
    /// When partitions were touched, where those that are not are forgotten.
    lifetime: Option<Lifetime>,
    /// Whether it is time to look for those.
    is_look_due: bool,
    /// How many have been forgotten whose numbers are still taken.
    forgotten: usize,
    /// Which have changed since they were sealed; `None` until they are.
    journal: Option<Journal>,
}

/// So many numbers of forgotten partitions are not worth the work of numbering the others anew.
const FORGOTTEN_MIN: usize = 1_024;

/// A row that came in or went out in this turn.
struct Pending {
    group: usize,
    entry: Entry,
    /// How often it came, less how often it went.
    sign: i32,
}

impl Partitions {
    /// No rows yet: of `schema`, partitioned by `columns`, ordered by `order` within. A partition that no row touches for
    /// the time to live is forgotten: see [`Partitions::forget`].
    ///
    /// # Errors
    /// A column cannot be a key, or cannot be ordered.
    pub(crate) fn new(
        schema: SchemaRef,
        columns: Vec<usize>,
        order: Vec<OrderColumn>,
        time_to_live: Option<TimeToLive>,
    ) -> Result<Self, OperatorError> {
        let type_of = |column: &usize| -> DataType {
            schema.fields().get(*column).map_or(DataType::Null, |field| field.data_type().clone())
        };
        let encoder = KeyEncoder::new(columns.iter().map(type_of))?;
        Ok(Self {
            groups: GroupTable::new(&encoder),
            encoder,
            // One partition of everything is never forgotten.
            lifetime: time_to_live.filter(|_| !columns.is_empty()).map(Lifetime::new),
            is_look_due: false,
            forgotten: 0,
            columns,
            lists: Vec::new(),
            store: RowStore::new(schema, order)?,
            row_count: 0,
            pending: Vec::new(),
            journal: None,
        })
    }

    /// How many partitions have been seen.
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// The rows themselves.
    pub(crate) fn store(&self) -> &RowStore {
        &self.store
    }

    /// The rows of a partition, in order.
    pub(crate) fn entries(&self, group: usize) -> &[Entry] {
        self.lists.get(group).map_or(&[], Partition::entries)
    }

    /// Changes a partition by hand.
    pub(crate) fn edit(&mut self, group: usize, edit: impl FnOnce(&RowStore, &mut Partition)) {
        let Some(list) = self.lists.get_mut(group) else { return };
        let former = list.len();
        edit(&self.store, list);
        self.row_count = self.row_count + list.len() - former;
        self.mark(group);
    }

    /// Keeps the rows of a batch, without putting them anywhere yet; gives the partition of each.
    pub(crate) fn take_in(&mut self, rows: &RecordBatch) -> Result<(Vec<usize>, Vec<Entry>), OperatorError> {
        let keys = self.columns.iter().filter_map(|column| rows.columns().get(*column).cloned());
        let keys = self.encoder.encode(&keys.collect::<Vec<ArrayRef>>(), rows.num_rows())?;
        let mut groups = Vec::with_capacity(rows.num_rows());
        self.groups.intern(&keys, 0..rows.num_rows(), &mut groups);
        self.lists.resize_with(self.groups.len(), Partition::default);
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.touch(&groups, self.lists.len());
            if let Some(journal) = &mut self.journal {
                groups.iter().for_each(|group| journal.mark(*group));
            }
        }
        Ok((groups, self.store.add(rows.clone())?))
    }

    /// Adds rows and takes rows back, once [`Partitions::settle`] is called.
    pub(crate) fn change(&mut self, rows: &RecordBatch, kinds: Option<&UInt8Array>) -> Result<(), OperatorError> {
        let (groups, entries) = self.take_in(rows)?;
        let takes_back = |row: usize| {
            kinds
                .and_then(|kinds| kinds.values().get(row).copied())
                .is_some_and(|kind| kind == RowKind::UpdateBefore as u8 || kind == RowKind::Delete as u8)
        };
        for (row, (group, entry)) in groups.into_iter().zip(entries).enumerate() {
            self.pending.push(Pending { group, entry, sign: if takes_back(row) { -1 } else { 1 } });
        }
        Ok(())
    }

    /// Brings what is pending into the partitions. `touch` sees each partition before it changes.
    ///
    /// # Errors
    /// A row is taken back that is not there, and was not forgotten.
    pub(crate) fn settle(&mut self, mut touch: impl FnMut(usize, &[Entry], &RowStore)) -> Result<(), OperatorError> {
        let mut pending = std::mem::take(&mut self.pending);
        let store = &self.store;
        pending.sort_unstable_by(|a, b| a.group.cmp(&b.group).then_with(|| store.compare(&a.entry, &b.entry)));
        let mut net: Vec<Pending> = Vec::with_capacity(pending.len());
        for change in pending {
            match net.last_mut() {
                Some(last)
                    if last.group == change.group && store.compare(&last.entry, &change.entry) == Ordering::Equal =>
                {
                    last.sign += change.sign;
                }
                _ => net.push(change),
            }
        }
        net.retain(|change| change.sign != 0);
        for changes in net.chunk_by(|a, b| a.group == b.group) {
            let Some(group) = changes.first().map(|change| change.group) else { continue };
            let Some(list) = self.lists.get_mut(group) else { continue };
            touch(group, list.entries(), &self.store);
            let former = list.len();
            merge(&self.store, list, changes, self.lifetime.is_some())?;
            self.row_count = self.row_count + list.len() - former;
            if let Some(journal) = &mut self.journal {
                journal.mark(group);
            }
        }
        Ok(())
    }

    /// Keeps rows where they stand in `columns` from now on: those of `moves` that name the partition and place of one.
    pub(crate) fn move_rows(
        &mut self,
        columns: Vec<ArrayRef>,
        row_count: usize,
        moves: impl Iterator<Item = Option<(usize, Place)>>,
    ) -> Result<(), OperatorError> {
        let entries = self.store.add_columns(columns, row_count)?;
        for (moved, entry) in moves.zip(entries) {
            let Some((group, place)) = moved else { continue };
            let known = self.lists.get_mut(group).map(Partition::entries_mut).unwrap_or_default();
            if let Some(known) = known.iter_mut().find(|known| known.place == place) {
                *known = entry;
            }
        }
        Ok(())
    }

    /// Lets go of those of some batches that none of some partitions points to. No other partition does.
    pub(crate) fn release(&mut self, batches: &[u32], groups: &[usize]) {
        if batches.is_empty() {
            return;
        }
        let mut is_released = vec![false; batches.iter().max().map_or(0, |batch| *batch as usize + 1)];
        let mut set = |batch: u32, to: bool| {
            if let Some(is_released) = is_released.get_mut(batch as usize) {
                *is_released = to;
            }
        };
        batches.iter().for_each(|batch| set(*batch, true));
        let entries = groups.iter().filter_map(|group| self.lists.get(*group)).flat_map(Partition::entries);
        entries.for_each(|entry| set(entry.place.batch, false));
        for batch in batches.iter().filter(|batch| is_released.get(**batch as usize) == Some(&true)) {
            self.store.release(*batch);
        }
    }

    /// Lets go of rows that neither a partition nor `others` point to, when they are many; says whether it did.
    pub(crate) fn tidy(&mut self, others: &mut [Entry]) -> Result<bool, OperatorError> {
        if !self.store.is_sparse(self.row_count + others.len() + self.pending.len()) {
            return Ok(false);
        }
        let own = self.lists.iter_mut().flat_map(Partition::entries_mut);
        let pending = self.pending.iter_mut().map(|change| &mut change.entry);
        self.store.compact(own.chain(pending).chain(others.iter_mut()))?;
        Ok(true)
    }

    /// Event time has come so far.
    pub(crate) fn on_watermark(&mut self, watermark: Watermark) {
        self.is_look_due |= self.lifetime.as_mut().is_some_and(|lifetime| lifetime.on_watermark(watermark));
    }

    /// The machine's clock has come so far.
    pub(crate) fn on_clock(&mut self, now_ms: i64) {
        self.is_look_due |= self.lifetime.as_mut().is_some_and(|lifetime| lifetime.on_clock(now_ms));
    }

    /// Whether it is the machine's clock by which partitions are forgotten.
    pub(crate) fn wants_clock(&self) -> bool {
        self.lifetime.as_ref().is_some_and(Lifetime::wants_clock)
    }

    /// Forgets the partitions that were not touched for the time to live, if it is time to look for them, but for those that
    /// `is_needed` names. Gives their numbers. Nothing may be pending.
    pub(crate) fn forget(&mut self, is_needed: impl Fn(usize, &Partition) -> bool) -> Vec<usize> {
        let Some(lifetime) = self.lifetime.as_mut().filter(|_| std::mem::take(&mut self.is_look_due)) else {
            return Vec::new();
        };
        let mut expired = lifetime.expired();
        expired.retain(|group| self.lists.get(*group).is_some_and(|list| !is_needed(*group, list)));
        lifetime.forget(&expired);
        for group in &expired {
            if let Some(list) = self.lists.get_mut(*group) {
                self.row_count -= list.len();
                *list = Partition::Empty;
            }
            self.mark(*group);
        }
        self.forgotten += expired.len();
        expired
    }

    /// Numbers the partitions anew when most numbers are those of forgotten ones; gives the old numbers of those that are
    /// left, in their new order. Nothing may be pending.
    pub(crate) fn renumber(&mut self) -> Result<Option<Vec<usize>>, OperatorError> {
        let Some(lifetime) = &mut self.lifetime else { return Ok(None) };
        if self.forgotten < FORGOTTEN_MIN.max(self.lists.len() / 2) {
            return Ok(None);
        }
        let is_living = |group: &usize| !lifetime.is_forgotten(*group);
        let mut kept: Vec<usize> = (0..self.lists.len()).filter(is_living).collect();
        if let Some(journal) = &mut self.journal {
            // Of those that have been sealed it is still to be said that they are gone; if these are not too many.
            let all = 0..self.lists.len();
            let known: Vec<usize> = all.filter(|group| is_living(group) || journal.is_dirty(*group)).collect();
            if known.len() > 2 * kept.len().max(FORGOTTEN_MIN) {
                self.journal = None;
            } else {
                kept = known;
                journal.keep(&kept);
            }
        }
        let indices = UInt32Array::from_iter_values(kept.iter().map(|group| *group as u32));
        let columns = take_arrays(&self.groups.key_columns(&self.encoder)?, &indices, None)?;
        let keys = self.encoder.encode(&columns, kept.len())?;
        self.groups = GroupTable::new(&self.encoder);
        self.groups.intern(&keys, 0..kept.len(), &mut Vec::with_capacity(kept.len()));
        self.lists = kept.iter().filter_map(|group| self.lists.get_mut(*group).map(std::mem::take)).collect();
        lifetime.keep(&kept);
        self.forgotten = 0;
        Ok(Some(kept))
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        let lists = self.lists.capacity() * size_of::<Partition>() + self.row_count * size_of::<Entry>();
        let lifetime = self.lifetime.as_ref().map_or(0, Lifetime::size_bytes);
        let pending = self.pending.capacity() * size_of::<Pending>();
        self.store.size_bytes() + self.groups.size_bytes() + lists + pending + lifetime
    }
}

/// Brings changes, in order, into a partition. What is taken back and is not there is an error, or where rows are `forgotten`
/// nothing.
fn merge(store: &RowStore, list: &mut Partition, changes: &[Pending], forgotten: bool) -> Result<(), OperatorError> {
    if changes.len() >= MERGE_FROM {
        let merged = merged(store, list.entries(), changes, forgotten)?;
        list.replace(merged);
        return Ok(());
    }
    for change in changes {
        for _ in 0..change.sign.unsigned_abs() {
            let entries = list.entries();
            let at = entries.partition_point(|other| store.compare(other, &change.entry) == Ordering::Less);
            if change.sign > 0 {
                list.insert(at, change.entry);
            } else if entries.get(at).is_some_and(|e| store.compare(e, &change.entry) == Ordering::Equal) {
                list.remove(at);
            } else if !forgotten {
                return Err(missing());
            }
        }
    }
    Ok(())
}

/// Entries with changes brought in, all in order.
fn merged(
    store: &RowStore,
    entries: &[Entry],
    changes: &[Pending],
    forgotten: bool,
) -> Result<Vec<Entry>, OperatorError> {
    let mut merged = Vec::with_capacity(entries.len() + changes.len());
    let mut rest = entries;
    for change in changes {
        let below = rest.partition_point(|other| store.compare(other, &change.entry) == Ordering::Less);
        let (keep, from) = rest.split_at(below);
        merged.extend_from_slice(keep);
        rest = from;
        if change.sign > 0 {
            merged.extend(std::iter::repeat_n(change.entry, change.sign.unsigned_abs() as usize));
            continue;
        }
        for _ in 0..change.sign.unsigned_abs() {
            match rest.split_first() {
                Some((first, behind)) if store.compare(first, &change.entry) == Ordering::Equal => rest = behind,
                _ if forgotten => break,
                _ => return Err(missing()),
            }
        }
    }
    merged.extend_from_slice(rest);
    Ok(merged)
}

fn missing() -> OperatorError {
    let reason = "the changelog takes a row back that is not there; this is a defect, please report it";
    OperatorError::Unsupported(reason.to_owned())
}
