//! Least and greatest values, in place: one value a group. Rows are only added, so a value that was beaten is never
//! needed again.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, StringArray,
    downcast_primitive,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};

use super::state::{RollingState, mistyped, passes};
use crate::expression::EvaluationError;

/// The state of `min` or `max`; `None` for a type whose extremes are not kept in place.
pub(crate) fn extremes(data_type: &DataType, greatest: bool) -> Option<Box<dyn RollingState>> {
    let wanted = if greatest { Ordering::Greater } else { Ordering::Less };
    macro_rules! primitive {
        ($native:ty) => {
            Some(Box::new(Extremes::<$native> {
                data_type: data_type.clone(),
                wanted,
                values: Vec::new(),
                present: Vec::new(),
            }))
        };
    }
    downcast_primitive! {
        data_type => (primitive),
        DataType::Utf8 => Some(Box::new(TextExtremes { wanted, values: Vec::new(), text_bytes: 0 })),
        _ => None
    }
}

/// Extremes of numbers and times.
struct Extremes<T: ArrowPrimitiveType> {
    data_type: DataType,
    /// How a value compares to the one that it replaces.
    wanted: Ordering,
    values: Vec<T::Native>,
    present: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Extremes<T> {
    fn add(&mut self, values: &PrimitiveArray<T>, groups: &[usize], passing: impl Fn(usize) -> bool) {
        let wanted = self.wanted;
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            if !passing(row) {
                continue;
            }
            if let (Some(extreme), Some(present)) = (self.values.get_mut(*group), self.present.get_mut(*group))
                && (!*present || value.compare(*extreme) == wanted)
            {
                *extreme = *value;
                *present = true;
            }
        }
    }
}

impl<T: ArrowPrimitiveType> RollingState for Extremes<T> {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        if group_bound > self.values.len() {
            self.values.resize(group_bound, T::default_value());
            self.present.resize(group_bound, false);
        }
        let values = arguments.first().and_then(|values| values.as_primitive_opt::<T>());
        let values = values.ok_or_else(|| mistyped("min or max"))?;
        match (filter, values.nulls()) {
            (None, None) => self.add(values, groups, |_| true),
            (filter, None) => self.add(values, groups, |row| passes(filter, row)),
            (filter, Some(nulls)) => self.add(values, groups, |row| nulls.is_valid(row) && passes(filter, row)),
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.update(states, groups, None, group_bound)
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        let values: ScalarBuffer<T::Native> =
            groups.iter().map(|group| self.values.get(*group).copied().unwrap_or_default()).collect();
        let present = |group: &usize| self.present.get(*group).copied().unwrap_or(false);
        let nulls: NullBuffer = groups.iter().map(present).collect::<Vec<bool>>().into();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        Ok(Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(self.data_type.clone())))
    }

    fn sealed_fields(&self) -> Vec<Field> {
        vec![Field::new("extreme", self.data_type.clone(), true)]
    }

    fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            if let Some(present) = self.present.get_mut(*group) {
                *present = false;
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.present.capacity()
    }
}

/// Extremes of text, by its bytes.
struct TextExtremes {
    wanted: Ordering,
    values: Vec<Option<Box<str>>>,
    text_bytes: usize,
}

impl RollingState for TextExtremes {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        if group_bound > self.values.len() {
            self.values.resize(group_bound, None);
        }
        let values = arguments.first().and_then(|values| values.as_string_opt::<i32>());
        let values = values.ok_or_else(|| mistyped("min or max"))?;
        for (row, (group, value)) in groups.iter().zip(values.iter()).enumerate() {
            if let (Some(value), Some(extreme)) = (value, self.values.get_mut(*group))
                && extreme.as_deref().is_none_or(|extreme| value.cmp(extreme) == self.wanted)
                && passes(filter, row)
            {
                self.text_bytes = self.text_bytes + value.len() - extreme.as_ref().map_or(0, |extreme| extreme.len());
                *extreme = Some(value.into());
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.update(states, groups, None, group_bound)
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        let value = |group: &usize| self.values.get(*group).and_then(Option::as_deref);
        Ok(Arc::new(groups.iter().map(value).collect::<StringArray>()))
    }

    fn sealed_fields(&self) -> Vec<Field> {
        vec![Field::new("extreme", DataType::Utf8, true)]
    }

    fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            if let Some(value) = self.values.get_mut(*group).and_then(Option::take) {
                self.text_bytes -= value.len();
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<Box<str>>>() + self.text_bytes
    }
}
