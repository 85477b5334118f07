//! The state of OVER windows in event time, for checkpoints: the rows that wait and those that a frame can still reach, and
//! by partition where functions stand that need no rows.
//!
//! Both say only what has changed, if that is asked for: the partitions that rows have come to or that have given rows out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::{InTime, State};
use crate::batch::Batch;
use crate::operator::OperatorError;
use crate::operators::over::{ROWS, no_part};
use crate::operators::rows_of;
use crate::operators::window_assign::time_column;
use crate::state::{Lies, StatePart};
use crate::time::{EventTimeMs, event_times};

/// The part that holds where functions stand.
const RUNNING: &str = "running";

impl InTime {
    /// Seals rows and functions.
    pub(super) fn sealed(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let groups = self.partitions.to_seal(whole);
        let given = |group: usize| self.states.get(group).map_or(0, |state| state.given);
        let mut parts = vec![self.partitions.sealed(ROWS, &groups, Some(&given))?];
        if self.is_running.contains(&true) {
            parts.push(self.sealed_functions(&groups.0, groups.1)?);
        }
        self.partitions.note_sealed();
        Ok(parts)
    }

    fn sealed_functions(&mut self, groups: &[usize], is_all: bool) -> Result<StatePart, OperatorError> {
        let (mut running, mut gone) = (Vec::new(), Vec::new());
        let schema = self.functions_schema()?;
        let key_count = self.definition.partition.len();
        let mut states: Vec<Vec<ArrayRef>> = Vec::new();
        for group in groups {
            let Some(state) = self.states.get_mut(*group) else { continue };
            let was_sealed = std::mem::replace(&mut state.is_sealed, !state.running.is_empty());
            match (was_sealed, state.is_sealed) {
                (_, true) => running.push(*group),
                (true, false) => gone.push(*group),
                (false, false) => continue,
            }
            let functions = state.running.iter_mut().flatten();
            let own = functions.map(|function| function.state()).collect::<Result<Vec<_>, _>>()?;
            states.push(own.concat());
        }
        states.retain(|state| !state.is_empty());
        let mut columns = self.partitions.key_columns(&running)?;
        let touched = self.partitions.touched_at(&running);
        let state_fields = schema.fields().iter().skip(key_count);
        let state_count = schema.fields().len() - key_count - usize::from(touched.is_some());
        for (number, field) in state_fields.take(state_count).enumerate() {
            let cells: Vec<&dyn Array> =
                states.iter().filter_map(|state| state.get(number)).map(AsRef::as_ref).collect();
            columns.push(if cells.is_empty() { new_null_array(field.data_type(), 0) } else { concat(&cells)? });
        }
        columns.extend(touched.map(|touched| Arc::new(touched) as ArrayRef));
        let rows = rows_of(&schema, columns, running.len())?;
        let lies = Lies::Keyed((0..key_count).collect());
        if is_all {
            return Ok(StatePart::whole(RUNNING, rows, lies));
        }
        let keys = Arc::new(Schema::new(self.partitions.key_fields()));
        let gone = rows_of(&keys, self.partitions.key_columns(&gone)?, gone.len())?;
        Ok(StatePart::changes(RUNNING, rows, lies, key_count, gone))
    }

    fn functions_schema(&self) -> Result<SchemaRef, OperatorError> {
        let mut fields = self.partitions.key_fields();
        for (number, function) in self.running_functions() {
            for (place, data_type) in function.state_types()?.into_iter().enumerate() {
                fields.push(Field::new(format!("function {number}, {place}"), data_type, true));
            }
        }
        if self.partitions.touched_at(&[]).is_some() {
            fields.push(Field::new("touched", DataType::Int64, false));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn running_functions(&self) -> impl Iterator<Item = (usize, &Arc<dyn crate::window_function::WindowFunction>)> {
        let functions = self.definition.functions.iter().enumerate();
        functions.filter(|(number, _)| self.is_running.get(*number) == Some(&true))
    }

    /// Takes over rows of a part.
    pub(super) fn restore_part(&mut self, name: &str, rows: &RecordBatch) -> Result<(), OperatorError> {
        match name {
            ROWS => self.restore_rows(rows),
            RUNNING => self.restore_functions(rows),
            _ => Err(no_part(name)),
        }
    }

    fn restore_rows(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let restored = self.partitions.restore(rows, true)?;
        self.states.resize_with(self.partitions.len(), State::default);
        let times = event_times(time_column(&Batch::append(restored.rows), self.time)?)?;
        for (row, group) in restored.groups.into_iter().enumerate() {
            if restored.given.as_ref().is_some_and(|given| given.value(row)) {
                self.states.get_mut(group).into_iter().for_each(|state| state.given += 1);
            } else {
                let time = if times.is_null(row) { EventTimeMs::MAX } else { times.value(row) };
                self.waiting.push((time, group));
            }
        }
        Ok(())
    }

    fn restore_functions(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let schema = self.functions_schema()?;
        let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        if types(&schema) != types(&rows.schema()) {
            let reason =
                "the functions' states have other columns than are kept here; the checkpoint is another query's";
            return Err(OperatorError::Unsupported(reason.to_owned()));
        }
        let (keys, states) = rows.columns().split_at(self.definition.partition.len());
        let touched = states.last().and_then(|column| column.as_primitive_opt::<Int64Type>());
        let groups = self.partitions.restore_keys(keys, rows.num_rows(), touched)?;
        self.states.resize_with(self.partitions.len(), State::default);
        let counts = self.running_functions().map(|(_, function)| Ok(function.state_types()?.len()));
        let counts = counts.collect::<Result<Vec<usize>, OperatorError>>()?;
        for (row, group) in groups.into_iter().enumerate() {
            let Some(state) = self.states.get_mut(group) else { continue };
            state.is_sealed = true;
            state.begin(&self.definition);
            let mut rest = states;
            for (function, count) in state.running.iter_mut().flatten().zip(&counts) {
                let (own, others) = rest.split_at(*count);
                rest = others;
                function.restore(&own.iter().map(|column| column.slice(row, 1)).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }
}
