//! The difference of two answers of a view, as the changes that lead from one to the other.
//!
//! It asks nobody how an answer came about, so it is the same for a stream that goes on, a generation that takes over, a
//! boundary that moves and a result that is computed anew.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{Row, RowConverter, Rows, SortField};
use mulgil_dataflow::batch::RowKind;

use super::cell::Answer;
use crate::result::ResultError;

/// Changed rows, in an order in which they can be applied.
#[derive(Clone, Debug)]
pub struct Changes {
    /// What becomes of each row of `rows`.
    pub kinds: Vec<RowKind>,
    /// The rows. Any column may be null.
    pub rows: RecordBatch,
    /// About how much room they take in memory.
    pub(crate) bytes: usize,
}

/// What leads from `former` to `now`, whose columns are the same. Without a key, a row that changes is one that goes and one that comes.
pub(crate) fn difference(former: &Answer, now: &Answer, key: Option<&[usize]>) -> Result<Option<Changes>, ResultError> {
    let (gone, come) = (former.beside(now)?, now.beside(former)?);
    if gone.is_empty() && come.is_empty() {
        return Ok(None);
    }
    let schema = nullable(&now.schema);
    let converter = converter_of(&schema, None)?;
    let (gone, come) = (converted(&converter, &gone)?, converted(&converter, &come)?);
    let (gone, come) = netted(&gone, &come);
    if gone.is_empty() && come.is_empty() {
        return Ok(None);
    }
    let pairs = match key {
        Some(key) => pairs(&schema, key, &converter, (&gone, &come))?,
        None => vec![None; gone.len()],
    };
    let mut is_paired = vec![false; come.len()];
    let (mut kinds, mut rows) = (Vec::new(), Vec::new());
    for (row, pair) in gone.iter().zip(pairs) {
        rows.push(*row);
        match pair.and_then(|at| Some((come.get(at)?, is_paired.get_mut(at)?))) {
            Some((after, is_paired)) => {
                *is_paired = true;
                kinds.extend([RowKind::UpdateBefore, RowKind::UpdateAfter]);
                rows.push(*after);
            }
            None => kinds.push(RowKind::Delete),
        }
    }
    for (row, _) in come.iter().zip(is_paired).filter(|(_, is_paired)| !is_paired) {
        kinds.push(RowKind::Insert);
        rows.push(*row);
    }
    let bytes = rows.iter().map(|row| row.data().len()).sum();
    // Made anew from their bytes, the rows hold nothing else of the result in memory.
    let rows = RecordBatch::try_new(Arc::clone(&schema), converter.convert_rows(rows)?)?;
    Ok(Some(Changes { kinds, rows, bytes }))
}

/// The same columns, each of which may be null: the engine's rows may say less about nulls than a plan does.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

/// A converter of these columns, or of all.
fn converter_of(schema: &Schema, columns: Option<&[usize]>) -> Result<RowConverter, ArrowError> {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let fields = columns.unwrap_or(&all).iter().filter_map(|column| schema.fields().get(*column));
    RowConverter::new(fields.map(|field| SortField::new(field.data_type().clone())).collect())
}

fn converted(converter: &RowConverter, batches: &[RecordBatch]) -> Result<Rows, ArrowError> {
    let mut rows = converter.empty_rows(batches.iter().map(RecordBatch::num_rows).sum(), 0);
    for batch in batches {
        converter.append(&mut rows, batch.columns())?;
    }
    Ok(rows)
}

/// What is left of both when equal rows have cancelled each other out.
fn netted<'a>(gone: &'a Rows, come: &'a Rows) -> (Vec<Row<'a>>, Vec<Row<'a>>) {
    let mut counts: HashMap<Row<'a>, usize> = HashMap::with_capacity(gone.num_rows());
    for row in gone.iter() {
        *counts.entry(row).or_default() += 1;
    }
    let mut left = Vec::new();
    for row in come.iter() {
        match counts.get_mut(&row) {
            Some(count) if *count > 0 => *count -= 1,
            _ => left.push(row),
        }
    }
    let mut is_left = |row: &Row<'a>| match counts.get_mut(row) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    (gone.iter().filter(|row| is_left(row)).collect(), left)
}

/// For each row that goes, the row with the same key that comes.
fn pairs(
    schema: &Schema,
    key: &[usize],
    converter: &RowConverter,
    (gone, come): (&[Row<'_>], &[Row<'_>]),
) -> Result<Vec<Option<usize>>, ArrowError> {
    if key.is_empty() {
        // A result of one row.
        return Ok((0..gone.len()).map(|at| (at < come.len()).then_some(at)).collect());
    }
    let keys = converter_of(schema, Some(key))?;
    let keys_of = |rows: &[Row<'_>]| {
        let columns = converter.convert_rows(rows.iter().copied())?;
        let columns: Vec<ArrayRef> = key.iter().filter_map(|column| columns.get(*column)).map(Arc::clone).collect();
        keys.convert_columns(&columns)
    };
    let (gone, come) = (keys_of(gone)?, keys_of(come)?);
    let by_key: HashMap<Row<'_>, usize> = come.iter().enumerate().map(|(at, key)| (key, at)).collect();
    Ok(gone.iter().map(|key| by_key.get(&key).copied()).collect())
}
