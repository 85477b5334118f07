//! Window aggregation over windows that share slices: hopping and cumulating ones.
//!
//! A row is aggregated once, into its slice, however many windows it is in; a window's result is the merge of its slices
//! (see [`super::merged_slices`]). Windows fire in order of their ends, and each of them if there is a row in it.
//!
//! With early results, windows that have not ended give what they have so far, each if a slice of it has rows that it has
//! not given yet.
//!
//! A row is late when all its windows have fired. One that is late for some of them only counts in the others; with an
//! allowed lateness it also corrects those that have fired, as [`super::window_aggregate`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_arrays;

use super::aggregation::Aggregation;
use super::emit_in_parts;
use super::merged_slices::{MergedSlices, Slices};
use super::sealed_slices::{GIVEN, SLICES, by_time, part, rows_of_run};
use super::slice_table::Form;
use super::window_changes::{Given, changes, result_rows};
use super::window_input::WindowInput;
use crate::batch::Batch;
use crate::coalesce::{BATCH_ROWS, Coalescer};
use crate::group::GroupTable;
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;
use crate::time::{EventTimeMs, Watermark, event_times};
use crate::trigger::Pace;
use crate::window::Span;

/// Aggregates per key and window.
pub struct SlicedAggregate {
    input: WindowInput,
    slices: Slices,
    merged: MergedSlices,
    /// What windows gave out, by end, while it may change.
    given: BTreeMap<EventTimeMs, (GroupTable, Given)>,
    /// The slices to which rows have come since the last early results, by start; `None` where there are none.
    news: Option<BTreeSet<EventTimeMs>>,
    watermark: Watermark,
    pace: Pace,
}

impl SlicedAggregate {
    /// Computes `aggregation` over rows, or over the partial states that a pre-aggregation made of them.
    ///
    /// # Errors
    /// A key's type cannot be a key.
    pub fn new(aggregation: Arc<Aggregation>, form: Form) -> Result<Self, OperatorError> {
        let merged = MergedSlices::new(aggregation.window);
        let trigger = aggregation.trigger;
        Ok(Self {
            input: WindowInput::new(aggregation, form)?,
            slices: Slices::new(),
            merged,
            given: BTreeMap::new(),
            news: trigger.early.map(|_| BTreeSet::new()),
            watermark: Watermark::UNKNOWN,
            pace: Pace::new(&trigger),
        })
    }

    fn is_gone(&self, window: Span) -> bool {
        self.input.is_gone(window, self.watermark)
    }

    /// The first window to end after `after` that has a row in it.
    fn next_window(&self, after: EventTimeMs) -> Option<Span> {
        let window = self.input.aggregation.window;
        // A window that ends later begins later than this.
        let from = after.saturating_sub(window.size_ms());
        self.slices.range(from..).find_map(|(start, _)| window.window_after(window.slice_from(*start), after))
    }

    /// The windows of a slice that have fired and can still be corrected.
    fn fired_windows(&self, slice: Span) -> impl Iterator<Item = Span> + '_ {
        let windows = self.input.aggregation.window.windows_of(slice.start_ms);
        let fired = windows.take_while(|window| window.end_ms <= self.watermark.0);
        fired.filter(|window| !self.is_gone(*window))
    }

    /// Whether a window of a slice has fired.
    fn has_fired_in_part(&self, slice: Span) -> bool {
        let first = self.input.aggregation.window.window_after(slice, EventTimeMs::MIN);
        first.is_some_and(|first| first.end_ms <= self.watermark.0)
    }

    /// The windows that end after `after` and by `until` and have something new to give, in order of their ends.
    fn windows(&self, mut after: EventTimeMs, until: EventTimeMs) -> Vec<Span> {
        let mut windows = Vec::new();
        while let Some(window) = self.next_window(after).filter(|window| window.end_ms <= until) {
            after = window.end_ms;
            if self.news.as_ref().is_none_or(|news| news.range(window.start_ms..window.end_ms).next().is_some()) {
                windows.push(window);
            }
        }
        windows
    }

    /// Gives windows out, which come in order of their ends; `merged` is what has been merged for them so far.
    fn fire_all(
        &mut self,
        windows: Vec<Span>,
        merged: &mut MergedSlices,
        out: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let mut coalescer = Coalescer::new(BATCH_ROWS);
        for window in windows {
            if let Some(batch) = self.fire(window, merged)?
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

    /// Gives out what windows that have not ended have so far.
    fn fire_early(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        let open = self.windows(self.watermark.0, EventTimeMs::MAX);
        self.news.iter_mut().for_each(BTreeSet::clear);
        self.fire_all(open, &mut MergedSlices::new(self.input.aggregation.window), out)
    }

    fn fire(&mut self, window: Span, merged: &mut MergedSlices) -> Result<Option<Batch>, OperatorError> {
        let mut table = self.input.table()?;
        merged.add_to(&mut table, window, &mut self.slices, &self.input)?;
        if !self.input.aggregation.trigger.is_updating() {
            let keys = table.key_columns(&self.input.encoder)?;
            let group_count = table.group_count();
            let schema = &self.input.aggregation.schema;
            let rows = result_rows(schema, keys, window, table.take_results()?, group_count)?;
            return Ok(Some(Batch::append(rows)));
        }
        let results = table.take_results()?;
        let (before, groups, results) = match self.given.remove(&window.end_ms) {
            Some((mut groups, before)) => {
                let order = in_order_of(&mut groups, &table.into_groups());
                (Some(before), groups, take_arrays(&results, &order, None)?)
            }
            None => (None, table.into_groups(), results),
        };
        let keys = groups.key_columns(&self.input.encoder)?;
        let now = Given { group_count: groups.len(), results };
        let batch = changes(&self.input.aggregation.schema, &keys, window, before, &now)?;
        if !self.is_gone(window) {
            self.given.insert(window.end_ms, (groups, now));
        }
        Ok(batch)
    }

    /// What has been given out of windows that may still change.
    fn sealed_given(&self) -> Result<Vec<RecordBatch>, OperatorError> {
        let size_ms = self.input.aggregation.window.size_ms();
        let rows = |(end_ms, (groups, given)): (&EventTimeMs, &(GroupTable, Given))| {
            // Only its end tells a window here.
            let window = Span { start_ms: end_ms.saturating_sub(size_ms), end_ms: *end_ms };
            let keys = groups.key_columns(&self.input.encoder)?;
            Ok(result_rows(&self.input.aggregation.schema, keys, window, given.results.clone(), given.group_count)?)
        };
        self.given.iter().map(rows).collect()
    }

    fn restore_given(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let key_count = self.input.aggregation.keys.len();
        let missing = || OperatorError::Unsupported("these rows are no results of the aggregation".to_owned());
        let ends = event_times(rows.columns().get(key_count + 1).ok_or_else(missing)?)?;
        for (end_ms, rows) in by_time(rows, &ends)? {
            let (keys, rest) = rows.columns().split_at(key_count);
            let encoded = self.input.encoder.encode(keys, rows.num_rows())?;
            let results = rest.get(2..).unwrap_or_default().to_vec();
            let (mut groups, given) = match self.given.remove(&end_ms) {
                Some((groups, given)) => (groups, Some(given)),
                None => (GroupTable::new(&self.input.encoder), None),
            };
            groups.intern(&encoded, 0..rows.num_rows(), &mut Vec::new());
            self.given.insert(end_ms, (groups, Given::extend(given, results, rows.num_rows())?));
        }
        Ok(())
    }

    fn restore_slices(&mut self, rows: &RecordBatch) -> Result<(), OperatorError> {
        let (starts, news) = self.input.aggregation.times_of_states(rows)?;
        if let Some(known) = &mut self.news {
            known.extend(starts.values().iter().zip(news.values()).filter(|(_, n)| **n > 0).map(|(start, _)| *start));
        }
        for (start_ms, rows) in by_time(rows, &starts)? {
            let from = self.input.aggregation.of_states(&rows, &self.input.encoder)?;
            let slice = self.slices.entry(start_ms).or_default();
            let table = match &mut slice.open {
                Some(open) => open,
                closed => closed.insert(self.input.table()?),
            };
            table.add(&from, 0..rows.num_rows(), 0..rows.num_rows(), Form::States)?;
        }
        Ok(())
    }

    /// Forgets slices whose windows are all gone.
    fn forget(&mut self) {
        let window = self.input.aggregation.window;
        while let Some(first) = self.slices.first_entry() {
            let last = window.last_window(window.slice_from(*first.key()));
            if last.is_some_and(|last| !self.input.is_gone(last, self.watermark)) {
                break;
            }
            let (start_ms, _) = first.remove_entry();
            if let Some(news) = &mut self.news {
                news.remove(&start_ms);
            }
        }
        if self.slices.is_empty() {
            self.merged.forget();
        }
        while let Some(first) = self.given.first_entry() {
            if !self.input.is_gone(Span { start_ms: *first.key(), end_ms: *first.key() }, self.watermark) {
                break;
            }
            first.remove();
        }
    }
}

impl Operator for SlicedAggregate {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (sliced, counts) = self.input.cut(&batch)?;
        if sliced.null_count > 0 {
            out.null_time(sliced.null_count as u64);
        }
        let mut contribution = None;
        let mut fire_again = BTreeMap::new();
        for (span, part) in &sliced.slices {
            let Some(last) = self.input.aggregation.window.last_window(*span) else { continue };
            if last.end_ms <= self.watermark.0 {
                let late = (last, self.watermark);
                self.input.report_late(&batch, sliced.rows(part), counts.as_ref(), late, out)?;
                if self.is_gone(last) {
                    continue;
                }
            }
            if contribution.is_none() {
                contribution = Some(self.input.contribution(&batch, &sliced)?);
            }
            let Some(contribution) = &contribution else { continue };
            let slice = self.slices.entry(span.start_ms).or_default();
            let table = match &mut slice.open {
                Some(open) => open,
                closed => closed.insert(self.input.table()?),
            };
            table.add(contribution, sliced.rows(part), part.clone(), self.input.form)?;
            if self.has_fired_in_part(*span) {
                self.merged.forget();
            }
            if let Some(news) = &mut self.news {
                news.insert(span.start_ms);
            }
            if self.input.aggregation.trigger.allowed_lateness_ms > 0 {
                fire_again.extend(self.fired_windows(*span).map(|window| (window.end_ms, window)));
            }
        }
        self.fire_all(fire_again.into_values().collect(), &mut MergedSlices::Outright, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        let fired_until = std::mem::replace(&mut self.watermark, watermark).0;
        let ended = self.windows(fired_until, watermark.0);
        let mut merged = std::mem::replace(&mut self.merged, MergedSlices::Outright);
        self.fire_all(ended, &mut merged, out)?;
        self.merged = merged;
        self.forget();
        if self.pace.on_watermark(watermark) { self.fire_early(out) } else { Ok(()) }
    }

    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        if self.pace.on_clock(now_ms) { self.fire_early(out) } else { Ok(()) }
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
        for (start_ms, slice) in &mut self.slices {
            let is_news = self.news.as_ref().is_some_and(|news| news.contains(start_ms));
            let run = slice.seal(&self.input)?;
            slices.push(rows_of_run(&run, *start_ms, is_news.into(), &self.input)?);
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
        let slices = self.slices.values().map(|slice| slice.size_bytes());
        let given = self.given.values().map(|(groups, given)| groups.size_bytes() + given.size_bytes());
        slices.sum::<usize>() + given.sum::<usize>() + self.merged.size_bytes()
    }
}

/// Adds the groups of `other` to `groups`, which are all among them; and says which group of `other` each one is. (Groups
/// are not numbered before they are added up: accumulators take it that a group has a row as soon as it has a number.)
fn in_order_of(groups: &mut GroupTable, other: &GroupTable) -> UInt32Array {
    let mut numbers = Vec::with_capacity(other.len());
    groups.intern_table(other, &mut numbers);
    let mut order = vec![0_u32; groups.len()];
    for (group, number) in numbers.into_iter().enumerate() {
        if let Some(place) = order.get_mut(number) {
            *place = group as u32;
        }
    }
    UInt32Array::from(order)
}
