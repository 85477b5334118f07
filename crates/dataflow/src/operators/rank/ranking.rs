//! The partitions of a ranking: who stands where now, and who stood where when the turn began.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, RecordBatch, UInt8Array};
use arrow::datatypes::SchemaRef;

use super::changes::{Change, changed_ranks, changed_rows};
use super::{RankDefinition, RankFunction};
use crate::batch::RowKind;
use crate::operator::OperatorError;
use crate::operators::partition::Partition;
use crate::operators::partitions::Partitions;
use crate::operators::row_store::{Entry, RowStore};
use crate::state::StatePart;

/// The part of the state of a ranking.
const ROWS: &str = "rows";

/// That a part is the ranking's.
fn is_rows(name: &str) -> Result<(), OperatorError> {
    let refused = || Err(OperatorError::Unsupported(format!("a ranking has no state of the name {name}")));
    if name == ROWS { Ok(()) } else { refused() }
}

/// All partitions of one ranking on one subtask.
pub(super) struct Ranking {
    rule: Rule,
    with_rank: bool,
    partitions: Partitions,
    before: Before,
    /// The batches that have come in this turn. Inserts only.
    fresh: Vec<u32>,
    /// The partitions that the last turn has changed.
    settled: Vec<usize>,
}

/// Which rows are ranked.
#[derive(Clone, Copy)]
struct Rule {
    function: RankFunction,
    limit: usize,
}

/// The ranked rows, when the turn began, of the partitions that have changed since.
#[derive(Default)]
struct Before {
    dirty: Vec<Dirty>,
    is_dirty: Vec<bool>,
    entries: Vec<Entry>,
}

/// A partition that has changed, and where its former rows are.
struct Dirty {
    group: usize,
    begin: usize,
    end: usize,
}

impl Ranking {
    pub(super) fn new(definition: &RankDefinition) -> Result<Self, OperatorError> {
        let schema = SchemaRef::clone(&definition.input);
        let partitions =
            Partitions::new(schema, definition.partition.clone(), definition.order.clone(), definition.forgets())?;
        let rule = Rule { function: definition.function, limit: definition.limit.max(1) };
        Ok(Self {
            rule,
            with_rank: definition.with_rank,
            partitions,
            before: Before::default(),
            fresh: Vec::new(),
            settled: Vec::new(),
        })
    }

    /// Adds rows of which none will be taken back: those that are not ranked are forgotten.
    pub(super) fn insert(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let (groups, entries) = self.partitions.take_in(rows)?;
        self.fresh.extend(entries.first().map(|entry| entry.place.batch));
        for (group, entry) in groups.into_iter().zip(entries) {
            self.offer(group, entry);
        }
        if self.partitions.tidy(&mut self.before.entries)? {
            self.fresh.clear();
        }
        Ok(())
    }

    fn offer(&mut self, group: usize, entry: Entry) {
        let rule = self.rule;
        let entries = self.partitions.entries(group);
        let store = self.partitions.store();
        let by_number = rule.function == RankFunction::RowNumber;
        if by_number
            && let Some(last) = entries.get(rule.limit - 1)
            && store.compare(&entry, last) != Ordering::Less
        {
            return;
        }
        self.before.note(rule, group, entries, store);
        self.partitions.edit(group, |store, partition| match partition {
            // Keep-first and keep-last: the one row is another.
            Partition::One(only) if by_number && rule.limit == 1 => *only = entry,
            _ => {
                let entries = partition.entries();
                let at = entries.partition_point(|other| store.compare(other, &entry) != Ordering::Greater);
                partition.insert(at, entry);
                let ranked = rule.ranked_count(store, partition.entries());
                partition.truncate(ranked);
            }
        });
    }

    /// Adds rows and takes rows back, at the end of the turn.
    pub(super) fn change(&mut self, rows: &RecordBatch, kinds: Option<&UInt8Array>) -> Result<(), OperatorError> {
        self.partitions.change(rows, kinds)
    }

    /// What has changed since the last call, in rows that are kept until [`Ranking::tidy`].
    pub(super) fn changes(&mut self) -> Result<Vec<Change>, OperatorError> {
        let (rule, before) = (self.rule, &mut self.before);
        self.partitions.settle(|group, entries, store| before.note(rule, group, entries, store))?;
        let store = self.partitions.store();
        let mut changes = Vec::new();
        self.settled.clear();
        for Dirty { group, begin, end } in std::mem::take(&mut self.before.dirty) {
            if let Some(is_dirty) = self.before.is_dirty.get_mut(group) {
                *is_dirty = false;
            }
            self.settled.push(group);
            let before = self.before.entries.get(begin..end).unwrap_or_default();
            let after = rule.ranked(store, self.partitions.entries(group));
            if rule.function == RankFunction::RowNumber && (self.with_rank || rule.limit == 1) {
                changed_ranks(store, group, before, after, &mut changes);
                continue;
            }
            let ranks = |entries: &[Entry]| -> Vec<u64> {
                if self.with_rank { rule.ranks(store, entries) } else { vec![1; entries.len()] }
            };
            changed_rows(store, group, (before, &ranks(before)), (after, &ranks(after)), &mut changes);
        }
        self.before.entries.clear();
        Ok(changes)
    }

    /// The columns of some changes.
    pub(super) fn gather(&self, changes: &[Change]) -> Result<Vec<ArrayRef>, OperatorError> {
        let places: Vec<_> = changes.iter().map(|change| change.place).collect();
        Ok(self.partitions.store().gather(&places)?)
    }

    /// Keeps the rows that these changes bring where the changes have been gathered: in `columns`, which others hold too.
    /// For inserts only: then each row that has come to stay is such a change.
    pub(super) fn settle_in(&mut self, changes: &[Change], columns: Vec<ArrayRef>) -> Result<(), OperatorError> {
        let comes = |change: &Change| matches!(change.kind, RowKind::Insert | RowKind::UpdateAfter);
        let moves = changes.iter().map(|change| comes(change).then_some((change.group, change.place)));
        self.partitions.move_rows(columns, changes.len(), moves)
    }

    /// Lets go of rows that nobody wants any longer. To be called when all changes are gathered.
    pub(super) fn tidy(&mut self) -> Result<(), OperatorError> {
        // What came in this turn only the partitions can want that it has changed.
        self.partitions.release(&std::mem::take(&mut self.fresh), &self.settled);
        self.partitions.forget(|_, _| false);
        if self.partitions.renumber()?.is_some() {
            // No partition has changed since the changes were gathered.
            self.before.is_dirty = Vec::new();
            self.settled.clear();
        }
        self.partitions.tidy(&mut [])?;
        Ok(())
    }

    /// Seals the rows: of all partitions, or of those that have changed, where that is known or `as_changes`: what is not
    /// known is new then. The turn is over.
    pub(super) fn seal(&mut self, whole: bool, as_changes: bool) -> Result<StatePart, OperatorError> {
        let (groups, is_all) = self.partitions.to_seal(whole);
        let groups = (groups, is_all && !as_changes);
        let part = self.partitions.sealed(ROWS, &groups, None)?;
        self.partitions.note_sealed();
        Ok(part)
    }

    /// Takes over sealed rows, which have been given out.
    pub(super) fn restore(&mut self, name: &str, rows: &RecordBatch) -> Result<(), OperatorError> {
        is_rows(name)?;
        self.partitions.restore(rows, false).map(|_| ())
    }

    /// The rows of a part, which are to be taken over one window at a time: see [`Ranking::restore_new`].
    pub(super) fn rows_of_part(&self, name: &str, rows: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        is_rows(name)?;
        self.partitions.rows_of_part(rows)
    }

    /// Takes over rows that were sealed and have not been given out.
    pub(super) fn restore_new(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        self.insert(rows)?;
        self.partitions.note_sealed();
        Ok(())
    }

    /// The names of all rows that have been sealed, which now go; `None` where there are none.
    pub(super) fn gone(&self) -> Result<Option<RecordBatch>, OperatorError> {
        self.partitions.sealed_names()
    }

    /// The partitions, to be told of time: what it does to them it does with the next [`Ranking::tidy`].
    pub(super) fn partitions_mut(&mut self) -> &mut Partitions {
        &mut self.partitions
    }

    pub(super) fn wants_clock(&self) -> bool {
        self.partitions.wants_clock()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.partitions.size_bytes() + self.before.is_dirty.capacity() + self.settled.capacity() * size_of::<usize>()
    }
}

impl Before {
    /// Remembers who was ranked, the first time that a partition is about to change.
    fn note(&mut self, rule: Rule, group: usize, entries: &[Entry], store: &RowStore) {
        if self.is_dirty.len() <= group {
            self.is_dirty.resize(group + 1, false);
        }
        let Some(is_dirty) = self.is_dirty.get_mut(group).filter(|is_dirty| !**is_dirty) else { return };
        *is_dirty = true;
        let begin = self.entries.len();
        self.entries.extend_from_slice(rule.ranked(store, entries));
        self.dirty.push(Dirty { group, begin, end: self.entries.len() });
    }
}

impl Rule {
    /// The entries that are ranked: the first ones.
    fn ranked<'a>(&self, store: &RowStore, entries: &'a [Entry]) -> &'a [Entry] {
        entries.get(..self.ranked_count(store, entries)).unwrap_or_default()
    }

    fn ranked_count(&self, store: &RowStore, entries: &[Entry]) -> usize {
        match self.function {
            RankFunction::RowNumber => entries.len().min(self.limit),
            RankFunction::Rank | RankFunction::DenseRank => {
                self.ranks(store, entries).partition_point(|rank| *rank <= self.limit as u64)
            }
        }
    }

    /// The rank of each entry.
    fn ranks(&self, store: &RowStore, entries: &[Entry]) -> Vec<u64> {
        let mut rank = 1;
        let mut ranks: Vec<u64> = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|before| entries.get(before));
            let is_equal = || before.is_some_and(|before| store.compare_order(before, entry) == Ordering::Equal);
            match self.function {
                RankFunction::RowNumber => rank = index as u64 + 1,
                RankFunction::Rank if !is_equal() => rank = index as u64 + 1,
                RankFunction::DenseRank if index > 0 && !is_equal() => rank += 1,
                RankFunction::Rank | RankFunction::DenseRank => {}
            }
            ranks.push(rank);
        }
        ranks
    }
}
