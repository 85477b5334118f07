//! How fast a view's result takes changes in, by the kind of result: `cargo run --release -p mulgil-serving --example result_throughput`.

#![allow(clippy::print_stdout, reason = "its figures are its output")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Int64Array, RecordBatch, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use mulgil_dataflow::batch::{Batch, RowKind};
use mulgil_serving::result::ResultTable;

const KEYS: i64 = 200_000;
const BATCH_ROWS: i64 = 8_192;
const ROWS: i64 = 8_000_000;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("n", DataType::Int64, true)]))
}

/// Rows of keys as good as chance; every one after an old one of its key, where the result updates.
fn batch(first: i64, is_updating: bool) -> Result<Batch, Box<dyn Error>> {
    let keys: Vec<i64> = (first..first + BATCH_ROWS).map(|row| row.wrapping_mul(7_919_317).rem_euclid(KEYS)).collect();
    let numbers: Int64Array = (first..first + BATCH_ROWS).map(Some).collect();
    let rows = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(keys)), Arc::new(numbers)])?;
    let kinds = is_updating.then(|| UInt8Array::from_value(RowKind::UpdateAfter as u8, rows.num_rows()));
    Ok(Batch { rows, kinds })
}

fn main() -> Result<(), Box<dyn Error>> {
    for (what, is_updating) in [("updates by key", true), ("inserts", false)] {
        for batches_at_once in [1, 16] {
            let table = ResultTable::new(schema(), Some(vec![0]), is_updating, usize::MAX)?;
            let batches = (0..ROWS / BATCH_ROWS).map(|number| batch(number * BATCH_ROWS, is_updating));
            let batches = batches.collect::<Result<Vec<_>, _>>()?;
            let began = Instant::now();
            for step in batches.chunks(batches_at_once) {
                table.apply(step)?;
            }
            let per_second = ROWS as f64 / began.elapsed().as_secs_f64() / 1e6;
            println!("{what}, {batches_at_once} batches a step: {per_second:.2} million rows a second");
        }
    }
    Ok(())
}
