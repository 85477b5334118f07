//! Aggregation per key and count window: a window gives its result when it is full, and is then forgotten.
//!
//! The rows of a key come numbered, and each says which window it is in; so a window is full when as many rows have come
//! for it as it holds. Windows that are not full when the input ends give what they have.
//!
//! A checkpoint holds the part `windows`: for each that is not full its key, its number, how many rows have come, and the
//! state of each aggregate. It is always sealed whole: a key has about one such window.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, SchemaRef, UInt64Type};

use super::group_aggregate::RollingCall;
use super::group_aggregate::key_table::KeyTable;
use super::group_aggregate::state::{RollingState, growing_state, restore_states, sealed_fields};
use super::keyed_part::KeyedPart;
use super::{emit_in_parts, rows_of};
use crate::batch::Batch;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;
use crate::time::Watermark;

/// An aggregation per count window with everything bound. Input columns: the keys, the window's number, then those that the
/// calls name. Output columns: the keys, the window's number, the results.
#[derive(Clone, Debug)]
pub struct CountAggregate {
    /// How many of the input's columns, from the first, are the keys. The window's number stands behind them.
    pub key_count: usize,
    /// What is computed.
    pub calls: Vec<RollingCall>,
    /// The keys as a user writes them.
    pub key_texts: Vec<String>,
    /// How many rows a window holds.
    pub size: u64,
}

impl OperatorDefinition for CountAggregate {
    fn describe(&self) -> String {
        let calls: Vec<&str> = self.calls.iter().map(|call| call.text.as_str()).collect();
        let by = if self.key_texts.is_empty() { String::new() } else { format!(" by {}", self.key_texts.join(", ")) };
        format!("aggregate {}{by} per window of {} rows", calls.join(", "), self.size)
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Keyed((0..self.key_count).collect())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        Some((0..self.key_count).collect())
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        if inputs.contains(&true) {
            return Err("its input is a changelog, of which a window that was full may not stay so".to_owned());
        }
        Ok(())
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        let types = schema.fields().iter().take(self.key_count + 1).map(|field| field.data_type().clone());
        let states = self.calls.iter().map(|call| growing_state(&call.function, &call.argument_types));
        Ok(Box::new(Instance {
            windows: KeyTable::new(types)?,
            states: states.collect::<Result<_, _>>()?,
            row_counts: Vec::new(),
            definition: self.clone(),
            schema: Arc::clone(schema),
        }))
    }
}

/// The part that holds the windows.
const WINDOWS: &str = "windows";

struct Instance {
    definition: CountAggregate,
    schema: SchemaRef,
    /// The windows that are not full, by key and number.
    windows: KeyTable,
    states: Vec<Box<dyn RollingState>>,
    /// By window; 0 for none.
    row_counts: Vec<u64>,
}

impl Instance {
    /// The state that is sealed: it lies by the keys alone.
    fn part(&self) -> KeyedPart {
        let mut fields = self.schema.fields().iter().take(self.definition.key_count + 1);
        let keys = fields.by_ref().take(self.definition.key_count);
        let keys: Vec<Arc<Field>> = keys.cloned().collect();
        let mut others: Vec<Field> = fields.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        others.push(Field::new("row_count", DataType::UInt64, false));
        others.extend(sealed_fields(&self.states));
        KeyedPart::new(keys.iter(), others)
    }

    fn add(&mut self, batch: &Batch, windows: &[usize]) -> Result<(), OperatorError> {
        let column = |index: &usize| -> Result<ArrayRef, OperatorError> {
            let missing = || OperatorError::Unsupported(format!("there is no column {index}"));
            batch.rows.columns().get(*index).cloned().ok_or_else(missing)
        };
        let bound = self.windows.group_bound();
        for (call, state) in self.definition.calls.iter().zip(&mut self.states) {
            let arguments = call.arguments.iter().map(column).collect::<Result<Vec<ArrayRef>, OperatorError>>()?;
            let filter = call.filter.as_ref().map(column).transpose()?;
            let filter = filter.as_ref().and_then(|filter| filter.as_boolean_opt());
            state.update(&arguments, windows, filter, bound)?;
        }
        Ok(())
    }

    /// Gives windows out and forgets them.
    fn give_out(&mut self, windows: &[usize], out: &mut dyn Output) -> Result<(), OperatorError> {
        if windows.is_empty() {
            return Ok(());
        }
        let mut columns = self.windows.columns(windows)?;
        for state in &mut self.states {
            columns.push(state.results(windows)?);
            state.forget(windows);
        }
        self.windows.forget(windows);
        for window in windows {
            if let Some(count) = self.row_counts.get_mut(*window) {
                *count = 0;
            }
        }
        emit_in_parts(&Batch::append(rows_of(&self.schema, columns, windows.len())?), out);
        Ok(())
    }
}

impl Operator for Instance {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let keys = batch.rows.columns().get(..=self.definition.key_count).unwrap_or_default();
        let mut windows = Vec::new();
        self.windows.intern(keys, batch.num_rows(), &mut windows)?;
        self.add(&batch, &windows)?;
        self.row_counts.resize(self.windows.group_bound(), 0);
        let mut full = Vec::new();
        for window in windows {
            if let Some(count) = self.row_counts.get_mut(window) {
                *count += 1;
                if *count == self.definition.size {
                    full.push(window);
                }
            }
        }
        self.give_out(&full, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        if watermark != Watermark::END {
            return Ok(());
        }
        let begun = self.row_counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let begun: Vec<usize> = begun.map(|(window, _)| window).collect();
        self.give_out(&begun, out)
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let windows = self.windows.groups();
        let mut columns = self.windows.columns(&windows)?;
        let count = |window: &usize| self.row_counts.get(*window).copied().unwrap_or(0);
        columns.push(Arc::new(UInt64Array::from_iter_values(windows.iter().map(count))));
        for state in &mut self.states {
            columns.extend(state.seal(&windows)?);
        }
        Ok(vec![self.part().whole(WINDOWS, columns, windows.len())?])
    }

    fn restore(&mut self, _name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        self.part().columns(&rows)?;
        let (windows, columns) = rows.columns().split_at_checked(self.definition.key_count + 1).unwrap_or_default();
        let (counts, states) = columns.split_first().unzip();
        let mut numbers = Vec::new();
        self.windows.intern(windows, rows.num_rows(), &mut numbers)?;
        let bound = self.windows.group_bound();
        self.row_counts.resize(bound, 0);
        let counts = counts.and_then(|counts| counts.as_primitive_opt::<UInt64Type>());
        for (window, sealed) in numbers.iter().zip(counts.into_iter().flat_map(|counts| counts.values())) {
            if let Some(count) = self.row_counts.get_mut(*window) {
                *count = *sealed;
            }
        }
        Ok(restore_states(&mut self.states, states.unwrap_or_default(), &numbers, bound)?)
    }

    fn state_size_bytes(&self) -> usize {
        if self.windows.len() == 0 {
            return 0;
        }
        self.windows.size_bytes()
            + self.row_counts.capacity() * size_of::<u64>()
            + self.states.iter().map(|state| state.size_bytes()).sum::<usize>()
    }
}
