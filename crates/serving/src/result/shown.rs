//! What look-ups find: an index beside the one that changes, and the segments that it speaks of.
//!
//! The left-right pattern (Ramalhete and Correia, "Left-Right", 2013): whoever changes a result changes the hidden index, shows it in
//! place of the other when the step is whole, and then lets the other one follow. So a look-up waits for nobody who changes the
//! result, finds what is of one cut, and never an earlier one after a later one. Only who changes waits, for look-ups that
//! have begun in the index that follows.

use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use parking_lot::RwLock;

use super::contents::{Contents, Turns};
use super::index::{Index, Key};

/// The rows of a result by their keys, as of one cut.
pub(super) struct Side {
    pub(super) index: Index,
    segments: Vec<(u64, RecordBatch)>,
}

impl Side {
    pub(super) fn new(index: Index, contents: &Contents) -> Self {
        Self { index, segments: contents.numbered() }
    }

    /// The rows of a key, a batch each.
    pub(super) fn rows(&self, key: &[u8]) -> Vec<RecordBatch> {
        let places = self.index.places_of(key);
        let rows = places.iter().filter_map(|place| {
            let (_, rows) = self.segments.iter().find(|(number, _)| *number == place.segment)?;
            Some(rows.slice(place.row as usize, 1))
        });
        rows.collect()
    }
}

/// The side that is looked up; there is none before somebody has asked for it.
#[derive(Default)]
pub(super) struct Shown(RwLock<Option<Arc<Side>>>);

impl Shown {
    pub(super) fn side(&self) -> Option<Arc<Side>> {
        self.0.read().clone()
    }

    pub(super) fn begin(&self, side: Side) {
        *self.0.write() = Some(Arc::new(side));
    }

    fn replace(&self, side: Arc<Side>) -> Option<Arc<Side>> {
        self.0.write().replace(side)
    }
}

/// The side that is shown no more, until it says what the other one says.
pub(super) struct Hidden {
    side: Arc<Side>,
    shown: Arc<Side>,
    touched: Vec<Key>,
}

impl Hidden {
    /// Waits until the last look-up here has ended, and lets the index follow the one that is shown.
    fn follow(self) -> Index {
        let Self { mut side, shown, touched } = self;
        let mut index = loop {
            match Arc::try_unwrap(side) {
                Ok(side) => break side.index,
                // A look-up takes microseconds, unless the system lets something else run in its midst.
                Err(held) => side = held,
            }
            thread::yield_now();
        };
        let mut turns = Turns::default();
        for key in touched {
            turns.pass();
            index.follow(key, &shown.index);
        }
        index
    }
}

/// The keys of which rows have come, gone or moved since the last step was shown.
#[derive(Debug, Default)]
pub(super) struct Touched {
    keys: Vec<Key>,
}

impl Touched {
    pub(super) fn push(&mut self, key: Key) {
        self.keys.push(key);
    }

    /// Names each key once, where there are far more than `keys_max`: nothing is shown while a result is pinned.
    pub(super) fn shorten(&mut self, keys_max: usize) {
        if self.keys.len() / 4 > keys_max {
            self.keys.sort_unstable();
            self.keys.dedup();
        }
    }
}

impl Contents {
    /// Lets look-ups find what has changed, at once. The index is to follow before anything else changes ([`Contents::follow`]).
    /// Without look-ups there is nothing to do.
    pub(super) fn show(&mut self, shown: &Shown) -> Option<Hidden> {
        let touched = self.touched.as_mut().filter(|touched| !touched.keys.is_empty())?;
        let touched = std::mem::take(&mut touched.keys);
        let side = Arc::new(Side::new(self.index.take()?, self));
        let before = shown.replace(Arc::clone(&side))?;
        Some(Hidden { side: before, shown: side, touched })
    }

    /// Goes on with the index that was shown before.
    pub(super) fn follow(&mut self, hidden: Option<Hidden>) {
        if let Some(hidden) = hidden {
            self.index = Some(hidden.follow());
        }
    }
}
