//! The partitions of a ranking: who stands where now, and who stood where when the turn began.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, SchemaRef};

use super::changes::{Change, changed_ranks, changed_rows};
use super::partition::Partition;
use super::{RankDefinition, RankFunction};
use crate::batch::RowKind;
use crate::group::GroupTable;
use crate::key::KeyEncoder;
use crate::operator::OperatorError;
use crate::operators::row_store::{Entry, RowStore};

/// All partitions of one ranking on one subtask.
pub(super) struct Ranking {
    function: RankFunction,
    limit: usize,
    with_rank: bool,
    partition_columns: Vec<usize>,
    encoder: KeyEncoder,
    groups: GroupTable,
    partitions: Vec<Partition>,
    store: RowStore,
    /// How many rows the partitions hold.
    row_count: usize,
    /// Partitions that have changed in this turn, and where in `before` their former ranked rows are.
    dirty: Vec<Dirty>,
    is_dirty: Vec<bool>,
    before: Vec<Entry>,
    /// Rows that came in and went out over a changelog in this turn.
    pending: Vec<Pending>,
    groups_of_rows: Vec<usize>,
}

struct Dirty {
    group: usize,
    begin: usize,
    end: usize,
}

struct Pending {
    group: usize,
    entry: Entry,
    /// +1 or -1.
    sign: i32,
}

/// With so many changes to one partition, merging is cheaper than moving its rows once for each.
const MERGE_FROM: usize = 8;

impl Ranking {
    pub(super) fn new(definition: &RankDefinition) -> Result<Self, OperatorError> {
        let schema = &definition.input;
        let type_of = |column: &usize| -> DataType {
            schema.fields().get(*column).map_or(DataType::Null, |field| field.data_type().clone())
        };
        let encoder = KeyEncoder::new(definition.partition.iter().map(type_of))?;
        Ok(Self {
            function: definition.function,
            limit: definition.limit.max(1),
            with_rank: definition.with_rank,
            partition_columns: definition.partition.clone(),
            groups: GroupTable::new(&encoder),
            encoder,
            partitions: Vec::new(),
            store: RowStore::new(SchemaRef::clone(schema), definition.order.clone())?,
            row_count: 0,
            dirty: Vec::new(),
            is_dirty: Vec::new(),
            before: Vec::new(),
            pending: Vec::new(),
            groups_of_rows: Vec::new(),
        })
    }

    /// Finds the partition of each row, and keeps the rows.
    fn take_in(&mut self, rows: &RecordBatch) -> Result<Vec<Entry>, OperatorError> {
        let keys = self.partition_columns.iter().filter_map(|column| rows.columns().get(*column).cloned());
        let keys = self.encoder.encode(&keys.collect::<Vec<ArrayRef>>(), rows.num_rows())?;
        self.groups_of_rows.clear();
        self.groups.intern(&keys, 0..rows.num_rows(), &mut self.groups_of_rows);
        self.partitions.resize_with(self.groups.len(), Partition::default);
        self.is_dirty.resize(self.groups.len(), false);
        Ok(self.store.add(rows.clone())?)
    }

    /// Adds rows of which none will be taken back: those that are not ranked are forgotten.
    pub(super) fn insert(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let entries = self.take_in(rows)?;
        let groups = std::mem::take(&mut self.groups_of_rows);
        for (group, entry) in groups.iter().zip(entries) {
            self.offer(*group, entry);
        }
        self.groups_of_rows = groups;
        // Between turns nobody stands where `before` says, so only a turn that does not end needs this.
        if self.store.is_sparse(self.row_count + self.before.len()) {
            self.compact()?;
        }
        Ok(())
    }

    fn offer(&mut self, group: usize, entry: Entry) {
        let Some(partition) = self.partitions.get(group) else { return };
        let entries = partition.entries();
        if let Some(last) = entries.get(self.limit - 1)
            && self.function == RankFunction::RowNumber
            && self.store.compare(&entry, last) != Ordering::Less
        {
            return;
        }
        let at = entries.partition_point(|other| self.store.compare(other, &entry) != Ordering::Greater);
        self.note_before(group);
        let Some(partition) = self.partitions.get_mut(group) else { return };
        let former = partition.len();
        match partition {
            // Keep-first and keep-last: the one row is another.
            Partition::One(only) if self.limit == 1 && self.function == RankFunction::RowNumber => *only = entry,
            _ => partition.insert(at, entry),
        }
        let ranked = ranked_count(&self.store, self.function, self.limit, partition.entries());
        partition.truncate(ranked);
        self.row_count = self.row_count + partition.len() - former;
    }

    /// Adds rows and takes rows back, at the end of the turn.
    pub(super) fn change(&mut self, rows: &RecordBatch, kinds: &UInt8Array) -> Result<(), OperatorError> {
        let entries = self.take_in(rows)?;
        for ((group, entry), kind) in self.groups_of_rows.iter().zip(entries).zip(kinds.values()) {
            let takes_back = *kind == RowKind::UpdateBefore as u8 || *kind == RowKind::Delete as u8;
            self.pending.push(Pending { group: *group, entry, sign: if takes_back { -1 } else { 1 } });
        }
        Ok(())
    }

    /// Remembers who was ranked when the turn began.
    fn note_before(&mut self, group: usize) {
        let Some(is_dirty) = self.is_dirty.get_mut(group).filter(|is_dirty| !**is_dirty) else { return };
        *is_dirty = true;
        let entries = self.partitions.get(group).map_or(&[][..], Partition::entries);
        let ranked = ranked_count(&self.store, self.function, self.limit, entries);
        let begin = self.before.len();
        self.before.extend_from_slice(entries.get(..ranked).unwrap_or_default());
        self.dirty.push(Dirty { group, begin, end: self.before.len() });
    }

    /// Brings what is pending into the partitions.
    fn settle(&mut self) -> Result<(), OperatorError> {
        let mut pending = std::mem::take(&mut self.pending);
        let store = &self.store;
        pending.sort_unstable_by(|a, b| a.group.cmp(&b.group).then_with(|| store.compare(&a.entry, &b.entry)));
        // Equal rows that came and went in one turn have not happened.
        let mut net: Vec<Pending> = Vec::with_capacity(pending.len());
        for change in pending {
            match net.last_mut() {
                Some(last)
                    if last.group == change.group && store.compare(&last.entry, &change.entry) == Ordering::Equal =>
                {
                    // Of equal rows the one that comes in is kept: any of them would do.
                    last.sign += change.sign;
                }
                _ => net.push(change),
            }
        }
        net.retain(|change| change.sign != 0);
        for changes in net.chunk_by(|a, b| a.group == b.group) {
            self.merge(changes)?;
        }
        Ok(())
    }

    /// Brings the changes of one partition into it, both in order.
    fn merge(&mut self, changes: &[Pending]) -> Result<(), OperatorError> {
        let Some(group) = changes.first().map(|change| change.group) else { return Ok(()) };
        self.note_before(group);
        let Some(partition) = self.partitions.get_mut(group) else { return Ok(()) };
        let former = partition.len();
        let store = &self.store;
        if changes.len() < MERGE_FROM {
            for change in changes {
                for _ in 0..change.sign.unsigned_abs() {
                    let entries = partition.entries();
                    let at = entries.partition_point(|other| store.compare(other, &change.entry) == Ordering::Less);
                    if change.sign > 0 {
                        partition.insert(at, change.entry);
                    } else if entries.get(at).is_some_and(|e| store.compare(e, &change.entry) == Ordering::Equal) {
                        partition.remove(at);
                    } else {
                        return Err(missing());
                    }
                }
            }
        } else {
            let merged = merged(store, partition.entries(), changes)?;
            partition.replace(merged);
        }
        self.row_count = self.row_count + partition.len() - former;
        Ok(())
    }

    /// What has changed since the last call, in rows that the store still holds.
    pub(super) fn changes(&mut self) -> Result<Vec<Change>, OperatorError> {
        self.settle()?;
        let mut changes = Vec::new();
        for Dirty { group, begin, end } in std::mem::take(&mut self.dirty) {
            if let Some(is_dirty) = self.is_dirty.get_mut(group) {
                *is_dirty = false;
            }
            let before = self.before.get(begin..end).unwrap_or_default();
            let entries = self.partitions.get(group).map_or(&[][..], Partition::entries);
            let ranked = ranked_count(&self.store, self.function, self.limit, entries);
            let after = entries.get(..ranked).unwrap_or_default();
            if self.function == RankFunction::RowNumber && (self.with_rank || self.limit == 1) {
                changed_ranks(&self.store, before, after, &mut changes);
            } else {
                let ranks = |entries: &[Entry]| -> Vec<u64> {
                    if self.with_rank { ranks_of(&self.store, self.function, entries) } else { vec![1; entries.len()] }
                };
                changed_rows(&self.store, (before, &ranks(before)), (after, &ranks(after)), &mut changes);
            }
        }
        self.before.clear();
        Ok(changes)
    }

    /// The columns of some changes.
    pub(super) fn gather(&self, changes: &[Change]) -> Result<Vec<ArrayRef>, OperatorError> {
        let places: Vec<_> = changes.iter().map(|change| change.place).collect();
        Ok(self.store.gather(&places)?)
    }

    /// Lets go of rows that nobody wants any longer. To be called when all changes are gathered.
    pub(super) fn tidy(&mut self) -> Result<(), OperatorError> {
        if self.store.is_sparse(self.row_count) { self.compact() } else { Ok(()) }
    }

    fn compact(&mut self) -> Result<(), OperatorError> {
        let wanted = self.partitions.iter_mut().flat_map(Partition::entries_mut);
        let pending = self.pending.iter_mut().map(|change| &mut change.entry);
        Ok(self.store.compact(wanted.chain(self.before.iter_mut()).chain(pending))?)
    }

    pub(super) fn size_bytes(&self) -> usize {
        let partitions = self.partitions.capacity() * (size_of::<Partition>() + 1);
        self.store.size_bytes() + self.groups.size_bytes() + partitions + self.row_count * size_of::<Entry>()
    }
}

fn missing() -> OperatorError {
    OperatorError::Unsupported(
        "the changelog takes a row back that is not there; this is a defect, please report it".to_owned(),
    )
}

/// Entries with changes brought in, all in order.
fn merged(store: &RowStore, entries: &[Entry], changes: &[Pending]) -> Result<Vec<Entry>, OperatorError> {
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
                _ => return Err(missing()),
            }
        }
    }
    merged.extend_from_slice(rest);
    Ok(merged)
}

/// How many entries, from the first, have a rank of at most `limit`.
fn ranked_count(store: &RowStore, function: RankFunction, limit: usize, entries: &[Entry]) -> usize {
    match function {
        RankFunction::RowNumber => entries.len().min(limit),
        RankFunction::Rank | RankFunction::DenseRank => {
            let ranks = ranks_of(store, function, entries);
            ranks.partition_point(|rank| *rank <= limit as u64)
        }
    }
}

/// The rank of each entry.
fn ranks_of(store: &RowStore, function: RankFunction, entries: &[Entry]) -> Vec<u64> {
    let mut rank = 1;
    let mut ranks: Vec<u64> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| entries.get(before));
        let is_equal = || before.is_some_and(|before| store.compare_order(before, entry) == Ordering::Equal);
        match function {
            RankFunction::RowNumber => rank = index as u64 + 1,
            RankFunction::Rank if !is_equal() => rank = index as u64 + 1,
            RankFunction::DenseRank if index > 0 && !is_equal() => rank += 1,
            RankFunction::Rank | RankFunction::DenseRank => {}
        }
        ranks.push(rank);
    }
    ranks
}
