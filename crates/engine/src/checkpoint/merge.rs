//! Puts together what was sealed whole and the changes since: of the rows with the same key, the newest stands.

use std::collections::HashSet;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use mulgil_dataflow::state::{Extent, StatePart};

/// All rows of a part: what was sealed of it, oldest first. `None` where nothing was.
pub(super) fn merged(sealed: Vec<StatePart>) -> Result<Option<StatePart>, ArrowError> {
    let Some(last) = sealed.last() else { return Ok(None) };
    let key_count = sealed.iter().find_map(|part| match part.extent {
        Extent::Changes { key_count, .. } => Some(key_count),
        Extent::Whole => None,
    });
    let Some(key_count) = key_count else { return Ok(sealed.into_iter().next_back()) };
    let (name, lies, schema) = (last.name.clone(), last.lies.clone(), last.rows.schema());
    let fields = schema.fields().iter().take(key_count);
    let keys = RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
    let mut settled: HashSet<Box<[u8]>> = HashSet::new();
    let mut standing: Vec<RecordBatch> = Vec::new();
    for part in sealed.iter().rev() {
        let stands = of_keys(&keys, &part.rows, key_count, |key| settled.insert(key))?;
        standing.push(filter_record_batch(&part.rows, &stands)?);
        match &part.extent {
            Extent::Whole => break,
            Extent::Changes { gone, .. } => {
                of_keys(&keys, gone, key_count, |key| settled.insert(key))?;
            }
        }
    }
    standing.reverse();
    let rows = concat_batches(&schema, &standing)?;
    Ok(Some(StatePart { name, rows, lies, extent: Extent::Whole }))
}

/// What `each` says of the key of each row.
fn of_keys(
    keys: &RowConverter,
    rows: &RecordBatch,
    key_count: usize,
    mut each: impl FnMut(Box<[u8]>) -> bool,
) -> Result<BooleanArray, ArrowError> {
    let columns: Vec<ArrayRef> = rows.columns().iter().take(key_count).cloned().collect();
    if columns.is_empty() {
        // Without key columns there is one row.
        return Ok((0..rows.num_rows()).map(|_| Some(each(Box::default()))).collect());
    }
    let encoded = keys.convert_columns(&columns)?;
    Ok(encoded.iter().map(|key| Some(each(key.data().into()))).collect())
}
