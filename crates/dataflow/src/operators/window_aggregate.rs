//! Window aggregation: a row is aggregated once, into the slice of event time it belongs to; when the watermark passes
//! the end of a window, the window *fires*, in order of time.
//!
//! Without allowed lateness a fired window is gone, and rows that come for it are dropped and counted. With it the
//! window stays until the watermark has passed its end by the lateness; each batch that brings late rows for it fires it
//! again, as a changelog: `-U` and `+U` for each group whose result is another than before, `+I` for each new group. So
//! the changes that an append-only reader would see add up exactly to the last result.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, UInt8Array, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::datatypes::{DataType, SchemaRef};

use super::aggregation::{Aggregation, Contribution};
use super::slice_table::{Form, SliceTable};
use super::window_assign::time_column;
use super::{emit_in_parts, rows_of};
use crate::batch::{Batch, RowKind, take_rows};
use crate::coalesce::{BATCH_ROWS, Coalescer};
use crate::key::KeyEncoder;
use crate::operator::{LateRows, Operator, OperatorError, Output};
use crate::slice::SlicedRows;
use crate::time::{EventTimeMs, Watermark, event_times, timestamps};
use crate::window::Span;

/// How many late rows of a slice are shown.
const LATE_SAMPLE_ROWS: usize = 3;

/// Aggregates per key and window.
pub struct WindowAggregate {
    aggregation: Arc<Aggregation>,
    form: Form,
    encoder: KeyEncoder,
    /// Slices by start: for tumbling windows, the windows.
    slices: BTreeMap<EventTimeMs, Slice>,
    watermark: Watermark,
}

/// A slice, and what has been said about it.
struct Slice {
    span: Span,
    table: SliceTable,
    /// What was last given out; `None` before the window has fired.
    given: Option<Given>,
}

/// Results as they were given out, one element a group.
struct Given {
    results: Vec<ArrayRef>,
    group_count: usize,
}

impl WindowAggregate {
    /// Computes `aggregation` over rows, or over the partial states that a pre-aggregation made of them.
    ///
    /// # Errors
    /// A key's type cannot be a key.
    pub fn new(aggregation: Arc<Aggregation>, form: Form) -> Result<Self, OperatorError> {
        let encoder = aggregation.key_encoder()?;
        Ok(Self { aggregation, form, encoder, slices: BTreeMap::new(), watermark: Watermark::UNKNOWN })
    }

    /// The slices of a batch's rows, and how many rows each of its rows stands for (`None`: one).
    fn cut(&self, batch: &Batch) -> Result<(SlicedRows, Option<Int64Array>), OperatorError> {
        let window = self.aggregation.window;
        match self.form {
            Form::Rows => {
                let times = event_times(time_column(batch, self.aggregation.column)?)?;
                Ok((SlicedRows::cut(&times, window), None))
            }
            Form::States => {
                let (starts, counts) = self.aggregation.times_of_states(&batch.rows)?;
                Ok((SlicedRows::cut(&starts, window), Some(counts)))
            }
        }
    }

    fn contribution(&self, batch: &Batch) -> Result<Contribution, OperatorError> {
        match self.form {
            Form::Rows => self.aggregation.of_rows(&batch.rows, &self.encoder),
            Form::States => self.aggregation.of_states(&batch.rows, &self.encoder),
        }
    }

    fn has_fired(&self, span: Span) -> bool {
        span.end_ms <= self.watermark.0
    }

    fn is_gone(&self, span: Span) -> bool {
        let lateness_ms = i64::try_from(self.aggregation.allowed_lateness_ms).unwrap_or(i64::MAX);
        span.end_ms.saturating_add(lateness_ms) <= self.watermark.0
    }

    fn report_late(
        &self,
        batch: &Batch,
        rows: impl Iterator<Item = usize> + Clone,
        counts: Option<&Int64Array>,
        span: Span,
        out: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let sample = UInt32Array::from_iter_values(rows.clone().take(LATE_SAMPLE_ROWS).map(|row| row as u32));
        let row_count = match counts {
            Some(counts) => rows.filter_map(|row| counts.values().get(row)).sum::<i64>().unsigned_abs(),
            None => rows.count() as u64,
        };
        let behind_ms = self.watermark.0.saturating_sub(span.end_ms);
        let sample = Cow::Owned(take_rows(&batch.rows, &sample)?);
        out.late(LateRows { sample, row_count, behind_ms, dropped: self.is_gone(span) });
        Ok(())
    }

    /// Adds rows to a slice, making it if it is new.
    fn add(
        &mut self,
        span: Span,
        from: &Contribution,
        rows: impl Iterator<Item = usize>,
        part: std::ops::Range<usize>,
    ) -> Result<(), OperatorError> {
        let slice = match self.slices.entry(span.start_ms) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                let table = SliceTable::new(&self.aggregation.aggregates, &self.encoder)?;
                new.insert(Slice { span, table, given: None })
            }
        };
        Ok(slice.table.add(from, rows, part, self.form)?)
    }

    /// Gives out the windows that `due` names, in order of time, and forgets those that are gone.
    fn fire(&mut self, due: &[EventTimeMs], out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut coalescer = Coalescer::new(BATCH_ROWS);
        for start_ms in due {
            let Some(mut slice) = self.slices.remove(start_ms) else { continue };
            let batch = if self.aggregation.allowed_lateness_ms == 0 {
                let results = slice.table.take_results()?;
                Some(Batch::append(results_of(&self.aggregation, &self.encoder, &slice, results)?))
            } else {
                let batch = changes_of(&self.aggregation, &self.encoder, &mut slice)?;
                if !self.is_gone(slice.span) {
                    self.slices.insert(*start_ms, slice);
                }
                batch
            };
            if let Some(batch) = batch
                && let Some(batch) = coalescer.push(batch)?
            {
                emit_in_parts(&batch, out);
            }
        }
        if let Some(batch) = coalescer.flush()? {
            emit_in_parts(&batch, out);
        }
        Ok(())
    }
}

impl Operator for WindowAggregate {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (sliced, counts) = self.cut(&batch)?;
        if sliced.null_count > 0 {
            out.null_time(sliced.null_count as u64);
        }
        let mut contribution = None;
        let mut fire_again = Vec::new();
        for (span, part) in &sliced.slices {
            let rows: Vec<usize> = if self.has_fired(*span) { sliced.rows(part).collect() } else { Vec::new() };
            if self.has_fired(*span) {
                self.report_late(&batch, rows.iter().copied(), counts.as_ref(), *span, out)?;
                if self.is_gone(*span) {
                    continue;
                }
                fire_again.push(span.start_ms);
            }
            if contribution.is_none() {
                let mut evaluated = self.contribution(&batch)?;
                if let Some(order) = &sliced.order {
                    evaluated.reorder(order)?;
                }
                contribution = Some(evaluated);
            }
            if let Some(contribution) = &contribution {
                self.add(*span, contribution, sliced.rows(part), part.clone())?;
            }
        }
        self.fire(&fire_again, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.watermark = watermark;
        let closed = self.slices.values().take_while(|slice| self.has_fired(slice.span));
        let due: Vec<EventTimeMs> =
            closed.clone().filter(|slice| slice.given.is_none()).map(|slice| slice.span.start_ms).collect();
        let gone: Vec<EventTimeMs> = closed
            .filter(|slice| slice.given.is_some() && self.is_gone(slice.span))
            .map(|slice| slice.span.start_ms)
            .collect();
        for start_ms in gone {
            self.slices.remove(&start_ms);
        }
        self.fire(&due, out)
    }

    fn state_size_bytes(&self) -> usize {
        let given = |slice: &Slice| {
            let results = slice.given.iter().flat_map(|given| &given.results);
            results.map(|array| array.get_array_memory_size()).sum::<usize>()
        };
        self.slices.values().map(|slice| slice.table.size_bytes() + given(slice)).sum()
    }
}

/// The rows that give `results` out, one a group.
fn results_of(
    aggregation: &Aggregation,
    encoder: &KeyEncoder,
    slice: &Slice,
    results: Vec<ArrayRef>,
) -> Result<arrow::array::RecordBatch, OperatorError> {
    let keys = slice.table.key_columns(encoder)?;
    result_rows(aggregation, keys, slice.span, results, slice.table.group_count())
}

fn result_rows(
    aggregation: &Aggregation,
    keys: Vec<ArrayRef>,
    span: Span,
    results: Vec<ArrayRef>,
    row_count: usize,
) -> Result<arrow::array::RecordBatch, OperatorError> {
    let key_count = aggregation.keys.len();
    let mut columns = keys;
    columns.push(timestamps(vec![span.start_ms; row_count], type_of(&aggregation.schema, key_count))?);
    columns.push(timestamps(vec![span.end_ms; row_count], type_of(&aggregation.schema, key_count + 1))?);
    columns.extend(results);
    Ok(rows_of(&aggregation.schema, columns, row_count)?)
}

fn type_of(schema: &SchemaRef, column: usize) -> &DataType {
    schema.fields().get(column).map_or(&DataType::Null, |field| field.data_type())
}

/// How a slice's results differ from what was given out before; from now on they count as given out.
fn changes_of(
    aggregation: &Aggregation,
    encoder: &KeyEncoder,
    slice: &mut Slice,
) -> Result<Option<Batch>, OperatorError> {
    let results = slice.table.results(&aggregation.aggregates)?;
    let group_count = slice.table.group_count();
    let now = results_of(aggregation, encoder, slice, results.clone())?;
    let Some(given) = slice.given.replace(Given { results: results.clone(), group_count }) else {
        let kinds = UInt8Array::from_value(RowKind::Insert as u8, group_count);
        return Ok(Some(Batch { rows: now, kinds: Some(kinds) }));
    };
    let given_count = given.group_count;
    let changed = changed_groups(&given.results, &results, given_count);
    let mut indices: Vec<u32> = Vec::new();
    let mut kinds: Vec<u8> = Vec::new();
    for group in changed {
        // The former rows stand before the present ones.
        indices.extend([group as u32, (given_count + group) as u32]);
        kinds.extend([RowKind::UpdateBefore as u8, RowKind::UpdateAfter as u8]);
    }
    indices.extend((given_count..group_count).map(|group| (given_count + group) as u32));
    kinds.resize(indices.len(), RowKind::Insert as u8);
    if indices.is_empty() {
        return Ok(None);
    }
    let keys = slice.table.key_columns(encoder)?.iter().map(|key| key.slice(0, given_count)).collect();
    let before = result_rows(aggregation, keys, slice.span, given.results, given_count)?;
    let both = Batch::concat(&[Batch::append(before), Batch::append(now)])?;
    let Some(both) = both else { return Ok(None) };
    let rows = both.take(&UInt32Array::from(indices))?.rows;
    Ok(Some(Batch { rows, kinds: Some(UInt8Array::from(kinds)) }))
}

/// The groups, of the first `given_count`, of which some result is another than before. Results that cannot be compared
/// count as changed: an update too many is right, one too few is not.
fn changed_groups(given: &[ArrayRef], results: &[ArrayRef], given_count: usize) -> Vec<usize> {
    let mut changed = vec![false; given_count];
    for (before, after) in given.iter().zip(results) {
        let differs = distinct(before, &after.slice(0, given_count))
            .unwrap_or_else(|_| BooleanArray::from(vec![true; given_count]));
        for (changed, differs) in changed.iter_mut().zip(differs.values().iter()) {
            *changed |= differs;
        }
    }
    changed.iter().enumerate().filter(|(_, changed)| **changed).map(|(group, _)| group).collect()
}
