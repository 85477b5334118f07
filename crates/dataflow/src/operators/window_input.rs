//! Rows, or the partial states that a pre-aggregation made of them, on their way into the slices of a window aggregation.

use std::sync::Arc;

use arrow::array::Int64Array;

use super::aggregation::{Aggregation, Contribution};
use super::late::{Lateness, report_late};
use super::slice_table::{Form, SliceTable};
use super::window_assign::time_column;
use crate::batch::Batch;
use crate::key::KeyEncoder;
use crate::operator::{OperatorError, Output};
use crate::slice::SlicedRows;
use crate::time::{Watermark, event_times};
use crate::window::Span;

/// Takes batches apart for an aggregation.
pub(crate) struct WindowInput {
    pub(crate) aggregation: Arc<Aggregation>,
    pub(crate) form: Form,
    pub(crate) encoder: KeyEncoder,
}

impl WindowInput {
    pub(crate) fn new(aggregation: Arc<Aggregation>, form: Form) -> Result<Self, OperatorError> {
        let encoder = aggregation.key_encoder()?;
        Ok(Self { aggregation, form, encoder })
    }

    /// An empty table of the aggregation's groups.
    pub(crate) fn table(&self) -> Result<SliceTable, OperatorError> {
        Ok(SliceTable::new(&self.aggregation.aggregates, &self.encoder)?)
    }

    /// The slices of a batch's rows, and how many rows each of its rows stands for (`None`: one).
    pub(crate) fn cut(&self, batch: &Batch) -> Result<(SlicedRows, Option<Int64Array>), OperatorError> {
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

    /// What a batch brings, in the order of its slices.
    pub(crate) fn contribution(&self, batch: &Batch, sliced: &SlicedRows) -> Result<Contribution, OperatorError> {
        let mut contribution = match self.form {
            Form::Rows => self.aggregation.of_rows(&batch.rows, &self.encoder)?,
            Form::States => self.aggregation.of_states(&batch.rows, &self.encoder)?,
        };
        if let Some(order) = &sliced.order {
            contribution.reorder(order)?;
        }
        Ok(contribution)
    }

    /// Whether the watermark has passed the window's end by the allowed lateness.
    pub(crate) fn is_gone(&self, window: Span, watermark: Watermark) -> bool {
        self.aggregation.trigger.is_over(window.end_ms, watermark)
    }

    /// Reports `rows` of a batch, whose last window is `window`, as late.
    pub(crate) fn report_late(
        &self,
        batch: &Batch,
        rows: impl Iterator<Item = usize>,
        counts: Option<&Int64Array>,
        (window, watermark): (Span, Watermark),
        out: &mut dyn Output,
    ) -> Result<(), OperatorError> {
        let rows: Vec<u32> = rows.map(|row| row as u32).collect();
        let row_count = match counts {
            Some(counts) => {
                rows.iter().filter_map(|row| counts.values().get(*row as usize)).sum::<i64>().unsigned_abs()
            }
            None => rows.len() as u64,
        };
        let behind_ms = watermark.0.saturating_sub(window.end_ms);
        let lateness = Lateness { row_count, behind_ms, dropped: self.is_gone(window, watermark) };
        Ok(report_late(batch, &rows, lateness, out)?)
    }
}
