//! Gives each row several times, each time with other key columns made null: what `GROUPING SETS`, `CUBE` and `ROLLUP` do
//! before they aggregate. A number behind the keys says which set a row is for, so that a key that is null by itself is
//! not mistaken for one that the set leaves out.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt64Array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use super::rows_of;
use crate::batch::Batch;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;

/// One grouping set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupingSet {
    /// For each key whether it is kept; else it is null.
    pub kept: Vec<bool>,
    /// The set's number.
    pub id: u64,
}

/// The definition. The keys are the first columns of the input; the number of the set stands behind them in the output.
#[derive(Clone, Debug)]
pub struct Expand {
    /// The sets; each has all keys.
    pub sets: Vec<GroupingSet>,
    /// The keys as a user writes them.
    pub key_texts: Vec<String>,
}

impl OperatorDefinition for Expand {
    fn describe(&self) -> String {
        let set = |set: &GroupingSet| {
            let kept = self.key_texts.iter().zip(&set.kept).filter(|(_, kept)| **kept).map(|(text, _)| text.as_str());
            format!("({})", kept.collect::<Vec<&str>>().join(", "))
        };
        format!("expand to {}", self.sets.iter().map(set).collect::<Vec<String>>().join(", "))
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Any
    }

    fn is_updating(&self, inputs: &[bool]) -> bool {
        inputs.contains(&true)
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(Instance { sets: self.sets.clone(), schema: Arc::clone(schema) }))
    }
}

struct Instance {
    sets: Vec<GroupingSet>,
    schema: SchemaRef,
}

impl Operator for Instance {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let row_count = batch.num_rows();
        for set in &self.sets {
            let key_count = set.kept.len();
            let key = |(column, kept): (&ArrayRef, &bool)| match kept {
                true => Arc::clone(column),
                false => new_null_array(column.data_type(), row_count),
            };
            let mut columns: Vec<ArrayRef> = batch.rows.columns().iter().zip(&set.kept).map(key).collect();
            let id: ArrayRef = Arc::new(UInt64Array::from_value(set.id, row_count));
            let id_type = self.schema.fields().get(key_count).map_or(&DataType::UInt64, |field| field.data_type());
            columns.push(cast(&id, id_type)?);
            columns.extend(batch.rows.columns().iter().skip(key_count).cloned());
            out.emit(batch.clone().with_rows(rows_of(&self.schema, columns, row_count)?));
        }
        Ok(())
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}
