//! Rows that come too late: counted, a few of them shown, and passed aside as they are where somebody takes them.

use std::borrow::Cow;

use arrow::array::UInt32Array;
use arrow::error::ArrowError;

use crate::batch::{Batch, take_rows};
use crate::operator::{LateRows, Output};

/// How many late rows of a batch are shown.
const SAMPLE_ROWS: usize = 3;

/// How late rows are, and what becomes of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lateness {
    /// How many input rows they stand for.
    pub(crate) row_count: u64,
    /// How far the watermark had passed the end of their window.
    pub(crate) behind_ms: i64,
    /// Whether they are lost to the result.
    pub(crate) dropped: bool,
}

/// Reports some rows of a batch of an operator's only input, by index. No rows are no report.
pub(crate) fn report_late(
    batch: &Batch,
    rows: &[u32],
    lateness: Lateness,
    out: &mut dyn Output,
) -> Result<(), ArrowError> {
    report_late_of(0, batch, rows, lateness, out)
}

/// As [`report_late`], of input `port`.
pub(crate) fn report_late_of(
    port: usize,
    batch: &Batch,
    rows: &[u32],
    lateness: Lateness,
    out: &mut dyn Output,
) -> Result<(), ArrowError> {
    if rows.is_empty() {
        return Ok(());
    }
    let Lateness { row_count, behind_ms, dropped } = lateness;
    let shown = UInt32Array::from_iter_values(rows.iter().copied().take(SAMPLE_ROWS));
    out.late(LateRows { sample: Cow::Owned(take_rows(&batch.rows, &shown)?), row_count, behind_ms, dropped });
    if dropped && out.takes_late_rows(port) {
        out.late_rows(port, batch.take(&UInt32Array::from(rows.to_vec()))?);
    }
    Ok(())
}
