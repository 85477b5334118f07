//! Union: all rows of all inputs, under the names of the output's columns. Time comes to the minimum of the inputs', as
//! everywhere.

use arrow::datatypes::SchemaRef;

use super::rows_of;
use crate::batch::Batch;
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;

/// Passes the rows of every port on.
#[derive(Debug)]
pub struct Union {
    schema: SchemaRef,
}

impl Union {
    /// Gives rows of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for Union {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let rows = rows_of(&self.schema, batch.rows.columns().to_vec(), batch.num_rows())?;
        out.emit(batch.with_rows(rows));
        Ok(())
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}
