//! Processing time: appends to each row the time at which the engine read it.
//!
//! The clock is not read here: who runs the operator tells it the time before each batch. So the same script of batches and
//! times gives the same rows.

use arrow::datatypes::{DataType, SchemaRef};

use super::rows_of;
use crate::batch::Batch;
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;
use crate::time::{EventTimeMs, timestamps};

/// Appends a timestamp.
#[derive(Debug)]
pub struct ProcessingTime {
    schema: SchemaRef,
    now_ms: EventTimeMs,
}

impl ProcessingTime {
    /// Gives rows of `schema`: the input's columns, and a timestamp.
    pub fn new(schema: SchemaRef) -> Self {
        Self { schema, now_ms: 0 }
    }
}

impl Operator for ProcessingTime {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let data_type = self.schema.fields().last().map_or(&DataType::Null, |field| field.data_type());
        let mut columns = batch.rows.columns().to_vec();
        columns.push(timestamps(vec![self.now_ms; batch.num_rows()], data_type)?);
        let rows = rows_of(&self.schema, columns, batch.num_rows())?;
        out.emit(batch.with_rows(rows));
        Ok(())
    }

    fn on_clock(&mut self, now_ms: i64, _out: &mut dyn Output) -> Result<(), OperatorError> {
        self.now_ms = self.now_ms.max(now_ms);
        Ok(())
    }

    fn wants_clock(&self) -> bool {
        true
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}
