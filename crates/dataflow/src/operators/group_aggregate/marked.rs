//! The part before the exchange of a rolling aggregation without keys over an updating input: passes rows on, and says at
//! the end that it was there. So the one subtask that holds the result hears of the end even when there was no row, and
//! the others stay silent.
//!
//! What travels has one more column: 1 for a row, 0 for the mark at the end.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt8Array, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::GroupAggregate;
use super::rolling::{Input, Rolling};
use crate::batch::{Batch, RowKind};
use crate::definition::{Distribution, LocalPart, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::rows_of;
use crate::state::StatePart;
use crate::time::Watermark;

/// Splits an aggregation over `input` around an exchange.
pub(super) fn split(aggregate: &GroupAggregate, input: &SchemaRef) -> LocalPart {
    let mut fields: Vec<Field> =
        input.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    fields.push(Field::new("is_row", DataType::Int64, false));
    LocalPart {
        before: Arc::new(Before),
        schema: Arc::new(Schema::new(fields)),
        after: Arc::new(After(aggregate.clone())),
    }
}

#[derive(Debug)]
struct Before;

impl OperatorDefinition for Before {
    fn describe(&self) -> String {
        "mark the end".to_owned()
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Any
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        true
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(Mark { schema: Arc::clone(schema) }))
    }
}

struct Mark {
    schema: SchemaRef,
}

impl Operator for Mark {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let row_count = batch.num_rows();
        let mut columns = batch.rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_value(1, row_count)));
        out.emit(Batch { rows: rows_of(&self.schema, columns, row_count)?, kinds: batch.kinds });
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        if watermark == Watermark::END {
            let width = self.schema.fields().len().saturating_sub(1);
            let mut columns: Vec<ArrayRef> =
                self.schema.fields().iter().take(width).map(|field| new_null_array(field.data_type(), 1)).collect();
            columns.push(Arc::new(Int64Array::from_value(0, 1)));
            let kinds = Some(UInt8Array::from_value(RowKind::Insert as u8, 1));
            out.emit(Batch { rows: rows_of(&self.schema, columns, 1)?, kinds });
        }
        Ok(())
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}

#[derive(Debug)]
struct After(GroupAggregate);

impl OperatorDefinition for After {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn distribution(&self, port: usize) -> Distribution {
        self.0.distribution(port)
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        self.0.keyed_by()
    }

    fn is_updating(&self, inputs: &[bool]) -> bool {
        self.0.is_updating(inputs)
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(Rolling::new(&self.0, Input::MarkedChanges, Arc::clone(schema))?))
    }
}

/// The rows of a batch without marks, and whether there was a mark.
pub(super) fn take_marks(batch: Batch) -> Result<(Batch, bool), OperatorError> {
    let is_row = batch.rows.columns().last().and_then(|column| column.as_primitive_opt::<Int64Type>());
    let missing = || OperatorError::Unsupported("these rows have no marks".to_owned());
    let is_row = is_row.ok_or_else(missing)?;
    if is_row.values().iter().all(|is_row| *is_row == 1) {
        return Ok((batch, false));
    }
    let is_row = BooleanArray::from_iter(is_row.values().iter().map(|is_row| Some(*is_row == 1)));
    let rows = filter_record_batch(&batch.rows, &is_row)?;
    let kinds = match &batch.kinds {
        Some(kinds) => Some(arrow::compute::filter(kinds, &is_row)?.as_primitive().clone()),
        None => None,
    };
    Ok((Batch { rows, kinds }, true))
}
