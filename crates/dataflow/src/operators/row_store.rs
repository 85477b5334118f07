//! Rows kept as state, found by place and compared by an order: what ranking and OVER windows hold.
//!
//! A batch that comes is kept as it is; nothing is copied until most of what is kept is no longer wanted, then the rows
//! that are still wanted of batches that hold few of them are gathered into new batches. Sort keys are bytes in Arrow's row format, so comparing is
//! comparing bytes, whatever the types. The first 16 of them travel with a row's place: mostly they decide, and no
//! memory of the row itself is touched.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, make_comparator, new_empty_array};
use arrow::compute::{SortOptions, interleave};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::batch::column_bytes;
use crate::coalesce::BATCH_ROWS;
use crate::encoding::{EncodedRows, RowEncoder};

/// A column that rows are ordered by, as `ORDER BY` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderColumn {
    /// Its index.
    pub column: usize,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`.
    pub nulls_first: bool,
}

impl OrderColumn {
    /// As text: `price DESC`.
    pub fn describe(&self, schema: &Schema) -> String {
        let name = schema.fields().get(self.column).map_or("?", |field| field.name().as_str());
        format!("{name}{}", if self.descending { " DESC" } else { "" })
    }

    fn options(self) -> SortOptions {
        SortOptions { descending: self.descending, nulls_first: self.nulls_first }
    }
}

/// Where a kept row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) batch: u32,
    row: u32,
}

/// Makes the sort keys of rows.
#[derive(Debug)]
pub(crate) struct SortKeys {
    encoder: RowEncoder,
    order: Vec<OrderColumn>,
}

/// The beginning of a sort key, as numbers that compare as it does.
pub(crate) type Prefix = [u64; 2];

impl SortKeys {
    /// For rows of `schema`, in this order.
    pub(crate) fn new(schema: &Schema, order: Vec<OrderColumn>) -> Result<Self, ArrowError> {
        let column = |by: &OrderColumn| Ok((schema.field_with_index(by.column)?.clone(), by.options()));
        let columns = order.iter().map(column).collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(Self { encoder: RowEncoder::new(columns)?, order })
    }

    /// The beginning of each row's key; and the keys, where one is longer than that.
    pub(crate) fn of_rows(&self, rows: &RecordBatch) -> Result<(Vec<Prefix>, Option<EncodedRows>), ArrowError> {
        if self.order.is_empty() {
            return Ok((vec![[0; 2]; rows.num_rows()], None));
        }
        let columns = self.order.iter().filter_map(|by| rows.columns().get(by.column).cloned());
        let keys = self.encoder.encode(&columns.collect::<Vec<ArrayRef>>(), rows.num_rows())?;
        let prefixes = (0..keys.len()).map(|row| prefix_of(keys.row(row))).collect();
        let is_long = (0..keys.len()).any(|row| keys.row(row).len() > size_of::<Prefix>());
        Ok((prefixes, is_long.then_some(keys)))
    }
}

/// A kept row, and the beginning of its sort key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    prefix: Prefix,
    pub(crate) place: Place,
}

/// A batch that is kept. Once all its rows are somewhere else it has none, and its number is free.
struct Kept {
    rows: RecordBatch,
    size_bytes: usize,
    /// Whole sort keys, where one is longer than an entry's prefix.
    keys: Option<EncodedRows>,
}

/// Kept rows of one schema and one order.
pub(crate) struct RowStore {
    schema: SchemaRef,
    keys: SortKeys,
    /// The columns that make the order total, in turn.
    ties: Vec<usize>,
    batches: Vec<Kept>,
    /// The numbers of batches without rows.
    free: Vec<u32>,
    row_count: usize,
    size_bytes: usize,
}

impl RowStore {
    /// An empty store of rows of `schema`, ordered by `order` and then by every column.
    pub(crate) fn new(schema: SchemaRef, order: Vec<OrderColumn>) -> Result<Self, ArrowError> {
        let keys = SortKeys::new(&schema, order)?;
        let ties = tie_columns(&schema);
        Ok(Self { schema, keys, ties, batches: Vec::new(), free: Vec::new(), row_count: 0, size_bytes: 0 })
    }

    /// The columns of its rows.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Keeps a batch, and gives an entry for each of its rows.
    pub(crate) fn add(&mut self, rows: RecordBatch) -> Result<Vec<Entry>, ArrowError> {
        let batch = match self.free.pop() {
            Some(free) => free,
            None => u32::try_from(self.batches.len())
                .map_err(|_| ArrowError::MemoryError("more than 2^32 batches are kept".to_owned()))?,
        };
        let (prefixes, keys) = self.keys.of_rows(&rows)?;
        let entry = |(row, prefix)| Entry { prefix, place: Place { batch, row } };
        let entries = (0..).zip(prefixes).map(entry).collect();
        self.row_count += rows.num_rows();
        let of_keys = keys.as_ref().map_or(0, EncodedRows::size_bytes);
        let size_bytes = rows.columns().iter().map(column_bytes).sum::<usize>() + of_keys;
        self.size_bytes += size_bytes;
        let kept = Kept { rows, size_bytes, keys };
        match self.batches.get_mut(batch as usize) {
            Some(place) => *place = kept,
            None => self.batches.push(kept),
        }
        Ok(entries)
    }

    /// Keeps rows by their columns.
    pub(crate) fn add_columns(&mut self, columns: Vec<ArrayRef>, row_count: usize) -> Result<Vec<Entry>, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        self.add(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    /// Compares by the asked order alone.
    pub(crate) fn compare_order(&self, left: &Entry, right: &Entry) -> Ordering {
        left.prefix.cmp(&right.prefix).then_with(|| match (self.key(left.place), self.key(right.place)) {
            (Some(left), Some(right)) => left.cmp(right),
            // One of them is wholly in its prefix; keys are prefix-free, so the other is the same.
            _ => Ordering::Equal,
        })
    }

    /// Compares by the asked order and then by every column: equal means that the rows are.
    pub(crate) fn compare(&self, left: &Entry, right: &Entry) -> Ordering {
        self.compare_order(left, right).then_with(|| self.compare_rows(left.place, right.place))
    }

    fn key(&self, place: Place) -> Option<&[u8]> {
        let keys = self.batches.get(place.batch as usize)?.keys.as_ref()?;
        Some(keys.row(place.row as usize))
    }

    fn compare_rows(&self, left: Place, right: Place) -> Ordering {
        if left == right {
            return Ordering::Equal;
        }
        let (Some(one), Some(other)) = (self.batches.get(left.batch as usize), self.batches.get(right.batch as usize))
        else {
            return Ordering::Equal;
        };
        let nulls_last = SortOptions { descending: false, nulls_first: false };
        for column in &self.ties {
            let columns = (one.rows.columns().get(*column), other.rows.columns().get(*column));
            let (Some(one), Some(other)) = columns else { continue };
            // Types that cannot be compared were left out of `ties`.
            let Ok(compare) = make_comparator(one, other, nulls_last) else { continue };
            let order = compare(left.row as usize, right.row as usize);
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    /// The columns of some rows, in that order.
    pub(crate) fn gather(&self, places: &[Place]) -> Result<Vec<ArrayRef>, ArrowError> {
        let (sources, indices) = self.sources(places);
        (0..self.schema.fields().len()).map(|column| self.interleaved(column, &sources, &indices)).collect()
    }

    /// One column of some rows.
    pub(crate) fn gather_column(&self, column: usize, places: &[Place]) -> Result<ArrayRef, ArrowError> {
        let (sources, indices) = self.sources(places);
        self.interleaved(column, &sources, &indices)
    }

    /// The batches that some rows stand in, and where each row stands among them.
    fn sources(&self, places: &[Place]) -> (Vec<&RecordBatch>, Vec<(usize, usize)>) {
        let mut sources: Vec<&RecordBatch> = Vec::new();
        let mut source_of: Vec<Option<usize>> = vec![None; self.batches.len()];
        let mut indices = Vec::with_capacity(places.len());
        for place in places {
            let Some(known) = source_of.get_mut(place.batch as usize) else { continue };
            let Some(kept) = self.batches.get(place.batch as usize) else { continue };
            let source = *known.get_or_insert_with(|| {
                sources.push(&kept.rows);
                sources.len() - 1
            });
            indices.push((source, place.row as usize));
        }
        (sources, indices)
    }

    fn interleaved(
        &self,
        column: usize,
        sources: &[&RecordBatch],
        indices: &[(usize, usize)],
    ) -> Result<ArrayRef, ArrowError> {
        if sources.is_empty() {
            return Ok(new_empty_array(self.schema.field_with_index(column)?));
        }
        let columns: Vec<&dyn Array> =
            sources.iter().filter_map(|rows| rows.columns().get(column)).map(AsRef::as_ref).collect();
        interleave(&columns, indices)
    }

    /// Whether gathering the `wanted` rows anew would free as much as it keeps.
    pub(crate) fn is_sparse(&self, wanted: usize) -> bool {
        self.row_count.saturating_sub(wanted) > wanted.max(8 * BATCH_ROWS)
    }

    /// Lets go of batches of which `entries`, which are all, want few rows; these entries then point to where the rows are.
    pub(crate) fn compact<'a>(&mut self, entries: impl Iterator<Item = &'a mut Entry>) -> Result<(), ArrowError> {
        let mut entries: Vec<&mut Entry> = entries.collect();
        let mut wanted = vec![0_usize; self.batches.len()];
        for entry in &entries {
            if let Some(count) = wanted.get_mut(entry.place.batch as usize) {
                *count += 1;
            }
        }
        let counts = wanted.iter().zip(&self.batches);
        let is_sparse: Vec<bool> = counts.map(|(wanted, kept)| wanted * 4 < kept.rows.num_rows() * 3).collect();
        let moves = |place: Place| is_sparse.get(place.batch as usize).copied().unwrap_or(false);
        entries.retain(|entry| moves(entry.place));
        // Neighbours stay neighbours.
        entries.sort_unstable_by_key(|entry| (entry.place.batch, entry.place.row));
        for chunk in entries.chunks_mut(BATCH_ROWS) {
            let places: Vec<Place> = chunk.iter().map(|entry| entry.place).collect();
            let columns = self.gather(&places)?;
            for (entry, moved) in chunk.iter_mut().zip(self.add_columns(columns, places.len())?) {
                **entry = moved;
            }
        }
        for number in (0..).take(is_sparse.len()) {
            if is_sparse.get(number as usize) == Some(&true) {
                self.release(number);
            }
        }
        Ok(())
    }

    /// Lets go of a batch that nobody wants a row of.
    pub(crate) fn release(&mut self, batch: u32) {
        let Some(kept) = self.batches.get_mut(batch as usize).filter(|kept| kept.rows.num_rows() > 0) else { return };
        self.row_count -= kept.rows.num_rows();
        self.size_bytes -= kept.size_bytes;
        *kept = Kept { rows: RecordBatch::new_empty(self.schema.clone()), size_bytes: 0, keys: None };
        self.free.push(batch);
    }

    /// Heap memory held, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }
}

/// Whether rows that are equal in all columns of an `ORDER BY` are ordered by a column of this type: lists and the like
/// come last, since not every sort knows them.
pub fn breaks_ties(data_type: &DataType) -> bool {
    !data_type.is_nested()
        && !matches!(data_type, DataType::Null | DataType::Dictionary(..) | DataType::RunEndEncoded(..))
}

/// The columns that break ties: all that can be compared.
fn tie_columns(schema: &Schema) -> Vec<usize> {
    let comparable = |data_type: &DataType| {
        let none = new_empty_array(data_type);
        make_comparator(&none, &none, SortOptions::default()).is_ok()
    };
    let columns = || schema.fields().iter().map(|field| field.data_type()).enumerate();
    let first = columns().filter(|(_, data_type)| breaks_ties(data_type));
    let last = columns().filter(|(_, data_type)| !breaks_ties(data_type) && comparable(data_type));
    first.chain(last).map(|(column, _)| column).collect()
}

/// The first 16 bytes of a key, so that comparing numbers compares bytes. A shorter key is filled up with zeros: no key
/// of Arrow's row format is the beginning of another, so that decides nothing.
fn prefix_of(key: &[u8]) -> Prefix {
    let mut bytes = [0_u8; 16];
    let length = key.len().min(bytes.len());
    if let (Some(begin), Some(of_key)) = (bytes.get_mut(..length), key.get(..length)) {
        begin.copy_from_slice(of_key);
    }
    let number = u128::from_be_bytes(bytes);
    [(number >> 64) as u64, number as u64]
}

/// The type of a column by index.
trait FieldType {
    fn field_with_index(&self, column: usize) -> Result<&DataType, ArrowError>;
}

impl FieldType for Schema {
    fn field_with_index(&self, column: usize) -> Result<&DataType, ArrowError> {
        let field = self.fields().get(column);
        field
            .map(|field| field.data_type())
            .ok_or_else(|| ArrowError::SchemaError(format!("there is no column {column}")))
    }
}
