//! A ranking per window: final, and forgotten, when the watermark passes the window's end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::{Array, UInt32Array};
use arrow::datatypes::SchemaRef;

use super::continuous::rows_of_changes;
use super::ranking::Ranking;
use super::{RankDefinition, WindowColumn};
use crate::batch::{Batch, take_rows};
use crate::coalesce::BATCH_ROWS;
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::late::{Lateness, report_late};
use crate::operators::window_assign::time_column;
use crate::time::{EventTimeMs, Watermark, event_times};

/// Keeps the first rows of every partition of a window.
pub(super) struct WindowedRank {
    definition: RankDefinition,
    window: WindowColumn,
    schema: SchemaRef,
    /// The open windows by their end.
    windows: BTreeMap<EventTimeMs, Ranking>,
    watermark: Watermark,
}

impl WindowedRank {
    pub(super) fn new(definition: RankDefinition, window: WindowColumn, schema: SchemaRef) -> Self {
        Self { definition, window, schema, windows: BTreeMap::new(), watermark: Watermark::UNKNOWN }
    }
}

impl Operator for WindowedRank {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let ends = event_times(time_column(&batch, self.window.column)?)?;
        if ends.null_count() > 0 {
            out.null_time(ends.null_count() as u64);
        }
        let mut rows_by_end: BTreeMap<EventTimeMs, Vec<u32>> = BTreeMap::new();
        for (row, end) in ends.iter().enumerate() {
            if let Some(end) = end.map(|value| value.saturating_add(self.window.until_end_ms)) {
                rows_by_end.entry(end).or_default().push(row as u32);
            }
        }
        for (end, rows) in rows_by_end {
            if end <= self.watermark.0 {
                let behind_ms = self.watermark.0.saturating_sub(end);
                report_late(&batch, &rows, Lateness { row_count: rows.len() as u64, behind_ms, dropped: true }, out)?;
                continue;
            }
            let of_window = if rows.len() == batch.num_rows() {
                batch.rows.clone()
            } else {
                take_rows(&batch.rows, &UInt32Array::from(rows))?
            };
            let ranking = match self.windows.entry(end) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Ranking::new(&self.definition)?),
            };
            ranking.insert(&of_window)?;
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.watermark = watermark;
        while let Some(window) = self.windows.first_entry().filter(|window| *window.key() <= watermark.0) {
            let mut ranking = window.remove();
            let changes = ranking.changes()?;
            for part in changes.chunks(BATCH_ROWS) {
                let columns = ranking.gather(part)?;
                out.emit(Batch::append(rows_of_changes(columns, part, self.definition.with_rank, &self.schema)?));
            }
        }
        Ok(())
    }

    fn state_size_bytes(&self) -> usize {
        self.windows.values().map(Ranking::size_bytes).sum()
    }
}
