//! `DISTINCT` arguments: which values a group has had already, so that only new ones are passed on to the function.
//!
//! Calls over the same arguments share one set, however their filters differ: an entry (group, value) has a mark for each
//! call that has seen it. So eight `count(DISTINCT bidder) FILTER (...)` look a value up once. Where rows are taken back,
//! an entry counts for each call how often the value is there; the function hears of the first and of the last.
//!
//! Values of up to eight bytes lie in the table itself, and those that were asked for lately in a small one before it, since
//! the same few values come again and again for a while; others are encoded and boxed.

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::entries::Entries;
use super::marks::{Counts, Marks};

/// The most calls that can share a set.
pub(crate) const CALLS_MAX: usize = 32;

/// The distinct values of groups.
///
/// # Contract
/// `wanted[row]` has bit `n` set where the row is one for the set's call `n`. What is returned says for each row for which
/// of them the value is new (or, when taking back, gone).
pub(crate) trait DistinctSet: Send {
    /// Adds rows.
    fn add(&mut self, values: &[ArrayRef], groups: &[usize], wanted: &[u32]) -> Result<Vec<u32>, ArrowError>;
    /// Takes rows back.
    fn remove(&mut self, values: &[ArrayRef], groups: &[usize], wanted: &[u32]) -> Result<Vec<u32>, ArrowError>;
    /// Forgets the values of the groups for which this is true.
    fn forget(&mut self, is_gone: &dyn Fn(usize) -> bool);
    /// All entries of the groups for which this is true, for `call_count` calls.
    fn entries(&self, call_count: usize, is_wanted: &dyn Fn(usize) -> bool) -> Result<Entries, ArrowError>;
    /// Says whether it is noted from now on which entries change; what has been noted is forgotten.
    fn keep_changes(&mut self, keeps: bool);
    /// The entries that have changed since [`DistinctSet::keep_changes`], and the values of those that are gone.
    fn changes(&self, call_count: usize) -> Result<(Entries, Entries), ArrowError>;
    /// How many changes have been noted.
    fn change_count(&self) -> usize;
    /// Takes over entries that it has not had.
    fn restore(&mut self, entries: &Entries) -> Result<(), ArrowError>;
    /// How many entries there are.
    fn len(&self) -> usize;
    /// Heap memory held, in bytes.
    fn size_bytes(&self) -> usize;
}

/// An empty set of values of these types.
///
/// # Errors
/// The values cannot be compared.
pub(crate) fn distinct_set(types: &[DataType], is_updating: bool) -> Result<Box<dyn DistinctSet>, ArrowError> {
    let word = match types {
        [only] => Some(only).filter(|only| only.primitive_width().is_some_and(|width| width <= 8)),
        _ => None,
    };
    Ok(match (word, is_updating) {
        (Some(word), false) => Box::new(Words::<u32>::new(word)),
        (Some(word), true) => Box::new(Words::<Counts>::new(word)),
        (None, false) => Box::new(Encoded::<u32>::new(types)?),
        (None, true) => Box::new(Encoded::<Counts>::new(types)?),
    })
}

/// A value of up to eight bytes; null where `is_null`.
struct Word<M> {
    value: u64,
    group: u32,
    is_null: bool,
    marks: M,
}

struct Words<M> {
    data_type: DataType,
    index: HashTable<Word<M>>,
    /// What was looked up lately, each at a place that its hash says.
    recent: Vec<Recent>,
    /// Value, group and whether it is null of the entries that have changed since they were sealed, some of them twice.
    changed: Option<Vec<(u64, u32, bool)>>,
}

/// So many values are remembered as looked up lately: they fit into the nearest cache.
const RECENT_COUNT: usize = 1_024;

/// A value that is not null, and the calls for which it is settled that adding it changes nothing.
#[derive(Clone, Copy, Default)]
struct Recent {
    value: u64,
    group: u32,
    settled: u32,
}

impl<M> Words<M> {
    fn new(data_type: &DataType) -> Self {
        let recent = vec![Recent::default(); RECENT_COUNT];
        Self { data_type: data_type.clone(), index: HashTable::new(), recent, changed: None }
    }
}

/// Mixes a value and its group (the finaliser of MurmurHash3, which is a bijection).
fn hash_of(value: u64, group: u32, is_null: bool) -> u64 {
    let mut hash = value ^ (u64::from(group) << 1 | u64::from(is_null)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    hash = (hash ^ hash >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ hash >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ hash >> 33
}

fn group_number(group: usize) -> u32 {
    // More groups than that do not fit into memory.
    u32::try_from(group).unwrap_or(u32::MAX)
}

impl<M: Marks> DistinctSet for Words<M> {
    fn add(&mut self, values: &[ArrayRef], groups: &[usize], wanted: &[u32]) -> Result<Vec<u32>, ArrowError> {
        let mut changed = Vec::with_capacity(groups.len());
        let words = words_of(values)?;
        let nulls = values.first().and_then(|values| values.nulls());
        for (row, ((value, group), wanted)) in words.into_iter().zip(groups).zip(wanted).enumerate() {
            if *wanted == 0 {
                changed.push(0);
                continue;
            }
            let (group, is_null) = (group_number(*group), nulls.is_some_and(|nulls| nulls.is_null(row)));
            let value = if is_null { 0 } else { value };
            let hash = hash_of(value, group, is_null);
            let recent = self.recent.get_mut(hash as usize % RECENT_COUNT).filter(|_| !is_null);
            let is_known = |known: &&mut Recent| known.value == value && known.group == group;
            if recent.as_ref().filter(|known| is_known(known)).is_some_and(|known| wanted & !known.settled == 0) {
                changed.push(0);
                continue;
            }
            let same = |word: &Word<M>| word.value == value && word.group == group && word.is_null == is_null;
            let rehash = |word: &Word<M>| hash_of(word.value, word.group, word.is_null);
            let new = || Word { value, group, is_null, marks: M::default() };
            let mut entry = self.index.entry(hash, same, rehash).or_insert_with(new);
            let marks = &mut entry.get_mut().marks;
            let new = marks.add(*wanted);
            changed.push(new);
            if let Some(list) = &mut self.changed
                && marks.note(new)
            {
                list.push((value, group, is_null));
            }
            if let Some(recent) = recent {
                *recent = Recent { value, group, settled: marks.settled() };
            }
        }
        Ok(changed)
    }

    fn remove(&mut self, values: &[ArrayRef], groups: &[usize], wanted: &[u32]) -> Result<Vec<u32>, ArrowError> {
        self.recent.fill(Recent::default());
        let mut changed = Vec::with_capacity(groups.len());
        let words = words_of(values)?;
        let nulls = values.first().and_then(|values| values.nulls());
        for (row, ((value, group), wanted)) in words.into_iter().zip(groups).zip(wanted).enumerate() {
            let (group, is_null) = (group_number(*group), nulls.is_some_and(|nulls| nulls.is_null(row)));
            let value = if is_null { 0 } else { value };
            let same = |word: &Word<M>| word.value == value && word.group == group && word.is_null == is_null;
            let found = self.index.find_entry(hash_of(value, group, is_null), same).ok().filter(|_| *wanted != 0);
            let Some(mut found) = found else {
                changed.push(0);
                continue;
            };
            let gone = found.get_mut().marks.remove(*wanted);
            changed.push(gone);
            if let Some(list) = &mut self.changed
                && found.get_mut().marks.note(gone)
            {
                list.push((value, group, is_null));
            }
            if found.get().marks.is_empty() {
                found.remove();
            }
        }
        Ok(changed)
    }

    fn forget(&mut self, is_gone: &dyn Fn(usize) -> bool) {
        self.recent.fill(Recent::default());
        self.index.retain(|word| {
            let stays = !is_gone(word.group as usize);
            if let Some(changed) = self.changed.as_mut().filter(|_| !stays) {
                changed.push((word.value, word.group, word.is_null));
            }
            stays
        });
        self.index.shrink_to(self.index.len() * 2, |word| hash_of(word.value, word.group, word.is_null));
    }

    fn entries(&self, call_count: usize, is_wanted: &dyn Fn(usize) -> bool) -> Result<Entries, ArrowError> {
        let mut entries = Entries::new(call_count);
        let (mut words, mut present) = (Vec::new(), Vec::new());
        for word in self.index.iter().filter(|word| is_wanted(word.group as usize)) {
            entries.push(word.group, &word.marks);
            words.push(word.value);
            present.push(!word.is_null);
        }
        entries.values.push(column_of(words, present.into(), &self.data_type)?);
        Ok(entries)
    }

    fn keep_changes(&mut self, keeps: bool) {
        for (value, group, is_null) in std::mem::replace(&mut self.changed, keeps.then(Vec::new)).into_iter().flatten()
        {
            let same = |word: &Word<M>| word.value == value && word.group == group && word.is_null == is_null;
            if let Some(word) = self.index.find_mut(hash_of(value, group, is_null), same) {
                word.marks.settle();
            }
        }
    }

    fn changes(&self, call_count: usize) -> Result<(Entries, Entries), ArrowError> {
        let (mut here, mut gone) = (Entries::new(call_count), Entries::new(0));
        let (mut words_here, mut words_gone) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (value, group, is_null) in once_each(self.changed.as_deref()) {
            let same = |word: &Word<M>| word.value == value && word.group == group && word.is_null == is_null;
            let (words, present) = match self.index.find(hash_of(value, group, is_null), same) {
                Some(word) => {
                    here.push(group, &word.marks);
                    &mut words_here
                }
                None => {
                    gone.push_gone(group);
                    &mut words_gone
                }
            };
            words.push(value);
            present.push(!is_null);
        }
        for (entries, (words, present)) in [(&mut here, words_here), (&mut gone, words_gone)] {
            entries.values.push(column_of(words, present.into(), &self.data_type)?);
        }
        Ok((here, gone))
    }

    fn change_count(&self) -> usize {
        self.changed.as_ref().map_or(0, Vec::len)
    }

    fn restore(&mut self, entries: &Entries) -> Result<(), ArrowError> {
        let words = words_of(&entries.values)?;
        let nulls = entries.values.first().and_then(|values| values.nulls());
        for (row, (value, group)) in words.into_iter().zip(&entries.groups).enumerate() {
            let (group, is_null) = (group_number(*group), nulls.is_some_and(|nulls| nulls.is_null(row)));
            let word = Word { value: if is_null { 0 } else { value }, group, is_null, marks: entries.marks(row) };
            let rehash = |word: &Word<M>| hash_of(word.value, word.group, word.is_null);
            self.index.insert_unique(rehash(&word), word, rehash);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    fn size_bytes(&self) -> usize {
        let marks = self.index.iter().next().map_or(0, |word| word.marks.heap_bytes());
        self.index.allocation_size()
            + marks * self.index.len()
            + self.recent.capacity() * size_of::<Recent>()
            + self.changed.as_ref().map_or(0, Vec::capacity) * size_of::<(u64, u32, bool)>()
    }
}

/// What is in a list, in order, each once.
fn once_each<T: Clone + Ord>(list: Option<&[T]>) -> Vec<T> {
    let mut list = list.unwrap_or_default().to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

/// The values of a column of fixed width, as they lie in memory.
fn words_of(values: &[ArrayRef]) -> Result<Vec<u64>, ArrowError> {
    let [values] = values else { return Err(ArrowError::ComputeError("one column was expected".to_owned())) };
    let data = values.to_data();
    let (offset, row_count) = (data.offset(), data.len());
    let wrong = || ArrowError::ComputeError(format!("{} is not of fixed width", values.data_type()));
    let buffer = data.buffers().first().cloned().ok_or_else(wrong)?;
    Ok(match values.data_type().primitive_width() {
        Some(8) => ScalarBuffer::<u64>::new(buffer, offset, row_count).to_vec(),
        Some(4) => ScalarBuffer::<u32>::new(buffer, offset, row_count).iter().map(|value| u64::from(*value)).collect(),
        Some(2) => ScalarBuffer::<u16>::new(buffer, offset, row_count).iter().map(|value| u64::from(*value)).collect(),
        Some(1) => ScalarBuffer::<u8>::new(buffer, offset, row_count).iter().map(|value| u64::from(*value)).collect(),
        _ => return Err(wrong()),
    })
}

/// The column of a type of fixed width whose values lie in memory so.
fn column_of(words: Vec<u64>, present: NullBuffer, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let row_count = words.len();
    let buffer = match data_type.primitive_width() {
        Some(8) => Buffer::from_vec(words),
        Some(4) => Buffer::from_vec(words.into_iter().map(|word| word as u32).collect()),
        Some(2) => Buffer::from_vec(words.into_iter().map(|word| word as u16).collect()),
        _ => Buffer::from_vec(words.into_iter().map(|word| word as u8).collect()),
    };
    let nulls = Some(present).filter(|present| present.null_count() > 0);
    Ok(make_array(ArrayData::builder(data_type.clone()).len(row_count).add_buffer(buffer).nulls(nulls).build()?))
}

/// A value of any type.
struct Value<M> {
    hash: u64,
    bytes: Box<[u8]>,
    group: u32,
    marks: M,
}

/// A group, and an encoded value of it.
type GroupValue = (u32, Box<[u8]>);

struct Encoded<M> {
    converter: RowConverter,
    index: HashTable<Value<M>>,
    value_bytes: usize,
    /// Group and value of the entries that have changed since they were sealed, some of them twice.
    changed: Option<Vec<GroupValue>>,
}

impl<M> Encoded<M> {
    fn new(types: &[DataType]) -> Result<Self, ArrowError> {
        let fields = types.iter().map(|data_type| SortField::new(data_type.clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, index: HashTable::new(), value_bytes: 0, changed: None })
    }
}

/// Notes that the last of some changes was one of a value, where changes are noted.
fn note<M: Marks>(list: &mut Option<Vec<GroupValue>>, marks: &mut M, changes: &[u32], group: u32, value: &[u8]) {
    if let Some(list) = list
        && marks.note(changes.last().copied().unwrap_or(0))
    {
        list.push((group, value.into()));
    }
}

impl<M: Marks> DistinctSet for Encoded<M> {
    fn add(&mut self, values: &[ArrayRef], groups: &[usize], wanted: &[u32]) -> Result<Vec<u32>, ArrowError> {
        let mut changed = Vec::with_capacity(groups.len());
        let rows = self.converter.convert_columns(values)?;
        for ((row, group), wanted) in rows.iter().zip(groups).zip(wanted) {
            if *wanted == 0 {
                changed.push(0);
                continue;
            }
            let group = group_number(*group);
            let hash = xxh3_64_with_seed(row.data(), u64::from(group));
            let same = |value: &Value<M>| value.hash == hash && value.group == group && *value.bytes == *row.data();
            match self.index.entry(hash, same, |value| value.hash) {
                Entry::Occupied(mut found) => {
                    let marks = &mut found.get_mut().marks;
                    changed.push(marks.add(*wanted));
                    note(&mut self.changed, marks, &changed, group, row.data());
                }
                Entry::Vacant(vacant) => {
                    self.value_bytes += row.data().len();
                    let mut marks = M::default();
                    changed.push(marks.add(*wanted));
                    note(&mut self.changed, &mut marks, &changed, group, row.data());
                    vacant.insert(Value { hash, bytes: row.data().into(), group, marks });
                }
            }
        }
        Ok(changed)
    }

    fn remove(&mut self, values: &[ArrayRef], groups: &[usize], wanted: &[u32]) -> Result<Vec<u32>, ArrowError> {
        let mut changed = Vec::with_capacity(groups.len());
        let rows = self.converter.convert_columns(values)?;
        for ((row, group), wanted) in rows.iter().zip(groups).zip(wanted) {
            let group = group_number(*group);
            let hash = xxh3_64_with_seed(row.data(), u64::from(group));
            let same = |value: &Value<M>| value.hash == hash && value.group == group && *value.bytes == *row.data();
            let Some(mut found) = self.index.find_entry(hash, same).ok().filter(|_| *wanted != 0) else {
                changed.push(0);
                continue;
            };
            changed.push(found.get_mut().marks.remove(*wanted));
            note(&mut self.changed, &mut found.get_mut().marks, &changed, group, row.data());
            if found.get().marks.is_empty() {
                self.value_bytes -= found.get().bytes.len();
                found.remove();
            }
        }
        Ok(changed)
    }

    fn forget(&mut self, is_gone: &dyn Fn(usize) -> bool) {
        self.index.retain(|value| {
            let stays = !is_gone(value.group as usize);
            if !stays {
                self.value_bytes -= value.bytes.len();
                if let Some(changed) = &mut self.changed {
                    changed.push((value.group, value.bytes.clone()));
                }
            }
            stays
        });
        self.index.shrink_to(self.index.len() * 2, |value| value.hash);
    }

    fn entries(&self, call_count: usize, is_wanted: &dyn Fn(usize) -> bool) -> Result<Entries, ArrowError> {
        let mut entries = Entries::new(call_count);
        let mut rows = Vec::new();
        let parser = self.converter.parser();
        for value in self.index.iter().filter(|value| is_wanted(value.group as usize)) {
            entries.push(value.group, &value.marks);
            rows.push(parser.parse(&value.bytes));
        }
        entries.values = self.converter.convert_rows(rows)?;
        Ok(entries)
    }

    fn keep_changes(&mut self, keeps: bool) {
        for (group, bytes) in std::mem::replace(&mut self.changed, keeps.then(Vec::new)).into_iter().flatten() {
            let same = |value: &Value<M>| value.group == group && value.bytes == bytes;
            if let Some(value) = self.index.find_mut(xxh3_64_with_seed(&bytes, u64::from(group)), same) {
                value.marks.settle();
            }
        }
    }

    fn changes(&self, call_count: usize) -> Result<(Entries, Entries), ArrowError> {
        let (mut here, mut gone) = (Entries::new(call_count), Entries::new(0));
        let (mut rows_here, mut rows_gone) = (Vec::new(), Vec::new());
        let changed = once_each(self.changed.as_deref());
        let parser = self.converter.parser();
        for (group, bytes) in &changed {
            let same = |value: &Value<M>| value.group == *group && value.bytes == *bytes;
            match self.index.find(xxh3_64_with_seed(bytes, u64::from(*group)), same) {
                Some(value) => {
                    here.push(*group, &value.marks);
                    rows_here.push(parser.parse(bytes));
                }
                None => {
                    gone.push_gone(*group);
                    rows_gone.push(parser.parse(bytes));
                }
            }
        }
        here.values = self.converter.convert_rows(rows_here)?;
        gone.values = self.converter.convert_rows(rows_gone)?;
        Ok((here, gone))
    }

    fn change_count(&self) -> usize {
        self.changed.as_ref().map_or(0, Vec::len)
    }

    fn restore(&mut self, entries: &Entries) -> Result<(), ArrowError> {
        let rows = self.converter.convert_columns(&entries.values)?;
        for (entry, (row, group)) in rows.iter().zip(&entries.groups).enumerate() {
            let group = group_number(*group);
            let hash = xxh3_64_with_seed(row.data(), u64::from(group));
            self.value_bytes += row.data().len();
            let value = Value { hash, bytes: row.data().into(), group, marks: entries.marks(entry) };
            self.index.insert_unique(hash, value, |value| value.hash);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.index.len()
    }

    fn size_bytes(&self) -> usize {
        let marks = self.index.iter().next().map_or(0, |value| value.marks.heap_bytes());
        self.index.allocation_size() + self.value_bytes + marks * self.index.len()
    }
}
