//! The distinct keys of a slice, numbered from 0 in the order in which they first came: the *groups* that accumulators
//! speak of.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::encoding::ByteRows;
use crate::key::{EncodedKeys, KeyEncoder};

/// A table from keys to group numbers.
#[derive(Clone, Debug)]
pub struct GroupTable {
    /// Hash and number of each group. The hash stands here so that growing the table needs no key.
    index: HashTable<(u64, usize)>,
    /// The keys by number; `None` where the key has no columns.
    keys: Option<ByteRows>,
}

impl GroupTable {
    /// An empty table of keys of `encoder`.
    pub fn new(encoder: &KeyEncoder) -> Self {
        Self { index: HashTable::new(), keys: encoder.no_keys() }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Appends the group of each of `rows` to `groups`, making new groups for new keys. `keys` come from the encoder
    /// that the table was made with.
    pub fn intern(&mut self, keys: &EncodedKeys, rows: impl Iterator<Item = usize>, groups: &mut Vec<usize>) {
        if self.keys.is_none() {
            return self.intern_without_columns(keys, rows, groups);
        }
        for row in rows {
            let Some(&hash) = keys.hashes().get(row) else { continue };
            groups.push(self.intern_one(Some(keys.row(row)), hash));
        }
    }

    /// The group of one of `keys`, where it has one.
    pub(crate) fn find(&self, keys: &EncodedKeys, row: usize) -> Option<usize> {
        let hash = *keys.hashes().get(row)?;
        let Some(known) = &self.keys else { return (!self.is_empty()).then_some(0) };
        let same = |(other, group): &(u64, usize)| *other == hash && known.row(*group) == keys.row(row);
        self.index.find(hash, same).map(|(_, group)| *group)
    }

    /// All rows are one group: it is looked up once.
    fn intern_without_columns(
        &mut self,
        keys: &EncodedKeys,
        mut rows: impl Iterator<Item = usize>,
        groups: &mut Vec<usize>,
    ) {
        let Some(hash) = rows.next().and_then(|row| keys.hashes().get(row)) else { return };
        let group = self.intern_one(None, *hash);
        groups.push(group);
        groups.extend(rows.map(|_| group));
    }

    /// Appends the group of each key of `other`, in order, to `groups`. Both tables are of one encoder.
    pub fn intern_table(&mut self, other: &GroupTable, groups: &mut Vec<usize>) {
        let mut hashes = vec![0; other.len()];
        for (hash, group) in &other.index {
            if let Some(place) = hashes.get_mut(*group) {
                *place = *hash;
            }
        }
        for (group, hash) in hashes.into_iter().enumerate() {
            groups.push(self.intern_one(other.keys.as_ref().map(|keys| keys.row(group)), hash));
        }
    }

    fn intern_one(&mut self, key: Option<&[u8]>, hash: u64) -> usize {
        let new_group = self.index.len();
        let (Some(key), Some(known)) = (key, &mut self.keys) else {
            // There are no key columns, so all rows are one group.
            return self.index.entry(hash, |_| true, |(hash, _)| *hash).or_insert((hash, new_group)).get().1;
        };
        let same = |(other_hash, group): &(u64, usize)| *other_hash == hash && known.row(*group) == key;
        match self.index.entry(hash, same, |(hash, _)| *hash) {
            Entry::Occupied(found) => found.get().1,
            Entry::Vacant(vacant) => {
                vacant.insert((hash, new_group));
                known.push(key);
                new_group
            }
        }
    }

    /// The key columns, one row a group.
    ///
    /// # Errors
    /// `encoder` is another than the table was made with.
    pub fn key_columns(&self, encoder: &KeyEncoder) -> Result<Vec<ArrayRef>, ArrowError> {
        encoder.decode(self.keys.as_ref())
    }

    /// The key columns of some groups, in that order.
    pub(crate) fn columns_of(
        &self,
        encoder: &KeyEncoder,
        groups: impl Iterator<Item = usize>,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        encoder.decode_rows(self.keys.as_ref(), groups)
    }

    /// Heap memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.index.allocation_size() + self.keys.as_ref().map_or(0, ByteRows::size_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::sync::Arc;

    use arrow::array::{Array, Int64Array, StringArray};
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn equal_keys_are_one_group_and_nulls_are_equal() {
        let encoder = KeyEncoder::new([DataType::Utf8, DataType::Int64]).unwrap();
        let mut table = GroupTable::new(&encoder);
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), None, Some("")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(1), None, None]));
        let keys = encoder.encode(&[Arc::clone(&names), Arc::clone(&numbers)], 5).unwrap();
        let mut groups = Vec::new();
        table.intern(&keys, 0..5, &mut groups);
        assert_eq!(groups, [0, 1, 0, 1, 2]);
        table.intern(&keys, [4, 0].into_iter(), &mut groups);
        assert_eq!(groups, [0, 1, 0, 1, 2, 2, 0]);

        let columns = table.key_columns(&encoder).unwrap();
        assert_eq!(columns[0].as_ref(), &StringArray::from(vec![Some("a"), None, Some("")]) as &dyn Array);
        assert_eq!(columns[1].as_ref(), &Int64Array::from(vec![Some(1), None, None]) as &dyn Array);
    }

    #[test]
    fn no_key_columns_make_one_group() {
        let encoder = KeyEncoder::new([]).unwrap();
        let mut table = GroupTable::new(&encoder);
        assert!(table.is_empty());
        let keys = encoder.encode(&[], 3).unwrap();
        let mut groups = Vec::new();
        table.intern(&keys, 0..3, &mut groups);
        assert_eq!((groups, table.len()), (vec![0, 0, 0], 1));
        assert!(table.key_columns(&encoder).unwrap().is_empty());
    }

    #[test]
    fn many_keys_keep_their_numbers_while_the_table_grows() {
        let encoder = KeyEncoder::new([DataType::Int64]).unwrap();
        let mut table = GroupTable::new(&encoder);
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..10_000).chain(0..10_000)));
        let keys = encoder.encode(&[numbers], 20_000).unwrap();
        let mut groups = Vec::new();
        table.intern(&keys, 0..20_000, &mut groups);
        assert!(groups.iter().enumerate().all(|(row, group)| *group == row % 10_000));
    }
}
