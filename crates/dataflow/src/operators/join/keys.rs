//! The keys that both sides have had, numbered: a row finds its own key's number once, and with it the rows of either
//! side.
//!
//! A key of one integer or time column is looked up by its bits; every other key by its row encoding.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take_arrays};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use hashbrown::HashTable;

use crate::group::GroupTable;
use crate::key::KeyEncoder;

/// In place of a key's number or a row's: there is none.
pub(super) const NONE: u32 = u32::MAX;

/// The numbers of keys.
#[derive(Debug)]
pub(super) struct KeyNumbers {
    types: Vec<DataType>,
    /// Whether a null equals a null. Otherwise a key with a null has no number.
    nulls_match: bool,
    table: Table,
}

#[derive(Debug)]
enum Table {
    Narrow { index: HashTable<(i64, u32)>, keys: Vec<i64> },
    Encoded { encoder: KeyEncoder, groups: GroupTable },
}

fn is_narrow(types: &[DataType], nulls_match: bool) -> bool {
    use DataType::{
        Date32, Date64, Duration, Int8, Int16, Int32, Int64, Time32, Time64, Timestamp, UInt8, UInt16, UInt32,
    };
    let [only] = types else { return false };
    let fits = matches!(
        only,
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | Date32 | Date64 | Time32(_) | Time64(_)
    ) || matches!(only, Timestamp(..) | Duration(_));
    fits && !nulls_match
}

/// Spreads the bits of a key: one multiplication, both halves of the product folded.
fn hash_of(key: i64) -> u64 {
    let product = u128::from(key.cast_unsigned() ^ 0x9E37_79B9_7F4A_7C15) * u128::from(0xD6E8_FEB8_6659_FD93_u64);
    (product as u64) ^ ((product >> 64) as u64)
}

impl KeyNumbers {
    /// No keys yet, of columns of these types.
    pub(super) fn new(types: Vec<DataType>, nulls_match: bool) -> Result<Self, ArrowError> {
        let table = Self::empty_table(&types, nulls_match)?;
        Ok(Self { types, nulls_match, table })
    }

    fn empty_table(types: &[DataType], nulls_match: bool) -> Result<Table, ArrowError> {
        if is_narrow(types, nulls_match) {
            return Ok(Table::Narrow { index: HashTable::new(), keys: Vec::new() });
        }
        let encoder = KeyEncoder::new(types.iter().cloned())?;
        Ok(Table::Encoded { groups: GroupTable::new(&encoder), encoder })
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        match &self.table {
            Table::Narrow { keys, .. } => keys.len(),
            Table::Encoded { groups, .. } => groups.len(),
        }
    }

    /// The number of each row's key, a new one for a new key; [`NONE`] for a key that matches nothing.
    pub(super) fn number(&mut self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<u32>, ArrowError> {
        match &mut self.table {
            Table::Narrow { index, keys } => narrow(columns, |key| intern(index, keys, key)),
            Table::Encoded { encoder, groups } => {
                let nulls = if self.nulls_match { None } else { any_null(columns) };
                let encoded = encoder.encode(columns, row_count)?;
                let is_valid = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
                let mut found = Vec::with_capacity(row_count);
                groups.intern(&encoded, (0..row_count).filter(is_valid), &mut found);
                let mut found = found.into_iter();
                let number = |row| if is_valid(&row) { found.next().map_or(NONE, |group| group as u32) } else { NONE };
                Ok((0..row_count).map(number).collect())
            }
        }
    }

    /// The number of each row's key, where it has one already.
    pub(super) fn find(&self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<u32>, ArrowError> {
        match &self.table {
            Table::Narrow { index, .. } => narrow(columns, |key| {
                index.find(hash_of(key), |(other, _)| *other == key).map_or(NONE, |(_, number)| *number)
            }),
            Table::Encoded { encoder, groups } => {
                let nulls = if self.nulls_match { None } else { any_null(columns) };
                let encoded = encoder.encode(columns, row_count)?;
                let is_valid = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                let number =
                    |row| groups.find(&encoded, row).filter(|_| is_valid(row)).map_or(NONE, |group| group as u32);
                Ok((0..row_count).map(number).collect())
            }
        }
    }

    /// The columns of the keys of some numbers.
    pub(super) fn columns(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
        match &self.table {
            Table::Narrow { keys, .. } => {
                let key = |number: &u32| keys.get(*number as usize).copied();
                let keys: ArrayRef = Arc::new(numbers.iter().map(key).collect::<Int64Array>());
                self.types.iter().map(|data_type| from_number(&keys, data_type)).collect()
            }
            Table::Encoded { encoder, groups } => {
                groups.columns_of(encoder, numbers.iter().map(|number| *number as usize))
            }
        }
    }

    /// The types of the keys' columns.
    pub(super) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Keeps the keys that `kept` names, in this order, and numbers them anew.
    pub(super) fn keep(&mut self, kept: &[u32]) -> Result<(), ArrowError> {
        let old = std::mem::replace(&mut self.table, Self::empty_table(&self.types, self.nulls_match)?);
        match (old, &mut self.table) {
            (Table::Narrow { keys: old, .. }, Table::Narrow { index, keys }) => {
                for key in kept.iter().filter_map(|number| old.get(*number as usize)) {
                    intern(index, keys, *key);
                }
            }
            (Table::Encoded { encoder: old_encoder, groups: old }, Table::Encoded { encoder, groups }) => {
                let columns = old.key_columns(&old_encoder)?;
                let columns = take_arrays(&columns, &UInt32Array::from(kept.to_vec()), None)?;
                let encoded = encoder.encode(&columns, kept.len())?;
                groups.intern(&encoded, 0..kept.len(), &mut Vec::new());
            }
            // Both tables are for the same types.
            _ => {}
        }
        Ok(())
    }

    /// Heap memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        match &self.table {
            Table::Narrow { index, keys } => index.allocation_size() + keys.capacity() * size_of::<i64>(),
            Table::Encoded { groups, .. } => groups.size_bytes(),
        }
    }
}

/// What `number` says of each key of a narrow column; [`NONE`] of a null.
fn narrow(columns: &[ArrayRef], mut number: impl FnMut(i64) -> u32) -> Result<Vec<u32>, ArrowError> {
    let Some(column) = columns.first() else { return Ok(Vec::new()) };
    let values = cast(column, &DataType::Int64)?;
    let values = values.as_primitive::<Int64Type>();
    Ok(match values.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => values.values().iter().map(|key| number(*key)).collect(),
        Some(nulls) => {
            let rows = values.values().iter().enumerate();
            rows.map(|(row, key)| if nulls.is_null(row) { NONE } else { number(*key) }).collect()
        }
    })
}

/// Numbers as the narrow keys that they were.
fn from_number(keys: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match data_type {
        DataType::Time32(_) => cast(&cast(keys, &DataType::Int32)?, data_type),
        _ => cast(keys, data_type),
    }
}

fn intern(index: &mut HashTable<(i64, u32)>, keys: &mut Vec<i64>, key: i64) -> u32 {
    let next = keys.len() as u32;
    let entry = index.entry(hash_of(key), |(other, _)| *other == key, |(key, _)| hash_of(*key));
    let number = entry.or_insert_with(|| (key, next)).get().1;
    if number == next {
        keys.push(key);
    }
    number
}

/// Where some column is null.
fn any_null(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns
        .iter()
        .fold(None, |nulls, column| NullBuffer::union(nulls.as_ref(), column.logical_nulls().as_ref()))
        .filter(|nulls| nulls.null_count() > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::{StringArray, TimestampMillisecondArray};
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn columns(kind: &str, values: &[Option<i64>]) -> Vec<ArrayRef> {
        match kind {
            "integer" => vec![Arc::new(Int64Array::from(values.to_vec()))],
            "time" => vec![Arc::new(TimestampMillisecondArray::from(values.to_vec()))],
            "text" => vec![Arc::new(values.iter().map(|v| v.map(|v| v.to_string())).collect::<StringArray>())],
            _ => {
                let constant: ArrayRef = Arc::new(Int64Array::from_value(7, values.len()));
                vec![constant, Arc::new(Int64Array::from(values.to_vec()))]
            }
        }
    }

    #[test]
    fn keys_keep_their_numbers_and_lose_them_when_dropped() {
        let types = |kind: &str| match kind {
            "integer" => vec![DataType::Int64],
            "time" => vec![DataType::Timestamp(TimeUnit::Millisecond, None)],
            "text" => vec![DataType::Utf8],
            _ => vec![DataType::Int64, DataType::Int64],
        };
        for kind in ["integer", "time", "text", "two columns"] {
            let mut numbers = KeyNumbers::new(types(kind), false).unwrap();
            let found = numbers.number(&columns(kind, &[Some(5), None, Some(6), Some(5)]), 4).unwrap();
            assert_eq!((found, numbers.len()), (vec![0, NONE, 1, 0], 2), "{kind}");
            numbers.keep(&[1]).unwrap();
            let found = numbers.find(&columns(kind, &[Some(5), Some(6), None]), 3).unwrap();
            assert_eq!((found, numbers.len()), (vec![NONE, 0, NONE], 1), "{kind}");
            let found = numbers.number(&columns(kind, &[Some(6), Some(5)]), 2).unwrap();
            assert_eq!(found, [0, 1], "{kind}");

            let mut numbers = KeyNumbers::new(types(kind), true).unwrap();
            let found = numbers.number(&columns(kind, &[Some(5), None, None]), 3).unwrap();
            assert_eq!(found, [0, 1, 1], "{kind}");
            assert_eq!(numbers.find(&columns(kind, &[None, Some(6)]), 2).unwrap(), [1, NONE], "{kind}");
        }
        let mut numbers = KeyNumbers::new(Vec::new(), false).unwrap();
        assert!(numbers.columns(&[0, 0]).unwrap().is_empty());
        assert_eq!(numbers.find(&[], 3).unwrap(), [NONE; 3]);
        assert_eq!(numbers.number(&[], 3).unwrap(), [0, 0, 0]);
        assert_eq!(numbers.find(&[], 3).unwrap(), [0, 0, 0]);
    }

    #[test]
    fn keys_give_their_columns_again() {
        use DataType::{
            Boolean, Date32, Date64, Duration, Float64, Int8, Int16, Int32, Int64, Time32, Time64, Timestamp, UInt8,
            UInt16, UInt32, UInt64, Utf8,
        };
        let types = [Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float64, Boolean, Utf8, Date32, Date64];
        let times = [
            Time32(TimeUnit::Second),
            Time32(TimeUnit::Millisecond),
            Time64(TimeUnit::Microsecond),
            Time64(TimeUnit::Nanosecond),
            Timestamp(TimeUnit::Second, None),
            Timestamp(TimeUnit::Nanosecond, Some("Europe/Paris".into())),
            Duration(TimeUnit::Millisecond),
        ];
        for data_type in types.into_iter().chain(times) {
            for nulls_match in [false, true] {
                let days: ArrayRef = Arc::new(Int64Array::from(vec![1, 0, 1, 100]));
                let days = match data_type {
                    Date64 => cast(&cast(&days, &Int32).unwrap(), &Date32),
                    Time32(_) => cast(&days, &Int32),
                    _ => Ok(days),
                };
                let column = cast(&days.unwrap(), &data_type).unwrap();
                let mut numbers = KeyNumbers::new(vec![data_type.clone()], nulls_match).unwrap();
                let found = numbers.number(std::slice::from_ref(&column), 4).unwrap();
                let columns = numbers.columns(&found).unwrap();
                assert_eq!(columns, [column], "{data_type}");
            }
        }
    }
}
