//! Session aggregation: aggregates the rows of a key that follow each other by no more than a gap, and gives a result when
//! the watermark has passed the session's end.
//!
//! A row is aggregated at once, into the slot of its session; where a row joins two sessions, one's state is merged into
//! the other's. With an allowed lateness a session is kept after it was given out, and a late row corrects it; with early
//! results sessions give what they have so far. What was given out is replaced by what is so now: see
//! [`super::session_changes`].
//!
//! A checkpoint holds the parts `sessions` (key, first and last row's time, whether it is given as it is, the state of each
//! aggregate) and `withdrawn` (results that have been given and are to be replaced, each with the beginning of the session
//! that replaces it). Both are always sealed whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::group_aggregate::RollingCall;
use super::group_aggregate::state::{RollingState, growing_state, restore_states, sealed_fields};
use super::keyed_part::KeyedPart;
use super::session_changes::Withdrawn;
use super::sessions::{Assigned, Complete, SESSIONS, Sessions, final_moves, no_sessions, starts_of};
use super::window_assign::timed_rows;
use super::{emit_in_parts, rows_of};
use crate::batch::{Batch, take_rows};
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;
use crate::time::{Watermark, timestamps};
use crate::trigger::{Pace, Trigger};

/// A session aggregation with everything bound. Output columns: the keys, `window_start`, `window_end`, the results.
#[derive(Clone, Debug)]
pub struct SessionAggregate {
    /// How many of the input's columns, from the first, are the keys. The time column stands behind them.
    pub key_count: usize,
    /// What is computed.
    pub calls: Vec<RollingCall>,
    /// The keys as a user writes them.
    pub key_texts: Vec<String>,
    /// The longest time between two rows of a session.
    pub gap_ms: i64,
    /// When sessions give results besides when they are complete.
    pub trigger: Trigger,
}

impl OperatorDefinition for SessionAggregate {
    fn describe(&self) -> String {
        let calls: Vec<&str> = self.calls.iter().map(|call| call.text.as_str()).collect();
        let by = if self.key_texts.is_empty() { String::new() } else { format!(" by {}", self.key_texts.join(", ")) };
        format!("aggregate {}{by} per session with a gap of {} ms{}", calls.join(", "), self.gap_ms, self.trigger)
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Keyed((0..self.key_count).collect())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        Some((0..self.key_count).collect())
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        self.trigger.is_updating()
    }

    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        if inputs.contains(&true) {
            return Err("its input is a changelog, from which sessions cannot be made; leave out the early results \
                        and the allowed lateness of the aggregation before it"
                .to_owned());
        }
        Ok(())
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        let key_types = schema.fields().iter().take(self.key_count).map(|field| field.data_type().clone());
        let states = self.calls.iter().map(|call| growing_state(&call.function, &call.argument_types));
        Ok(Box::new(Instance {
            sessions: Sessions::new(key_types, self.gap_ms, self.trigger)?,
            withdrawn: Withdrawn::new(Arc::clone(schema), self.key_count),
            pace: Pace::new(&self.trigger),
            states: states.collect::<Result<_, _>>()?,
            definition: self.clone(),
            schema: Arc::clone(schema),
        }))
    }
}

/// The part that holds results to be replaced.
const WITHDRAWN: &str = "withdrawn";

struct Instance {
    definition: SessionAggregate,
    schema: SchemaRef,
    sessions: Sessions,
    states: Vec<Box<dyn RollingState>>,
    withdrawn: Withdrawn,
    pace: Pace,
}

impl Instance {
    /// The rows that say sessions' results.
    fn results(&mut self, sessions: &[Complete]) -> Result<RecordBatch, OperatorError> {
        let mut columns = self.sessions.key_columns(sessions)?;
        let bound = |nth: usize| {
            let field = self.schema.fields().get(self.definition.key_count + nth);
            field.map_or(&DataType::Null, |field| field.data_type())
        };
        columns.push(timestamps(sessions.iter().map(|session| session.span.start_ms).collect(), bound(0))?);
        columns.push(timestamps(sessions.iter().map(|session| session.span.end_ms).collect(), bound(1))?);
        let slots: Vec<usize> = sessions.iter().map(|session| session.slot).collect();
        for state in &mut self.states {
            columns.push(state.results(&slots)?);
        }
        Ok(rows_of(&self.schema, columns, sessions.len())?)
    }

    fn add(&mut self, rows: &RecordBatch, assigned: &Assigned) -> Result<(), OperatorError> {
        let slot_bound = self.sessions.slot_bound();
        let column = |index: &usize| -> Result<ArrayRef, OperatorError> {
            let missing = || OperatorError::Unsupported(format!("there is no column {index}"));
            rows.columns().get(*index).cloned().ok_or_else(missing)
        };
        for (call, state) in self.definition.calls.iter().zip(&mut self.states) {
            let arguments = call.arguments.iter().map(column).collect::<Result<Vec<ArrayRef>, OperatorError>>()?;
            let filter = call.filter.as_ref().map(column).transpose()?;
            let filter = filter.as_ref().and_then(|filter| filter.as_boolean_opt());
            state.update(&arguments, &assigned.slots, filter, slot_bound)?;
        }
        if assigned.moves.is_empty() {
            return Ok(());
        }
        let (from, to) = final_moves(&assigned.moves);
        for state in &mut self.states {
            let states = state.states(&from)?;
            state.merge(&states, &to, slot_bound)?;
            state.forget(&from);
        }
        self.withdrawn.merge(&from, &to);
        self.sessions.release(&from);
        Ok(())
    }

    /// Gives out what sessions are now.
    fn give_out(&mut self, sessions: &[Complete], out: &mut dyn Output) -> Result<(), OperatorError> {
        if sessions.is_empty() {
            return Ok(());
        }
        let rows = self.results(sessions)?;
        let batch = if self.definition.trigger.is_updating() {
            let slots: Vec<usize> = sessions.iter().map(|session| session.slot).collect();
            self.withdrawn.changes(&rows, &slots)?
        } else {
            Some(Batch::append(rows))
        };
        batch.iter().for_each(|batch| emit_in_parts(batch, out));
        Ok(())
    }

    fn keys(&self) -> impl Iterator<Item = &Arc<Field>> {
        self.schema.fields().iter().take(self.definition.key_count)
    }

    fn sessions_part(&self) -> KeyedPart {
        KeyedPart::new(self.keys(), Sessions::sealed_fields().into_iter().chain(sealed_fields(&self.states)).collect())
    }

    fn withdrawn_part(&self) -> KeyedPart {
        let results = self.schema.fields().iter().skip(self.definition.key_count);
        let results = results.map(|field| field.as_ref().clone().with_nullable(true));
        let start = Field::new("session_start_ms", DataType::Int64, false);
        KeyedPart::new(self.keys(), results.chain([start]).collect())
    }

    fn sealed_sessions(&mut self, all: &[Complete]) -> Result<StatePart, OperatorError> {
        let slots: Vec<usize> = all.iter().map(|session| session.slot).collect();
        let mut columns = self.sessions.key_columns(all)?;
        columns.extend(self.sessions.seal(all));
        for state in &mut self.states {
            columns.extend(state.seal(&slots)?);
        }
        self.sessions_part().whole(SESSIONS, columns, all.len())
    }

    fn sealed_withdrawn(&self, all: &[Complete]) -> Result<StatePart, OperatorError> {
        let (slots, results) = self.withdrawn.all(all.iter().map(|session| session.slot))?;
        let mut columns = results.columns().to_vec();
        columns.push(Arc::new(self.sessions.starts(&slots)));
        self.withdrawn_part().whole(WITHDRAWN, columns, slots.len())
    }

    fn restore_sessions(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let (keys, columns) = self.sessions_part().columns(rows)?;
        let (sessions, states) = columns.split_at_checked(Sessions::sealed_fields().len()).unwrap_or_default();
        let slots = self.sessions.restore(keys, sessions)?.ok_or_else(no_sessions)?;
        Ok(restore_states(&mut self.states, states, &slots, self.sessions.slot_bound())?)
    }

    fn restore_withdrawn(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let (keys, columns) = self.withdrawn_part().columns(rows)?;
        let slots = self.sessions.find(keys, &starts_of(columns)?)?;
        let results = rows.columns().iter().take(self.schema.fields().len()).cloned().collect();
        let results = rows_of(&self.schema, results, rows.num_rows())?;
        Ok(self.withdrawn.add(results, slots.into_iter())?)
    }

    fn give_early(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let changed = self.sessions.take_news();
        self.give_out(&changed, out)
    }

    fn fire(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (complete, gone) = self.sessions.fire();
        self.give_out(&complete, out)?;
        for state in &mut self.states {
            state.forget(&gone);
        }
        self.sessions.forget(&gone);
        Ok(())
    }
}

impl Operator for Instance {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (batch, times) = timed_rows(batch, self.definition.key_count, out)?;
        let keys = batch.rows.columns().get(..self.definition.key_count).unwrap_or_default().to_vec();
        let assigned = self.sessions.assign(&keys, &times)?;
        self.sessions.report_late(&batch, &assigned, &times, out)?;
        let mut rows = batch.rows;
        if !assigned.dropped.is_empty() {
            rows = take_rows(&rows, &UInt32Array::from(assigned.rows.clone()))?;
        }
        if !assigned.reopened.is_empty() {
            let given = self.results(&assigned.reopened)?;
            self.withdrawn.add(given, assigned.reopened.iter().map(|session| session.slot))?;
        }
        self.add(&rows, &assigned)?;
        if self.definition.trigger.allowed_lateness_ms > 0 { self.fire(out) } else { Ok(()) }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.sessions.advance(watermark);
        self.fire(out)?;
        if self.pace.on_watermark(watermark) { self.give_early(out) } else { Ok(()) }
    }

    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.pace.on_clock(now_ms) { self.give_early(out) } else { Ok(()) }
    }

    fn wants_clock(&self) -> bool {
        self.pace.wants_clock()
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let all = self.sessions.all();
        let mut parts = vec![self.sealed_sessions(&all)?];
        if self.definition.trigger.is_updating() {
            parts.push(self.sealed_withdrawn(&all)?);
        }
        Ok(parts)
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        if name == SESSIONS { self.restore_sessions(&rows) } else { self.restore_withdrawn(&rows) }
    }

    fn resume(&mut self, watermark: Watermark) {
        self.sessions.advance(watermark);
        // Early results that were due by then have been given out.
        self.pace.on_watermark(watermark);
    }

    fn state_size_bytes(&self) -> usize {
        match self.sessions.size_bytes() {
            0 => 0,
            bytes => {
                bytes + self.withdrawn.size_bytes() + self.states.iter().map(|state| state.size_bytes()).sum::<usize>()
            }
        }
    }
}
