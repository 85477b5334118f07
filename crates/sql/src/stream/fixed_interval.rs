//! `ts - INTERVAL '4' SECOND`, computed on whole columns: an interval of a fixed length is taken as a duration in the
//! timestamp's own unit. DataFusion adds intervals row by row through the calendar, which only months (and, where there
//! is a time zone, days) need.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};

const DAY_NS: i64 = 86_400_000_000_000;

/// The same expression with durations for the intervals that are added to or taken from timestamps over `schema`. Times
/// that cannot be said in 64 bits are errors, as with intervals.
pub(super) fn with_durations(expression: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    let rewritten = expression.transform_up(|part| {
        let Some(shifted) = part.downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(part)) };
        let sign = match shifted.op() {
            Operator::Plus | Operator::Minus => *shifted.op(),
            _ => return Ok(Transformed::no(part)),
        };
        let Some(interval) = shifted.right().downcast_ref::<Literal>() else { return Ok(Transformed::no(part)) };
        let DataType::Timestamp(unit, zone) = shifted.left().data_type(schema)? else {
            return Ok(Transformed::no(part));
        };
        let Some(duration) = duration(interval.value(), unit, zone.is_some()) else { return Ok(Transformed::no(part)) };
        let duration: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(duration));
        let fast = BinaryExpr::new(Arc::clone(shifted.left()), sign, duration).with_fail_on_overflow(true);
        Ok(Transformed::yes(Arc::new(fast) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(rewritten.data)
}

/// An interval as a duration; `None` where its length depends on the day, or the unit is too coarse for it.
fn duration(interval: &ScalarValue, unit: TimeUnit, has_zone: bool) -> Option<ScalarValue> {
    let (months, days, ns) = match interval {
        ScalarValue::IntervalDayTime(Some(parts)) => {
            (0, parts.days, i64::from(parts.milliseconds).checked_mul(1_000_000)?)
        }
        ScalarValue::IntervalMonthDayNano(Some(parts)) => (parts.months, parts.days, parts.nanoseconds),
        _ => return None,
    };
    if months != 0 || (has_zone && days != 0) {
        return None;
    }
    let ns = i64::from(days).checked_mul(DAY_NS)?.checked_add(ns)?;
    let whole = |unit_ns: i64| (ns % unit_ns == 0).then_some(ns / unit_ns);
    Some(match unit {
        TimeUnit::Second => ScalarValue::DurationSecond(Some(whole(1_000_000_000)?)),
        TimeUnit::Millisecond => ScalarValue::DurationMillisecond(Some(whole(1_000_000)?)),
        TimeUnit::Microsecond => ScalarValue::DurationMicrosecond(Some(whole(1_000)?)),
        TimeUnit::Nanosecond => ScalarValue::DurationNanosecond(Some(ns)),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMillisecondArray};
    use arrow::datatypes::{Field, TimestampMillisecondType};
    use datafusion::physical_expr::expressions::col;

    use super::*;

    const MS: TimeUnit = TimeUnit::Millisecond;

    fn interval(months: i32, days: i32, nanoseconds: i64) -> ScalarValue {
        ScalarValue::new_interval_mdn(months, days, nanoseconds)
    }

    #[test]
    fn only_fixed_lengths_are_durations() {
        for (value, unit, has_zone, expected) in [
            (interval(0, 0, 4_000_000_000), MS, false, Some(ScalarValue::DurationMillisecond(Some(4_000)))),
            (interval(0, 2, -1_000_000), MS, false, Some(ScalarValue::DurationMillisecond(Some(172_799_999)))),
            (interval(0, 0, 7), TimeUnit::Nanosecond, true, Some(ScalarValue::DurationNanosecond(Some(7)))),
            (
                ScalarValue::new_interval_dt(1, 5),
                TimeUnit::Microsecond,
                false,
                Some(ScalarValue::DurationMicrosecond(Some(86_400_005_000))),
            ),
            (interval(1, 0, 0), MS, false, None),
            (interval(0, 1, 0), MS, true, None),
            (interval(0, 0, 1), MS, false, None),
            (interval(0, 0, 5_000_000), TimeUnit::Second, false, None),
            (interval(0, i32::MAX, 0), TimeUnit::Nanosecond, false, None),
            (ScalarValue::Int64(Some(4)), MS, false, None),
        ] {
            assert_eq!(duration(&value, unit, has_zone), expected, "{value:?} {unit:?} {has_zone}");
        }
    }

    #[test]
    fn a_shifted_time_is_the_same_as_by_the_calendar() {
        let schema = Schema::new(vec![Field::new("ts", DataType::Timestamp(MS, None), true)]);
        let times: ArrayRef =
            Arc::new(TimestampMillisecondArray::from(vec![Some(0), None, Some(-1), Some(1_700_000_000_123)]));
        let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![times]).unwrap();
        for op in [Operator::Plus, Operator::Minus] {
            for shift in [interval(0, 3, 4_000_000_000), interval(0, 0, -1_000_000), interval(2, 0, 0)] {
                let slow: Arc<dyn PhysicalExpr> =
                    Arc::new(BinaryExpr::new(col("ts", &schema).unwrap(), op, Arc::new(Literal::new(shift.clone()))));
                let fast = with_durations(Arc::clone(&slow), &schema).unwrap();
                assert_eq!(fast.data_type(&schema).unwrap(), slow.data_type(&schema).unwrap());
                let of = |expression: &Arc<dyn PhysicalExpr>| {
                    let column = expression.evaluate(&rows).unwrap().into_array(rows.num_rows()).unwrap();
                    column.as_primitive::<TimestampMillisecondType>().clone()
                };
                assert_eq!(of(&fast), of(&slow), "{op} {shift:?}");
            }
        }
    }

    #[test]
    fn times_beyond_64_bits_are_errors() {
        let schema = Schema::new(vec![Field::new("ts", DataType::Timestamp(MS, None), true)]);
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![i64::MIN]));
        let rows = RecordBatch::try_new(Arc::new(schema.clone()), vec![times]).unwrap();
        let four = Arc::new(Literal::new(interval(0, 0, 4_000_000_000)));
        let bound: Arc<dyn PhysicalExpr> =
            Arc::new(BinaryExpr::new(col("ts", &schema).unwrap(), Operator::Minus, four));
        assert!(with_durations(bound, &schema).unwrap().evaluate(&rows).is_err());
    }
}
