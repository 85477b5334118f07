//! Distinct values on their way from a local part: for each group a list of those that it had not sent before, and a list
//! of the calls that each is for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take_arrays};
use arrow::datatypes::{DataType, Field, UInt32Type};
use arrow::error::ArrowError;

use super::sharing::{Changed, Sharing};
use crate::operator::OperatorError;

/// The values of lists, one behind the other.
pub(crate) struct DistinctLists {
    /// The argument columns.
    pub(crate) arguments: Vec<ArrayRef>,
    /// The group of each value.
    pub(crate) groups: Vec<usize>,
    /// The calls that each value is for.
    pub(crate) marks: Vec<u32>,
}

/// The columns that the lists of a set travel in.
pub(crate) fn list_fields(number: usize, sharing: &Sharing) -> Vec<Field> {
    let types = sharing.types.iter().chain([&DataType::UInt32]);
    let list = |(column, data_type): (usize, &DataType)| {
        Field::new(format!("distinct {number}.{column}"), DataType::List(item(data_type)), false)
    };
    types.enumerate().map(list).collect()
}

fn item(data_type: &DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(data_type.clone(), true))
}

impl DistinctLists {
    /// Takes lists apart; `groups` has the group of each list.
    pub(crate) fn read(lists: &[ArrayRef], groups: &[usize]) -> Result<Self, OperatorError> {
        let broken = || OperatorError::Unsupported("these rows are no partial states of the aggregation".to_owned());
        let mut values = Vec::with_capacity(lists.len());
        let mut offsets = None;
        for list in lists {
            let list = list.as_list_opt::<i32>().ok_or_else(broken)?;
            let (first, last) = (list.value_offsets().first(), list.value_offsets().last());
            let (first, last) = (*first.unwrap_or(&0) as usize, *last.unwrap_or(&0) as usize);
            values.push(list.values().slice(first, last - first));
            offsets = Some(list.offsets().clone());
        }
        let marks = values.pop().ok_or_else(broken)?;
        let marks = marks.as_primitive_opt::<UInt32Type>().ok_or_else(broken)?.values().to_vec();
        let lengths = offsets.iter().flat_map(|offsets| offsets.lengths());
        let groups = groups.iter().zip(lengths).flat_map(|(group, length)| std::iter::repeat_n(*group, length));
        Ok(Self { arguments: values, groups: groups.collect(), marks })
    }

    /// Puts the values of several batches together.
    pub(crate) fn gather(sharing: &Sharing, parts: Vec<Changed>) -> Result<Self, ArrowError> {
        let mut arguments = Vec::with_capacity(sharing.types.len());
        for (number, data_type) in sharing.types.iter().enumerate() {
            let columns = parts.iter().filter_map(|part| part.arguments.get(number)).map(|column| column.as_ref());
            let columns: Vec<&dyn Array> = columns.collect();
            arguments.push(match columns.as_slice() {
                [] => arrow::array::new_empty_array(data_type),
                columns => concat(columns)?,
            });
        }
        let groups = parts.iter().flat_map(|part| part.groups.iter().copied()).collect();
        Ok(Self { arguments, groups, marks: parts.iter().flat_map(|part| part.marks.iter().copied()).collect() })
    }

    /// One list a group, of the first `group_count`; the values go to their groups.
    pub(crate) fn into_columns(self, group_count: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut lengths = vec![0_usize; group_count];
        for group in &self.groups {
            if let Some(length) = lengths.get_mut(*group) {
                *length += 1;
            }
        }
        let mut next: Vec<usize> = Vec::with_capacity(group_count);
        let mut begin = 0;
        for length in &lengths {
            next.push(begin);
            begin += length;
        }
        let mut order = vec![0_u32; self.groups.len()];
        for (row, group) in self.groups.iter().enumerate() {
            if let Some(next) = next.get_mut(*group) {
                if let Some(place) = order.get_mut(*next) {
                    *place = row as u32;
                }
                *next += 1;
            }
        }
        let mut columns = self.arguments;
        columns.push(Arc::new(UInt32Array::from(self.marks)));
        let columns = take_arrays(&columns, &UInt32Array::from(order), None)?;
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        let list = |values: ArrayRef| -> Result<ArrayRef, ArrowError> {
            Ok(Arc::new(ListArray::try_new(item(values.data_type()), offsets.clone(), values, None)?))
        };
        columns.into_iter().map(list).collect()
    }
}
