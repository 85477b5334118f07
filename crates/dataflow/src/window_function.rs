//! A window function (`LAG`, `SUM(...) OVER`) over the rows of partitions in order, as operators see it. `sql` implements
//! it with DataFusion's window expressions.

use std::fmt;
use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;

use crate::expression::EvaluationError;
use crate::time::EventTimeMs;

/// How far from its row a window function looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// So many rows before its row.
    Rows(usize),
    /// Rows of so many milliseconds before its row.
    Time(EventTimeMs),
    /// All rows before its row.
    Before,
    /// Rows behind its row too.
    Ahead,
}

/// A window function with its arguments, order and frame bound. `Display` prints it as a user writes it, `OVER` included.
///
/// # Contract
/// The same partition gives the same results, whatever other partitions are evaluated with it. A row's result depends on
/// the rows within [`WindowFunction::reach`] alone; so rows beyond it may be left out from the beginning of a partition.
pub trait WindowFunction: fmt::Debug + fmt::Display + Send + Sync {
    /// The type of the result.
    fn data_type(&self) -> DataType;
    /// How far it looks.
    fn reach(&self) -> Reach;
    /// One result for each row. `partitions` are ranges of rows, one behind the other, each in order.
    fn evaluate(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> Result<ArrayRef, EvaluationError>;
    /// For a function that looks at all rows before its row, but can go on from where it was: its state before the first
    /// row of a partition.
    fn running(&self) -> Option<Box<dyn RunningFunction>> {
        None
    }
    /// The types of the columns of [`RunningFunction::state`]; none where nothing runs.
    ///
    /// # Errors
    /// The function cannot be kept.
    fn state_types(&self) -> Result<Vec<DataType>, EvaluationError> {
        Ok(Vec::new())
    }
}

/// A window function over one partition that grows at its end.
pub trait RunningFunction: Send {
    /// The results of the next rows. Rows that are equal in the order come together.
    fn advance(&mut self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError>;
    /// Its state so far, to go on from: an array of one element for each of [`WindowFunction::state_types`]. It goes on after.
    fn state(&mut self) -> Result<Vec<ArrayRef>, EvaluationError>;
    /// Goes on from a state, before any row has come.
    fn restore(&mut self, state: &[ArrayRef]) -> Result<(), EvaluationError>;
    /// Heap memory held, in bytes.
    fn size_bytes(&self) -> usize;
}
