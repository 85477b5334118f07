//! What a window gives out: the results of its groups; or, when it has given some out before, how they have changed since.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt8Array, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use super::rows_of;
use crate::batch::{Batch, RowKind};
use crate::time::timestamps;
use crate::window::Span;

/// Results as they were given out, one element a group.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) results: Vec<ArrayRef>,
    pub(crate) group_count: usize,
}

impl Given {
    pub(crate) fn size_bytes(&self) -> usize {
        self.results.iter().map(|array| array.get_array_memory_size()).sum()
    }
}

/// The rows that give `results` out, one a group: the keys, the window's bounds, the results.
pub(crate) fn result_rows(
    schema: &SchemaRef,
    keys: Vec<ArrayRef>,
    window: Span,
    results: Vec<ArrayRef>,
    row_count: usize,
) -> Result<RecordBatch, ArrowError> {
    let key_count = keys.len();
    let mut columns = keys;
    columns.push(timestamps(vec![window.start_ms; row_count], type_of(schema, key_count))?);
    columns.push(timestamps(vec![window.end_ms; row_count], type_of(schema, key_count + 1))?);
    columns.extend(results);
    rows_of(schema, columns, row_count)
}

fn type_of(schema: &SchemaRef, column: usize) -> &DataType {
    schema.fields().get(column).map_or(&DataType::Null, |field| field.data_type())
}

/// How a window's results differ from what was given out before: `-U` and `+U` for each group whose result is another,
/// `+I` for each new one. Groups do not go away, and the first ones are those that were given.
pub(crate) fn changes(
    schema: &SchemaRef,
    keys: &[ArrayRef],
    window: Span,
    before: Option<Given>,
    now: &Given,
) -> Result<Option<Batch>, ArrowError> {
    let group_count = now.group_count;
    let rows = result_rows(schema, keys.to_vec(), window, now.results.clone(), group_count)?;
    let Some(before) = before else {
        let kinds = UInt8Array::from_value(RowKind::Insert as u8, group_count);
        return Ok(Some(Batch { rows, kinds: Some(kinds) }));
    };
    let given_count = before.group_count;
    let mut indices: Vec<u32> = Vec::new();
    let mut kinds: Vec<u8> = Vec::new();
    for group in changed_groups(&before.results, &now.results, given_count) {
        // The former rows stand before the present ones.
        indices.extend([group as u32, (given_count + group) as u32]);
        kinds.extend([RowKind::UpdateBefore as u8, RowKind::UpdateAfter as u8]);
    }
    indices.extend((given_count..group_count).map(|group| (given_count + group) as u32));
    kinds.resize(indices.len(), RowKind::Insert as u8);
    if indices.is_empty() {
        return Ok(None);
    }
    let keys = keys.iter().map(|key| key.slice(0, given_count)).collect();
    let before = result_rows(schema, keys, window, before.results, given_count)?;
    let both = Batch::concat(&[Batch::append(before), Batch::append(rows)])?;
    let Some(both) = both else { return Ok(None) };
    let rows = both.take(&UInt32Array::from(indices))?.rows;
    Ok(Some(Batch { rows, kinds: Some(UInt8Array::from(kinds)) }))
}

/// The groups, of the first `given_count`, of which some result is another than before. Results that cannot be compared
/// count as changed: an update too many is right, one too few is not.
fn changed_groups(given: &[ArrayRef], results: &[ArrayRef], given_count: usize) -> Vec<usize> {
    let mut changed = vec![false; given_count];
    for (before, after) in given.iter().zip(results) {
        let differs = distinct(before, &after.slice(0, given_count))
            .unwrap_or_else(|_| BooleanArray::from(vec![true; given_count]));
        for (changed, differs) in changed.iter_mut().zip(differs.values().iter()) {
            *changed |= differs;
        }
    }
    changed.iter().enumerate().filter(|(_, changed)| **changed).map(|(group, _)| group).collect()
}
