//! Keys: encoded to bytes row by row, hashed by a hash of our own, and cut into 256 *key groups*.
//!
//! The encoding is Arrow's row format, in which equal keys are equal bytes (nulls are equal to each other). The hash is
//! xxh3 over those bytes: it must never change silently, since state is placed by it, so it has a version and a test
//! that pins its values. Key groups go to subtasks by range.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};
use xxhash_rust::xxh3::xxh3_64;

/// How many key groups there are: the largest parallelism of a keyed operator.
pub const KEY_GROUP_COUNT: usize = 256;

/// Moves when the same key would hash differently: then state written before cannot be read by group.
pub const KEY_HASH_VERSION: u32 = 1;

/// The key group of a key, by its hash. Takes bits that hash tables use neither to find a bucket nor to tell keys apart.
pub fn key_group(hash: u64) -> usize {
    usize::from((hash >> 40) as u8)
}

/// The subtask that holds a key group.
pub fn subtask_of(key_group: usize, parallelism: usize) -> usize {
    key_group * parallelism / KEY_GROUP_COUNT
}

/// Encodes keys of certain types.
#[derive(Debug)]
pub struct KeyEncoder {
    /// `None` for no columns: there is one key, the empty one.
    converter: Option<RowConverter>,
}

/// Keys, one a row, and their hashes.
#[derive(Debug)]
pub struct EncodedKeys {
    rows: Option<Rows>,
    hashes: Vec<u64>,
}

impl KeyEncoder {
    /// An encoder for key columns of these types.
    ///
    /// # Errors
    /// A type cannot be a key: a map, for example.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        let fields: Vec<SortField> = types.into_iter().map(SortField::new).collect();
        let converter = if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) };
        Ok(Self { converter })
    }

    /// Encodes the keys of `row_count` rows.
    ///
    /// # Errors
    /// The columns are not of the encoder's types.
    pub fn encode(&self, columns: &[ArrayRef], row_count: usize) -> Result<EncodedKeys, ArrowError> {
        let Some(converter) = &self.converter else {
            return Ok(EncodedKeys { rows: None, hashes: vec![xxh3_64(b""); row_count] });
        };
        let rows = converter.convert_columns(columns)?;
        let hashes = rows.iter().map(|row| xxh3_64(row.data())).collect();
        Ok(EncodedKeys { rows: Some(rows), hashes })
    }

    /// Room for distinct keys of this encoder.
    pub(crate) fn empty_rows(&self) -> Option<Rows> {
        self.converter.as_ref().map(|converter| converter.empty_rows(0, 0))
    }

    /// The key columns of encoded keys.
    pub(crate) fn decode(&self, rows: Option<&Rows>) -> Result<Vec<ArrayRef>, ArrowError> {
        match (&self.converter, rows) {
            (Some(converter), Some(rows)) => converter.convert_rows(rows),
            _ => Ok(Vec::new()),
        }
    }
}

impl EncodedKeys {
    /// One hash a row.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    pub(crate) fn row(&self, row: usize) -> Option<Row<'_>> {
        self.rows.as_ref().map(|rows| rows.row(row))
    }
}

#[cfg(test)]
mod tests;
