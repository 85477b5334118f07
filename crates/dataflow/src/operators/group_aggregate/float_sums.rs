//! `sum` and `avg` of floats over an updating input: exact, so that taking a value back restores what was before.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};

use super::exact_sums::ExactSums;
use super::state::{RollingState, mistyped, passes};
use crate::expression::EvaluationError;

/// Exact sums, and how many values each is made of.
pub(crate) struct FloatSums {
    sums: ExactSums,
    counts: Vec<i64>,
    /// Whether results are divided by the counts.
    is_average: bool,
}

impl FloatSums {
    pub(crate) fn new(is_average: bool) -> Self {
        Self { sums: ExactSums::default(), counts: Vec::new(), is_average }
    }

    fn add(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        times: i64,
    ) -> Result<(), EvaluationError> {
        let values = arguments.first().and_then(|values| values.as_primitive_opt::<Float64Type>());
        let values = values.ok_or_else(|| mistyped("sum"))?;
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            if values.is_valid(row)
                && passes(filter, row)
                && let Some(count) = self.counts.get_mut(*group)
            {
                *count += times;
                self.sums.add(*group, *value, times);
            }
        }
        Ok(())
    }
}

impl RollingState for FloatSums {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        self.counts.resize(group_bound.max(self.counts.len()), 0);
        self.sums.grow(group_bound);
        self.add(arguments, groups, filter, 1)
    }

    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        self.add(arguments, groups, filter, -1)
    }

    fn merge(&mut self, _: &[ArrayRef], _: &[usize], _: usize) -> Result<(), EvaluationError> {
        Err(mistyped("sum"))
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        let result = |group: &usize| {
            let count = self.counts.get(*group).copied().filter(|count| *count != 0)?;
            let sum = self.sums.sum(*group);
            Some(if self.is_average { sum / count as f64 } else { sum })
        };
        Ok(Arc::new(groups.iter().map(result).collect::<Float64Array>()))
    }

    fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            self.sums.forget(*group);
            if let Some(count) = self.counts.get_mut(*group) {
                *count = 0;
            }
        }
    }

    fn sealed_fields(&self) -> Vec<Field> {
        std::iter::once(Field::new("count", DataType::Int64, false)).chain(ExactSums::sealed_fields()).collect()
    }

    fn seal(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        let count = |group: &usize| self.counts.get(*group).copied().unwrap_or(0);
        let counts: ArrayRef = Arc::new(Int64Array::from_iter_values(groups.iter().map(count)));
        Ok(std::iter::once(counts).chain(self.sums.seal(groups)).collect())
    }

    fn restore(&mut self, sealed: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        let (counts, sums) = sealed.split_first().ok_or_else(|| mistyped("sum"))?;
        let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(|| mistyped("sum"))?;
        self.counts.resize(group_bound.max(self.counts.len()), 0);
        for (group, sealed) in groups.iter().zip(counts.values()) {
            if let Some(count) = self.counts.get_mut(*group) {
                *count = *sealed;
            }
        }
        self.sums.grow(group_bound);
        self.sums.restore(sums, groups).ok_or_else(|| mistyped("sum"))
    }

    fn size_bytes(&self) -> usize {
        self.sums.size_bytes() + self.counts.capacity() * size_of::<i64>()
    }
}
