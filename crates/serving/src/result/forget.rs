//! Lets a result forget rows, and take no notice of what still comes of them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use mulgil_dataflow::batch::Batch;

use super::contents::{Contents, row_number};
use super::{ResultError, ResultTable};

/// Says of each row whether it is forgotten. Rows that are equal are forgotten together.
type IsForgotten = dyn Fn(&RecordBatch) -> Result<Vec<bool>, ArrowError> + Send + Sync;

/// See [`IsForgotten`].
#[derive(Clone)]
pub(super) struct Floor(Arc<IsForgotten>);

impl fmt::Debug for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Floor")
    }
}

impl Floor {
    /// What is left of a change.
    pub(super) fn above(&self, change: &Batch) -> Result<Batch, ArrowError> {
        let forgotten = (self.0)(&change.rows)?;
        if forgotten.iter().all(|is_forgotten| !is_forgotten) {
            return Ok(change.clone());
        }
        let kept = forgotten.iter().enumerate().filter(|(_, is_forgotten)| !**is_forgotten);
        change.take(&kept.map(|(row, _)| row_number(row)).collect::<UInt32Array>())
    }
}

impl ResultTable {
    /// Forgets the rows of which `is_forgotten` says so, which has to say the same of equal rows; and what changes of them from
    /// now on.
    ///
    /// # Errors
    /// Arrow refused.
    pub fn forget(
        &self,
        is_forgotten: impl Fn(&RecordBatch) -> Result<Vec<bool>, ArrowError> + Send + Sync + 'static,
    ) -> Result<(), ResultError> {
        let mut contents = self.contents.lock();
        let forgotten = contents.forget(Floor(Arc::new(is_forgotten))).and_then(|()| self.merge(&mut contents));
        contents.version += 1;
        self.end_step(&mut contents);
        forgotten
    }
}

impl Contents {
    fn forget(&mut self, floor: Floor) -> Result<(), ResultError> {
        let mut fallen = Vec::new();
        for segment in &self.segments {
            let forgotten = (floor.0)(&segment.rows)?;
            let rows = forgotten.iter().enumerate().filter(|(_, is_forgotten)| **is_forgotten).map(|(row, _)| row);
            let rows: Vec<u32> = rows.filter(|row| segment.stands(*row)).map(row_number).collect();
            let places = rows.iter().map(|row| segment.place_of(*row)).collect::<Vec<_>>();
            if let Some(index) = &mut self.index {
                let keys = index.keys.of(&take_record_batch(&segment.rows, &UInt32Array::from(rows))?)?;
                for (key, place) in keys.into_iter().zip(&places) {
                    index.take_out(&key, *place);
                    if let Some(touched) = &mut self.touched {
                        touched.push(key);
                    }
                }
            }
            fallen.extend(places);
        }
        fallen.into_iter().for_each(|place| self.clear(place));
        self.floor = Some(floor);
        Ok(())
    }
}
