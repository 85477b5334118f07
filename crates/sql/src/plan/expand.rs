//! Batch's view of our nodes: windows become a projection, watermarks nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::try_unary;
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::error::ArrowError;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use mulgil_dataflow::graph::Window;

use super::temporal::TemporalJoinNode;
use super::watermark::WatermarkNode;
use super::window::{CallWindow, WINDOW_COLUMNS, WindowAssignNode};
use super::{processing_time, session_islands, window_ends};

/// The plan without our nodes, for DataFusion to run.
pub(crate) fn expand(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = processing_time::at_once(plan)?;
    plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Extension(extension) = &plan else { return Ok(Transformed::no(plan)) };
        if let Some(watermark) = extension.node.as_any().downcast_ref::<WatermarkNode>() {
            return Ok(Transformed::yes(watermark.input.clone()));
        }
        if let Some(window) = extension.node.as_any().downcast_ref::<WindowAssignNode>() {
            return expand_window(window).map(Transformed::yes);
        }
        if let Some(join) = extension.node.as_any().downcast_ref::<TemporalJoinNode>() {
            return join.expand().map(Transformed::yes);
        }
        Ok(Transformed::no(plan))
    })
    .map(|transformed| transformed.data)
}

/// A row belongs to one tumbling window, so its bounds are columns computed from its time. To others it may belong
/// several times.
fn expand_window(node: &WindowAssignNode) -> Result<LogicalPlan> {
    let (size_ms, offset_ms) = match &node.window {
        CallWindow::Aligned(Window::Tumbling { size_ms, offset_ms }) => (*size_ms, *offset_ms),
        CallWindow::Aligned(window) => return window_ends::expand(node.input.clone(), &node.time, *window),
        CallWindow::Session { gap_ms, keys, .. } => {
            return session_islands::expand(node.input.clone(), &node.time, keys, *gap_ms);
        }
    };
    let mut columns: Vec<Expr> = node.input.schema().columns().into_iter().map(Expr::Column).collect();
    for (name, shift_ms) in WINDOW_COLUMNS.iter().zip([0, size_ms, size_ms - 1]) {
        columns.push(tumbling_bound(node.time.clone(), size_ms, offset_ms, shift_ms).alias(*name));
    }
    LogicalPlanBuilder::from(node.input.clone()).filter(node.time.clone().is_not_null())?.project(columns)?.build()
}

/// The beginning of the tumbling window of a time.
pub(crate) fn tumbling_start(time: Expr, size_ms: i64) -> Expr {
    tumbling_bound(time, size_ms, 0, 0)
}

fn tumbling_bound(time: Expr, size_ms: i64, offset_ms: i64, shift_ms: i64) -> Expr {
    let numbers = [size_ms, offset_ms, shift_ms].map(|n| Expr::Literal(ScalarValue::Int64(Some(n)), None));
    let arguments = std::iter::once(time).chain(numbers).collect();
    ScalarUDF::new_from_impl(TumblingBound::default()).call(arguments)
}

/// `tumbling_bound(time, size, offset, shift)`: the start of the tumbling window of `time`, plus `shift`, all in
/// milliseconds. Rounds down, also before 1970.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TumblingBound {
    signature: Signature,
}

impl Default for TumblingBound {
    fn default() -> Self {
        Self { signature: Signature::any(4, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TumblingBound {
    fn name(&self) -> &str {
        "tumbling_bound"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first() {
            Some(DataType::Timestamp(_, zone)) => Ok(DataType::Timestamp(TimeUnit::Millisecond, zone.clone())),
            other => plan_err!("tumbling_bound needs a timestamp, not {other:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let row_count = args.number_rows;
        let mut arguments = args.args.into_iter();
        let Some(time) = arguments.next() else { return exec_err!("tumbling_bound needs a time") };
        let numbers: Vec<i64> = arguments
            .filter_map(|value| match value {
                ColumnarValue::Scalar(ScalarValue::Int64(number)) => number,
                _ => None,
            })
            .collect();
        let [size_ms, offset_ms, shift_ms] = numbers.as_slice() else {
            return exec_err!("tumbling_bound needs three numbers");
        };
        let bounds = bounds(&time.into_array(row_count)?, *size_ms, *offset_ms, *shift_ms)?;
        Ok(ColumnarValue::Array(bounds))
    }
}

fn bounds(time: &ArrayRef, size_ms: i64, offset_ms: i64, shift_ms: i64) -> Result<ArrayRef> {
    let DataType::Timestamp(unit, zone) = time.data_type().clone() else {
        return exec_err!("tumbling_bound needs timestamps, not {}", time.data_type());
    };
    let bound = |ms: Option<i64>| {
        ms.and_then(|ms| {
            let into_window = ms.checked_sub(offset_ms)?.rem_euclid(size_ms);
            ms.checked_sub(into_window)?.checked_add(shift_ms)
        })
        .ok_or_else(|| ArrowError::ComputeError("event time is too far from 1970 for a window".to_owned()))
    };
    let starts: PrimitiveArray<TimestampMillisecondType> = match unit {
        TimeUnit::Second => try_unary(time.as_primitive::<TimestampSecondType>(), |s| bound(s.checked_mul(1_000))),
        TimeUnit::Millisecond => try_unary(time.as_primitive::<TimestampMillisecondType>(), |ms| bound(Some(ms))),
        TimeUnit::Microsecond => {
            try_unary(time.as_primitive::<TimestampMicrosecondType>(), |us| bound(Some(us.div_euclid(1_000))))
        }
        TimeUnit::Nanosecond => {
            try_unary(time.as_primitive::<TimestampNanosecondType>(), |ns| bound(Some(ns.div_euclid(1_000_000))))
        }
    }?;
    Ok(Arc::new(starts.with_timezone_opt(zone)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
    use arrow::array::{TimestampMillisecondArray, TimestampNanosecondArray};

    use super::*;

    fn starts(time: ArrayRef, size_ms: i64, offset_ms: i64) -> Vec<Option<i64>> {
        let bounds = bounds(&time, size_ms, offset_ms, 0).unwrap();
        bounds.as_primitive::<TimestampMillisecondType>().iter().collect()
    }

    #[test]
    fn windows_begin_at_or_before_their_rows() {
        let times = vec![Some(0), Some(-1), Some(999), Some(1000), None, Some(-1000), Some(-1001)];
        let expected = vec![Some(0), Some(-1000), Some(0), Some(1000), None, Some(-1000), Some(-2000)];
        assert_eq!(starts(Arc::new(TimestampMillisecondArray::from(times)), 1000, 0), expected);
    }

    #[test]
    fn a_nanosecond_before_1970_is_before_1970() {
        let times = TimestampNanosecondArray::from(vec![-1, 0, 999_999_999]).with_timezone("UTC");
        assert_eq!(starts(Arc::new(times), 1000, 0), [Some(-1000), Some(0), Some(0)]);
    }

    #[test]
    fn offsets_move_the_windows() {
        let times = TimestampMillisecondArray::from(vec![0, 250, 1249, 1250]);
        assert_eq!(starts(Arc::new(times), 1000, 250), [Some(-750), Some(250), Some(250), Some(1250)]);
    }

    #[test]
    fn the_end_of_time_is_an_error() {
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![i64::MAX]));
        assert!(bounds(&times, 1000, 0, 1000).is_err());
    }
}
