//! Watermark assignment: how far the rows of a source partition bring event time.
//!
//! It looks at rows *read*, before any filter, so that time goes on even when no row survives; and it takes the largest
//! bound of all, so that the answer does not depend on how the rows were split into batches. The running maximum is
//! kept by whoever knows the partitions: see [`crate::watermark::WatermarkTracker`].

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::max;

use crate::expression::Expression;
use crate::operator::OperatorError;
use crate::time::{Watermark, event_times};

/// Says which watermark rows allow.
#[derive(Clone, Debug)]
pub struct WatermarkAssign {
    bound: Arc<dyn Expression>,
}

impl WatermarkAssign {
    /// `bound` gives, for each row, the watermark that it allows: a timestamp.
    pub fn new(bound: Arc<dyn Expression>) -> Self {
        Self { bound }
    }

    /// The largest watermark that any of the rows allows; `None` where no row has a time.
    ///
    /// # Errors
    /// The bound cannot be evaluated, or is no timestamp.
    pub fn watermark_of(&self, rows: &RecordBatch) -> Result<Option<Watermark>, OperatorError> {
        let bounds = event_times(&self.bound.evaluate(rows)?)?;
        // A row can say any time, but only the end of the input says that it has ended.
        Ok(max(&bounds).map(|bound| Watermark(bound.min(Watermark::END.0 - 1))))
    }
}
