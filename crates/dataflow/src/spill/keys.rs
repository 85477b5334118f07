//! The keys by which an operator's rows lie, input by input, and how its state is cut into slices by them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::batch::Batch;
use crate::expression::Expression;
use crate::key::{KeyEncoder, SLICE_COUNT, slice_of};
use crate::operator::OperatorError;
use crate::scatter::{column_type, lay_out};

/// What is the key of a row.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    /// These columns.
    Columns(Vec<usize>),
    /// What these give.
    Expressions(Vec<Arc<dyn Expression>>),
}

impl Keys {
    /// Whether every row has the same key.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Keys::Columns(columns) => columns.is_empty(),
            Keys::Expressions(expressions) => expressions.is_empty(),
        }
    }

    /// The rows of each slice that has any.
    pub(super) fn split(&self, batch: Batch) -> Result<Vec<(usize, Batch)>, OperatorError> {
        let (types, keys) = self.of(&batch)?;
        let keys = KeyEncoder::new(types)?.encode(&keys, batch.num_rows())?;
        let mut counts = vec![0; SLICE_COUNT];
        let mut places = Vec::with_capacity(batch.num_rows());
        for hash in keys.hashes() {
            let slice = slice_of(*hash);
            if let Some(count) = counts.get_mut(slice) {
                *count += 1;
            }
            places.push(slice);
        }
        Ok(lay_out(batch, &places, &counts)?)
    }

    fn of(&self, batch: &Batch) -> Result<(Vec<DataType>, Vec<ArrayRef>), OperatorError> {
        match self {
            Keys::Columns(columns) => {
                let types = columns.iter().map(|column| column_type(batch.rows.schema_ref(), *column));
                let types = types.collect::<Result<Vec<DataType>, ArrowError>>()?;
                let keys = columns.iter().filter_map(|column| batch.rows.columns().get(*column).cloned());
                Ok((types, keys.collect()))
            }
            Keys::Expressions(expressions) => {
                let types = expressions.iter().map(|expression| expression.data_type());
                let keys = expressions.iter().map(|expression| expression.evaluate(&batch.rows));
                Ok((types.collect(), keys.collect::<Result<Vec<ArrayRef>, _>>()?))
            }
        }
    }
}
