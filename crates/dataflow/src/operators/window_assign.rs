//! Window assignment: gives each row once for each window it belongs to, with that window's bounds. Rows without a time
//! belong to none.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{filter, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, SchemaRef};

use super::rows_of;
use crate::batch::Batch;
use crate::graph::Window;
use crate::operator::{Operator, OperatorError, Output};
use crate::state::StatePart;
use crate::time::{event_times, timestamps};
use crate::window::Span;

/// Appends `window_start`, `window_end`, `window_time`.
#[derive(Debug)]
pub struct WindowAssign {
    column: usize,
    window: Window,
    schema: SchemaRef,
}

impl WindowAssign {
    /// Assigns rows to `window` by the time in `column`, giving rows of `schema`: the input's columns and three more.
    pub fn new(column: usize, window: Window, schema: SchemaRef) -> Self {
        Self { column, window, schema }
    }

    /// The windows of the rows, row after row; and which row each is for, where that is not simply the next.
    fn windows(&self, times: &Int64Array) -> (Vec<Span>, Option<UInt32Array>) {
        if self.window.is_tumbling() {
            let mut last: Option<Span> = None;
            let span_of = |time: &i64| {
                // Rows next to each other are mostly in the same window.
                let span = last.filter(|span| span.contains(*time)).unwrap_or_else(|| self.window.slice_of(*time));
                last = Some(span);
                span
            };
            return (times.values().iter().map(span_of).collect(), None);
        }
        let (mut spans, mut rows) = (Vec::new(), Vec::new());
        for (row, time) in times.values().iter().enumerate() {
            spans.extend(self.window.windows_of(*time));
            rows.resize(spans.len(), row as u32);
        }
        (spans, Some(UInt32Array::from(rows)))
    }

    fn bounds(&self, spans: &[Span]) -> Result<[ArrayRef; 3], OperatorError> {
        let column = |nth_from_end: usize, bound: fn(&Span) -> i64| {
            let fields = self.schema.fields();
            let field = fields.len().checked_sub(nth_from_end).and_then(|index| fields.get(index));
            timestamps(spans.iter().map(bound).collect(), field.map_or(&DataType::Null, |field| field.data_type()))
        };
        Ok([column(3, |span| span.start_ms)?, column(2, |span| span.end_ms)?, column(1, |span| span.end_ms - 1)?])
    }
}

impl Operator for WindowAssign {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (batch, times) = timed_rows(batch, self.column, out)?;
        let (spans, rows) = self.windows(&times);
        let batch = rows.map_or(Ok(batch.clone()), |rows| batch.take(&rows))?;
        let mut columns = batch.rows.columns().to_vec();
        columns.extend(self.bounds(&spans)?);
        let rows = rows_of(&self.schema, columns, batch.num_rows())?;
        out.emit(batch.with_rows(rows));
        Ok(())
    }

    fn seal(&mut self, _whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        Ok(Vec::new())
    }
}

/// The rows that have a time in `column`, and their times. The others are reported.
pub(super) fn timed_rows(
    batch: Batch,
    column: usize,
    out: &mut dyn Output,
) -> Result<(Batch, Int64Array), OperatorError> {
    let times = event_times(time_column(&batch, column)?)?;
    if times.null_count() == 0 {
        return Ok((batch, times));
    }
    out.null_time(times.null_count() as u64);
    let timed = is_not_null(&times)?;
    let kinds = match &batch.kinds {
        Some(kinds) => Some(filter(kinds, &timed)?.as_primitive().clone()),
        None => None,
    };
    let times = filter(&times, &timed)?.as_primitive().clone();
    Ok((Batch { rows: filter_record_batch(&batch.rows, &timed)?, kinds }, times))
}

/// The time column of a batch.
pub(crate) fn time_column(batch: &Batch, column: usize) -> Result<&ArrayRef, OperatorError> {
    let missing = || OperatorError::Unsupported(format!("there is no time column {column}"));
    batch.rows.columns().get(column).ok_or_else(missing)
}
