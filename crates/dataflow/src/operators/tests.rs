//! Operators against a naive model, over random rows, arrival orders and batch splits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod counted;
pub(super) mod cut;
pub(in crate::operators) mod cuts;
mod over;
mod rank;
mod sealed;
mod sessions;
mod stateless;
pub(super) mod windowed;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMillisecondType, UInt64Type};

use crate::aggregate::AggregateFunction;
use crate::batch::Batch;
use crate::native::{Count, Sum};
use crate::operator::{LateRows, Operator, Output};
use crate::operators::group_aggregate::RollingCall;
use crate::time::Watermark;

/// The seed from which random cases go on: always the same, so that a change is judged by what it changes; `MULGIL_SEED`
/// looks at others.
pub(crate) fn first_seed() -> u64 {
    let first = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("first seed {first}");
    first
}

/// `count(*)` and the sum of column 2.
fn count_and_sum() -> Vec<RollingCall> {
    let call = |function: Arc<dyn AggregateFunction>, arguments: Vec<usize>, text: &str| RollingCall {
        function,
        argument_types: arguments.iter().map(|_| DataType::Int64).collect(),
        arguments,
        is_distinct: false,
        filter: None,
        text: text.to_owned(),
    };
    vec![call(Arc::new(Count), vec![], "count(*)"), call(Arc::new(Sum), vec![2], "sum(v)")]
}

/// What an operator gave out.
#[derive(Debug, Default)]
struct Recorder {
    batches: Vec<Batch>,
    dropped: u64,
    updated: u64,
    behind_ms: Vec<i64>,
    null_times: u64,
}

impl Output for Recorder {
    fn emit(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    fn late(&mut self, late: LateRows<'_>) {
        assert!(late.sample.num_rows() > 0);
        *(if late.dropped { &mut self.dropped } else { &mut self.updated }) += late.row_count;
        self.behind_ms.push(late.behind_ms);
    }

    fn null_time(&mut self, row_count: u64) {
        self.null_times += row_count;
    }
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn input_schema() -> SchemaRef {
    let fields = [("key", DataType::Utf8), ("ts", time_type()), ("v", DataType::Int64)];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

type InputRow = (Option<&'static str>, Option<i64>, Option<i64>);

fn input(rows: &[InputRow]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<TimestampMillisecondArray>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
    ];
    Batch::append(RecordBatch::try_new(input_schema(), columns).unwrap())
}

/// Every row as text, with its kind.
fn lines(batches: &[Batch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let kind = batch.kinds.as_ref().map_or("", |kinds| ["+I ", "-U ", "+U ", "-D "][kinds.value(row) as usize]);
            let cells: Vec<String> = batch.rows.columns().iter().map(|column| cell(column, row)).collect();
            lines.push(format!("{kind}{}", cells.join(" ")));
        }
    }
    lines
}

fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            column.as_primitive::<TimestampMillisecondType>().value(row).to_string()
        }
        other => panic!("no text for {other}"),
    }
}

fn process(operator: &mut dyn Operator, batch: Batch) -> Recorder {
    let mut out = Recorder::default();
    operator.process(0, batch, &mut out).unwrap();
    out
}

fn advance(operator: &mut dyn Operator, watermark: i64) -> Recorder {
    let mut out = Recorder::default();
    operator.on_watermark(Watermark(watermark), &mut out).unwrap();
    out
}
