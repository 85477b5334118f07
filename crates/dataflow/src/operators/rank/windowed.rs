//! A ranking per window: final, and forgotten, when the watermark passes the window's end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::continuous::rows_of_changes;
use super::ranking::Ranking;
use super::{RankDefinition, WindowColumn};
use crate::batch::{Batch, take_rows};
use crate::coalesce::BATCH_ROWS;
use crate::operator::{Operator, OperatorError, Output};
use crate::operators::late::{Lateness, report_late};
use crate::operators::window_assign::time_column;
use crate::state::{Extent, StatePart};
use crate::time::{EventTimeMs, Watermark, event_times};

/// Keeps the first rows of every partition of a window.
pub(super) struct WindowedRank {
    definition: RankDefinition,
    window: WindowColumn,
    schema: SchemaRef,
    /// The open windows by their end.
    windows: BTreeMap<EventTimeMs, Ranking>,
    watermark: Watermark,
    /// The names of the rows that have been sealed, of windows that have gone since. `None` where that is not known.
    gone: Option<Vec<RecordBatch>>,
}

/// When the names of so many rows have come together, all rows that are there are sealed anew instead.
const GONE_MAX: usize = 1 << 20;

impl WindowedRank {
    pub(super) fn new(definition: RankDefinition, window: WindowColumn, schema: SchemaRef) -> Self {
        Self { definition, window, schema, windows: BTreeMap::new(), watermark: Watermark::UNKNOWN, gone: None }
    }

    /// The rows of each window, by its end; and how many have none.
    fn rows_by_end(&self, batch: &Batch) -> Result<(BTreeMap<EventTimeMs, Vec<u32>>, usize), OperatorError> {
        let ends = event_times(time_column(batch, self.window.column)?)?;
        let mut rows_by_end: BTreeMap<EventTimeMs, Vec<u32>> = BTreeMap::new();
        for (row, end) in ends.iter().enumerate() {
            if let Some(end) = end.map(|value| value.saturating_add(self.window.until_end_ms)) {
                rows_by_end.entry(end).or_default().push(row as u32);
            }
        }
        Ok((rows_by_end, ends.null_count()))
    }

    /// The ranking of a window, made if it is new.
    fn window(&mut self, end: EventTimeMs) -> Result<&mut Ranking, OperatorError> {
        Ok(match self.windows.entry(end) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Ranking::new(&self.definition)?),
        })
    }

    /// Notes that the sealed rows of a window are gone.
    fn note_gone(&mut self, ranking: &Ranking) -> Result<(), OperatorError> {
        if let Some(gone) = &mut self.gone {
            gone.extend(ranking.gone()?);
            if gone.iter().map(RecordBatch::num_rows).sum::<usize>() > GONE_MAX {
                self.gone = None;
            }
        }
        Ok(())
    }
}

impl Operator for WindowedRank {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        let (rows_by_end, null_count) = self.rows_by_end(&batch)?;
        if null_count > 0 {
            out.null_time(null_count as u64);
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
            self.window(end)?.insert(&of_window)?;
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
            self.note_gone(&ranking)?;
        }
        Ok(())
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let gone = self.gone.take().filter(|_| !whole);
        // An empty ranking says what the columns are.
        let mut part = Ranking::new(&self.definition)?.seal(true, gone.is_some())?;
        let mut all_gone = gone.unwrap_or_default();
        let as_changes = matches!(part.extent, Extent::Changes { .. });
        for ranking in self.windows.values_mut() {
            let of_window = ranking.seal(!as_changes, as_changes)?;
            part.rows.append(of_window.rows);
            if let Extent::Changes { gone, .. } = of_window.extent {
                all_gone.push(gone);
            }
        }
        if let Extent::Changes { gone, .. } = &mut part.extent {
            *gone = concat_batches(&gone.schema(), &all_gone)?;
        }
        self.gone = Some(Vec::new());
        Ok(vec![part])
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        let rows = Batch::append(Ranking::new(&self.definition)?.rows_of_part(name, &rows)?);
        for (end, of_window) in self.rows_by_end(&rows)?.0 {
            let of_window = take_rows(&rows.rows, &UInt32Array::from(of_window))?;
            self.window(end)?.restore_new(&of_window)?;
        }
        self.gone.get_or_insert_default();
        Ok(())
    }

    fn resume(&mut self, watermark: Watermark) {
        self.watermark = watermark;
    }

    fn state_size_bytes(&self) -> usize {
        self.windows.values().map(Ranking::size_bytes).sum()
    }
}
