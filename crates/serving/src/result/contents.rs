//! What a result holds: rows in segments, and an index of them.

use std::thread;

use arrow::array::{BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use mulgil_dataflow::batch::{Batch, RowKind};

use super::index::{Index, Key, Place};
use super::shown::Touched;
use super::{ResultError, SharedSegment, forget};

/// Segments with fewer rows are not rewritten for the rows that have fallen in them.
const SPARSE_ROWS_MIN: usize = 64;

/// After so many rows whoever waits for this processor comes to its turn: a step of many rows would hold up a look-up for as long as the
/// system lets a thread run before another (about 1.4 ms on Linux), whatever their niceness.
const TURN_ROWS: u32 = 256;

/// Rows that came together, or were merged.
pub(super) struct Segment {
    id: u64,
    pub(super) rows: RecordBatch,
    /// Which rows still stand.
    standing: BooleanBufferBuilder,
    standing_count: usize,
    /// `standing` as it was given to the last reader, while nothing has changed since.
    shared: Option<BooleanBuffer>,
}

pub(super) struct Contents {
    /// In the order in which they came. There are few: each is larger than the next ones together.
    pub(super) segments: Vec<Segment>,
    pub(super) index: Option<Index>,
    next_segment: u64,
    pub(super) row_count: usize,
    pub(super) version: u64,
    /// What is not held any more.
    pub(super) floor: Option<forget::Floor>,
    /// What look-ups do not find yet; `None` where nobody looks anything up.
    pub(super) touched: Option<Touched>,
    turns: Turns,
}

/// Counts the rows of a turn.
#[derive(Default)]
pub(super) struct Turns(u32);

impl Turns {
    /// A row has been dealt with.
    pub(super) fn pass(&mut self) {
        self.0 += 1;
        if self.0 == TURN_ROWS {
            self.0 = 0;
            thread::yield_now();
        }
    }
}

pub(super) fn row_number(row: usize) -> u32 {
    // A batch of Arrow has fewer rows than that, for all that fits into memory.
    u32::try_from(row).unwrap_or(u32::MAX)
}

/// Whether a row of a change is there from now on; one that is not is taken back.
pub(super) fn is_new(change: &Batch, row: usize) -> bool {
    change.kinds.as_ref().is_none_or(|kinds| {
        let kind = kinds.value(row);
        kind == RowKind::Insert as u8 || kind == RowKind::UpdateAfter as u8
    })
}

/// The rows of a change that are there from now on.
pub(super) fn new_rows(change: &Batch) -> Result<RecordBatch, ArrowError> {
    let row_count = change.rows.num_rows();
    let new: Vec<u32> = match change.kinds {
        None => return Ok(change.rows.clone()),
        Some(_) => (0..row_count).filter(|row| is_new(change, *row)).map(row_number).collect(),
    };
    if new.len() == row_count {
        Ok(change.rows.clone())
    } else {
        take_record_batch(&change.rows, &UInt32Array::from(new))
    }
}

impl Segment {
    fn new(id: u64, rows: RecordBatch) -> Self {
        let row_count = rows.num_rows();
        let mut standing = BooleanBufferBuilder::new(row_count);
        standing.append_n(row_count, true);
        Self { id, rows, standing, standing_count: row_count, shared: None }
    }

    fn clear(&mut self, row: u32) {
        self.standing.set_bit(row as usize, false);
        self.standing_count -= 1;
        self.shared = None;
    }

    pub(super) fn stands(&self, row: usize) -> bool {
        self.standing.get_bit(row)
    }

    pub(super) fn place_of(&self, row: u32) -> Place {
        Place { segment: self.id, row }
    }

    pub(super) fn share(&mut self) -> SharedSegment {
        let standing = if self.standing_count == self.rows.num_rows() {
            None
        } else {
            let standing = &self.standing;
            Some(self.shared.get_or_insert_with(|| standing.finish_cloned()).clone())
        };
        SharedSegment { id: self.id, rows: self.rows.clone(), standing }
    }

    fn is_sparse(&self) -> bool {
        self.rows.num_rows() > SPARSE_ROWS_MIN && self.standing_count * 2 < self.rows.num_rows()
    }
}

impl Contents {
    pub(super) fn new(index: Option<Index>) -> Self {
        Self {
            segments: Vec::new(),
            index,
            next_segment: 0,
            row_count: 0,
            version: 0,
            floor: None,
            touched: None,
            turns: Turns::default(),
        }
    }

    /// Puts rows, all of which stand, into a segment of their own behind the first `at` ones.
    pub(super) fn put_segment(&mut self, at: usize, rows: RecordBatch) -> u64 {
        let id = self.next_segment;
        self.next_segment += 1;
        self.segments.insert(at, Segment::new(id, rows));
        id
    }

    /// A change of one row. A new one stands at `place` already; `replaces` says that there has to be one of that key.
    pub(super) fn change(&mut self, key: Key, place: Option<Place>, replaces: bool) -> Result<(), ResultError> {
        let Some(index) = &mut self.index else { return Ok(()) };
        self.turns.pass();
        if let Some(touched) = &mut self.touched {
            touched.push(key.clone());
        }
        match place {
            Some(place) => {
                self.row_count += 1;
                match index.insert(key, place) {
                    Some(former) => self.clear(former),
                    None if replaces => return Err(ResultError::MissingRow),
                    None => {}
                }
            }
            None => {
                let place = index.remove(&key).ok_or(ResultError::MissingRow)?;
                self.clear(place);
            }
        }
        Ok(())
    }

    /// A row has been moved.
    pub(super) fn relocate(&mut self, key: Key, from: Place, to: Place) {
        let Some(index) = &mut self.index else { return };
        self.turns.pass();
        index.relocate(&key, from, to);
        if let Some(touched) = &mut self.touched {
            touched.push(key);
        }
    }

    pub(super) fn clear(&mut self, place: Place) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == place.segment) {
            segment.clear(place.row);
            self.row_count -= 1;
        }
    }

    /// Segments that should be one, by the first of them and their number: the last ones while the one before is not much
    /// larger, and those of which most rows fell.
    pub(super) fn to_rewrite(&self) -> Option<(usize, usize)> {
        if let [.., before, last] = self.segments.as_slice()
            && before.standing_count <= 2 * last.standing_count.max(1)
        {
            return Some((self.segments.len() - 2, 2));
        }
        let sparse = self.segments.iter().position(Segment::is_sparse)?;
        Some((sparse, 1))
    }

    /// The numbers and rows of segments.
    pub(super) fn numbered(&self) -> Vec<(u64, RecordBatch)> {
        self.segments.iter().map(|segment| (segment.id, segment.rows.clone())).collect()
    }

    /// A segment.
    pub(super) fn part(&mut self, at: usize) -> Option<SharedSegment> {
        Some(self.segments.get_mut(at)?.share())
    }
}
