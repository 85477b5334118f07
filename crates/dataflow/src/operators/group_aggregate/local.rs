//! The part of a rolling aggregation before the exchange: adds up the rows of a turn, so that states travel instead of
//! rows, and a hot key is hot no longer.
//!
//! The columns of what travels are the keys, how many rows were added up, and the state columns of each aggregate in
//! turn; then, for distinct arguments, lists of values. What was added up is given out when the turn ends; which distinct
//! values have been sent is remembered as long as there are not too many, so that each is sent about once. Where adding
//! up hardly reduces anything (nearly every row has a key of its own), it is switched off for a while, and each row goes
//! on as a state of its own.
//!
//! Without keys, each subtask gives one state of no rows when its input ends: so the one that holds the result hears of
//! the end even when there was no row at all.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::distinct::DistinctSet;
use super::key_table::KeyTable;
use super::lists::{DistinctLists, list_fields};
use super::numbers::Numbers;
use super::restated::add_nothing;
use super::rolling::{Input, Rolling};
use super::sharing::{Changed, Sharing, sharing};
use super::{GroupAggregate, RollingCall};
use crate::aggregate::GroupAccumulator;
use crate::batch::Batch;
use crate::definition::{Distribution, LocalPart, OperatorDefinition, Port};
use crate::expression::EvaluationError;
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::{emit_in_parts, rows_of};
use crate::state::StatePart;
use crate::time::Watermark;
use crate::time_to_live::TimeToLive;

/// After how many rows it is judged whether adding up pays.
const TRIAL_ROWS: usize = 50_000;
/// Adding up pays when it makes at least this many rows into one.
const REDUCTION_MIN: usize = 2;
/// How many rows go on unreduced before the next trial.
const REST_ROWS: usize = 1_000_000;
/// More groups than this are not held until the turn ends, nor remembered.
const GROUPS_MAX: usize = 65_536;
/// More distinct values than this are not remembered.
const VALUES_MAX: usize = 1 << 20;

/// Splits an aggregation over `input` around an exchange.
pub(super) fn split(aggregate: &GroupAggregate, input: &SchemaRef) -> LocalPart {
    let aggregate = Arc::new(aggregate.clone());
    LocalPart {
        before: Arc::new(Before(Arc::clone(&aggregate))),
        schema: partial_schema(&aggregate, input),
        after: Arc::new(After(aggregate)),
    }
}

fn partial_schema(aggregate: &GroupAggregate, input: &SchemaRef) -> SchemaRef {
    let keys = input.fields().iter().take(aggregate.key_count);
    let mut fields: Vec<Field> = keys.map(|field| field.as_ref().clone().with_nullable(true)).collect();
    fields.push(Field::new("row_count", DataType::Int64, false));
    for (number, call) in aggregate.calls.iter().enumerate().filter(|(_, call)| !call.is_distinct) {
        let states = call.function.state_fields();
        let named = |state: &Field| Field::new(format!("{number}.{}", state.name()), state.data_type().clone(), true);
        fields.extend(states.iter().map(named));
    }
    let sharings = sharing(&aggregate.calls);
    fields.extend(sharings.iter().enumerate().flat_map(|(number, sharing)| list_fields(number, sharing)));
    Arc::new(Schema::new(fields))
}

#[derive(Debug)]
struct Before(Arc<GroupAggregate>);

impl OperatorDefinition for Before {
    fn describe(&self) -> String {
        format!("pre-{}", self.0)
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Any
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn instance(&self, inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        let input = inputs.first().map_or_else(|| Arc::clone(schema), |port| Arc::clone(&port.schema));
        Ok(Box::new(Local::new(Arc::clone(&self.0), input, Arc::clone(schema))?))
    }
}

#[derive(Debug)]
struct After(Arc<GroupAggregate>);

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
        Ok(Box::new(Rolling::new(&self.0, Input::States, Arc::clone(schema))?))
    }
}

/// A set of distinct values, of which some have not been sent yet.
struct Unsent {
    sharing: Sharing,
    set: Box<dyn DistinctSet>,
    new: Vec<Changed>,
}

/// Adds up the rows of a turn.
struct Local {
    aggregate: Arc<GroupAggregate>,
    input: SchemaRef,
    schema: SchemaRef,
    keys: KeyTable,
    groups_of_rows: Vec<usize>,
    /// The groups of this turn: what is added up goes by their numbers.
    turn: Numbers,
    row_counts: Vec<i64>,
    accumulators: Vec<Box<dyn GroupAccumulator>>,
    /// When what has been sent is to be sent again, in the time that groups live by: those behind may have forgotten it.
    resend_at: i64,
    /// For distinct arguments: what has been sent, and what is to be sent at the end of the turn.
    sets: Vec<Unsent>,
    /// Rows and groups since adding up was last judged.
    trial_rows: usize,
    trial_groups: usize,
    resting_rows: usize,
}

impl Local {
    fn new(aggregate: Arc<GroupAggregate>, input: SchemaRef, schema: SchemaRef) -> Result<Self, OperatorError> {
        Ok(Self {
            keys: aggregate.key_table(&input)?,
            groups_of_rows: Vec::new(),
            turn: Numbers::default(),
            row_counts: Vec::new(),
            accumulators: accumulators(&aggregate)?,
            resend_at: i64::MIN,
            sets: sets(&aggregate)?,
            aggregate,
            input,
            schema,
            trial_rows: 0,
            trial_groups: 0,
            resting_rows: 0,
        })
    }

    fn add_up(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let keys = rows.columns().get(..self.aggregate.key_count).unwrap_or_default();
        self.keys.intern(keys, rows.num_rows(), &mut self.groups_of_rows)?;
        self.turn.touch(&self.groups_of_rows, self.keys.group_bound());
        let (numbers, group_count) = (self.turn.of_rows(), self.turn.len());
        self.row_counts.resize(group_count, 0);
        for number in numbers {
            if let Some(count) = self.row_counts.get_mut(*number) {
                *count += 1;
            }
        }
        for (call, accumulator) in plain(&self.aggregate).zip(&mut self.accumulators) {
            let (arguments, filter) = call.columns_of(rows)?;
            accumulator.update(&arguments, numbers, filter.as_ref(), group_count)?;
        }
        for Unsent { sharing, set, new } in &mut self.sets {
            let (arguments, wanted) = sharing.wanted(rows, &self.aggregate.calls)?;
            let added = set.add(&arguments, &self.groups_of_rows, &wanted)?;
            let changed = Changed::of(&arguments, numbers, &added)?;
            if !changed.groups.is_empty() {
                new.push(changed);
            }
        }
        self.trial_rows += rows.num_rows();
        Ok(())
    }

    /// Gives out what has been added up.
    fn give_out(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let groups = self.turn.take();
        if groups.is_empty() {
            return Ok(());
        }
        self.trial_groups += groups.len();
        let mut columns = self.keys.columns(&groups)?;
        columns.push(Arc::new(Int64Array::from(std::mem::take(&mut self.row_counts))));
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.take_states()?);
        }
        for Unsent { sharing, new, .. } in &mut self.sets {
            let lists = DistinctLists::gather(sharing, std::mem::take(new))?;
            columns.extend(lists.into_columns(groups.len())?);
        }
        emit_in_parts(&Batch::append(rows_of(&self.schema, columns, groups.len())?), out);
        if self.keys.len() > GROUPS_MAX || self.sets.iter().any(|unsent| unsent.set.len() > VALUES_MAX) {
            // What was sent may be sent again: whoever gets it has seen it before.
            self.keys = self.aggregate.key_table(&self.input)?;
            self.sets = sets(&self.aggregate)?;
        }
        Ok(())
    }

    /// Passes rows on as they are, each a state of its own.
    fn pass_on(&mut self, rows: &RecordBatch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let row_count = rows.num_rows();
        let each_row: Vec<usize> = (0..row_count).collect();
        let mut columns: Vec<ArrayRef> = rows.columns().iter().take(self.aggregate.key_count).cloned().collect();
        columns.push(Arc::new(Int64Array::from_value(1, row_count)));
        for (call, mut accumulator) in plain(&self.aggregate).zip(accumulators(&self.aggregate)?) {
            let (arguments, filter) = call.columns_of(rows)?;
            accumulator.update(&arguments, &each_row, filter.as_ref(), row_count)?;
            columns.extend(accumulator.take_states()?);
        }
        for Unsent { sharing, .. } in &self.sets {
            let (arguments, wanted) = sharing.wanted(rows, &self.aggregate.calls)?;
            let all = Changed::of(&arguments, &each_row, &wanted)?;
            columns.extend(DistinctLists::gather(sharing, vec![all])?.into_columns(row_count)?);
        }
        out.emit(Batch::append(rows_of(&self.schema, columns, row_count)?));
        self.resting_rows = self.resting_rows.saturating_sub(row_count);
        Ok(())
    }

    /// Forgets what has been sent, twice in a time to live: so it is sent again before any group behind, forgotten in the
    /// meantime, could miss it.
    fn forget_sent(&mut self, now: i64, length_ms: i64) -> Result<(), OperatorError> {
        if now >= self.resend_at {
            self.sets = sets(&self.aggregate)?;
            self.keys = self.aggregate.key_table(&self.input)?;
            self.resend_at = now.saturating_add(length_ms / 2);
        }
        Ok(())
    }

    /// Ends a trial that has run long enough, and rests if adding up did not pay.
    fn judge(&mut self) {
        if self.trial_rows >= TRIAL_ROWS {
            let pays = self.trial_rows >= REDUCTION_MIN * self.trial_groups;
            self.resting_rows = if pays { 0 } else { REST_ROWS };
            (self.trial_rows, self.trial_groups) = (0, 0);
        }
    }
}

impl Operator for Local {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.resting_rows > 0 {
            return self.pass_on(&batch.rows, out);
        }
        self.add_up(&batch.rows)?;
        if self.turn.len() > GROUPS_MAX {
            self.give_out(out)?;
            self.judge();
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.give_out(out)?;
        self.judge();
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.aggregate.key_count == 0 && watermark == Watermark::END {
            self.keys.intern(&[], 1, &mut self.groups_of_rows)?;
            self.turn.touch(&self.groups_of_rows, self.keys.group_bound());
            self.row_counts.resize(1, 0);
            for (call, accumulator) in plain(&self.aggregate).zip(&mut self.accumulators) {
                add_nothing(accumulator.as_mut(), &call.argument_types, 1)?;
            }
            self.give_out(out)?;
        }
        match self.aggregate.time_to_live {
            Some(TimeToLive::EventTime(ms)) if watermark != Watermark::UNKNOWN => self.forget_sent(watermark.0, ms),
            _ => Ok(()),
        }
    }

    fn wants_clock(&self) -> bool {
        matches!(self.aggregate.time_to_live, Some(TimeToLive::ProcessingTime(_)))
    }

    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.give_out(out)?;
        match self.aggregate.time_to_live {
            Some(TimeToLive::ProcessingTime(ms)) => self.forget_sent(now_ms, ms),
            _ => Ok(()),
        }
    }

    fn state_size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.accumulators.iter().map(|accumulator| accumulator.size_bytes()).sum::<usize>()
            + self.row_counts.capacity() * size_of::<i64>()
            + self.groups_of_rows.capacity() * size_of::<usize>()
            + self.turn.size_bytes()
            + self.sets.iter().map(|unsent| unsent.set.size_bytes()).sum::<usize>()
    }

    /// A turn's end has given out what was added up; which values have been sent may be forgotten: they are sent again.
    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}

/// The calls whose states travel.
fn plain(aggregate: &GroupAggregate) -> impl Iterator<Item = &RollingCall> {
    aggregate.calls.iter().filter(|call| !call.is_distinct)
}

fn accumulators(aggregate: &GroupAggregate) -> Result<Vec<Box<dyn GroupAccumulator>>, EvaluationError> {
    plain(aggregate).map(|call| call.function.accumulator()).collect()
}

fn sets(aggregate: &GroupAggregate) -> Result<Vec<Unsent>, ArrowError> {
    let unsent = |sharing: Sharing| Ok(Unsent { set: sharing.set(false)?, sharing, new: Vec::new() });
    sharing(&aggregate.calls).into_iter().map(unsent).collect()
}
