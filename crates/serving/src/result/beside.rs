//! What one reader has taken of a result beside another, without looking at what both hold.
//!
//! Segments are immutable, so two readers that hold the same segment hold the same rows, but for those that have fallen
//! between them. Only segments that one of the two has not are read as a whole; those were written since, and that is why a
//! difference costs about as much as what has changed.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::{ResultError, Share, SharedSegment};

impl Share {
    /// How often the result had changed.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The rows that stand here and, in the same place, not in `other`. Where a segment has been rewritten between the two,
    /// the same row may stand in both all the same.
    ///
    /// # Errors
    /// Arrow refused.
    pub(crate) fn beside(&self, other: &Self) -> Result<Vec<RecordBatch>, ResultError> {
        let others: HashMap<u64, &SharedSegment> = other.segments.iter().map(|segment| (segment.id, segment)).collect();
        let mut left = Vec::new();
        for segment in &self.segments {
            let there = others.get(&segment.id).filter(|there| segment.is_as_written(there));
            left.push(match (there, &segment.standing) {
                (None, _) => segment.clone().rows()?,
                (Some(there), here) => match (&there.standing, here) {
                    (None, _) => continue,
                    (Some(there), None) => filter_record_batch(&segment.rows, &BooleanArray::new(!there, None))?,
                    (Some(there), Some(here)) => {
                        filter_record_batch(&segment.rows, &BooleanArray::new(here & &!there, None))?
                    }
                },
            });
        }
        left.retain(|rows| rows.num_rows() > 0);
        Ok(left)
    }
}

impl SharedSegment {
    /// Whether these are the very same rows. A segment that is rewritten in place keeps its number, and other results have the
    /// same numbers: the arrays tell.
    fn is_as_written(&self, other: &Self) -> bool {
        let (own, others) = (self.rows.columns(), other.rows.columns());
        self.rows.num_rows() == other.rows.num_rows()
            && own.len() == others.len()
            && own.iter().zip(others).all(|(own, other)| Arc::ptr_eq(own, other))
    }
}
