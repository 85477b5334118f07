//! The physical operators, one file each.

pub mod aggregation;
pub mod count_aggregate;
pub mod expand;
pub mod filter;
pub mod group_aggregate;
pub mod join;
mod kept_rows;
mod keyed_part;
mod late;
mod merged_slices;
pub mod over;
pub mod pane_aggregate;
mod partition;
mod partitions;
pub mod pre_aggregate;
pub mod processing_time;
pub mod project;
pub mod rank;
mod row_store;
mod sealed_slices;
pub mod session_aggregate;
pub mod session_assign;
mod session_changes;
mod sessions;
pub mod slice_table;
pub mod sliced_aggregate;
pub mod union;
pub mod unnest;
pub mod watermark_assign;
pub mod window_aggregate;
pub mod window_assign;
mod window_changes;
mod window_input;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::batch::Batch;
use crate::coalesce::BATCH_ROWS;
use crate::operator::Output;

/// Puts columns together to rows, also when there are no columns. Columns whose type differs from the schema's only in
/// its encoding (a dictionary that went through a key) are brought back to it.
fn rows_of(schema: &SchemaRef, columns: Vec<ArrayRef>, row_count: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(row_count));
    let same_type =
        |(column, field): (&ArrayRef, &Arc<arrow::datatypes::Field>)| column.data_type() == field.data_type();
    let columns = if columns.iter().zip(schema.fields()).all(same_type) {
        columns
    } else {
        let conform = |(column, field): (&ArrayRef, &Arc<arrow::datatypes::Field>)| cast(column, field.data_type());
        columns.iter().zip(schema.fields()).map(conform).collect::<Result<_, _>>()?
    };
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// Passes a batch on in parts of a size that the operators behind it like.
fn emit_in_parts(batch: &Batch, out: &mut dyn Output) {
    let row_count = batch.num_rows();
    if row_count < 2 * BATCH_ROWS {
        out.emit(batch.clone());
        return;
    }
    for begin in (0..row_count).step_by(BATCH_ROWS) {
        out.emit(batch.slice(begin, BATCH_ROWS.min(row_count - begin)));
    }
}

#[cfg(test)]
pub(crate) mod tests;
