//! The state of windows as rows, for checkpoints: what has been added up in each slice, and what windows have given out.
//!
//! The columns of a sealed slice are those of the partial states that a pre-aggregation makes: keys, the slice's start in
//! milliseconds, a number that the operator sets, and the state columns of each aggregate. Results that were given out are
//! sealed as they were.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::rows_of;
use super::slice_table::Run;
use super::window_changes::Given;
use super::window_input::WindowInput;
use crate::batch::take_rows;
use crate::operator::OperatorError;
use crate::state::{Lies, StatePart};
use crate::time::EventTimeMs;

/// The part that holds what has been added up.
pub(crate) const SLICES: &str = "slices";
/// The part that holds what has been given out. It is sealed first: the groups of what was given out have the first numbers.
pub(crate) const GIVEN: &str = "given";

/// The rows of one slice.
pub(crate) fn rows_of_run(
    run: &Run,
    start_ms: EventTimeMs,
    number: i64,
    input: &WindowInput,
) -> Result<RecordBatch, OperatorError> {
    let row_count = run.group_count();
    let mut columns = run.key_columns(&input.encoder)?;
    columns.push(Arc::new(Int64Array::from_value(start_ms, row_count)));
    columns.push(Arc::new(Int64Array::from_value(number, row_count)));
    columns.extend(run.state_columns());
    Ok(rows_of(&input.aggregation.partial_schema(), columns, row_count)?)
}

/// A part of rows that lie by the aggregation's keys, which are their first columns.
pub(crate) fn part(
    name: &'static str,
    schema: &SchemaRef,
    rows: &[RecordBatch],
    key_count: usize,
) -> Result<StatePart, ArrowError> {
    Ok(StatePart::whole(name, concat_batches(schema, rows)?, Lies::Keyed((0..key_count).collect())))
}

/// The rows of each moment, in order of time; rows of the same moment stay in order.
pub(crate) fn by_time(
    rows: &RecordBatch,
    times: &Int64Array,
) -> Result<BTreeMap<EventTimeMs, RecordBatch>, ArrowError> {
    let mut places: BTreeMap<EventTimeMs, Vec<u32>> = BTreeMap::new();
    for (row, time) in (0..).zip(times.values()) {
        places.entry(*time).or_default().push(row);
    }
    places.into_iter().map(|(time, places)| Ok((time, take_rows(rows, &UInt32Array::from(places))?))).collect()
}

impl Given {
    /// Adds the results of further groups.
    pub(crate) fn extend(given: Option<Self>, results: Vec<ArrayRef>, group_count: usize) -> Result<Self, ArrowError> {
        let Some(before) = given else { return Ok(Self { results, group_count }) };
        let both = before.results.iter().zip(&results).map(|(before, after)| concat(&[before, after]));
        Ok(Self { results: both.collect::<Result<_, _>>()?, group_count: before.group_count + group_count })
    }
}
