//! Fingerprints: 128 bits that say which row it is, so that a row that is taken back is found among those of its key.
//!
//! They are of the stored columns only: rows that differ in nothing that is kept are the same to the join. Two different
//! rows of one key have the same fingerprint once in 2^128.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_128;

/// Makes the fingerprints of rows of one schema.
#[derive(Debug)]
pub(super) struct Fingerprinter {
    /// `None` where there are no columns: all rows are the same.
    converter: Option<RowConverter>,
}

impl Fingerprinter {
    pub(super) fn new(schema: &Schema) -> Result<Self, ArrowError> {
        let fields: Vec<SortField> =
            schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { converter: if fields.is_empty() { None } else { Some(RowConverter::new(fields)?) } })
    }

    pub(super) fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
        let Some(converter) = &self.converter else { return Ok(vec![0; rows.num_rows()]) };
        let encoded = converter.convert_columns(rows.columns())?;
        Ok(encoded.iter().map(|row| xxh3_128(row.data())).collect())
    }
}
