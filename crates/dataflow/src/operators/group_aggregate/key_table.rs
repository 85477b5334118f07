//! Keys and their groups, where keys come and go: the number of a group whose key is gone is given to the next new key,
//! so that what is kept by group number stays dense, and memory is given back.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::RowEncoder;

/// A table from keys to groups.
pub(crate) struct KeyTable {
    /// Without key columns there is one key.
    encoder: RowEncoder,
    /// Hash and number of each group.
    index: HashTable<(u64, usize)>,
    keys: Keys,
    /// Numbers of groups that are gone.
    free: Vec<usize>,
    /// Where it is sealed which keys are gone: the groups of those of which it has not been yet. Their numbers are not given
    /// to others, and their keys are kept.
    gone: Option<Vec<usize>>,
}

/// The encoded key of each group.
enum Keys {
    /// Keys of one width, side by side.
    Wide { width: usize, bytes: Vec<u8> },
    /// Keys of any length; empty where the group is gone.
    Boxed { keys: Vec<Box<[u8]>>, size_bytes: usize },
}

impl Keys {
    /// How many there are.
    fn len(&self) -> usize {
        match self {
            Keys::Wide { width, bytes } => bytes.len() / (*width).max(1),
            Keys::Boxed { keys, .. } => keys.len(),
        }
    }

    fn get(&self, group: usize) -> &[u8] {
        match self {
            Keys::Wide { width, bytes } => bytes.get(group * width..(group + 1) * width).unwrap_or_default(),
            Keys::Boxed { keys, .. } => keys.get(group).map_or(&[], AsRef::as_ref),
        }
    }

    /// Writes the key of a group: of one that is gone, or of the next.
    fn set(&mut self, group: usize, key: &[u8]) {
        match self {
            Keys::Wide { width, bytes } => match bytes.get_mut(group * *width..(group + 1) * *width) {
                Some(place) => place.copy_from_slice(key),
                None => bytes.extend_from_slice(key),
            },
            Keys::Boxed { keys, size_bytes } => {
                *size_bytes += key.len();
                match keys.get_mut(group) {
                    Some(place) => *place = key.into(),
                    None => keys.push(key.into()),
                }
            }
        }
    }

    fn remove(&mut self, group: usize) {
        if let Keys::Boxed { keys, size_bytes } = self
            && let Some(key) = keys.get_mut(group)
        {
            *size_bytes -= std::mem::take(key).len();
        }
    }

    /// Heap memory held, in bytes.
    fn size_bytes(&self) -> usize {
        match self {
            Keys::Wide { bytes, .. } => bytes.capacity(),
            Keys::Boxed { keys, size_bytes } => keys.capacity() * size_of::<Box<[u8]>>() + size_bytes,
        }
    }
}

impl KeyTable {
    /// An empty table for keys of these types.
    ///
    /// # Errors
    /// A type cannot be a key: a map, for example.
    pub(crate) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        let encoder = RowEncoder::of_types(types)?;
        let keys = match encoder.width() {
            Some(width) if width > 0 => Keys::Wide { width, bytes: Vec::new() },
            _ => Keys::Boxed { keys: Vec::new(), size_bytes: 0 },
        };
        Ok(Self { encoder, index: HashTable::new(), keys, free: Vec::new(), gone: None })
    }

    /// All group numbers are below this.
    pub(crate) fn group_bound(&self) -> usize {
        self.keys.len()
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The groups, in the order of their numbers.
    pub(crate) fn groups(&self) -> Vec<usize> {
        let mut groups: Vec<usize> = self.index.iter().map(|(_, group)| *group).collect();
        groups.sort_unstable();
        groups
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
        if self.encoder.is_empty() {
            if row_count > 0 && self.keys.len() == 0 {
                self.index.insert_unique(0, (0, 0), |(hash, _)| *hash);
                self.keys.set(0, &[]);
            }
            groups.resize(row_count, 0);
            return Ok(());
        }
        let rows = self.encoder.encode(columns, row_count)?;
        let mut last: Option<(&[u8], usize)> = None;
        for row in 0..row_count {
            let key = rows.row(row);
            // Equal keys often follow each other: a day, for example.
            if let Some((last_key, group)) = last
                && last_key == key
            {
                groups.push(group);
                continue;
            }
            let hash = xxh3_64(key);
            let same = |(other, group): &(u64, usize)| *other == hash && self.keys.get(*group) == key;
            let group = match self.index.entry(hash, same, |(hash, _)| *hash) {
                Entry::Occupied(found) => found.get().1,
                Entry::Vacant(vacant) => {
                    let group = self.free.pop().unwrap_or(self.keys.len());
                    vacant.insert((hash, group));
                    self.keys.set(group, key);
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
        self.encoder.decode(groups.iter().map(|group| self.keys.get(*group)))
    }

    /// Forgets some groups: their numbers will be given to other keys.
    pub(crate) fn forget(&mut self, groups: &[usize]) {
        if self.encoder.is_empty() {
            return;
        }
        for group in groups {
            let hash = xxh3_64(self.keys.get(*group));
            if let Ok(entry) = self.index.find_entry(hash, |(_, other)| other == group) {
                entry.remove();
                match &mut self.gone {
                    Some(gone) => gone.push(*group),
                    None => self.release(*group),
                }
            }
        }
        if self.index.len() * 4 < self.index.capacity() {
            self.index.shrink_to_fit(|(hash, _)| *hash);
        }
    }

    /// Makes the number of a group that is gone free for another key.
    fn release(&mut self, group: usize) {
        self.keys.remove(group);
        self.free.push(group);
    }

    /// The groups that are gone since [`KeyTable::keep_gone`].
    pub(crate) fn gone(&self) -> &[usize] {
        self.gone.as_deref().unwrap_or_default()
    }

    /// Says whether the keys that go are kept from now on; those kept so far are not any more.
    pub(crate) fn keep_gone(&mut self, keeps: bool) {
        let gone = std::mem::replace(&mut self.gone, keeps.then(Vec::new));
        gone.into_iter().flatten().for_each(|group| self.release(group));
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        let numbers = self.free.capacity() + self.gone.as_ref().map_or(0, Vec::capacity);
        self.index.allocation_size() + self.keys.size_bytes() + numbers * size_of::<usize>()
    }
}
