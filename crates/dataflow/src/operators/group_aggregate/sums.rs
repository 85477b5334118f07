//! Counts, sums and averages of integers, decimals, durations and floats, in place: one number a group, added to row by
//! row in a loop without branches that depend on the type.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray, Int64Array, PrimitiveArray,
    UInt64Array,
};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Decimal128Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Field, Float64Type, Int64Type, TimeUnit, UInt64Type,
};

use super::state::{RollingState, mistyped, passes};
use crate::aggregate::AggregateFunction;
use crate::expression::EvaluationError;

/// How many rows there are, or values that are not null.
#[derive(Default)]
pub(crate) struct Counts {
    counts: Vec<i64>,
}

impl Counts {
    fn add(&mut self, arguments: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, times: i64) {
        let nulls: Vec<NullBuffer> = arguments.iter().filter_map(|argument| argument.logical_nulls()).collect();
        for (row, group) in groups.iter().enumerate() {
            let counts = passes(filter, row) && nulls.iter().all(|nulls| nulls.is_valid(row));
            if let Some(count) = self.counts.get_mut(*group) {
                *count += times * i64::from(counts);
            }
        }
    }
}

impl RollingState for Counts {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        self.counts.resize(group_bound.max(self.counts.len()), 0);
        self.add(arguments, groups, filter, 1);
        Ok(())
    }

    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        self.add(arguments, groups, filter, -1);
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.counts.resize(group_bound.max(self.counts.len()), 0);
        let states = states.first().and_then(|states| states.as_primitive_opt::<Int64Type>());
        let states = states.ok_or_else(|| mistyped("count"))?;
        for (group, state) in groups.iter().zip(states.iter()) {
            if let Some(count) = self.counts.get_mut(*group) {
                *count += state.unwrap_or(0);
            }
        }
        Ok(())
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        let count = |group: &usize| self.counts.get(*group).copied().unwrap_or(0);
        Ok(Arc::new(Int64Array::from_iter_values(groups.iter().map(count))))
    }

    fn sealed_fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::Int64, false)]
    }

    fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            if let Some(count) = self.counts.get_mut(*group) {
                *count = 0;
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<i64>()
    }
}

/// Sums, and how many values each is made of.
struct Sums<T: ArrowPrimitiveType> {
    data_type: DataType,
    sums: Vec<T::Native>,
    counts: Vec<u64>,
}

impl<T: ArrowPrimitiveType> Sums<T> {
    fn new(data_type: DataType) -> Self {
        Self { data_type, sums: Vec::new(), counts: Vec::new() }
    }

    fn grow(&mut self, group_bound: usize) {
        if group_bound > self.sums.len() {
            self.sums.resize(group_bound, T::default_value());
            self.counts.resize(group_bound, 0);
        }
    }

    fn add(&mut self, values: &PrimitiveArray<T>, groups: &[usize], passing: impl Fn(usize) -> bool) {
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            if !passing(row) {
                continue;
            }
            if let (Some(sum), Some(count)) = (self.sums.get_mut(*group), self.counts.get_mut(*group)) {
                *sum = sum.add_wrapping(*value);
                *count += 1;
            }
        }
    }

    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        let values = arguments.first().and_then(|values| values.as_primitive_opt::<T>());
        let values = values.ok_or_else(|| mistyped("sum"))?;
        for (row, (group, value)) in groups.iter().zip(values.values()).enumerate() {
            if values.is_valid(row)
                && passes(filter, row)
                && let (Some(sum), Some(count)) = (self.sums.get_mut(*group), self.counts.get_mut(*group))
            {
                *sum = sum.sub_wrapping(*value);
                *count = count.wrapping_sub(1);
            }
        }
        Ok(())
    }

    fn update(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        let values = values.as_primitive_opt::<T>().ok_or_else(|| mistyped("sum"))?;
        match (filter, values.nulls()) {
            (None, None) => self.add(values, groups, |_| true),
            (filter, None) => self.add(values, groups, |row| passes(filter, row)),
            (filter, Some(nulls)) => self.add(values, groups, |row| nulls.is_valid(row) && passes(filter, row)),
        }
        Ok(())
    }

    fn counts_of(&self, groups: &[usize]) -> impl Iterator<Item = u64> {
        groups.iter().map(|group| self.counts.get(*group).copied().unwrap_or(0))
    }

    fn sealed_fields(&self) -> Vec<Field> {
        vec![Field::new("count", DataType::UInt64, false), Field::new("sum", self.data_type.clone(), false)]
    }

    fn seal(&self, groups: &[usize]) -> Vec<ArrayRef> {
        let counts: UInt64Array = self.counts_of(groups).map(Some).collect();
        let sums: ScalarBuffer<T::Native> =
            groups.iter().map(|group| self.sums.get(*group).copied().unwrap_or_default()).collect();
        let sums = PrimitiveArray::<T>::new(sums, None).with_data_type(self.data_type.clone());
        vec![Arc::new(counts), Arc::new(sums)]
    }

    fn restore(&mut self, sealed: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.grow(group_bound);
        let [counts, sums] = sealed else { return Err(mistyped("sum")) };
        let (Some(counts), Some(sums)) = (counts.as_primitive_opt::<UInt64Type>(), sums.as_primitive_opt::<T>()) else {
            return Err(mistyped("sum"));
        };
        for (group, (count, sum)) in groups.iter().zip(counts.values().iter().zip(sums.values())) {
            if let (Some(to_sum), Some(to_count)) = (self.sums.get_mut(*group), self.counts.get_mut(*group)) {
                (*to_sum, *to_count) = (*sum, *count);
            }
        }
        Ok(())
    }

    /// The sums; null where there was no value.
    fn sums_of(&self, groups: &[usize]) -> ArrayRef {
        let sums: ScalarBuffer<T::Native> =
            groups.iter().map(|group| self.sums.get(*group).copied().unwrap_or_default()).collect();
        let nulls: NullBuffer = self.counts_of(groups).map(|count| count > 0).collect::<Vec<bool>>().into();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        Arc::new(PrimitiveArray::<T>::new(sums, nulls).with_data_type(self.data_type.clone()))
    }

    fn forget(&mut self, groups: &[usize]) {
        for group in groups {
            if let (Some(sum), Some(count)) = (self.sums.get_mut(*group), self.counts.get_mut(*group)) {
                *sum = T::default_value();
                *count = 0;
            }
        }
    }

    fn size_bytes(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.counts.capacity() * size_of::<u64>()
    }
}

/// `sum`.
struct Sum<T: ArrowPrimitiveType>(Sums<T>);

impl<T: ArrowPrimitiveType> RollingState for Sum<T> {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        self.0.grow(group_bound);
        self.0.update(arguments.first().ok_or_else(|| mistyped("sum"))?, groups, filter)
    }

    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        self.0.retract(arguments, groups, filter)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.update(states, groups, None, group_bound)
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        Ok(self.0.sums_of(groups))
    }

    fn forget(&mut self, groups: &[usize]) {
        self.0.forget(groups);
    }

    fn sealed_fields(&self) -> Vec<Field> {
        self.0.sealed_fields()
    }

    fn seal(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(self.0.seal(groups))
    }

    fn restore(&mut self, sealed: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.0.restore(sealed, groups, group_bound)
    }

    fn size_bytes(&self) -> usize {
        self.0.size_bytes()
    }
}

/// `avg`: counts and sums in place; the function itself divides.
struct Average<T: ArrowPrimitiveType> {
    sums: Sums<T>,
    function: Arc<dyn AggregateFunction>,
}

impl<T: ArrowPrimitiveType> RollingState for Average<T> {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError> {
        self.sums.grow(group_bound);
        self.sums.update(arguments.first().ok_or_else(|| mistyped("avg"))?, groups, filter)
    }

    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        self.sums.retract(arguments, groups, filter)
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.sums.grow(group_bound);
        let [counts, sums] = states else { return Err(mistyped("avg")) };
        let (Some(counts), Some(sums)) = (counts.as_primitive_opt::<UInt64Type>(), sums.as_primitive_opt::<T>()) else {
            return Err(mistyped("avg"));
        };
        for (group, (count, sum)) in groups.iter().zip(counts.iter().zip(sums.iter())) {
            if let (Some(to_sum), Some(to_count)) = (self.sums.sums.get_mut(*group), self.sums.counts.get_mut(*group)) {
                *to_sum = to_sum.add_wrapping(sum.unwrap_or_default());
                *to_count += count.unwrap_or(0);
            }
        }
        Ok(())
    }

    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError> {
        let sums = self.sums.sums_of(groups);
        // The commonest case, which is no more than a division.
        if let Some(sums) = sums.as_primitive_opt::<Float64Type>()
            && self.function.data_type() == DataType::Float64
        {
            let counts: Vec<f64> = self.sums.counts_of(groups).map(|count| count as f64).collect();
            let averages = sums.values().iter().zip(counts).map(|(sum, count)| sum / count).collect();
            return Ok(Arc::new(PrimitiveArray::<Float64Type>::new(averages, sums.nulls().cloned())));
        }
        // No value is no count, so that nobody divides by it.
        let counts = self.sums.counts_of(groups).map(|count| Some(count).filter(|count| *count > 0));
        let counts: ArrayRef = Arc::new(counts.collect::<UInt64Array>());
        let each: Vec<usize> = (0..groups.len()).collect();
        let mut divided = self.function.accumulator()?;
        divided.merge(&[counts, sums], &each, groups.len())?;
        divided.take_results()
    }

    fn states(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        let counts: UInt64Array = self.sums.counts_of(groups).map(Some).collect();
        Ok(vec![Arc::new(counts), self.sums.sums_of(groups)])
    }

    fn forget(&mut self, groups: &[usize]) {
        self.sums.forget(groups);
    }

    fn sealed_fields(&self) -> Vec<Field> {
        self.sums.sealed_fields()
    }

    fn seal(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(self.sums.seal(groups))
    }

    fn restore(&mut self, sealed: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.sums.restore(sealed, groups, group_bound)
    }

    fn size_bytes(&self) -> usize {
        self.sums.size_bytes()
    }
}

/// Chooses the type of Arrow for a data type that can be summed in place.
macro_rules! summable {
    ($data_type:expr, $make:ident) => {
        match $data_type {
            DataType::Int64 => Some($make!(Int64Type)),
            DataType::UInt64 => Some($make!(UInt64Type)),
            DataType::Float64 => Some($make!(Float64Type)),
            DataType::Decimal128(..) => Some($make!(Decimal128Type)),
            DataType::Duration(TimeUnit::Second) => Some($make!(DurationSecondType)),
            DataType::Duration(TimeUnit::Millisecond) => Some($make!(DurationMillisecondType)),
            DataType::Duration(TimeUnit::Microsecond) => Some($make!(DurationMicrosecondType)),
            DataType::Duration(TimeUnit::Nanosecond) => Some($make!(DurationNanosecondType)),
            _ => None,
        }
    };
}

/// The state of `sum`; `None` for a type whose sums are not kept in place.
pub(crate) fn sums(argument: &DataType, result: &DataType) -> Option<Box<dyn RollingState>> {
    macro_rules! make {
        ($native:ty) => {
            Box::new(Sum::<$native>(Sums::new(result.clone()))) as Box<dyn RollingState>
        };
    }
    if !same_native(argument, result) {
        return None;
    }
    summable!(result, make)
}

/// The state of `avg`; `None` for a type whose sums are not kept in place.
///
/// # Errors
/// The function's state is not what its algebra says.
pub(crate) fn averages(
    function: &Arc<dyn AggregateFunction>,
    argument: &DataType,
) -> Result<Option<Box<dyn RollingState>>, EvaluationError> {
    let states = function.state_fields();
    let [_, sum] = states.as_slice() else { return Err(mistyped("avg")) };
    let sum = sum.data_type();
    macro_rules! make {
        ($native:ty) => {
            Box::new(Average::<$native> { sums: Sums::new(sum.clone()), function: Arc::clone(function) })
                as Box<dyn RollingState>
        };
    }
    if !same_native(argument, sum) {
        return Ok(None);
    }
    Ok(summable!(sum, make))
}

/// Whether values of both types are the same numbers in memory.
fn same_native(argument: &DataType, sum: &DataType) -> bool {
    match (argument, sum) {
        (DataType::Decimal128(_, from), DataType::Decimal128(_, to)) => from == to,
        _ => argument == sum,
    }
}
