//! An aggregate function over many groups at once, as operators see it. `sql` implements it with DataFusion's
//! `GroupsAccumulator`.
//!
//! State is columnar: one array a state field, one element a group. Taking the state empties the accumulator, so a
//! snapshot *seals a run*: what was taken is kept as an immutable batch and merged back when results are due.

use std::fmt;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field};

use crate::expression::EvaluationError;

/// What kind of sum a function's state is. Operators that keep results up to date hold states of a known kind in place,
/// and take rows out of them again where that is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algebra {
    /// One state column (`Int64`): the number of rows where the argument is not null; of all rows without an argument.
    Count,
    /// One state column, of the argument's native type: the sum; null where there was no value. Integers and decimals wrap.
    Sum,
    /// Two state columns: the number of values (`UInt64`), and their sum.
    Average,
    /// One state column: the least value; null where there was none.
    Least,
    /// One state column: the greatest value; null where there was none.
    Greatest,
    /// None of these: the state is the function's own affair.
    Other,
}

/// An aggregate function with its argument types bound. `Display` prints its name as a user writes it (`count`, `avg`);
/// whoever holds the arguments prints them.
pub trait AggregateFunction: fmt::Debug + fmt::Display + Send + Sync {
    /// The columns of a group's intermediate state.
    fn state_fields(&self) -> Vec<Field>;
    /// The type of the result.
    fn data_type(&self) -> DataType;
    /// What kind of sum the state is.
    fn algebra(&self) -> Algebra {
        Algebra::Other
    }
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
