//! Window aggregation: a row is aggregated once, into the slice of event time it belongs to; when the watermark passes
//! the end of a window, the window *fires*, in order of time.
//!
//! Without allowed lateness a fired window is gone, and rows that come for it are dropped and counted. With it the
//! window stays until the watermark has passed its end by the lateness; each batch that brings late rows for it fires it
//! again, as a changelog: `-U` and `+U` for each group whose result is another than before, `+I` for each new group. So
//! the changes that an append-only reader would see add up exactly to the last result.
//!
//! With early results, windows that have not ended yet give what they have so far whenever the trigger asks for it: the
//! same changelog, begun sooner. A window to which nothing has come since gives nothing.
//!
//! This is for tumbling windows, which are their own slices. For those that share slices see [`super::sliced_aggregate`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::aggregation::{Aggregation, Contribution};
use super::emit_in_parts;
use super::sealed_slices::{GIVEN, SLICES, by_time, part, rows_of_run};
use super::slice_table::{Form, SliceTable};
use super::window_changes::{Given, changes, result_rows};
use super::window_input::WindowInput;
use crate::batch::Batch;
use crate::coalesce::{BATCH_ROWS, Coalescer};
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;
use crate::time::{EventTimeMs, Watermark, event_times};
use crate::trigger::Pace;
use crate::window::Span;

/// Aggregates per key and window.
pub struct WindowAggregate {
    input: WindowInput,
    /// The windows, by start.
    slices: BTreeMap<EventTimeMs, Slice>,
    watermark: Watermark,
    pace: Pace,
}

/// A slice, and what has been said about it.
struct Slice {
    span: Span,
    table: SliceTable,
    /// What was last given out; `None` before that.
    given: Option<Given>,
    /// Whether rows have come since.
    has_news: bool,
}

impl WindowAggregate {
    /// Computes `aggregation` over rows, or over the partial states that a pre-aggregation made of them.
    ///
    /// # Errors
    /// A key's type cannot be a key.
    pub fn new(aggregation: Arc<Aggregation>, form: Form) -> Result<Self, OperatorError> {
        let input = WindowInput::new(aggregation, form)?;
        let pace = Pace::new(&input.aggregation.trigger);
        Ok(Self { input, slices: BTreeMap::new(), watermark: Watermark::UNKNOWN, pace })
    }

    fn has_fired(&self, span: Span) -> bool {
        span.end_ms <= self.watermark.0
    }

    fn is_gone(&self, span: Span) -> bool {
        self.input.is_gone(span, self.watermark)
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
                new.insert(Slice { span, table: self.input.table()?, given: None, has_news: true })
            }
        };
        slice.has_news = true;
        Ok(slice.table.add(from, rows, part, self.input.form)?)
    }

    /// The windows that have news to give: those that have ended, or all of them.
    fn due(&self, is_early: bool) -> Vec<EventTimeMs> {
        let ended = self.slices.values().take_while(|slice| is_early || self.has_fired(slice.span));
        ended.filter(|slice| slice.has_news).map(|slice| slice.span.start_ms).collect()
    }

    /// Gives out the windows that `due` names, in order of time, and forgets those that are gone.
    fn fire(&mut self, due: &[EventTimeMs], out: &mut dyn Output) -> Result<(), OperatorError> {
        let mut coalescer = Coalescer::new(BATCH_ROWS);
        for start_ms in due {
            let Some(mut slice) = self.slices.remove(start_ms) else { continue };
            let batch = if !self.input.aggregation.trigger.is_updating() {
                Some(self.results_of(&mut slice)?)
            } else {
                slice.has_news = false;
                let batch = self.changes_of(&mut slice)?;
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

    fn results_of(&self, slice: &mut Slice) -> Result<Batch, OperatorError> {
        let group_count = slice.table.group_count();
        let keys = slice.table.key_columns(&self.input.encoder)?;
        let results = slice.table.take_results()?;
        Ok(Batch::append(result_rows(&self.input.aggregation.schema, keys, slice.span, results, group_count)?))
    }

    /// What has been given out of windows that may still change.
    fn sealed_given(&self) -> Result<Vec<RecordBatch>, OperatorError> {
        let mut rows = Vec::new();
        for slice in self.slices.values() {
            let Some(given) = &slice.given else { continue };
            let keys = slice.table.key_columns(&self.input.encoder)?;
            let keys = keys.iter().map(|key| key.slice(0, given.group_count)).collect();
            let results = given.results.clone();
            rows.push(result_rows(&self.input.aggregation.schema, keys, slice.span, results, given.group_count)?);
        }
        Ok(rows)
    }

    /// The slice that begins at a moment, made if it is new.
    fn slice_at(&mut self, start_ms: EventTimeMs) -> Result<&mut Slice, OperatorError> {
        let span = self.input.aggregation.window.slice_of(start_ms);
        let table = self.input.table()?;
        Ok(self.slices.entry(start_ms).or_insert(Slice { span, table, given: None, has_news: false }))
    }

    fn restore_given(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let key_count = self.input.aggregation.keys.len();
        let missing = || OperatorError::Unsupported("these rows are no results of the aggregation".to_owned());
        let starts = event_times(rows.columns().get(key_count).ok_or_else(missing)?)?;
        for (start_ms, rows) in by_time(rows, &starts)? {
            let (keys, rest) = rows.columns().split_at(key_count);
            let encoded = self.input.encoder.encode(keys, rows.num_rows())?;
            let results = rest.get(2..).unwrap_or_default().to_vec();
            let aggregation = Arc::clone(&self.input.aggregation);
            let slice = self.slice_at(start_ms)?;
            slice.table.number(&encoded, rows.num_rows(), &aggregation.aggregates)?;
            slice.given = Some(Given::extend(slice.given.take(), results, rows.num_rows())?);
        }
        Ok(())
    }

    fn restore_slices(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let (starts, news) = self.input.aggregation.times_of_states(rows)?;
        let with_news: BTreeSet<EventTimeMs> =
            starts.values().iter().zip(news.values()).filter(|(_, news)| **news > 0).map(|(start, _)| *start).collect();
        for (start_ms, rows) in by_time(rows, &starts)? {
            let from = self.input.aggregation.of_states(&rows, &self.input.encoder)?;
            let slice = self.slice_at(start_ms)?;
            slice.has_news |= with_news.contains(&start_ms);
            slice.table.add(&from, 0..rows.num_rows(), 0..rows.num_rows(), Form::States)?;
        }
        Ok(())
    }

    /// How a slice's results differ from what was given out before; from now on they count as given out.
    fn changes_of(&self, slice: &mut Slice) -> Result<Option<Batch>, OperatorError> {
        let aggregation = &self.input.aggregation;
        let results = slice.table.results(&aggregation.aggregates)?;
        let keys = slice.table.key_columns(&self.input.encoder)?;
        let now = Given { results, group_count: slice.table.group_count() };
        let batch = changes(&aggregation.schema, &keys, slice.span, slice.given.take(), &now)?;
        slice.given = Some(now);
        Ok(batch)
    }
}

impl Operator for WindowAggregate {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (sliced, counts) = self.input.cut(&batch)?;
        if sliced.null_count > 0 {
            out.null_time(sliced.null_count as u64);
        }
        let mut contribution = None;
        let mut fire_again = Vec::new();
        for (span, part) in &sliced.slices {
            if self.has_fired(*span) {
                let late = (*span, self.watermark);
                self.input.report_late(&batch, sliced.rows(part), counts.as_ref(), late, out)?;
                if self.is_gone(*span) {
                    continue;
                }
                fire_again.push(span.start_ms);
            }
            if contribution.is_none() {
                contribution = Some(self.input.contribution(&batch, &sliced)?);
            }
            if let Some(contribution) = &contribution {
                self.add(*span, contribution, sliced.rows(part), part.clone())?;
            }
        }
        self.fire(&fire_again, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        let is_early = self.pace.on_watermark(watermark);
        self.watermark = watermark;
        let ended = self.slices.values().take_while(|slice| self.has_fired(slice.span));
        let gone = ended.filter(|slice| !slice.has_news && self.is_gone(slice.span)).map(|slice| slice.span.start_ms);
        for start_ms in gone.collect::<Vec<EventTimeMs>>() {
            self.slices.remove(&start_ms);
        }
        self.fire(&self.due(is_early), out)
    }

    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.pace.on_clock(now_ms) { self.fire(&self.due(true), out) } else { Ok(()) }
    }

    fn wants_clock(&self) -> bool {
        self.pace.wants_clock()
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let key_count = self.input.aggregation.keys.len();
        let mut parts = Vec::new();
        if self.input.aggregation.trigger.is_updating() {
            parts.push(part(GIVEN, &self.input.aggregation.schema, &self.sealed_given()?, key_count)?);
        }
        let mut slices = Vec::with_capacity(self.slices.len());
        for slice in self.slices.values_mut() {
            let run = slice.table.snapshot()?;
            slices.push(rows_of_run(&run, slice.span.start_ms, slice.has_news.into(), &self.input)?);
        }
        parts.push(part(SLICES, &self.input.aggregation.partial_schema(), &slices, key_count)?);
        Ok(parts)
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        if name == GIVEN { self.restore_given(&rows) } else { self.restore_slices(&rows) }
    }

    fn resume(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    fn state_size_bytes(&self) -> usize {
        let given = |slice: &Slice| slice.given.as_ref().map_or(0, Given::size_bytes);
        self.slices.values().map(|slice| slice.table.size_bytes() + given(slice)).sum()
    }
}
