//! What time does to a running join: late rows are left out, rows whose time is over are forgotten.

use arrow::array::{Array, Int64Array, UInt32Array};
use arrow::compute::min;

use super::changes::Changes;
use super::instance::JoinInstance;
use super::keys::NONE;
use super::kind::Side;
use crate::batch::{Batch, RowKind};
use crate::coalesce::BATCH_ROWS;
use crate::operator::{OperatorError, Output};
use crate::operators::emit_in_parts;
use crate::operators::late::{Lateness, report_late_of};
use crate::time::{Watermark, event_times};
use crate::time_to_live::TimeToLive;

impl JoinInstance {
    /// The rows that are not late.
    pub(super) fn drop_late(&self, side: Side, batch: Batch, out: &mut dyn Output) -> Result<Batch, OperatorError> {
        let Some(retention) = &self.retention else { return Ok(batch) };
        if self.watermark == Watermark::UNKNOWN {
            return Ok(batch);
        }
        let retention = retention.of(side);
        let times = times_of(&batch, retention.time)?;
        let behind = |time: i64| self.watermark.0.saturating_sub(time.saturating_add(retention.late_ms));
        let Some(behind_ms) = min(&times).map(behind).filter(|behind| *behind > 0) else { return Ok(batch) };
        let is_late = |row: &u32| times.is_valid(*row as usize) && behind(times.value(*row as usize)) > 0;
        let (late, in_time): (Vec<u32>, Vec<u32>) = (0..times.len() as u32).partition(is_late);
        let lateness = Lateness { row_count: late.len() as u64, behind_ms, dropped: true };
        report_late_of(side.port(), &batch, &late, lateness, out)?;
        Ok(batch.take(&UInt32Array::from(in_time))?)
    }

    /// The last moment of each row, where rows have one: null where nothing can match the row.
    pub(super) fn last_moments(&self, side: Side, batch: &Batch) -> Result<Option<Int64Array>, OperatorError> {
        let Some(retention) = self.retention.as_ref().map(|retention| retention.of(side)) else { return Ok(None) };
        let bounds = times_of(batch, retention.column)?;
        let times = times_of(batch, retention.time)?;
        let moment = |(bound, time): (Option<i64>, Option<i64>)| {
            time.and(bound).map(|bound| bound.saturating_add(retention.keep_ms))
        };
        Ok(Some(bounds.iter().zip(times.iter()).map(moment).collect()))
    }

    /// Notes when rows that are stored from `first` on are to be forgotten.
    pub(super) fn note_stored(&mut self, side: Side, first: u32, inserted: &[u32], moments: Option<&Int64Array>) {
        if let (Some(moments), Some(retention)) = (moments, &self.retention) {
            let moments = inserted.iter().map(|row| moments.value(*row as usize));
            let grain_ms = retention.of(side).grain_ms;
            self.expiry.of_mut(side).keep_until(first, moments, grain_ms);
        } else if let Some(time_to_live) = self.time_to_live {
            let now = match time_to_live {
                TimeToLive::EventTime(_) => self.watermark.0,
                TimeToLive::ProcessingTime(_) => self.now_ms,
            };
            let end = self.sides.of(side).end();
            self.expiry.of_mut(side).arrived(end, now);
        }
    }

    /// Forgets the rows that the watermark has passed; of those without a match gives out what is to come out alone.
    pub(super) fn pass(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.watermark = watermark;
        for side in [Side::Left, Side::Right] {
            if self.retention.is_some() {
                while let Some(rows) = self.expiry.of_mut(side).next_expired(watermark) {
                    self.give_unmatched(side, &rows, out)?;
                    let stored = self.sides.of_mut(side);
                    rows.iter().for_each(|row| _ = stored.remove(*row));
                }
            } else if let Some(TimeToLive::EventTime(ttl_ms)) = self.time_to_live
                && watermark != Watermark::END
            {
                self.outlive(side, watermark.0, ttl_ms);
            }
        }
        if let Some(batch) = self.pending.flush()? {
            emit_in_parts(&batch, out);
        }
        self.compact()
    }

    /// Forgets the rows that came more than `ttl_ms` before `now`.
    pub(super) fn outlive(&mut self, side: Side, now: i64, ttl_ms: i64) {
        while let Some(rows) = self.expiry.of_mut(side).next_outlived(now, ttl_ms) {
            let stored = self.sides.of_mut(side);
            rows.iter().for_each(|row| _ = stored.remove(*row));
        }
        let end = self.expiry.of_mut(side).outlived(now, ttl_ms);
        let begin = self.outlived.of_mut(side);
        let stored = self.sides.of_mut(side);
        (*begin..end).for_each(|row| _ = stored.remove(row));
        *begin = end.max(*begin);
    }

    fn give_unmatched(&mut self, side: Side, rows: &[u32], out: &mut dyn Output) -> Result<(), OperatorError> {
        if !self.is_deferred || !self.kind.alone(side).unmatched {
            return Ok(());
        }
        let stored = self.sides.of(side);
        let unmatched: Vec<u32> = rows.iter().copied().filter(|row| stored.matches(*row) == 0).collect();
        for rows in unmatched.chunks(BATCH_ROWS) {
            let mut changes = Changes::default();
            for row in rows {
                changes.alone((NONE, *row), RowKind::Insert, false, &self.layout);
            }
            let nulls = self.null_rows.of(side.other());
            let batch = changes.gather(side.other(), nulls, self.sides.of(side), &self.layout)?;
            if let Some(batch) = self.pending.push(batch)? {
                emit_in_parts(&batch, out);
            }
        }
        Ok(())
    }
}

fn times_of(batch: &Batch, column: usize) -> Result<Int64Array, OperatorError> {
    let missing = || OperatorError::Unsupported(format!("there is no time column {column}"));
    Ok(event_times(batch.rows.columns().get(column).ok_or_else(missing)?)?)
}
