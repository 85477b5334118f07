//! What a result was before changes that are being applied: look-ups find that, until all of them are applied.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use super::contents::Contents;
use super::index::{Index, Place, Places};

/// The places of keys that have changed, as they were before.
pub(super) struct Past {
    /// By number: the segments of that time, and those that they have been merged into since.
    segments: Vec<(u64, RecordBatch)>,
    /// By key that has changed: where its rows stood; `None` where there were none.
    before: HashMap<Box<[u8]>, Option<Places>>,
}

impl Past {
    /// The present becomes the past.
    pub(super) fn of(contents: &Contents) -> Self {
        Self { segments: contents.numbered(), before: HashMap::new() }
    }

    /// Rows have been moved into a segment, before all of their keys have changed.
    pub(super) fn add_segment(&mut self, number: u64, rows: RecordBatch) {
        self.segments.push((number, rows));
    }

    /// A key is about to change.
    pub(super) fn keep(&mut self, key: &[u8], index: &Index) {
        if !self.before.contains_key(key) {
            self.before.insert(key.into(), index.places.get(key).cloned());
        }
    }

    /// The rows that a key had; `None` where they are still those that it has.
    pub(super) fn find(&self, key: &[u8]) -> Option<Vec<RecordBatch>> {
        let places = self.before.get(key)?.as_ref().map_or(&[][..], Places::as_slice);
        Some(places.iter().filter_map(|place| self.row_at(*place)).collect())
    }

    fn row_at(&self, place: Place) -> Option<RecordBatch> {
        let (_, rows) = self.segments.iter().find(|(number, _)| *number == place.segment)?;
        Some(rows.slice(place.row as usize, 1))
    }
}
