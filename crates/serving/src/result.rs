//! A view's result in memory: what a changelog adds up to, readable at any moment as of one cut.
//!
//! Rows lie in immutable segments, each with a bit a row that says whether the row still stands. A change appends a
//! segment and clears bits; small segments are merged into larger ones, so that a row is copied a logarithmic number of
//! times. With a key, an index says where each key's row stands; without one, a result that can take rows back indexes
//! whole rows, and one that cannot needs no index.
//!
//! Writers collect changes and hand them over at watermarks: they are applied together once every subtask's watermark
//! has come so far. Who takes the whole result waits until they are, and then only copies a list of segments; who looks a
//! key up does not wait ([`look_up`]). A result holds at most `rows_max` rows; the view whose result grows beyond fails, and
//! says so.

mod beside;
mod contents;
mod forget;
mod index;
mod look_up;
mod past;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use mulgil_dataflow::batch::Batch;
use parking_lot::{Mutex, MutexGuard};

use self::contents::{Contents, is_new, new_rows, row_number};
use self::index::{Index, Keys, Place};
pub use self::look_up::Found;

/// After how many rows somebody who waits to look a key up gets the lock.
const ROWS_AT_ONCE: usize = 256;

/// Why changes could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The result would hold more rows than it may.
    #[error("the result would hold more than {rows_max} rows; aggregate more, or raise the option 'rows-max'")]
    TooManyRows {
        /// The limit.
        rows_max: usize,
    },
    /// A change takes a row back that is not there: a defect upstream.
    #[error("the changelog takes a row back that is not there; this is a defect, please report it")]
    MissingRow,
    /// Arrow refused.
    #[error("columnar kernel failed: {0}")]
    Arrow(#[from] ArrowError),
}

/// Makes one row of those that say the same of different parts of the input.
type Combine = dyn Fn(&RecordBatch) -> Result<RecordBatch, ArrowError> + Send + Sync;

/// A view's result.
pub struct ResultTable {
    schema: SchemaRef,
    /// The columns that name a row.
    key: Option<Vec<usize>>,
    rows_max: usize,
    /// What segments are merged by, where their rows add up.
    combine: Option<Box<Combine>>,
    /// Held by who changes the result, and by who takes all of it.
    turn: Mutex<()>,
    /// Held for a moment, by who has the turn and by who looks a key up.
    contents: Mutex<Contents>,
}

/// A segment as a reader has taken it.
#[derive(Clone, Debug)]
struct SharedSegment {
    id: u64,
    rows: RecordBatch,
    /// Which rows stood; `None` for all.
    standing: Option<BooleanBuffer>,
}

impl SharedSegment {
    fn rows(self) -> Result<RecordBatch, ArrowError> {
        match self.standing {
            None => Ok(self.rows),
            Some(standing) => filter_record_batch(&self.rows, &BooleanArray::new(standing, None)),
        }
    }
}

/// What a result holds as of one cut, taken in no time: the rows are picked out when somebody wants them.
#[derive(Clone, Debug)]
pub struct Share {
    segments: Vec<SharedSegment>,
    version: u64,
}

impl Share {
    /// The rows.
    ///
    /// # Errors
    /// Arrow refused.
    pub fn rows(self) -> Result<Snapshot, ResultError> {
        let mut batches = Vec::with_capacity(self.segments.len());
        for segment in self.segments {
            batches.push(segment.rows()?);
        }
        batches.retain(|batch| batch.num_rows() > 0);
        Ok(Snapshot { batches, version: self.version })
    }
}

/// The rows of a result as of one cut.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// How often the result had changed.
    pub version: u64,
}

impl ResultTable {
    /// An empty result. `key` names a row; `is_updating` says whether rows may be taken back.
    ///
    /// # Errors
    /// A key column's type cannot be compared.
    pub fn new(
        schema: SchemaRef,
        key: Option<Vec<usize>>,
        is_updating: bool,
        rows_max: usize,
    ) -> Result<Self, ResultError> {
        let index = match &key {
            // Inserts only: a key would find nothing to replace. Look-ups make an index when somebody wants it.
            _ if !is_updating => None,
            Some(columns) => Some(Index::new(Keys::new(&schema, columns.clone())?, true)),
            None => Some(Index::new(Keys::new(&schema, (0..schema.fields().len()).collect())?, false)),
        };
        let contents = Mutex::new(Contents::new(index));
        Ok(Self { schema, key, rows_max, combine: None, turn: Mutex::new(()), contents })
    }

    /// A result of inserts whose rows add up: `combine` makes fewer rows of a batch, which mean the same. It is used when segments are
    /// merged, so a reader finds rows that are not added up yet. Nothing names them, so no key is looked up.
    #[must_use]
    pub fn combining(
        mut self,
        combine: impl Fn(&RecordBatch) -> Result<RecordBatch, ArrowError> + Send + Sync + 'static,
    ) -> Self {
        self.combine = Some(Box::new(combine));
        self.key = None;
        self
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Applies changes, all of them before any reader sees one.
    ///
    /// # Errors
    /// See [`ResultError`]; the result is then not to be relied on.
    pub fn apply(&self, changes: &[Batch]) -> Result<(), ResultError> {
        let _turn = self.turn.lock();
        self.contents.lock().begin_step();
        let applied = changes.iter().filter(|change| change.rows.num_rows() > 0).try_for_each(|change| {
            self.apply_one(change)?;
            if self.contents.lock().row_count > self.rows_max {
                return Err(ResultError::TooManyRows { rows_max: self.rows_max });
            }
            Ok(())
        });
        let mut contents = self.contents.lock();
        if !changes.is_empty() && applied.is_ok() {
            contents.version += 1;
        }
        let past = contents.end_step();
        drop(contents);
        drop(past);
        applied
    }

    fn apply_one(&self, change: &Batch) -> Result<(), ResultError> {
        let (floor, keys) = {
            let contents = self.contents.lock();
            (contents.floor.clone(), contents.index.as_ref().map(|index| Arc::clone(&index.keys)))
        };
        let above = floor.map(|floor| floor.above(change)).transpose()?;
        let change = above.as_ref().unwrap_or(change);
        let keys = keys.map(|keys| keys.of(&change.rows)).transpose()?;
        let rows = new_rows(change)?;
        let added = rows.num_rows();
        let mut contents = self.contents.lock();
        let last = contents.segments.len();
        let segment = contents.put_segment(last, rows);
        if keys.is_none() {
            contents.row_count += added;
        }
        let mut next_row = 0;
        for (row, key) in keys.into_iter().flatten().enumerate() {
            let place = is_new(change, row).then(|| {
                next_row += 1;
                Place { segment, row: next_row - 1 }
            });
            contents.change(key, place)?;
            if row % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 {
                MutexGuard::bump(&mut contents);
            }
        }
        drop(contents);
        self.merge()
    }

    /// Merges the last segments while the one before is not much larger, and rewrites segments that mostly fell. Whoever calls
    /// has the turn.
    fn merge(&self) -> Result<(), ResultError> {
        loop {
            let Some((first, count)) = self.contents.lock().to_rewrite() else { return Ok(()) };
            self.rewrite(first, count)?;
        }
    }

    /// Makes one new segment of what stands in some that follow each other. Whoever looks a key up meanwhile finds it in the old
    /// segments or the new one.
    fn rewrite(&self, first: usize, count: usize) -> Result<(), ResultError> {
        let (old, keys) = {
            let mut contents = self.contents.lock();
            let old: Vec<_> = (first..first + count).filter_map(|at| contents.part(at)).collect();
            (old, contents.index.as_ref().map(|index| Arc::clone(&index.keys)))
        };
        let mut parts = Vec::with_capacity(old.len());
        let mut places = Vec::new();
        for SharedSegment { id: segment, rows, standing } in old {
            let place = |row: usize| Place { segment, row: row_number(row) };
            match standing {
                None => {
                    places.extend((0..rows.num_rows()).map(place));
                    parts.push(rows);
                }
                Some(standing) => {
                    places.extend(standing.set_indices().map(place));
                    parts.push(filter_record_batch(&rows, &BooleanArray::new(standing, None))?);
                }
            }
        }
        let Some(schema) = parts.first().map(RecordBatch::schema) else { return Ok(()) };
        let mut rows = concat_batches(&schema, &parts)?;
        drop(parts);
        let before = rows.num_rows();
        if let Some(combine) = &self.combine {
            rows = combine(&rows)?;
        }
        let keys = keys.map(|keys| keys.of(&rows)).transpose()?;
        let mut contents = self.contents.lock();
        contents.row_count = contents.row_count.saturating_sub(before.saturating_sub(rows.num_rows()));
        if rows.num_rows() > 0 {
            let segment = contents.put_segment(first + count, rows.clone());
            if let Some(past) = &mut contents.past {
                past.add_segment(segment, rows);
            }
            for (row, (key, from)) in keys.into_iter().flatten().zip(places).enumerate() {
                let to = Place { segment, row: row_number(row) };
                if let Some(index) = &mut contents.index {
                    index.relocate(&key, from, to);
                }
                if row % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 {
                    MutexGuard::bump(&mut contents);
                }
            }
        }
        let old: Vec<_> = contents.segments.drain(first..first + count).collect();
        drop(contents);
        drop(old);
        Ok(())
    }

    /// How many rows there are, and how often they have changed.
    pub fn row_count_and_version(&self) -> (usize, u64) {
        let contents = self.contents.lock();
        (contents.row_count, contents.version)
    }

    /// The rows now.
    ///
    /// # Errors
    /// Arrow refused.
    pub fn snapshot(&self) -> Result<Snapshot, ResultError> {
        self.share().rows()
    }

    /// What it holds now.
    pub fn share(&self) -> Share {
        let _turn = self.turn.lock();
        self.contents.lock().share()
    }

    /// What readers see now: what it holds, or what it is pinned to.
    pub(crate) fn seen(&self) -> Share {
        let pinned = || self.contents.lock().pinned.clone();
        pinned().unwrap_or_else(|| {
            let _turn = self.turn.lock();
            // It may have been pinned while the turn was waited for.
            let mut contents = self.contents.lock();
            contents.pinned.clone().unwrap_or_else(|| contents.share())
        })
    }
}

impl Contents {
    fn share(&mut self) -> Share {
        Share { segments: self.segments.iter_mut().map(contents::Segment::share).collect(), version: self.version }
    }
}

#[cfg(test)]
mod tests;
