//! Project: computes columns. A column that is only passed on is not copied.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::rows_of;
use crate::batch::Batch;
use crate::expression::{EvaluationError, NamedExpression};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;

/// Computes the columns of its output.
#[derive(Debug)]
pub struct Project {
    expressions: Vec<NamedExpression>,
    schema: SchemaRef,
}

impl Project {
    /// Computes `expressions`, giving rows of `schema`.
    pub fn new(expressions: Vec<NamedExpression>, schema: SchemaRef) -> Self {
        Self { expressions, schema }
    }
}

impl Operator for Project {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let columns: Result<Vec<ArrayRef>, EvaluationError> =
            self.expressions.iter().map(|named| named.expression.evaluate(&batch.rows)).collect();
        let rows = rows_of(&self.schema, columns?, batch.num_rows())?;
        out.emit(batch.with_rows(rows));
        Ok(())
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}
