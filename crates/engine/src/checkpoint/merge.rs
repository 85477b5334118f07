//! Puts together what was sealed whole and the changes since: of the rows with the same key, the newest stands.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, SortField};
use mulgil_dataflow::state::{Extent, StatePart, StateRows};

use super::CheckpointError;

/// All rows of a part: what was sealed of it, oldest first. `None` where nothing was.
pub(super) fn merged(sealed: Vec<StatePart>) -> Result<Option<StatePart>, CheckpointError> {
    let Some(last) = sealed.last() else { return Ok(None) };
    let key_count = sealed.iter().find_map(|part| match part.extent {
        Extent::Changes { key_count, .. } => Some(key_count),
        Extent::Whole => None,
    });
    let Some(key_count) = key_count else { return Ok(sealed.into_iter().next_back()) };
    let (name, lies, schema) = (last.name.clone(), last.lies.clone(), Arc::clone(last.rows.schema()));
    let fields = schema.fields().iter().take(key_count);
    let keys = RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())?;
    let mut settled: HashSet<Box<[u8]>> = HashSet::new();
    let mut standing: Vec<RecordBatch> = Vec::new();
    for part in sealed.iter().rev() {
        let mut of_part = Vec::new();
        for rows in part.rows.batches() {
            let rows = rows?;
            let stands = of_keys(&keys, &rows, key_count, |key| settled.insert(key))?;
            of_part.push(filter_record_batch(&rows, &stands)?);
        }
        standing.extend(of_part.into_iter().rev());
        match &part.extent {
            Extent::Whole => break,
            Extent::Changes { gone, .. } => {
                of_keys(&keys, gone, key_count, |key| settled.insert(key))?;
            }
        }
    }
    standing.reverse();
    let mut rows = StateRows::none(schema);
    standing.into_iter().for_each(|standing| rows.append(standing.into()));
    Ok(Some(StatePart { name, rows, lies, extent: Extent::Whole }))
}

/// What `each` says of the key of each row.
fn of_keys(
    keys: &RowConverter,
    rows: &RecordBatch,
    key_count: usize,
    mut each: impl FnMut(Box<[u8]>) -> bool,
) -> Result<BooleanArray, CheckpointError> {
    let columns: Vec<ArrayRef> = rows.columns().iter().take(key_count).cloned().collect();
    if columns.is_empty() {
        // Without key columns there is one row.
        return Ok((0..rows.num_rows()).map(|_| Some(each(Box::default()))).collect());
    }
    let encoded = keys.convert_columns(&columns)?;
    Ok(encoded.iter().map(|key| Some(each(key.data().into()))).collect())
}
