//! An aggregate function over many groups at once, as operators see it. `sql` implements it with DataFusion's
//! `GroupsAccumulator`.
//!
//! State is columnar: one array a state field, one element a group. Taking the state empties the accumulator, so a
//! snapshot *seals a run*: what was taken is kept as an immutable batch and merged back when results are due.

use std::fmt;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field};

use crate::expression::EvaluationError;

/// An aggregate function with its argument types bound. `Display` prints its name as a user writes it (`count`, `avg`);
/// whoever holds the arguments prints them.
pub trait AggregateFunction: fmt::Debug + fmt::Display + Send + Sync {
    /// The columns of a group's intermediate state.
    fn state_fields(&self) -> Vec<Field>;
    /// The type of the result.
    fn data_type(&self) -> DataType;
    /// A new, empty accumulator.
    fn accumulator(&self) -> Result<Box<dyn GroupAccumulator>, EvaluationError>;
}

/// The state of one aggregate function for groups `0..group_count`.
///
/// # Contract
/// `groups[i]` is the group of row `i` and is below `group_count`, which never shrinks between two takes. `take_*`
/// return one element for each group so far, in order, and leave the accumulator empty.
pub trait GroupAccumulator: Send {
    /// Adds rows: `arguments[k][i]` belongs to group `groups[i]`; rows where `filter` is not true are left out.
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<(), EvaluationError>;
    /// Adds intermediate states, as [`GroupAccumulator::take_states`] gave them.
    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<(), EvaluationError>;
    /// Moves the intermediate states out.
    fn take_states(&mut self) -> Result<Vec<ArrayRef>, EvaluationError>;
    /// Moves the results out.
    fn take_results(&mut self) -> Result<ArrayRef, EvaluationError>;
    /// Heap memory held, in bytes.
    fn size_bytes(&self) -> usize;
}
