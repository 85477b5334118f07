//! What must hold for a pair beyond equal keys, evaluated once over many pairs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{filter, take_arrays};
use arrow::datatypes::{Schema, SchemaRef, UInt32Type};

use super::changes::Changes;
use super::kind::{Side, Sides};
use super::side::StoredSide;
use crate::definition::Port;
use crate::expression::Expression;
use crate::operator::OperatorError;
use crate::operators::rows_of;

/// What must hold for a pair, beyond equal keys.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The columns that the predicate sees, in this order: of which side, and which.
    pub columns: Vec<(Side, usize)>,
    /// A boolean expression over them. Null is not true.
    pub predicate: Arc<dyn Expression>,
}

/// The condition, with the schema of what it sees.
pub(super) struct BoundCondition {
    condition: Condition,
    schema: SchemaRef,
}

impl BoundCondition {
    pub(super) fn new(condition: &Condition, ports: &Sides<&Port>) -> Self {
        let field = |(side, column): &(Side, usize)| {
            let field = ports.of(*side).schema.fields().get(*column)?;
            Some(field.as_ref().clone().with_nullable(true))
        };
        let fields: Vec<_> = condition.columns.iter().filter_map(field).collect();
        Self { condition: condition.clone(), schema: Arc::new(Schema::new(fields)) }
    }

    /// The input columns of a side that the condition sees.
    fn columns(&self, side: Side) -> impl Iterator<Item = usize> {
        self.condition.columns.iter().filter(move |(of, _)| *of == side).map(|(_, column)| *column)
    }

    /// Keeps the pairs for which the condition holds. `rows` came in at `side`; of the other side the columns
    /// `stored_columns` are stored.
    pub(super) fn judge(
        &self,
        side: Side,
        rows: &RecordBatch,
        stored: &StoredSide,
        stored_columns: &[usize],
        pairs: Changes,
    ) -> Result<Changes, OperatorError> {
        if pairs.len() == 0 {
            return Ok(pairs);
        }
        let places: Vec<usize> =
            self.columns(side.other()).filter_map(|column| stored_columns.binary_search(&column).ok()).collect();
        let mut of_stored = stored.gather(&pairs.stored, &places)?.into_iter();
        let indices = UInt32Array::from(pairs.incoming);
        let own: Vec<ArrayRef> = self.columns(side).filter_map(|column| rows.columns().get(column).cloned()).collect();
        let mut own = take_arrays(&own, &indices, None)?.into_iter();
        let next = |(of, _): &(Side, usize)| if *of == side { own.next() } else { of_stored.next() };
        let columns: Vec<ArrayRef> = self.condition.columns.iter().filter_map(next).collect();
        let seen = rows_of(&self.schema, columns, indices.len())?;
        let holds = self.condition.predicate.evaluate(&seen)?;
        let not_boolean = || {
            let reason = format!("the condition {} is {}, not boolean", self.condition.predicate, holds.data_type());
            OperatorError::Unsupported(reason)
        };
        let holds = holds.as_boolean_opt().ok_or_else(not_boolean)?;
        let keep = |column: &UInt32Array| -> Result<Vec<u32>, OperatorError> {
            Ok(filter(column, holds)?.as_primitive::<UInt32Type>().values().to_vec())
        };
        let stored = UInt32Array::from(pairs.stored);
        Ok(Changes { incoming: keep(&indices)?, stored: keep(&stored)?, ..Changes::default() })
    }
}

/// The input columns that must be kept of a side's rows, in order: those that come out and those that are judged.
pub(super) fn stored_columns(outputs: &Sides<Vec<usize>>, condition: Option<&Condition>, side: Side) -> Vec<usize> {
    let seen = condition.into_iter().flat_map(|condition| &condition.columns);
    let seen = seen.filter(|(of, _)| *of == side).map(|(_, column)| *column);
    let mut columns: Vec<usize> = outputs.of(side).iter().copied().chain(seen).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}
