//! Until when a row of a join can find a partner: read off the condition, where it compares times.
//!
//! The watermark says which values a time attribute can still take. So `X.time <= Y.bound + k` says that a row of `Y`
//! has had all its partners once the watermark has passed `bound + k`. Where such a comparison is there for each side,
//! the join's state is bounded: this holds for interval joins, for window joins (equal window ends), and for every other
//! condition of that form.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};
use mulgil_dataflow::operators::join::{Retention, Side, Sides};

use super::time_attribute::{TimeAttribute, time_attribute};
use crate::plan::window::WindowAssignNode;

/// A column and what is added to it, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Shifted {
    side: Side,
    column: usize,
    shift_ms: i64,
    /// Whether the column tells time to the millisecond at most.
    is_whole_ms: bool,
}

/// `time <= bound + slack_ms`, of columns of two sides.
#[derive(Clone, Copy, Debug)]
struct Comparison {
    time: (Side, usize),
    bound: usize,
    slack_ms: i64,
}

/// How long the rows of both sides are to be kept; `None` where the condition does not say.
pub(super) fn retention(join: &Join) -> Option<Sides<Retention>> {
    let comparisons = comparisons(join);
    let for_rows_of = |side: Side| {
        // The partner's time is bounded by a column of this side.
        let bounds = comparisons.iter().filter(move |comparison| comparison.time.0 != side);
        bounds.filter_map(|comparison| Some((*comparison, last_value_ms(join, comparison.time)?)))
    };
    let keep_ms = |(comparison, last_ms): &(Comparison, i64)| comparison.slack_ms.saturating_sub(*last_ms);
    let left = for_rows_of(Side::Left).min_by_key(keep_ms)?;
    let right = for_rows_of(Side::Right).min_by_key(keep_ms)?;
    let patience_ms = patience_ms(&join.left).max(patience_ms(&join.right));
    // Windows end at once; else a little later is as good, and less work.
    let is_windowed = [&left, &right].iter().all(|(comparison, _)| is_window_bound(join, comparison.time));
    let span_ms = keep_ms(&left).saturating_add(keep_ms(&right));
    let grain_ms = if is_windowed { 1 } else { (span_ms / 32).clamp(100, 60_000) };
    let of = |own: &(Comparison, i64), partner: &(Comparison, i64)| Retention {
        column: own.0.bound,
        keep_ms: keep_ms(own).saturating_add(patience_ms),
        time: partner.0.time.1,
        late_ms: patience_ms.saturating_sub(partner.1),
        grain_ms,
    };
    Some(Sides { left: of(&left, &right), right: of(&right, &left) })
}

fn is_window_bound(join: &Join, (side, column): (Side, usize)) -> bool {
    time_attribute(input_of(join, side), column).is_some_and(|attribute| attribute != TimeAttribute::EventTime)
}

fn input_of(join: &Join, side: Side) -> &LogicalPlan {
    match side {
        Side::Left => &join.left,
        Side::Right => &join.right,
    }
}

/// How far rows to come are ahead of the watermark at least, in a time attribute.
fn last_value_ms(join: &Join, (side, column): (Side, usize)) -> Option<i64> {
    match time_attribute(input_of(join, side), column)? {
        TimeAttribute::EventTime => Some(0),
        // Rows come until the watermark has got so far that their windows are complete.
        of_window => Some(1 - of_window.until_complete_ms()?),
    }
}

/// How long after the watermark rows of windows below are still corrected.
pub(super) fn patience_ms(plan: &LogicalPlan) -> i64 {
    let own = match plan {
        LogicalPlan::Extension(extension) => {
            let call = extension.node.as_any().downcast_ref::<WindowAssignNode>();
            call.map_or(0, |call| i64::try_from(call.policy.trigger.allowed_lateness_ms).unwrap_or(i64::MAX))
        }
        _ => 0,
    };
    plan.inputs().into_iter().map(patience_ms).max().unwrap_or(0).max(own)
}

fn comparisons(join: &Join) -> Vec<Comparison> {
    let mut found = Vec::new();
    for (left, right) in &join.on {
        add(join, left, right, &mut found);
        add(join, right, left, &mut found);
    }
    for conjunct in join.filter.iter().flat_map(split_conjunction) {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = conjunct else { continue };
        if matches!(op, Operator::Lt | Operator::LtEq | Operator::Eq) {
            add(join, left, right, &mut found);
        }
        if matches!(op, Operator::Gt | Operator::GtEq | Operator::Eq) {
            add(join, right, left, &mut found);
        }
    }
    found
}

/// Adds `less <= more`, where it compares columns of the two sides.
fn add(join: &Join, less: &Expr, more: &Expr, found: &mut Vec<Comparison>) {
    let (Some(less), Some(more)) = (shifted(join, less), shifted(join, more)) else { return };
    if less.side != more.side {
        // Times are rounded down to milliseconds: what is finer may be almost one more.
        let rounding_ms = i64::from(!less.is_whole_ms || !more.is_whole_ms);
        let slack_ms = more.shift_ms.saturating_sub(less.shift_ms).saturating_add(rounding_ms);
        found.push(Comparison { time: (less.side, less.column), bound: more.column, slack_ms });
    }
}

/// A timestamp column of one side, plus or minus a fixed interval.
fn shifted(join: &Join, expression: &Expr) -> Option<Shifted> {
    match expression {
        Expr::Alias(alias) => shifted(join, &alias.expr),
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(..)) => shifted(join, &cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (base, sign, interval) = match op {
                Operator::Plus if interval_ms(right).is_some() => (left, 1, right),
                Operator::Plus => (right, 1, left),
                Operator::Minus => (left, -1, right),
                _ => return None,
            };
            let base = shifted(join, base)?;
            Some(Shifted { shift_ms: base.shift_ms.checked_add(sign * interval_ms(interval)?)?, ..base })
        }
        Expr::Column(column) => {
            let place = |side: Side, schema: &DFSchema| {
                let index = schema.maybe_index_of_column(column)?;
                let DataType::Timestamp(unit, _) = schema.field(index).data_type() else { return None };
                let is_whole_ms = matches!(unit, TimeUnit::Millisecond | TimeUnit::Second);
                Some(Shifted { side, column: index, shift_ms: 0, is_whole_ms })
            };
            place(Side::Left, join.left.schema()).or_else(|| place(Side::Right, join.right.schema()))
        }
        _ => None,
    }
}

/// An interval of a fixed number of milliseconds: months are none.
fn interval_ms(expression: &Expr) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    let Expr::Literal(value, _) = expression else { return None };
    match value {
        ScalarValue::IntervalDayTime(Some(v)) => {
            i64::from(v.days).checked_mul(DAY_MS)?.checked_add(i64::from(v.milliseconds))
        }
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.months == 0 && v.nanoseconds % 1_000_000 == 0 => {
            i64::from(v.days).checked_mul(DAY_MS)?.checked_add(v.nanoseconds / 1_000_000)
        }
        ScalarValue::DurationSecond(Some(v)) => v.checked_mul(1_000),
        ScalarValue::DurationMillisecond(Some(v)) => Some(*v),
        ScalarValue::DurationMicrosecond(Some(v)) if v % 1_000 == 0 => Some(v / 1_000),
        ScalarValue::DurationNanosecond(Some(v)) if v % 1_000_000 == 0 => Some(v / 1_000_000),
        _ => None,
    }
}
