//! Keys: encoded to bytes row by row, hashed by a hash of our own, and cut into 256 *key groups*.
//!
//! The encoding is Arrow's row format, in which equal keys are equal bytes (nulls are equal to each other). The hash is
//! xxh3 over those bytes: it must never change silently, since state is placed by it, so it has a version and a test
//! that pins its values. Key groups go to subtasks by range.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::{ByteRows, EncodedRows, RowEncoder};

/// How many key groups there are: the largest parallelism of a keyed operator.
pub const KEY_GROUP_COUNT: usize = 256;

/// Moves when the same key would hash differently: then state written before cannot be read by group.
pub const KEY_HASH_VERSION: u32 = 1;

/// The key group of a key, by its hash. Takes bits that hash tables use neither to find a bucket nor to tell keys apart.
pub fn key_group(hash: u64) -> usize {
    usize::from((hash >> 40) as u8)
}

/// Into how many slices a subtask's state is cut when it outgrows memory.
pub(crate) const SLICE_COUNT: usize = 64;

/// The slice of a key within its subtask, by its hash. Takes bits that neither key groups nor hash tables use, so that keys
/// spread over slices however many subtasks there are.
pub(crate) fn slice_of(hash: u64) -> usize {
    usize::from((hash >> 48) as u8) % SLICE_COUNT
}

/// The subtask that holds a key group.
pub fn subtask_of(key_group: usize, parallelism: usize) -> usize {
    key_group * parallelism / KEY_GROUP_COUNT
}

/// Encodes keys of certain types.
#[derive(Debug)]
pub struct KeyEncoder {
    rows: RowEncoder,
}

/// Keys, one a row, and their hashes.
#[derive(Debug)]
pub struct EncodedKeys {
    rows: EncodedRows,
    hashes: Vec<u64>,
}

impl KeyEncoder {
    /// An encoder for key columns of these types. Without columns there is one key, the empty one.
    ///
    /// # Errors
    /// A type cannot be a key: a map, for example.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        Ok(Self { rows: RowEncoder::of_types(types)? })
    }

    /// Encodes the keys of `row_count` rows.
    ///
    /// # Errors
    /// The columns are not of the encoder's types.
    pub fn encode(&self, columns: &[ArrayRef], row_count: usize) -> Result<EncodedKeys, ArrowError> {
        let rows = self.rows.encode(columns, row_count)?;
        let hashes = (0..row_count).map(|row| xxh3_64(rows.row(row))).collect();
        Ok(EncodedKeys { rows, hashes })
    }

    /// Room for distinct keys of this encoder; `None` for no columns.
    pub(crate) fn no_keys(&self) -> Option<ByteRows> {
        (!self.rows.is_empty()).then(|| self.rows.no_rows())
    }

    /// The key columns of encoded keys.
    pub(crate) fn decode(&self, keys: Option<&ByteRows>) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows.decode(keys.into_iter().flat_map(ByteRows::iter))
    }

    /// The key columns of some encoded keys.
    pub(crate) fn decode_rows(
        &self,
        keys: Option<&ByteRows>,
        rows: impl Iterator<Item = usize>,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let Some(keys) = keys else { return Ok(Vec::new()) };
        self.rows.decode(rows.map(|row| keys.row(row)))
    }
}

impl EncodedKeys {
    /// One hash a row.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The key of a row.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        self.rows.row(row)
    }
}

#[cfg(test)]
mod tests;
