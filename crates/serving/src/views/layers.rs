//! The two layers of a `LAMBDA` view, and how they are read as one.
//!
//! The *batch view* holds the windows that have ended at the *boundary* or before, computed as a whole from the archive; the
//! *realtime view*, a stream's result, holds those after it. A reader takes both and the boundary under one lock, so it sees no
//! row twice and misses none, whatever moves meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, TimeUnit, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use mulgil_sql::layers::Layers;
use serde::{Deserialize, Serialize};

/// How the note of a batch view is written.
const FORMAT: u32 = 1;

/// How many windows a note says the drift of: the latest.
const DRIFT_WINDOWS_MAX: usize = 1_000;

/// A version of a batch view.
#[derive(Clone, Debug)]
pub(crate) struct BatchView {
    pub(crate) note: BatchNote,
    pub(crate) rows: Vec<RecordBatch>,
}

/// What is noted of a batch view: its replacement is the moment at which the boundary moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchNote {
    pub(crate) format: u32,
    /// Its number, from 1.
    pub(crate) version: u64,
    /// Windows that have ended then or before come from it, in milliseconds since the epoch.
    pub(crate) boundary_ms: i64,
    /// What the realtime view has forgotten: windows that had ended then.
    pub(crate) floor_ms: i64,
    /// When it was computed, in milliseconds since the epoch.
    pub(crate) made_ms: i64,
    /// What the rows were computed by: another definition needs another batch view.
    pub(crate) meaning: Vec<String>,
    /// How far the realtime view had been off.
    pub(crate) drift: Vec<WindowDrift>,
}

/// How far the realtime view had been off in a window, once batch has spoken. Floating-point numbers that are the same to seven
/// digits are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowDrift {
    /// The end of the window, in milliseconds since the epoch.
    pub window_end_ms: i64,
    /// Rows that batch has.
    pub batch_rows: u64,
    /// Rows that the stream had.
    pub realtime_rows: u64,
    /// Rows that the stream had with other values.
    pub differing: u64,
    /// Rows that the stream did not have.
    pub missing: u64,
    /// Rows that the stream had and batch has not.
    pub surplus: u64,
    /// The version of the batch view that has said so.
    pub version: u64,
}

impl BatchNote {
    /// The first version, or the one after another.
    pub(crate) fn after(former: Option<&Self>, boundary_ms: i64, meaning: Vec<String>, now_ms: i64) -> Self {
        Self {
            format: FORMAT,
            version: former.map_or(1, |former| former.version + 1),
            // What batch has spoken of it speaks of for ever.
            boundary_ms: former.map_or(boundary_ms, |former| former.boundary_ms.max(boundary_ms)),
            floor_ms: former.map_or(i64::MIN, |former| former.floor_ms),
            made_ms: now_ms,
            meaning,
            drift: former.map_or_else(Vec::new, |former| former.drift.clone()),
        }
    }

    /// Notes the drift of windows in place of what was known of them.
    pub(crate) fn add_drift(&mut self, found: Vec<WindowDrift>) {
        let known = std::mem::take(&mut self.drift).into_iter().chain(found);
        let by_window: BTreeMap<i64, WindowDrift> = known.map(|drift| (drift.window_end_ms, drift)).collect();
        let surplus = by_window.len().saturating_sub(DRIFT_WINDOWS_MAX);
        self.drift = by_window.into_values().skip(surplus).collect();
    }
}

/// The ends of the windows of rows, in milliseconds since the epoch; null where a row does not say.
pub(crate) fn window_ends(layers: Layers, rows: &RecordBatch) -> Result<Vec<Option<i64>>, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("there is no column {}", layers.column));
    let column = rows.columns().get(layers.column).ok_or_else(missing)?;
    let times = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
    let times = times.as_primitive::<TimestampMillisecondType>();
    Ok(times.iter().map(|time| time.map(|ms| layers.end_of(ms))).collect())
}

/// The rows of windows for which `is_wanted`, by their end.
pub(crate) fn rows_where(
    layers: Layers,
    rows: &RecordBatch,
    is_wanted: impl Fn(Option<i64>) -> bool,
) -> Result<RecordBatch, ArrowError> {
    let wanted: BooleanArray = window_ends(layers, rows)?.into_iter().map(|end| Some(is_wanted(end))).collect();
    filter_record_batch(rows, &wanted)
}

/// What a query sees: the batch view up to the boundary, the realtime view after it.
pub(crate) fn merged(
    layers: Layers,
    batch: &BatchView,
    realtime: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut rows = batch.rows.clone();
    rows.extend(after_boundary(layers, batch.note.boundary_ms, realtime)?);
    rows.retain(|batch| batch.num_rows() > 0);
    Ok(rows)
}

/// What a query sees of the realtime view.
pub(crate) fn after_boundary(
    layers: Layers,
    boundary_ms: i64,
    realtime: Vec<RecordBatch>,
) -> Result<Vec<RecordBatch>, ArrowError> {
    // A row that does not say of which window it is has been computed by nobody else.
    let is_wanted = |end: Option<i64>| end.is_none_or(|end| end > boundary_ms);
    realtime.iter().map(|rows| rows_where(layers, rows, is_wanted)).collect()
}

/// How far the stream had been off in the windows that ended in `(after_ms, until_ms]`.
pub(crate) fn drift(
    layers: Layers,
    layers_of_rows: (&[RecordBatch], &[RecordBatch]),
    (after_ms, until_ms): (i64, i64),
    version: u64,
) -> Result<Vec<WindowDrift>, ArrowError> {
    let end_within = |end: i64| end > after_ms && end <= until_ms;
    let ends = |rows: &RecordBatch| -> Result<Vec<Option<i64>>, ArrowError> {
        let ends = window_ends(layers, rows)?.into_iter();
        Ok(ends.map(|end| end.filter(|end| end_within(*end))).collect())
    };
    differences(layers_of_rows, version, ends)
}

/// How far readers had been off about all that happened before a boundary, where rows have no windows.
pub(crate) fn drift_at(
    boundary_ms: i64,
    layers_of_rows: (&[RecordBatch], &[RecordBatch]),
    version: u64,
) -> Result<Vec<WindowDrift>, ArrowError> {
    differences(layers_of_rows, version, |rows| Ok(vec![Some(boundary_ms); rows.num_rows()]))
}

/// How the rows of the two layers differ, by what `ends` says of each; rows of which it says nothing are left out.
fn differences(
    (batch, realtime): (&[RecordBatch], &[RecordBatch]),
    version: u64,
    ends: impl Fn(&RecordBatch) -> Result<Vec<Option<i64>>, ArrowError>,
) -> Result<Vec<WindowDrift>, ArrowError> {
    /// By window: how often each row is there in batch, less how often in the stream.
    type Rows = HashMap<Box<[u8]>, i64>;
    let mut windows: BTreeMap<i64, (WindowDrift, Rows)> = BTreeMap::new();
    for (parts, sign) in [(batch, 1_i64), (realtime, -1)] {
        for rows in parts {
            let keys = keys_of(rows)?;
            for (end, key) in ends(rows)?.into_iter().zip(keys).filter_map(|(end, key)| Some((end?, key))) {
                let (window, rows) = windows.entry(end).or_default();
                if sign > 0 {
                    window.batch_rows += 1
                } else {
                    window.realtime_rows += 1
                }
                *rows.entry(key).or_default() += sign;
            }
        }
    }
    let told = |(window_end_ms, (window, rows)): (i64, (WindowDrift, Rows))| {
        let missing: u64 = rows.values().filter(|count| **count > 0).map(|count| count.unsigned_abs()).sum();
        let surplus: u64 = rows.values().filter(|count| **count < 0).map(|count| count.unsigned_abs()).sum();
        // One that is there otherwise is missing as it should be, and there as it should not.
        let differing = missing.min(surplus);
        let (missing, surplus) = (missing - differing, surplus - differing);
        WindowDrift { window_end_ms, differing, missing, surplus, version, ..window }
    };
    Ok(windows.into_iter().map(told).collect())
}

/// Each row as bytes, by which it is the same as another or not.
fn keys_of(rows: &RecordBatch) -> Result<Vec<Box<[u8]>>, ArrowError> {
    let rounded = |column: &ArrayRef| match column.data_type() {
        // The same numbers added up in another order.
        DataType::Float64 => cast(column, &DataType::Float32),
        _ => Ok(Arc::clone(column)),
    };
    let columns = rows.columns().iter().map(rounded).collect::<Result<Vec<ArrayRef>, _>>()?;
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    Ok(keys.iter().map(|key| key.data().into()).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use arrow::array::{Float64Array, TimestampMillisecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn rows(of: &[(i64, f64)]) -> RecordBatch {
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        let schema = Schema::new(vec![Field::new("end", time, true), Field::new("x", DataType::Float64, true)]);
        let ends: TimestampMillisecondArray = of.iter().map(|(end, _)| Some(*end)).collect();
        let values: Float64Array = of.iter().map(|(_, x)| Some(*x)).collect();
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ends), Arc::new(values)]).unwrap()
    }

    const BY_END: Layers = Layers::by_end(0);

    #[test]
    fn a_row_that_differs_is_told_from_one_that_is_missing() {
        let batch = rows(&[(10, 1.0), (10, 2.0), (10, 3.0), (20, 1.0), (30, 0.1 + 0.2), (40, 9.0)]);
        let realtime = rows(&[(10, 1.0), (10, 2.5), (20, 1.0), (20, 7.0), (30, 0.3), (50, 9.0)]);
        let found = drift(BY_END, (&[batch], &[realtime]), (0, 30), 4).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|w| (w.window_end_ms, w.batch_rows, w.realtime_rows, w.differing, w.missing, w.surplus))
            .collect();
        assert_eq!(told, [(10, 3, 2, 1, 1, 0), (20, 1, 2, 0, 0, 1), (30, 1, 1, 0, 0, 0)]);
    }

    #[test]
    fn each_window_is_read_from_one_layer() {
        let mut note = BatchNote::after(None, 20, Vec::new(), 0);
        let batch = BatchView { note: note.clone(), rows: vec![rows(&[(10, 1.0), (20, 2.0)])] };
        let seen = merged(BY_END, &batch, vec![rows(&[(20, 7.0), (30, 3.0)]), rows(&[(10, 7.0)])]).unwrap();
        assert_eq!(seen, [rows(&[(10, 1.0), (20, 2.0)]), rows(&[(30, 3.0)])]);
        // The boundary never goes back.
        note = BatchNote::after(Some(&note), 10, Vec::new(), 1);
        assert_eq!((note.version, note.boundary_ms), (2, 20));
    }
}
