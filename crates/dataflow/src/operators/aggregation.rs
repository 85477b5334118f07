//! What a window aggregation computes, and the two forms in which rows reach it: as *rows*, or as *partial states* that
//! a pre-aggregation has made of them.
//!
//! The columns of partial states are the keys, the slice's start in milliseconds, how many rows were added up, and the
//! state columns of each aggregate in turn.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{take, take_arrays};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::expression::{EvaluationError, NamedExpression};
use crate::graph::{AggregateCall, Window};
use crate::key::{EncodedKeys, KeyEncoder};
use crate::operator::OperatorError;
use crate::trigger::Trigger;

/// A window aggregation with everything bound.
#[derive(Clone, Debug)]
pub struct Aggregation {
    /// The time column of the input rows.
    pub column: usize,
    /// Which windows there are.
    pub window: Window,
    /// The grouping keys.
    pub keys: Vec<NamedExpression>,
    /// What is computed.
    pub aggregates: Vec<AggregateCall>,
    /// When windows give results besides when they end.
    pub trigger: Trigger,
    /// The output's columns: keys, `window_start`, `window_end`, aggregates.
    pub schema: SchemaRef,
}

impl Aggregation {
    /// An encoder for the keys.
    ///
    /// # Errors
    /// A key's type cannot be a key.
    pub fn key_encoder(&self) -> Result<KeyEncoder, ArrowError> {
        KeyEncoder::new(self.keys.iter().map(|key| key.expression.data_type()))
    }

    /// The columns of partial states.
    pub fn partial_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.keys.iter().map(|key| Field::new(&key.name, key.expression.data_type(), true)).collect();
        fields.push(Field::new("slice_start_ms", DataType::Int64, false));
        fields.push(Field::new("row_count", DataType::Int64, false));
        for call in &self.aggregates {
            let states = call.function.state_fields();
            fields.extend(
                states.iter().map(|state| {
                    Field::new(format!("{}.{}", call.name, state.name()), state.data_type().clone(), true)
                }),
            );
        }
        Arc::new(Schema::new(fields))
    }

    /// Evaluates keys, arguments and filters over rows.
    pub(crate) fn of_rows(&self, rows: &RecordBatch, encoder: &KeyEncoder) -> Result<Contribution, OperatorError> {
        let keys = evaluate(self.keys.iter().map(|key| &key.expression), rows)?;
        let argument = |call: &AggregateCall| -> Result<Arguments, OperatorError> {
            let filter = match &call.filter {
                Some(filter) => {
                    let filter = filter.evaluate(rows)?;
                    let not_boolean =
                        || OperatorError::Unsupported(format!("the filter of {} is not boolean", call.name));
                    Some(filter.as_boolean_opt().ok_or_else(not_boolean)?.clone())
                }
                None => None,
            };
            Ok(Arguments { columns: evaluate(call.arguments.iter(), rows)?, filter })
        };
        let arguments = self.aggregates.iter().map(argument).collect::<Result<_, _>>()?;
        // Without keys all rows have the same one: the first row's stands for them.
        let key_count = if keys.is_empty() { rows.num_rows().min(1) } else { rows.num_rows() };
        let encoded = encoder.encode(&keys, key_count)?;
        Ok(Contribution { keys, encoded, arguments })
    }

    /// Finds keys and states in partial states.
    pub(crate) fn of_states(&self, states: &RecordBatch, encoder: &KeyEncoder) -> Result<Contribution, OperatorError> {
        let mut columns = states.columns().iter().cloned();
        let keys: Vec<ArrayRef> = columns.by_ref().take(self.keys.len()).collect();
        let mut columns = columns.skip(2);
        let arguments = self.aggregates.iter().map(|call| {
            let columns = columns.by_ref().take(call.function.state_fields().len()).collect();
            Arguments { columns, filter: None }
        });
        let arguments = arguments.collect();
        let encoded = encoder.encode(&keys, states.num_rows())?;
        Ok(Contribution { keys, encoded, arguments })
    }

    /// The slice starts and row counts of partial states.
    pub(crate) fn times_of_states(&self, states: &RecordBatch) -> Result<(Int64Array, Int64Array), OperatorError> {
        let column = |index: usize| {
            let column = states.columns().get(index)?;
            column.as_primitive_opt::<Int64Type>().cloned()
        };
        match (column(self.keys.len()), column(self.keys.len() + 1)) {
            (Some(starts), Some(counts)) => Ok((starts, counts)),
            _ => Err(OperatorError::Unsupported("these rows are no partial states of the aggregation".to_owned())),
        }
    }
}

/// What a batch brings to an aggregation.
#[derive(Debug)]
pub(crate) struct Contribution {
    /// The key columns, in the order of the rows.
    pub(crate) keys: Vec<ArrayRef>,
    /// The same, encoded; of rows without keys, just the first.
    pub(crate) encoded: EncodedKeys,
    /// Each aggregate's columns, in the order of the rows until [`Contribution::reorder`].
    pub(crate) arguments: Vec<Arguments>,
}

/// The columns of one aggregate: its arguments, or its states.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) filter: Option<BooleanArray>,
}

impl Contribution {
    /// Brings the arguments into another order; keys are found by row and stay.
    pub(crate) fn reorder(&mut self, order: &UInt32Array) -> Result<(), ArrowError> {
        for arguments in &mut self.arguments {
            arguments.columns = take_arrays(&arguments.columns, order, None)?;
            if let Some(filter) = &mut arguments.filter {
                *filter = take(filter, order, None)?.as_boolean().clone();
            }
        }
        Ok(())
    }
}

fn evaluate<'a>(
    expressions: impl Iterator<Item = &'a Arc<dyn crate::expression::Expression>>,
    rows: &RecordBatch,
) -> Result<Vec<ArrayRef>, EvaluationError> {
    expressions.map(|expression| expression.evaluate(rows)).collect()
}
