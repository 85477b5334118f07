//! The state of one aggregate over all groups of a rolling aggregation, to which rows are added, and whose results can be
//! read at any time.
//!
//! How it is kept depends on what is known of the function ([`Algebra`]). Where rows are only added: counts, sums and
//! extremes in place; all other functions as intermediate states that are rewritten for the groups that were touched.
//! Where rows are taken back too: counts and sums in place, those of floats exactly; all others as counted rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::counted::Counted;
use super::extremes;
use super::float_sums::FloatSums;
use super::restated::Restated;
use super::sums;
use crate::aggregate::{AggregateFunction, Algebra};
use crate::expression::EvaluationError;

/// An aggregate's state, by group.
///
/// # Contract
/// `groups[i]` is the group of row `i` and is below `group_bound`. A group that was never added to, or was forgotten,
/// has the result of no rows.
pub(crate) trait RollingState: Send {
    /// Adds rows; those where `filter` is not true are left out.
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_bound: usize,
    ) -> Result<(), EvaluationError>;
    /// Takes rows back that were added before; those where `filter` is not true never were.
    fn retract(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<(), EvaluationError> {
        let _ = (arguments, groups, filter);
        Err(EvaluationError {
            expression: "aggregate".to_owned(),
            reason: "a state for rows that are only added cannot take any back; this is a defect, please report it"
                .to_owned(),
        })
    }
    /// Adds intermediate states of the function.
    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError>;
    /// The results of some groups. They stay.
    fn results(&mut self, groups: &[usize]) -> Result<ArrayRef, EvaluationError>;
    /// The intermediate states of some groups that have been added to, as the function has them. They stay.
    fn states(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        // Most functions' results are their states.
        Ok(vec![self.results(groups)?])
    }
    /// Forgets some groups.
    fn forget(&mut self, groups: &[usize]);
    /// The columns that [`RollingState::seal`] gives.
    fn sealed_fields(&self) -> Vec<Field>;
    /// All that has to be kept of some groups, but for [`RollingState::counted`]: one element a group.
    fn seal(&mut self, groups: &[usize]) -> Result<Vec<ArrayRef>, EvaluationError> {
        self.states(groups)
    }
    /// Takes over what was sealed of groups to which nothing has been added yet.
    fn restore(&mut self, sealed: &[ArrayRef], groups: &[usize], group_bound: usize) -> Result<(), EvaluationError> {
        self.merge(sealed, groups, group_bound)
    }
    /// Where a group's state is many rows: these are sealed apart.
    fn counted(&mut self) -> Option<&mut Counted> {
        None
    }
    /// Heap memory held, in bytes.
    fn size_bytes(&self) -> usize;
}

/// The state for a function over arguments of these types, to which rows are only added.
///
/// # Errors
/// The function has no accumulator, or its state cannot be kept.
pub(crate) fn growing_state(
    function: &Arc<dyn AggregateFunction>,
    argument_types: &[DataType],
) -> Result<Box<dyn RollingState>, EvaluationError> {
    let in_place: Option<Box<dyn RollingState>> = match (function.algebra(), argument_types) {
        (Algebra::Count, _) => Some(Box::new(sums::Counts::default())),
        (Algebra::Sum, [argument]) => sums::sums(argument, &function.data_type()),
        (Algebra::Average, [argument]) => sums::averages(function, argument)?,
        (Algebra::Least, [argument]) if *argument == function.data_type() => extremes::extremes(argument, false),
        (Algebra::Greatest, [argument]) if *argument == function.data_type() => extremes::extremes(argument, true),
        _ => None,
    };
    match in_place {
        Some(state) => Ok(state),
        None => Ok(Box::new(Restated::new(Arc::clone(function), argument_types)?)),
    }
}

/// The state for a function over arguments of these types, from which rows may be taken back.
///
/// # Errors
/// The arguments cannot be kept.
pub(crate) fn updating_state(
    function: &Arc<dyn AggregateFunction>,
    argument_types: &[DataType],
) -> Result<Box<dyn RollingState>, EvaluationError> {
    let in_place: Option<Box<dyn RollingState>> = match (function.algebra(), argument_types) {
        (Algebra::Count, _) => Some(Box::new(sums::Counts::default())),
        (Algebra::Sum, [DataType::Float64]) => Some(Box::new(FloatSums::new(false))),
        (Algebra::Average, [DataType::Float64]) => Some(Box::new(FloatSums::new(true))),
        (Algebra::Sum, [argument]) => sums::sums(argument, &function.data_type()),
        (Algebra::Average, [argument]) => sums::averages(function, argument)?,
        _ => None,
    };
    match in_place {
        Some(state) => Ok(state),
        None => Ok(Box::new(Counted::new(function, argument_types)?)),
    }
}

/// The columns in which the states of several calls are sealed.
pub(crate) fn sealed_fields(states: &[Box<dyn RollingState>]) -> Vec<Field> {
    let mut fields = Vec::new();
    for (number, state) in states.iter().enumerate() {
        fields.extend(state.sealed_fields().into_iter().map(|field| {
            let name = format!("{number}.{}", field.name());
            field.with_name(name)
        }));
    }
    fields
}

/// Gives the states of several calls back what was sealed of them.
pub(crate) fn restore_states(
    states: &mut [Box<dyn RollingState>],
    sealed: &[ArrayRef],
    groups: &[usize],
    group_bound: usize,
) -> Result<(), EvaluationError> {
    let mut rest = sealed;
    for state in states {
        let (own, others) = rest.split_at_checked(state.sealed_fields().len()).unwrap_or_default();
        state.restore(own, groups, group_bound)?;
        rest = others;
    }
    Ok(())
}

/// An error of a columnar kernel, as one of the function.
pub(crate) fn failed(function: &dyn std::fmt::Display, error: &ArrowError) -> EvaluationError {
    EvaluationError { expression: function.to_string(), reason: error.to_string() }
}

/// A state or argument that is not of the type it was bound to.
pub(crate) fn mistyped(function: &str) -> EvaluationError {
    EvaluationError {
        expression: function.to_owned(),
        reason: "its argument is not of the type it was bound to".into(),
    }
}

/// Whether a row passes a filter.
#[inline]
pub(crate) fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.value(row) && filter.is_valid(row))
}
