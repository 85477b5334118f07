//! A scalar expression over a batch, as operators see it. `sql` implements it with DataFusion's physical expressions.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;

/// An expression that could not be evaluated: overflow, division by zero, a cast that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot evaluate {expression}: {reason}")]
pub struct EvaluationError {
    /// The expression, as text.
    pub expression: String,
    /// What went wrong.
    pub reason: String,
}

/// A pure function from a batch to one column of the same length.
///
/// # Contract
/// The result has `rows.num_rows()` elements of type `data_type()`. The same rows give the same result, however they
/// are split into batches. `Display` prints the expression as a user would write it (for `explain`).
pub trait Expression: fmt::Debug + fmt::Display + Send + Sync {
    /// The type of the result.
    fn data_type(&self) -> DataType;
    /// Computes the column.
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError>;
    /// The index of the input column, where the expression is just that column: lets operators skip work.
    fn as_column(&self) -> Option<usize> {
        None
    }
}

/// An expression and the name of the column it makes.
#[derive(Clone, Debug)]
pub struct NamedExpression {
    /// The output column's name.
    pub name: String,
    /// What it computes.
    pub expression: Arc<dyn Expression>,
}
