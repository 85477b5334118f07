//! An aggregation without windows as states by *pane*, a piece of event time of a fixed length: what can be cut at any pane's
//! end, and be added up again.
//!
//! The operator adds up the rows of a turn, and gives the states of what has come, a row for each pane and key. It keeps
//! nothing: whoever takes the rows adds those up that have pane and key in common ([`PaneStates`]), and comes to the results by
//! adding up the panes. Rows without a time are in the pane that is null.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType};

use super::{emit_in_parts, rows_of};
use crate::aggregate::GroupAccumulator;
use crate::batch::Batch;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::expression::{EvaluationError, Expression};
use crate::graph::AggregateCall;
use crate::group::GroupTable;
use crate::key::KeyEncoder;
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;
use crate::time::event_times;

/// More groups than this are not held until the turn ends.
const GROUPS_MAX: usize = 65_536;

const PANE: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// An aggregation by pane and keys with everything bound. Output columns: the beginning of the pane, the keys, the state columns
/// of each aggregate in turn.
#[derive(Clone, Debug)]
pub struct PaneAggregate {
    /// The event time of a row.
    pub time: Arc<dyn Expression>,
    /// How long a pane is, in milliseconds; more than none.
    pub pane_ms: i64,
    /// What is grouped by, beside the pane.
    pub keys: Vec<Arc<dyn Expression>>,
    /// What is computed.
    pub calls: Vec<AggregateCall>,
}

impl PaneAggregate {
    /// The columns that it gives. The first one's name says how long a pane is: states by another length are other states.
    pub fn schema(&self) -> SchemaRef {
        let mut fields = vec![Field::new(format!("pane of {} ms", self.pane_ms), PANE, true)];
        let key =
            |(number, key): (usize, &Arc<dyn Expression>)| Field::new(format!("key {number}"), key.data_type(), true);
        fields.extend(self.keys.iter().enumerate().map(key));
        for (number, call) in self.calls.iter().enumerate() {
            let state =
                |state: Field| Field::new(format!("{number}.{}", state.name()), state.data_type().clone(), true);
            fields.extend(call.function.state_fields().into_iter().map(state));
        }
        Arc::new(Schema::new(fields))
    }
}

impl OperatorDefinition for PaneAggregate {
    fn describe(&self) -> String {
        let listed = |texts: Vec<String>| texts.join(", ");
        let calls = listed(self.calls.iter().map(|call| call.name.clone()).collect());
        let by = self.keys.iter().map(ToString::to_string);
        let by = listed(by.chain([format!("{} in panes of {} ms", self.time, self.pane_ms)]).collect());
        format!("states of {calls} by {by}")
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Any
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        if inputs.contains(&true) {
            return Err("states by pane are of inserts alone; use REFRESH_MODE = CONTINUOUS".to_owned());
        }
        Ok(())
    }

    fn instance(&self, _inputs: &[Port], _schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(Gatherer { states: PaneStates::new(Arc::new(self.clone()))? }))
    }
}

/// Gives the states of a turn when it ends.
struct Gatherer {
    states: PaneStates,
}

impl Gatherer {
    fn give_out(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if !self.states.groups.is_empty() {
            emit_in_parts(&Batch::append(self.states.take()?), out);
        }
        Ok(())
    }
}

impl Operator for Gatherer {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.states.add_rows(&batch.rows)?;
        if self.states.groups.len() > GROUPS_MAX { self.give_out(out) } else { Ok(()) }
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.give_out(out)
    }

    fn state_size_bytes(&self) -> usize {
        let accumulators = self.states.accumulators.iter().map(|accumulator| accumulator.size_bytes());
        self.states.groups.size_bytes() + accumulators.sum::<usize>()
    }

    /// All is given out before a cut.
    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}

/// States as they are added up.
pub struct PaneStates {
    definition: Arc<PaneAggregate>,
    schema: SchemaRef,
    encoder: KeyEncoder,
    /// A group for each pane and keys.
    groups: GroupTable,
    accumulators: Vec<Box<dyn GroupAccumulator>>,
    groups_of_rows: Vec<usize>,
}

impl PaneStates {
    /// None yet.
    ///
    /// # Errors
    /// A key's type cannot be a key.
    pub fn new(definition: Arc<PaneAggregate>) -> Result<Self, OperatorError> {
        let keys = definition.keys.iter().map(|key| key.data_type());
        let encoder = KeyEncoder::new(std::iter::once(PANE).chain(keys))?;
        let accumulators = definition.calls.iter().map(|call| call.function.accumulator());
        Ok(Self {
            schema: definition.schema(),
            groups: GroupTable::new(&encoder),
            accumulators: accumulators.collect::<Result<_, _>>()?,
            encoder,
            definition,
            groups_of_rows: Vec::new(),
        })
    }

    /// Adds rows, each to its pane.
    ///
    /// # Errors
    /// An expression or aggregate fails on a row.
    pub fn add_rows(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let pane_ms = self.definition.pane_ms;
        let panes = event_times(&self.definition.time.evaluate(rows)?)?
            .unary::<_, Int64Type>(|time| time.saturating_sub(time.rem_euclid(pane_ms)));
        self.add_rows_to(rows, Arc::new(panes.reinterpret_cast::<TimestampMillisecondType>()))
    }

    /// Adds the rows whose event time is before one in milliseconds since the epoch, all to the pane that is null.
    ///
    /// # Errors
    /// As [`PaneStates::add_rows`].
    pub fn add_rows_before(&mut self, rows: &RecordBatch, before_ms: i64) -> Result<(), OperatorError> {
        let times: Int64Array = event_times(&self.definition.time.evaluate(rows)?)?;
        let wanted: BooleanArray = times.iter().map(|time| Some(time.is_some_and(|ms| ms < before_ms))).collect();
        let rows = arrow::compute::filter_record_batch(rows, &wanted)?;
        let panes = new_null_array(&PANE, rows.num_rows());
        self.add_rows_to(&rows, panes)
    }

    fn add_rows_to(&mut self, rows: &RecordBatch, panes: ArrayRef) -> Result<(), OperatorError> {
        let definition = Arc::clone(&self.definition);
        let keys = definition.keys.iter().map(|key| key.evaluate(rows));
        let keys = std::iter::once(Ok(panes)).chain(keys).collect::<Result<Vec<ArrayRef>, _>>()?;
        self.find_groups(&keys, rows.num_rows())?;
        for (call, accumulator) in definition.calls.iter().zip(&mut self.accumulators) {
            let arguments = call.arguments.iter().map(|argument| argument.evaluate(rows));
            let arguments = arguments.collect::<Result<Vec<ArrayRef>, EvaluationError>>()?;
            let filter = call.filter.as_ref().map(|filter| filter.evaluate(rows)).transpose()?;
            let filter = filter.map(|filter| BooleanArray::from(filter.to_data()));
            accumulator.update(&arguments, &self.groups_of_rows, filter.as_ref(), self.groups.len())?;
        }
        Ok(())
    }

    /// Adds states, as [`PaneAggregate::schema`] says. With `in_one_pane` that of all is the one that is null.
    ///
    /// # Errors
    /// They are others; an aggregate fails.
    pub fn add_states(&mut self, states: &RecordBatch, in_one_pane: bool) -> Result<(), OperatorError> {
        let is_alike = states.columns().iter().map(|column| column.data_type());
        if !is_alike.eq(self.schema.fields().iter().map(|field| field.data_type())) {
            return Err(OperatorError::Unsupported("the states are those of another query".to_owned()));
        }
        let (keys, states_of_calls) = states.columns().split_at(1 + self.definition.keys.len());
        let mut keys = keys.to_vec();
        if in_one_pane && let Some(panes) = keys.first_mut() {
            *panes = new_null_array(&PANE, states.num_rows());
        }
        self.find_groups(&keys, states.num_rows())?;
        let mut columns = states_of_calls.iter().cloned();
        for (call, accumulator) in self.definition.calls.iter().zip(&mut self.accumulators) {
            let of_call: Vec<ArrayRef> = columns.by_ref().take(call.function.state_fields().len()).collect();
            accumulator.merge(&of_call, &self.groups_of_rows, self.groups.len())?;
        }
        Ok(())
    }

    fn find_groups(&mut self, keys: &[ArrayRef], row_count: usize) -> Result<(), OperatorError> {
        let encoded = self.encoder.encode(keys, row_count)?;
        self.groups_of_rows.clear();
        self.groups.intern(&encoded, 0..row_count, &mut self.groups_of_rows);
        Ok(())
    }

    /// Moves the states out.
    ///
    /// # Errors
    /// An aggregate fails.
    pub fn take(&mut self) -> Result<RecordBatch, OperatorError> {
        let row_count = self.groups.len();
        let mut columns = self.groups.key_columns(&self.encoder)?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.take_states()?);
        }
        self.groups = GroupTable::new(&self.encoder);
        Ok(rows_of(&self.schema, columns, row_count)?)
    }

    /// The keys, then the results, for states that are in one pane. Without keys there is a row also when nothing was added, as
    /// in SQL.
    ///
    /// # Errors
    /// An aggregate fails.
    pub fn results(mut self) -> Result<Vec<ArrayRef>, OperatorError> {
        if self.definition.keys.is_empty() && self.groups.is_empty() {
            self.find_groups(&[new_null_array(&PANE, 1)], 1)?;
            for (call, accumulator) in self.definition.calls.iter().zip(&mut self.accumulators) {
                // A row that does not count.
                let arguments = call.arguments.iter().map(|argument| new_null_array(&argument.data_type(), 1));
                let none = BooleanArray::from(vec![false]);
                accumulator.update(&arguments.collect::<Vec<ArrayRef>>(), &[0], Some(&none), 1)?;
            }
        }
        let mut columns = self.groups.key_columns(&self.encoder)?;
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.take_results()?);
        }
        Ok(columns.into_iter().skip(1).collect())
    }
}
