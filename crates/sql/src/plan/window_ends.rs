//! Batch's way to give a row once for each of its windows: a list of the windows' ends, unnested, and the other bounds
//! computed from the end.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit, TimestampMillisecondType};
use datafusion::common::{Column, Result, UnnestOptions, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use mulgil_dataflow::graph::Window;
use mulgil_dataflow::time::{event_times, timestamps};

use super::window::WINDOW_COLUMNS;

/// The column of the ends, before it is `window_end`. Users cannot name a column so.
const ENDS: &str = "ends of the row's windows";

/// The rows of `input`, once for each window of `time`, with the window's bounds.
pub(crate) fn expand(input: LogicalPlan, time: &Expr, window: Window) -> Result<LogicalPlan> {
    let function = |part| ScalarUDF::new_from_impl(WindowBound::new(window, part));
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let with_ends = columns.iter().cloned().chain([function(Part::Ends).call(vec![time.clone()]).alias(ENDS)]);
    let end = Expr::Column(Column::new_unqualified(ENDS));
    let bounds = [function(Part::Start).call(vec![end.clone()]), end.clone(), function(Part::Time).call(vec![end])];
    let named = bounds.into_iter().zip(WINDOW_COLUMNS).map(|(bound, name)| bound.alias(name));
    LogicalPlanBuilder::from(input)
        .filter(time.clone().is_not_null())?
        .project(with_ends.collect::<Vec<Expr>>())?
        .unnest_column_with_options(Column::new_unqualified(ENDS), UnnestOptions::new().with_preserve_nulls(false))?
        .project(columns.iter().cloned().chain(named).collect::<Vec<Expr>>())?
        .build()
}

/// What a [`WindowBound`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// Of an event time: the ends of its windows.
    Ends,
    /// Of a window's end: its start.
    Start,
    /// Of a window's end: its last millisecond.
    Time,
}

/// One bound of windows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowBound {
    window: Window,
    part: Part,
    signature: Signature,
}

impl WindowBound {
    fn new(window: Window, part: Part) -> Self {
        Self { window, part, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn ends(&self, times: &Int64Array, bound: &DataType) -> Result<ArrayRef> {
        let mut ends = Vec::new();
        let mut lengths = Vec::with_capacity(times.len());
        for time in times {
            let before = ends.len();
            ends.extend(time.into_iter().flat_map(|time| self.window.windows_of(time)).map(|window| window.end_ms));
            lengths.push(ends.len() - before);
        }
        let field = Arc::new(Field::new_list_field(bound.clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(Arc::new(ListArray::try_new(field, offsets, timestamps(ends, bound)?, None)?))
    }
}

impl ScalarUDFImpl for WindowBound {
    fn name(&self) -> &str {
        match self.part {
            Part::Ends => "window_ends",
            Part::Start => "window_start",
            Part::Time => "window_time",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let Some(DataType::Timestamp(_, zone)) = arguments.first() else {
            return plan_err!("{} needs a timestamp, not {:?}", self.name(), arguments.first());
        };
        let bound = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
        Ok(if self.part == Part::Ends { DataType::List(Arc::new(Field::new_list_field(bound, true))) } else { bound })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let row_count = args.number_rows;
        let Some(argument) = args.args.into_iter().next() else { return exec_err!("{} needs a time", self.name()) };
        let argument = argument.into_array(row_count)?;
        let times = event_times(&argument)?;
        let DataType::Timestamp(_, zone) = argument.data_type() else {
            return exec_err!("{} needs timestamps, not {}", self.name(), argument.data_type());
        };
        let bound = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
        let moved = |of: &dyn Fn(i64) -> i64| -> ArrayRef {
            let moved = times.unary::<_, Int64Type>(of).reinterpret_cast::<TimestampMillisecondType>();
            Arc::new(moved.with_timezone_opt(zone.clone()))
        };
        Ok(ColumnarValue::Array(match self.part {
            Part::Ends => self.ends(&times, &bound)?,
            Part::Start => moved(&|end| self.window.start_of(end)),
            Part::Time => moved(&|end| end.saturating_sub(1)),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use arrow::array::AsArray;

    use super::*;

    #[test]
    fn a_time_has_a_list_of_ends_and_no_time_has_none() {
        let window = Window::Hopping { slide_ms: 5, size_ms: 10, offset_ms: 1 };
        let times = Int64Array::from(vec![Some(0), None, Some(-5)]);
        let bound = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let ends = WindowBound::new(window, Part::Ends).ends(&times, &bound).unwrap();
        let ends = ends.as_list::<i32>();
        assert_eq!(ends.value_type(), bound);
        let of = |row: usize| ends.value(row).as_primitive::<TimestampMillisecondType>().values().to_vec();
        assert_eq!((of(0), of(1), of(2)), (vec![1, 6], vec![], vec![-4, 1]));
    }
}
