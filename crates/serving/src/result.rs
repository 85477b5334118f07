//! A view's result in memory: what a changelog adds up to, readable at any moment as of one cut.
//!
//! Rows lie in immutable segments, each with a bit a row that says whether the row still stands. A change appends a
//! segment and clears bits; small segments are merged into larger ones, so that a row is copied a logarithmic number of
//! times. With a key, an index says where each key's row stands; without one, a result that can take rows back indexes
//! whole rows, and one that cannot needs no index.
//!
//! Writers collect changes and hand them over at watermarks: they are applied together once every subtask's watermark
//! has come so far. Who takes the whole result copies a list of segments: while changes are applied the one of before them. Who
//! looks a key up waits for nobody either ([`shown`]). A result holds at most `rows_max` rows; the view whose result grows beyond fails, and
//! says so.

mod beside;
mod contents;
mod forget;
mod index;
mod look_up;
mod shown;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::coalesce::Coalescer;
use parking_lot::Mutex;

use self::contents::{Contents, is_new, new_rows, row_number};
use self::index::{Index, Keys, Place};
pub use self::look_up::Found;
use self::shown::Shown;

/// Changes are put together to about so many rows before they are applied.
const SEGMENT_ROWS: usize = 65_536;
/// A step of so many rows takes long enough, some ten milliseconds, for somebody to notice who reads meanwhile.
const LONG_STEP_ROWS: usize = 16_384;

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
    /// Held by who changes the result, and for a moment by who takes all of it.
    contents: Mutex<Contents>,
    /// The result as of the last step, if it was read since the step before, or the next one takes long: whoever reads it while that is
    /// applied waits for nothing.
    last: Mutex<Option<Share>>,
    /// Whether somebody has read it since the last step.
    is_read: AtomicBool,
    /// What look-ups find.
    shown: Shown,
    /// What readers see, whatever comes.
    pinned: Mutex<Option<Share>>,
    /// As of the last step.
    row_count: AtomicUsize,
    version: AtomicU64,
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
        Ok(Self {
            schema,
            key,
            rows_max,
            combine: None,
            contents: Mutex::new(Contents::new(index)),
            last: Mutex::default(),
            is_read: AtomicBool::new(false),
            shown: Shown::default(),
            pinned: Mutex::default(),
            row_count: AtomicUsize::new(0),
            version: AtomicU64::new(0),
        })
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
        let mut contents = self.contents.lock();
        if changes.iter().map(|change| change.rows.num_rows()).sum::<usize>() >= LONG_STEP_ROWS {
            self.last.lock().get_or_insert_with(|| contents.share());
        }
        let applied = self.apply_all(&mut contents, changes);
        if !changes.is_empty() && applied.is_ok() {
            contents.version += 1;
        }
        self.end_step(&mut contents);
        applied
    }

    /// Larger segments are rewritten less often, so changes are put together first.
    fn apply_all(&self, contents: &mut Contents, changes: &[Batch]) -> Result<(), ResultError> {
        let mut segments = Coalescer::new(SEGMENT_ROWS);
        for change in changes {
            if let Some(segment) = segments.push(change.clone())? {
                self.apply_one(contents, &segment)?;
            }
        }
        segments.flush()?.map_or(Ok(()), |segment| self.apply_one(contents, &segment))
    }

    fn apply_one(&self, contents: &mut Contents, change: &Batch) -> Result<(), ResultError> {
        let above = contents.floor.as_ref().map(|floor| floor.above(change)).transpose()?;
        let change = above.as_ref().unwrap_or(change);
        let keys = contents.index.as_ref().map(|index| index.keys.of(&change.rows)).transpose()?;
        let rows = new_rows(change)?;
        if keys.is_none() {
            contents.row_count += rows.num_rows();
        }
        let last = contents.segments.len();
        let segment = contents.put_segment(last, rows);
        let is_unique = contents.index.as_ref().is_some_and(|index| index.is_unique);
        let mut keys = keys.into_iter().flatten().enumerate().peekable();
        let (mut next_row, mut replaces) = (0, false);
        while let Some((row, key)) = keys.next() {
            let is_old = !is_new(change, row);
            // A row that the next one replaces falls with it.
            if is_old && is_unique && keys.peek().is_some_and(|(next, other)| *other == key && is_new(change, *next)) {
                replaces = true;
                continue;
            }
            let place = (!is_old).then(|| {
                next_row += 1;
                Place { segment, row: next_row - 1 }
            });
            contents.change(key, place, std::mem::take(&mut replaces))?;
        }
        if contents.row_count > self.rows_max {
            return Err(ResultError::TooManyRows { rows_max: self.rows_max });
        }
        self.merge(contents)
    }

    /// Lets readers see a step, unless the result is pinned: scans and look-ups at the same moment.
    fn end_step(&self, contents: &mut Contents) {
        self.row_count.store(contents.row_count, Ordering::Release);
        self.version.store(contents.version, Ordering::Release);
        let share = self.is_read.swap(false, Ordering::Relaxed).then(|| contents.share());
        let is_pinned = self.pinned.lock().is_some();
        let mut last = self.last.lock();
        let hidden = if is_pinned { None } else { contents.show(&self.shown) };
        let former = std::mem::replace(&mut *last, share);
        drop(last);
        drop(former);
        contents.follow(hidden);
        if let (Some(touched), Some(index)) = (&mut contents.touched, &contents.index) {
            touched.shorten(index.key_count());
        }
    }

    /// Merges the last segments while the one before is not much larger, and rewrites segments that mostly fell.
    fn merge(&self, contents: &mut Contents) -> Result<(), ResultError> {
        while let Some((first, count)) = contents.to_rewrite() {
            self.rewrite(contents, first, count)?;
        }
        Ok(())
    }

    /// Makes one new segment of what stands in some that follow each other.
    fn rewrite(&self, contents: &mut Contents, first: usize, count: usize) -> Result<(), ResultError> {
        let old: Vec<_> = (first..first + count).filter_map(|at| contents.part(at)).collect();
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
        let keys = contents.index.as_ref().map(|index| index.keys.of(&rows)).transpose()?;
        contents.row_count = contents.row_count.saturating_sub(before.saturating_sub(rows.num_rows()));
        if rows.num_rows() > 0 {
            let segment = contents.put_segment(first + count, rows);
            for (row, (key, from)) in keys.into_iter().flatten().zip(places).enumerate() {
                contents.relocate(key, from, Place { segment, row: row_number(row) });
            }
        }
        contents.segments.drain(first..first + count);
        Ok(())
    }

    /// How many rows there are, and how often they have changed.
    pub fn row_count_and_version(&self) -> (usize, u64) {
        (self.row_count.load(Ordering::Acquire), self.version.load(Ordering::Acquire))
    }

    /// The rows now.
    ///
    /// # Errors
    /// Arrow refused.
    pub fn snapshot(&self) -> Result<Snapshot, ResultError> {
        self.share().rows()
    }

    /// What it holds now: all changes whose application has ended.
    pub fn share(&self) -> Share {
        self.is_read.store(true, Ordering::Relaxed);
        if let Some(mut contents) = self.contents.try_lock() {
            return contents.share();
        }
        let last = self.last.lock().clone();
        last.unwrap_or_else(|| self.contents.lock().share())
    }

    /// What readers see now: what it holds, or what it is pinned to.
    pub(crate) fn seen(&self) -> Share {
        let pinned = || self.pinned.lock().clone();
        pinned().unwrap_or_else(|| {
            let share = self.share();
            // It may have been pinned meanwhile, and then have gone on.
            pinned().unwrap_or(share)
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
