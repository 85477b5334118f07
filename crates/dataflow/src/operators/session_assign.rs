//! Session assignment: gives each row with the bounds of its session, once these are known: when the watermark has passed
//! the session's end.
//!
//! Until then rows are kept. With an allowed lateness they are kept on, and a late row that changes a session takes its rows
//! back (`-D`) and gives them out with the new bounds (`+I`).
//!
//! A checkpoint holds the parts `sessions` (key, first and last row's time, whether its rows are given out as it is) and
//! `rows` (the rows, each with the beginning of its session). Both are always sealed whole.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt8Array, UInt32Array};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::kept_rows::KeptRows;
use super::keyed_part::KeyedPart;
use super::sessions::{Complete, SESSIONS, Sessions, final_moves, no_sessions, starts_of};
use super::window_assign::timed_rows;
use super::{emit_in_parts, rows_of};
use crate::batch::{Batch, RowKind, take_rows};
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::{Lies, StatePart};
use crate::time::{Watermark, timestamps};
use crate::trigger::Trigger;

/// A session assignment with everything bound. Output columns: the input's, `window_start`, `window_end`, `window_time`.
#[derive(Clone, Debug)]
pub struct SessionAssign {
    /// The input's columns.
    pub input: SchemaRef,
    /// The columns of the keys.
    pub keys: Vec<usize>,
    /// The time column.
    pub column: usize,
    /// The longest time between two rows of a session.
    pub gap_ms: i64,
    /// How long after the watermark has passed a session's end late rows still change it.
    pub allowed_lateness_ms: u64,
}

impl OperatorDefinition for SessionAssign {
    fn describe(&self) -> String {
        let name = |column: &usize| self.input.fields().get(*column).map_or("?", |field| field.name().as_str());
        let keys: Vec<&str> = self.keys.iter().map(name).collect();
        let by = if keys.is_empty() { String::new() } else { format!(" by {}", keys.join(", ")) };
        let trigger = Trigger::allowing(self.allowed_lateness_ms);
        format!("assign sessions with a gap of {} ms{by} on {}{trigger}", self.gap_ms, name(&self.column))
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Keyed(self.keys.clone())
    }

    fn keyed_by(&self) -> Option<Vec<usize>> {
        Some(self.keys.clone())
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        self.allowed_lateness_ms > 0
    }

    fn check(&self, inputs: &[bool]) -> Result<(), String> {
        if inputs.contains(&true) {
            return Err(
                "its input is a changelog, from which sessions cannot be made; leave out the early results and the \
                        allowed lateness of the aggregation before it"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn instance(&self, _inputs: &[Port], schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        let type_of = |column: &usize| self.input.fields().get(*column).map(|field| field.data_type().clone());
        let key_types = self.keys.iter().filter_map(type_of);
        Ok(Box::new(Instance {
            sessions: Sessions::new(key_types, self.gap_ms, Trigger::allowing(self.allowed_lateness_ms))?,
            rows: KeptRows::new(Arc::clone(&self.input)),
            definition: self.clone(),
            schema: Arc::clone(schema),
        }))
    }
}

/// The part that holds the rows of sessions.
const ROWS: &str = "rows";

struct Instance {
    definition: SessionAssign,
    schema: SchemaRef,
    sessions: Sessions,
    rows: KeptRows,
}

impl Instance {
    /// Gives the rows of sessions out, or takes them back.
    fn give_out(&self, sessions: &[Complete], kind: RowKind, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (mut places, mut spans) = (Vec::new(), Vec::new());
        for session in sessions {
            places.extend_from_slice(self.rows.places(session.slot));
            spans.resize(places.len(), session.span);
        }
        if places.is_empty() {
            return Ok(());
        }
        let width = self.definition.input.fields().len();
        let bound =
            |nth: usize| self.schema.fields().get(width + nth).map_or(&DataType::Null, |field| field.data_type());
        let mut columns: Vec<ArrayRef> = self.rows.rows(&places)?.columns().to_vec();
        columns.push(timestamps(spans.iter().map(|span| span.start_ms).collect(), bound(0))?);
        columns.push(timestamps(spans.iter().map(|span| span.end_ms).collect(), bound(1))?);
        columns.push(timestamps(spans.iter().map(|span| span.end_ms.saturating_sub(1)).collect(), bound(2))?);
        let rows = rows_of(&self.schema, columns, places.len())?;
        let is_updating = self.definition.allowed_lateness_ms > 0;
        let kinds = is_updating.then(|| UInt8Array::from_value(kind as u8, places.len()));
        emit_in_parts(&Batch { rows, kinds }, out);
        Ok(())
    }

    fn fire(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (complete, gone) = self.sessions.fire();
        self.give_out(&complete, RowKind::Insert, out)?;
        self.rows.forget(gone.iter().copied());
        self.sessions.forget(&gone);
        Ok(())
    }

    fn sessions_part(&self) -> KeyedPart {
        let keys = self.definition.keys.iter().filter_map(|key| self.definition.input.fields().get(*key));
        KeyedPart::new(keys, Sessions::sealed_fields())
    }

    /// The input's columns, and behind them the beginning of the session.
    fn rows_part(&self) -> KeyedPart {
        let start = Field::new("session_start_ms", DataType::Int64, false);
        KeyedPart::new(self.definition.input.fields().iter(), vec![start])
    }

    fn restore_rows(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let (columns, starts) = self.rows_part().columns(rows)?;
        let slots = self.sessions.find(&self.keys(rows), &starts_of(starts)?)?;
        let rows = rows_of(&self.definition.input, columns.to_vec(), rows.num_rows())?;
        Ok(self.rows.add(rows, slots.into_iter())?)
    }

    fn keys(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.definition.keys.iter().filter_map(|key| rows.columns().get(*key).cloned()).collect()
    }
}

impl Operator for Instance {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (batch, times) = timed_rows(batch, self.definition.column, out)?;
        let assigned = self.sessions.assign(&self.keys(&batch.rows), &times)?;
        self.sessions.report_late(&batch, &assigned, &times, out)?;
        self.give_out(&assigned.reopened, RowKind::Delete, out)?;
        let rows = take_rows(&batch.rows, &UInt32Array::from(assigned.rows))?;
        self.rows.add(rows, assigned.slots.into_iter())?;
        let (from, to) = final_moves(&assigned.moves);
        self.rows.merge(&from, &to);
        self.sessions.release(&from);
        if self.definition.allowed_lateness_ms > 0 { self.fire(out) } else { Ok(()) }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.sessions.advance(watermark);
        self.fire(out)
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let all = self.sessions.all();
        let mut columns = self.sessions.key_columns(&all)?;
        columns.extend(self.sessions.seal(&all));
        let sessions = self.sessions_part().whole(SESSIONS, columns, all.len())?;
        let (slots, places) = self.rows.all(all.iter().map(|session| session.slot));
        let mut columns = self.rows.rows(&places)?.columns().to_vec();
        columns.push(Arc::new(self.sessions.starts(&slots)));
        let mut rows = self.rows_part().whole(ROWS, columns, slots.len())?;
        rows.lies = Lies::Keyed(self.definition.keys.clone());
        Ok(vec![sessions, rows])
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        if name == ROWS {
            return self.restore_rows(&rows);
        }
        let (keys, sessions) = self.sessions_part().columns(&rows)?;
        self.sessions.restore(keys, sessions)?.ok_or_else(no_sessions)?;
        Ok(())
    }

    fn resume(&mut self, watermark: Watermark) {
        self.sessions.advance(watermark);
    }

    fn state_size_bytes(&self) -> usize {
        match self.sessions.size_bytes() {
            0 => 0,
            bytes => bytes + self.rows.size_bytes(),
        }
    }
}
