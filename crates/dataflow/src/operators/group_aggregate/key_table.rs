//! Keys and their groups, where keys come and go: the number of a group whose key is gone is given to the next new key,
//! so that what is kept by group number stays dense, and memory is given back.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

/// A table from keys to groups.
pub(crate) struct KeyTable {
    /// `None` where there are no key columns: then there is one key.
    converter: Option<RowConverter>,
    /// Hash and number of each group.
    index: HashTable<(u64, usize)>,
    /// The encoded key of each group; empty where it is gone.
    keys: Vec<Box<[u8]>>,
    key_bytes: usize,
    /// Numbers of groups that are gone.
    free: Vec<usize>,
}

impl KeyTable {
    /// An empty table for keys of these types.
    ///
    /// # Errors
    /// A type cannot be a key: a map, for example.
    pub(crate) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        let fields: Vec<SortField> = types.into_iter().map(SortField::new).collect();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Self { converter, index: HashTable::new(), keys: Vec::new(), key_bytes: 0, free: Vec::new() })
    }

    /// All group numbers are below this.
    pub(crate) fn group_bound(&self) -> usize {
        self.keys.len()
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Puts the group of each row into `groups`, making new groups for new keys.
    pub(crate) fn intern(
        &mut self,
        columns: &[ArrayRef],
        row_count: usize,
        groups: &mut Vec<usize>,
    ) -> Result<(), ArrowError> {
        groups.clear();
        groups.reserve(row_count);
        let Some(converter) = &self.converter else {
            if row_count > 0 && self.keys.is_empty() {
                self.index.insert_unique(0, (0, 0), |(hash, _)| *hash);
                self.keys.push(Box::default());
            }
            groups.resize(row_count, 0);
            return Ok(());
        };
        let rows = converter.convert_columns(columns)?;
        let mut last: Option<(&[u8], usize)> = None;
        for row in 0..rows.num_rows() {
            let key = rows.row(row).data();
            // Equal keys often follow each other: a day, for example.
            if let Some((last_key, group)) = last
                && last_key == key
            {
                groups.push(group);
                continue;
            }
            let hash = xxh3_64(key);
            let same = |(other, group): &(u64, usize)| {
                *other == hash && self.keys.get(*group).is_some_and(|known| **known == *key)
            };
            let group = match self.index.entry(hash, same, |(hash, _)| *hash) {
                Entry::Occupied(found) => found.get().1,
                Entry::Vacant(vacant) => {
                    let group = self.free.pop().unwrap_or(self.keys.len());
                    vacant.insert((hash, group));
                    self.key_bytes += key.len();
                    match self.keys.get_mut(group) {
                        Some(place) => *place = key.into(),
                        None => self.keys.push(key.into()),
                    }
                    group
                }
            };
            groups.push(group);
            last = Some((key, group));
        }
        Ok(())
    }

    /// The key columns of some groups.
    pub(crate) fn columns(&self, groups: &[usize]) -> Result<Vec<ArrayRef>, ArrowError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        converter.convert_rows(groups.iter().filter_map(|group| self.keys.get(*group)).map(|key| parser.parse(key)))
    }

    /// Forgets some groups: their numbers will be given to other keys.
    pub(crate) fn forget(&mut self, groups: &[usize]) {
        if self.converter.is_none() {
            return;
        }
        for group in groups {
            let Some(key) = self.keys.get_mut(*group) else { continue };
            if let Ok(entry) = self.index.find_entry(xxh3_64(key), |(_, other)| other == group) {
                entry.remove();
                self.key_bytes -= key.len();
                *key = Box::default();
                self.free.push(*group);
            }
        }
        if self.index.len() * 4 < self.index.capacity() {
            self.index.shrink_to_fit(|(hash, _)| *hash);
        }
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.index.allocation_size()
            + self.keys.capacity() * size_of::<Box<[u8]>>()
            + self.key_bytes
            + self.free.capacity() * size_of::<usize>()
    }
}
