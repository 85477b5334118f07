//! The instance of a rolling aggregation: groups, their states, and which of them were touched in this turn.

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::changes::Given;
use super::key_table::KeyTable;
use super::state::{RollingState, growing_state};
use super::{GroupAggregate, RollingCall};
use crate::batch::Batch;
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::emit_in_parts;
use crate::operators::slice_table::Form;
use crate::time::Watermark;

/// Aggregates rows by group.
pub(crate) struct Rolling {
    key_count: usize,
    calls: Vec<RollingCall>,
    form: Form,
    schema: SchemaRef,
    keys: KeyTable,
    states: Vec<Box<dyn RollingState>>,
    given: Given,
    /// The groups touched since the last flush, and for each group whether it is among them.
    touched: Vec<usize>,
    is_touched: Vec<bool>,
    /// The group of each row being added: kept for its memory.
    groups_of_rows: Vec<usize>,
}

impl Rolling {
    /// Aggregates rows, or the states that the local parts made of them.
    pub(crate) fn new(definition: &GroupAggregate, form: Form, schema: SchemaRef) -> Result<Self, OperatorError> {
        let state = |call: &RollingCall| growing_state(&call.function, &call.argument_types);
        Ok(Self {
            key_count: definition.key_count,
            form,
            states: definition.calls.iter().map(state).collect::<Result<_, _>>()?,
            calls: definition.calls.clone(),
            keys: definition.key_table(&schema)?,
            given: Given::new(&schema, definition.key_count)?,
            schema,
            touched: Vec::new(),
            is_touched: Vec::new(),
            groups_of_rows: Vec::new(),
        })
    }

    fn touch(&mut self) {
        self.is_touched.resize(self.keys.group_bound(), false);
        for group in &self.groups_of_rows {
            if let Some(is_touched) = self.is_touched.get_mut(*group)
                && !*is_touched
            {
                *is_touched = true;
                self.touched.push(*group);
            }
        }
    }
}

impl Operator for Rolling {
    fn process(&mut self, _port: usize, batch: Batch, _out: &mut dyn Output) -> Result<(), OperatorError> {
        let rows = &batch.rows;
        let keys = rows.columns().get(..self.key_count).unwrap_or_default();
        self.keys.intern(keys, rows.num_rows(), &mut self.groups_of_rows)?;
        self.touch();
        let group_bound = self.keys.group_bound();
        // The states stand behind the keys and the number of rows.
        let mut states_of_rows = rows.columns().iter().skip(self.key_count + 1).cloned();
        for (call, state) in self.calls.iter().zip(&mut self.states) {
            match self.form {
                Form::Rows => {
                    let (arguments, filter) = call.columns_of(rows)?;
                    state.update(&arguments, &self.groups_of_rows, filter.as_ref(), group_bound)?;
                }
                Form::States => {
                    let width = call.function.state_fields().len();
                    let states: Vec<ArrayRef> = states_of_rows.by_ref().take(width).collect();
                    state.merge(&states, &self.groups_of_rows, group_bound)?;
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let touched = std::mem::take(&mut self.touched);
        for group in &touched {
            if let Some(is_touched) = self.is_touched.get_mut(*group) {
                *is_touched = false;
            }
        }
        let (mut groups, new): (Vec<usize>, Vec<usize>) =
            touched.into_iter().partition(|group| self.given.is_given(*group));
        let known_count = groups.len();
        groups.extend(new);
        let results = self.states.iter_mut().map(|state| state.results(&groups)).collect::<Result<Vec<_>, _>>()?;
        let keys = self.keys.columns(&groups)?;
        if let Some(batch) = self.given.replace(&groups, known_count, &keys, &results, &self.schema)? {
            emit_in_parts(&batch, out);
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        let is_last = watermark == Watermark::END && self.form == Form::Rows;
        if is_last && self.key_count == 0 && self.keys.len() == 0 {
            self.keys.intern(&[], 1, &mut self.groups_of_rows)?;
            self.touch();
            self.flush(out)?;
        }
        Ok(())
    }

    fn state_size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.given.size_bytes()
            + self.states.iter().map(|state| state.size_bytes()).sum::<usize>()
            + (self.touched.capacity() + self.groups_of_rows.capacity()) * size_of::<usize>()
            + self.is_touched.capacity()
    }
}

impl RollingCall {
    /// The call's arguments and filter among the columns of `rows`.
    pub(super) fn columns_of(
        &self,
        rows: &RecordBatch,
    ) -> Result<(Vec<ArrayRef>, Option<BooleanArray>), OperatorError> {
        let column = |column: &usize| {
            let missing = || OperatorError::Unsupported(format!("{}: there is no column {column}", self.text));
            rows.columns().get(*column).cloned().ok_or_else(missing)
        };
        let arguments = self.arguments.iter().map(column).collect::<Result<Vec<ArrayRef>, _>>()?;
        let Some(filter) = self.filter else { return Ok((arguments, None)) };
        let not_boolean = || OperatorError::Unsupported(format!("the filter of {} is not boolean", self.text));
        Ok((arguments, Some(column(&filter)?.as_boolean_opt().ok_or_else(not_boolean)?.clone())))
    }
}
