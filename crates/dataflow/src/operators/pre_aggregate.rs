//! Pre-aggregation: adds rows up on the side of an exchange where they are, so that states travel instead of rows, and a
//! hot key is hot no longer.
//!
//! States are held while their slice is open, since nothing fires before. They go on when the watermark passes the end
//! of the slice, at once when the slice has been passed already (late rows), and all of them when there are too many, at a
//! cut, and when the subtask falls idle, for time then goes on without it.
//! Where windows give early results, everything goes on at the end of each turn, for the results are to be of all that has
//! come.
//!
//! Where adding up hardly reduces anything (nearly every row has a key of its own), it is switched off for a while, and
//! each row goes on as a state of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::{filter_record_batch, is_not_null};
use arrow::datatypes::SchemaRef;

use super::aggregation::Aggregation;
use super::slice_table::{Form, SliceTable, states_of_rows};
use super::window_assign::time_column;
use super::{emit_in_parts, rows_of};
use crate::batch::Batch;
use crate::coalesce::{BATCH_ROWS, Coalescer};
use crate::key::KeyEncoder;
use crate::operator::{Operator, OperatorError, Output};
use crate::slice::SlicedRows;
use crate::state::StatePart;
use crate::time::{EventTimeMs, Watermark, event_times};
use crate::window::Span;

/// More groups than this are not held.
const GROUPS_MAX: usize = 65_536;
/// After how many rows it is judged whether adding up pays.
const TRIAL_ROWS: usize = 50_000;
/// Adding up pays when it makes at least this many rows into one.
const REDUCTION_MIN: usize = 2;
/// How many rows go on unreduced before the next trial.
const REST_ROWS: usize = 1_000_000;

/// Makes partial states of rows.
pub struct PreAggregate {
    aggregation: Arc<Aggregation>,
    schema: SchemaRef,
    encoder: KeyEncoder,
    slices: BTreeMap<EventTimeMs, Slice>,
    group_count: usize,
    watermark: Watermark,
    trial: Trial,
}

/// A slice, and how many rows each of its groups is made of.
struct Slice {
    span: Span,
    table: SliceTable,
    row_counts: Vec<i64>,
}

/// Whether adding up is being tried, or has been given up for a while.
struct Trial {
    rows: usize,
    groups: usize,
    resting_rows: usize,
}

impl PreAggregate {
    /// Makes partial states for `aggregation`.
    ///
    /// # Errors
    /// A key's type cannot be a key.
    pub fn new(aggregation: Arc<Aggregation>) -> Result<Self, OperatorError> {
        let encoder = aggregation.key_encoder()?;
        Ok(Self {
            schema: aggregation.partial_schema(),
            aggregation,
            encoder,
            slices: BTreeMap::new(),
            group_count: 0,
            watermark: Watermark::UNKNOWN,
            trial: Trial { rows: 0, groups: 0, resting_rows: 0 },
        })
    }

    fn add_up(&mut self, rows: &RecordBatch, times: &Int64Array) -> Result<(), OperatorError> {
        let sliced = SlicedRows::cut(times, self.aggregation.window);
        let mut contribution = self.aggregation.of_rows(rows, &self.encoder)?;
        if let Some(order) = &sliced.order {
            contribution.reorder(order)?;
        }
        for (span, part) in &sliced.slices {
            let slice = match self.slices.entry(span.start_ms) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    let table = SliceTable::new(&self.aggregation.aggregates, &self.encoder)?;
                    new.insert(Slice { span: *span, table, row_counts: Vec::new() })
                }
            };
            let groups_before = slice.table.group_count();
            slice.table.add(&contribution, sliced.rows(part), part.clone(), Form::Rows)?;
            slice.table.count_added(part.len(), &mut slice.row_counts);
            let new_groups = slice.table.group_count() - groups_before;
            self.group_count += new_groups;
            self.trial.groups += new_groups;
        }
        self.trial.rows += times.len();
        Ok(())
    }

    /// Passes rows on as they are, each a state of its own.
    fn pass_on(&mut self, rows: &RecordBatch, times: &Int64Array, out: &mut dyn Output) -> Result<(), OperatorError> {
        let row_count = rows.num_rows();
        let contribution = self.aggregation.of_rows(rows, &self.encoder)?;
        let states = states_of_rows(&contribution, &self.aggregation.aggregates, row_count)?;
        let window = self.aggregation.window;
        let starts = Int64Array::from_iter_values(times.values().iter().map(|time| window.slice_of(*time).start_ms));
        let counts = Int64Array::from_value(1, row_count);
        let mut columns = contribution.keys;
        columns.extend([Arc::new(starts) as ArrayRef, Arc::new(counts)]);
        columns.extend(states);
        out.emit(Batch::append(rows_of(&self.schema, columns, row_count)?));
        self.trial.resting_rows = self.trial.resting_rows.saturating_sub(row_count);
        Ok(())
    }

    /// Gives out and forgets the states of slices that end by `until`.
    fn give_out(&mut self, until: EventTimeMs, out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut coalescer = Coalescer::new(BATCH_ROWS);
        while let Some(first) = self.slices.first_entry() {
            if first.get().span.end_ms > until {
                break;
            }
            let mut slice = first.remove();
            let row_count = slice.table.group_count();
            self.group_count = self.group_count.saturating_sub(row_count);
            let mut columns = slice.table.key_columns(&self.encoder)?;
            let starts = Int64Array::from_value(slice.span.start_ms, row_count);
            columns.extend([Arc::new(starts) as ArrayRef, Arc::new(Int64Array::from(slice.row_counts))]);
            columns.extend(slice.table.take_states()?);
            let states = Batch::append(rows_of(&self.schema, columns, row_count)?);
            if let Some(batch) = coalescer.push(states)? {
                emit_in_parts(&batch, out);
            }
        }
        if let Some(batch) = coalescer.flush()? {
            emit_in_parts(&batch, out);
        }
        Ok(())
    }

    /// Ends a trial that has run long enough, and rests if adding up did not pay.
    fn judge(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.trial.rows < TRIAL_ROWS {
            return Ok(());
        }
        let pays = self.trial.rows >= REDUCTION_MIN * self.trial.groups;
        self.trial = Trial { rows: 0, groups: 0, resting_rows: if pays { 0 } else { REST_ROWS } };
        if pays { Ok(()) } else { self.give_out(EventTimeMs::MAX, out) }
    }
}

impl Operator for PreAggregate {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut rows = batch.rows.clone();
        let mut times = event_times(time_column(&batch, self.aggregation.column)?)?;
        if times.null_count() > 0 {
            out.null_time(times.null_count() as u64);
            let timed = is_not_null(&times)?;
            rows = filter_record_batch(&rows, &timed)?;
            times = arrow::compute::filter(&times, &timed)?.as_primitive().clone();
        }
        if self.trial.resting_rows > 0 {
            return self.pass_on(&rows, &times, out);
        }
        self.add_up(&rows, &times)?;
        self.give_out(self.watermark.0, out)?;
        if self.group_count > GROUPS_MAX {
            self.give_out(EventTimeMs::MAX, out)?;
        }
        self.judge(out)
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.aggregation.trigger.early.is_some() { self.give_out(EventTimeMs::MAX, out) } else { Ok(()) }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.watermark = watermark;
        self.give_out(watermark.0, out)
    }

    fn state_size_bytes(&self) -> usize {
        let counts = |slice: &Slice| slice.row_counts.capacity() * size_of::<i64>();
        self.slices.values().map(|slice| slice.table.size_bytes() + counts(slice)).sum()
    }

    fn before_cut(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.give_out(EventTimeMs::MAX, out)
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}
