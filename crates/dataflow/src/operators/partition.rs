//! The rows of one partition, in order. Most partitions of a deduplication have one row: that one needs no allocation.

use super::row_store::Entry;

/// Entries in order.
#[derive(Clone, Debug, Default)]
pub(crate) enum Partition {
    /// No rows.
    #[default]
    Empty,
    /// One row.
    One(Entry),
    /// Any number of rows.
    Many(Vec<Entry>),
}

impl Partition {
    pub(crate) fn entries(&self) -> &[Entry] {
        match self {
            Partition::Empty => &[],
            Partition::One(entry) => std::slice::from_ref(entry),
            Partition::Many(entries) => entries,
        }
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        match self {
            Partition::Empty => &mut [],
            Partition::One(entry) => std::slice::from_mut(entry),
            Partition::Many(entries) => entries,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries().len()
    }

    pub(crate) fn insert(&mut self, at: usize, entry: Entry) {
        match self {
            Partition::Empty => *self = Partition::One(entry),
            Partition::One(only) => {
                let entries = if at == 0 { vec![entry, *only] } else { vec![*only, entry] };
                *self = Partition::Many(entries);
            }
            Partition::Many(entries) => entries.insert(at.min(entries.len()), entry),
        }
    }

    pub(crate) fn remove(&mut self, at: usize) {
        match self {
            Partition::Empty | Partition::One(_) => *self = Partition::Empty,
            Partition::Many(entries) if at < entries.len() => drop(entries.remove(at)),
            Partition::Many(_) => {}
        }
    }

    pub(crate) fn drop_first(&mut self, count: usize) {
        match self {
            Partition::Many(entries) => drop(entries.drain(..count.min(entries.len()))),
            Partition::One(_) if count > 0 => *self = Partition::Empty,
            Partition::One(_) | Partition::Empty => {}
        }
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        match self {
            Partition::Many(entries) => entries.truncate(length),
            Partition::One(_) if length == 0 => *self = Partition::Empty,
            Partition::One(_) | Partition::Empty => {}
        }
    }

    pub(crate) fn replace(&mut self, entries: Vec<Entry>) {
        *self = match entries.as_slice() {
            [] => Partition::Empty,
            [only] => Partition::One(*only),
            _ => Partition::Many(entries),
        };
    }
}
