//! Filter: keeps the rows for which a predicate is true; unknown (null) is not true. In a changelog each change is
//! judged by its own row.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::{filter, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::DataType;

use crate::batch::Batch;
use crate::expression::Expression;
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;

/// Keeps some rows.
#[derive(Debug)]
pub struct Filter {
    predicate: Arc<dyn Expression>,
}

impl Filter {
    /// Keeps the rows for which `predicate` is true.
    pub fn new(predicate: Arc<dyn Expression>) -> Self {
        Self { predicate }
    }
}

impl Operator for Filter {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let keep = self.predicate.evaluate(&batch.rows)?;
        if keep.data_type() != &DataType::Boolean {
            let reason = format!("the predicate {} is {}, not boolean", self.predicate, keep.data_type());
            return Err(OperatorError::Unsupported(reason));
        }
        let keep = keep.as_boolean();
        let keep = if keep.null_count() > 0 { prep_null_mask_filter(keep) } else { keep.clone() };
        let kept = keep.true_count();
        if kept == batch.num_rows() {
            out.emit(batch);
        } else if kept > 0 {
            let kinds = match &batch.kinds {
                Some(kinds) => Some(filter(kinds, &keep)?.as_primitive().clone()),
                None => None,
            };
            out.emit(Batch { rows: filter_record_batch(&batch.rows, &keep)?, kinds });
        }
        Ok(())
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}
