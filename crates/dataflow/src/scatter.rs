//! The hash exchange's work on a batch: which rows go to which subtask, by key group.
//!
//! One pass hashes the keys, one counts, one places; then a single `take` lays the rows out by destination, and each
//! destination gets its part as a slice of it, without another copy.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;

use crate::batch::Batch;
use crate::key::{KEY_GROUP_COUNT, KeyEncoder, key_group, subtask_of};

/// Splits batches by key.
#[derive(Debug)]
pub struct HashScatter {
    columns: Vec<usize>,
    encoder: KeyEncoder,
    /// The subtask of each key group.
    destinations: Vec<usize>,
    parallelism: usize,
}

impl HashScatter {
    /// Splits rows of `schema` by the key in `columns` over `parallelism` subtasks.
    ///
    /// # Errors
    /// A column does not exist, or its type cannot be a key.
    pub fn new(schema: &Schema, columns: Vec<usize>, parallelism: usize) -> Result<Self, ArrowError> {
        let types: Result<Vec<DataType>, ArrowError> =
            columns.iter().map(|column| column_type(schema, *column)).collect();
        let destinations = (0..KEY_GROUP_COUNT).map(|group| subtask_of(group, parallelism)).collect();
        Ok(Self { columns, encoder: KeyEncoder::new(types?)?, destinations, parallelism })
    }

    /// The parts of a batch that are not empty, each with its subtask. Within a part, rows keep their order.
    ///
    /// # Errors
    /// The batch is not of the schema that the scatter was made for.
    pub fn scatter(&self, batch: Batch) -> Result<Vec<(usize, Batch)>, ArrowError> {
        let keys = self.columns.iter().filter_map(|column| batch.rows.columns().get(*column).cloned());
        let keys = self.encoder.encode(&keys.collect::<Vec<ArrayRef>>(), batch.num_rows())?;
        let mut counts = vec![0_usize; self.parallelism];
        let rows: Vec<usize> = keys.hashes().iter().map(|hash| self.destination(*hash, &mut counts)).collect();

        lay_out(batch, &rows, &counts)
    }

    fn destination(&self, hash: u64, counts: &mut [usize]) -> usize {
        let destination = self.destinations.get(key_group(hash)).copied().unwrap_or(0);
        if let Some(count) = counts.get_mut(destination) {
            *count += 1;
        }
        destination
    }
}

/// Splits a batch by the place of each row, of which so many have each place. Within a part, rows keep their order.
pub(crate) fn lay_out(batch: Batch, places: &[usize], counts: &[usize]) -> Result<Vec<(usize, Batch)>, ArrowError> {
    if let Some(only) = counts.iter().position(|count| *count == places.len()) {
        return Ok(vec![(only, batch)]);
    }
    let mut next: Vec<usize> = Vec::with_capacity(counts.len());
    let mut begin = 0;
    for count in counts {
        next.push(begin);
        begin += count;
    }
    let mut order = vec![0_u32; places.len()];
    for (row, destination) in places.iter().enumerate() {
        if let Some(next) = next.get_mut(*destination) {
            if let Some(place) = order.get_mut(*next) {
                *place = row as u32;
            }
            *next += 1;
        }
    }
    let laid_out = batch.take(&UInt32Array::from(order))?;
    let parts = counts.iter().zip(next).enumerate().filter(|(_, (count, _))| **count > 0);
    Ok(parts.map(|(place, (count, end))| (place, laid_out.slice(end - count, *count))).collect())
}

pub(crate) fn column_type(schema: &Schema, column: usize) -> Result<DataType, ArrowError> {
    match schema.fields().get(column) {
        Some(field) => Ok(field.data_type().clone()),
        None => Err(ArrowError::SchemaError(format!("there is no column {column}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, RecordBatch, UInt8Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(keys: Vec<Option<i64>>) -> Batch {
        let positions: ArrayRef = Arc::new(Int64Array::from_iter_values(0..keys.len() as i64));
        let kinds = UInt8Array::from_iter_values((0..keys.len()).map(|row| (row % 4) as u8));
        let keys: ArrayRef = Arc::new(Int64Array::from(keys));
        Batch {
            rows: RecordBatch::try_from_iter([("key", keys), ("position", positions)]).unwrap(),
            kinds: Some(kinds),
        }
    }

    #[test]
    fn a_key_always_goes_to_the_same_subtask_and_no_row_is_lost() {
        let batch = batch((0..1000).map(|row| if row % 11 == 0 { None } else { Some(row % 37) }).collect());
        for parallelism in [1, 2, 3, 8, 256] {
            let scatter = HashScatter::new(batch.rows.schema_ref(), vec![0], parallelism).unwrap();
            let mut owners: HashMap<Option<i64>, usize> = HashMap::new();
            let mut seen = Vec::new();
            for (subtask, part) in scatter.scatter(batch.clone()).unwrap() {
                assert!(subtask < parallelism);
                let keys = part.rows.column(0).as_primitive::<Int64Type>();
                let positions = part.rows.column(1).as_primitive::<Int64Type>();
                assert!(positions.values().is_sorted(), "rows of one part keep their order");
                for row in 0..part.num_rows() {
                    let key = keys.iter().nth(row).unwrap();
                    assert_eq!(*owners.entry(key).or_insert(subtask), subtask);
                    assert_eq!(i64::from(part.kinds.as_ref().unwrap().value(row)), positions.value(row) % 4);
                }
                seen.extend(positions.values().iter().copied());
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..1000).collect::<Vec<i64>>());
            assert!(parallelism == 1 || owners.values().any(|owner| *owner != owners[&None]), "keys spread");
        }
    }

    #[test]
    fn without_key_columns_everything_goes_to_one_subtask() {
        let batch = batch(vec![Some(1), Some(2)]);
        let scatter = HashScatter::new(batch.rows.schema_ref(), vec![], 8).unwrap();
        assert_eq!(scatter.scatter(batch).unwrap().len(), 1);
    }

    #[test]
    fn a_missing_column_is_an_error() {
        assert!(HashScatter::new(batch(vec![]).rows.schema_ref(), vec![7], 2).is_err());
    }
}
