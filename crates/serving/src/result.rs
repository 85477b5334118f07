//! A view's result in memory: what a changelog adds up to, readable at any moment as of one cut.
//!
//! Rows lie in immutable segments, each with a bit a row that says whether the row still stands. A change appends a
//! segment and clears bits; small segments are merged into larger ones, so that a row is copied a logarithmic number of
//! times. With a key, an index says where each key's row stands; without one, a result that can take rows back indexes
//! whole rows, and one that cannot needs no index.
//!
//! Writers collect changes and hand them over at watermarks: they are applied together once every subtask's watermark
//! has come so far, under a lock that readers take only to copy a list of segments. A result holds at most `rows_max`
//! rows; the view whose result grows beyond fails, and says so.

mod beside;
mod forget;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use mulgil_dataflow::batch::{Batch, RowKind};

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

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    segment: u64,
    row: u32,
}

/// Rows that came together, or were merged.
struct Segment {
    id: u64,
    rows: RecordBatch,
    /// Which rows still stand.
    standing: BooleanBufferBuilder,
    standing_count: usize,
    /// `standing` as it was given to the last reader, while nothing has changed since.
    shared: Option<BooleanBuffer>,
}

/// The places of the rows that a key, or a whole row, stands for.
#[derive(Clone, Debug)]
enum Places {
    One(Place),
    /// Equal rows of a result without a key.
    Many(Vec<Place>),
}

struct Index {
    /// The columns that the index is over.
    columns: Vec<usize>,
    converter: RowConverter,
    places: HashMap<Box<[u8]>, Places>,
    /// Whether a second row of the same key replaces the first; otherwise both stand.
    is_unique: bool,
}

struct Contents {
    segments: Vec<Segment>,
    index: Option<Index>,
    next_segment: u64,
    row_count: usize,
    version: u64,
    /// What is not held any more.
    floor: Option<forget::Floor>,
    /// What segments are merged by, where their rows add up.
    combine: Option<Box<Combine>>,
}

/// Makes one row of those that say the same of different parts of the input.
type Combine = dyn Fn(&RecordBatch) -> Result<RecordBatch, ArrowError> + Send + Sync;

/// A view's result.
pub struct ResultTable {
    schema: SchemaRef,
    rows_max: usize,
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
        let index = match key {
            // Inserts only: a key would find nothing to replace.
            _ if !is_updating => None,
            Some(columns) => Some(Index::new(&schema, columns, true)?),
            None => Some(Index::new(&schema, (0..schema.fields().len()).collect(), false)?),
        };
        let contents = Contents {
            segments: Vec::new(),
            index,
            next_segment: 0,
            row_count: 0,
            version: 0,
            floor: None,
            combine: None,
        };
        Ok(Self { schema, rows_max, contents: Mutex::new(contents) })
    }

    /// A result of inserts whose rows add up: `combine` makes fewer rows of a batch, which mean the same. It is used when segments are
    /// merged, so a reader finds rows that are not added up yet.
    #[must_use]
    pub fn combining(
        mut self,
        combine: impl Fn(&RecordBatch) -> Result<RecordBatch, ArrowError> + Send + Sync + 'static,
    ) -> Self {
        self.contents.get_mut().unwrap_or_else(PoisonError::into_inner).combine = Some(Box::new(combine));
        self
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns that name a row; `None` where equal rows may stand beside each other, or none is ever taken back.
    pub fn key(&self) -> Option<Vec<usize>> {
        let contents = self.lock();
        contents.index.as_ref().filter(|index| index.is_unique).map(|index| index.columns.clone())
    }

    /// Applies changes, all of them before any reader sees one.
    ///
    /// # Errors
    /// See [`ResultError`]; the result is then not to be relied on.
    pub fn apply(&self, changes: &[Batch]) -> Result<(), ResultError> {
        let mut contents = self.lock();
        for change in changes.iter().filter(|change| change.rows.num_rows() > 0) {
            match contents.floor.clone() {
                Some(floor) => contents.apply(&floor.above(change)?)?,
                None => contents.apply(change)?,
            }
            if contents.row_count > self.rows_max {
                return Err(ResultError::TooManyRows { rows_max: self.rows_max });
            }
        }
        if !changes.is_empty() {
            contents.version += 1;
        }
        Ok(())
    }

    /// How many rows there are, and how often they have changed.
    pub fn row_count_and_version(&self) -> (usize, u64) {
        let contents = self.lock();
        (contents.row_count, contents.version)
    }

    /// The rows now.
    ///
    /// # Errors
    /// Arrow refused.
    pub fn snapshot(&self) -> Result<Snapshot, ResultError> {
        self.share().rows()
    }

    /// What it holds now. Takes the lock only to copy the list of segments.
    pub fn share(&self) -> Share {
        let mut contents = self.lock();
        Share { segments: contents.segments.iter_mut().map(Segment::share).collect(), version: contents.version }
    }

    /// A panic while the lock was held leaves whole rows behind at worst: reading on is right.
    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn new(schema: &SchemaRef, columns: Vec<usize>, is_unique: bool) -> Result<Self, ResultError> {
        let fields = columns.iter().filter_map(|column| schema.fields().get(*column));
        let converter = RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
        Ok(Self { columns, converter, places: HashMap::new(), is_unique })
    }

    fn keys(&self, rows: &RecordBatch) -> Result<Vec<Box<[u8]>>, ResultError> {
        let columns: Vec<ArrayRef> =
            self.columns.iter().filter_map(|column| rows.columns().get(*column)).map(Arc::clone).collect();
        if columns.is_empty() {
            // A result of one row, without a key column.
            return Ok(vec![Box::default(); rows.num_rows()]);
        }
        let keys = self.converter.convert_columns(&columns)?;
        Ok(keys.iter().map(|key| key.data().into()).collect())
    }

    /// Puts a row in; gives the row that it replaces.
    fn insert(&mut self, key: Box<[u8]>, place: Place) -> Option<Place> {
        match self.places.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Places::One(place));
                None
            }
            Entry::Occupied(mut entry) => match entry.get_mut() {
                Places::One(former) if self.is_unique => Some(std::mem::replace(former, place)),
                Places::One(first) => {
                    let first = *first;
                    entry.insert(Places::Many(vec![first, place]));
                    None
                }
                Places::Many(places) => {
                    places.push(place);
                    None
                }
            },
        }
    }

    /// Takes a row out, and says where it stood.
    fn remove(&mut self, key: &[u8]) -> Option<Place> {
        if let Some(Places::Many(places)) = self.places.get_mut(key)
            && places.len() > 1
        {
            return places.pop();
        }
        match self.places.remove(key)? {
            Places::One(place) => Some(place),
            Places::Many(places) => places.into_iter().next_back(),
        }
    }

    /// A row has been moved.
    fn relocate(&mut self, key: &[u8], from: Place, to: Place) {
        match self.places.get_mut(key) {
            Some(Places::One(place)) if *place == from => *place = to,
            Some(Places::Many(places)) => {
                if let Some(place) = places.iter_mut().find(|place| **place == from) {
                    *place = to;
                }
            }
            _ => {}
        }
    }
}

fn row_number(row: usize) -> u32 {
    // A batch of Arrow has fewer rows than that, for all that fits into memory.
    u32::try_from(row).unwrap_or(u32::MAX)
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

    fn share(&mut self) -> SharedSegment {
        let standing = if self.standing_count == self.rows.num_rows() {
            None
        } else {
            let standing = &self.standing;
            Some(self.shared.get_or_insert_with(|| standing.finish_cloned()).clone())
        };
        SharedSegment { id: self.id, rows: self.rows.clone(), standing }
    }
}

impl Contents {
    fn apply(&mut self, change: &Batch) -> Result<(), ResultError> {
        let Some(index) = &self.index else {
            self.row_count += change.rows.num_rows();
            self.append(change.rows.clone())?;
            return self.merge();
        };
        let keys = index.keys(&change.rows)?;
        let kind_of = |row: usize| change.kinds.as_ref().map_or(RowKind::Insert as u8, |kinds| kinds.value(row));
        let is_new = |kind: u8| kind == RowKind::Insert as u8 || kind == RowKind::UpdateAfter as u8;
        let new_rows: Vec<u32> = (0..keys.len()).filter(|row| is_new(kind_of(*row))).map(row_number).collect();
        let rows = match new_rows.len() {
            count if count == keys.len() => change.rows.clone(),
            _ => take_record_batch(&change.rows, &UInt32Array::from(new_rows))?,
        };
        let segment = self.append(rows)?;
        let mut next_row = 0;
        for (row, key) in keys.into_iter().enumerate() {
            if is_new(kind_of(row)) {
                let place = Place { segment, row: next_row };
                next_row += 1;
                self.row_count += 1;
                if let Some(former) = self.index.as_mut().and_then(|index| index.insert(key, place)) {
                    self.clear(former);
                }
            } else {
                let place = self.index.as_mut().and_then(|index| index.remove(&key));
                self.clear(place.ok_or(ResultError::MissingRow)?);
            }
        }
        self.merge()
    }

    /// Puts rows into a segment of their own.
    fn append(&mut self, rows: RecordBatch) -> Result<u64, ResultError> {
        let id = self.next_segment;
        self.next_segment += 1;
        self.segments.push(Segment::new(id, rows));
        Ok(id)
    }

    fn clear(&mut self, place: Place) {
        // Segments stand in the order of their numbers.
        if let Ok(at) = self.segments.binary_search_by_key(&place.segment, |segment| segment.id)
            && let Some(segment) = self.segments.get_mut(at)
        {
            segment.clear(place.row);
            self.row_count -= 1;
        }
    }

    /// Merges the last segments while the one before is not much larger, and rewrites segments that mostly fell.
    fn merge(&mut self) -> Result<(), ResultError> {
        while let [.., before, last] = self.segments.as_slice() {
            if before.standing_count > 2 * last.standing_count.max(1) {
                break;
            }
            let tail = self.segments.split_off(self.segments.len() - 2);
            self.rewrite(tail)?;
        }
        let sparse =
            |segment: &Segment| segment.rows.num_rows() > 64 && segment.standing_count * 2 < segment.rows.num_rows();
        while let Some(at) = self.segments.iter().position(sparse) {
            let after = self.segments.split_off(at + 1);
            let Some(segment) = self.segments.pop() else { break };
            self.rewrite_in_place(segment)?;
            self.segments.extend(after);
        }
        Ok(())
    }

    /// Makes one new segment, at the end, of what stands in `segments`.
    fn rewrite(&mut self, segments: Vec<Segment>) -> Result<(), ResultError> {
        let id = self.next_segment;
        self.next_segment += 1;
        self.rewrite_as(id, segments)
    }

    /// Leaves fallen rows out; the segment keeps its number, so that the order stays.
    fn rewrite_in_place(&mut self, segment: Segment) -> Result<(), ResultError> {
        self.rewrite_as(segment.id, vec![segment])
    }

    fn rewrite_as(&mut self, id: u64, segments: Vec<Segment>) -> Result<(), ResultError> {
        let Some(schema) = segments.first().map(|segment| segment.rows.schema()) else { return Ok(()) };
        let mut parts = Vec::with_capacity(segments.len());
        let mut places = Vec::new();
        for mut segment in segments {
            let standing = segment.standing.finish();
            places.extend(standing.set_indices().map(|row| Place { segment: segment.id, row: row_number(row) }));
            parts.push(filter_record_batch(&segment.rows, &BooleanArray::new(standing, None))?);
        }
        let mut rows = concat_batches(&schema, &parts)?;
        if let Some(combine) = &self.combine {
            let before = rows.num_rows();
            rows = combine(&rows)?;
            self.row_count = self.row_count.saturating_sub(before) + rows.num_rows();
        }
        if let Some(index) = &mut self.index {
            for (row, (key, from)) in index.keys(&rows)?.into_iter().zip(places).enumerate() {
                index.relocate(&key, from, Place { segment: id, row: row_number(row) });
            }
        }
        if rows.num_rows() > 0 {
            self.segments.push(Segment::new(id, rows));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
