//! Windows over a changelog: rows that may be taken back. Each row is given with its windows, and the groups are those of a
//! rolling aggregation, from which rows can be taken back; they wait until the watermark has passed their window's end.
//!
//! Where changes are known to come before the watermark has passed them (of windows below, early or within their
//! lateness), a window closes as over rows of a table. Where they are not (of an outer join, whose partner comes when it
//! comes) a window that has given its result is corrected.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use mulgil_dataflow::graph::Window;
use mulgil_dataflow::operators::group_aggregate::GroupWindows;

use super::rank::RankedFilter;
use super::retention::patience_ms;
use super::time_attribute::time_attribute;
use super::translate::{Rows, Translation};
use super::window_columns::{closing_column, policy};
use super::windowed::WindowedInput;
use crate::plan::session_islands;
use crate::plan::temporal::TemporalJoinNode;
use crate::plan::watermark::WatermarkNode;
use crate::plan::window::{CallWindow, WindowAssignNode};
use crate::problem::SqlError;

impl Translation {
    /// An aggregation per window of a window call, over rows that may be taken back.
    pub(super) fn changing_windows(
        &mut self,
        aggregate: &Aggregate,
        windowed: &WindowedInput<'_>,
        groups: &[Expr],
    ) -> Result<Rows, SqlError> {
        let input = self.rows(&aggregate.input)?;
        let end = groups.iter().enumerate().find_map(|(key, group)| {
            let until_end_ms = until_end_ms(&windowed.call.window, windowed.window_column(group)?)?;
            Some((key, until_end_ms))
        });
        self.rolling_windows(input, aggregate, end)
    }

    /// An aggregation by the columns of windows: `end` says which key tells the window's end, and how far it is from it.
    pub(super) fn rolling_windows(
        &mut self,
        input: Rows,
        aggregate: &Aggregate,
        end: Option<(usize, i64)>,
    ) -> Result<Rows, SqlError> {
        let trigger = policy(&aggregate.input).trigger;
        let lateness_ms = trigger.allowed_lateness_ms.max(patience_ms(&aggregate.input).unsigned_abs());
        let closes_after_ms = come_in_time(&aggregate.input).then_some(lateness_ms);
        let waits = trigger.early.is_none() && tells_time(&aggregate.input)?;
        let windows = end.map(|(key, until_end_ms)| GroupWindows { key, until_end_ms, waits, closes_after_ms });
        self.rolling_aggregate_over(input, aggregate, windows)
    }

    /// The rows of sessions that rows may leave again, with their bounds: as batch makes them, by what stands before and
    /// after each row.
    pub(super) fn changing_sessions(&mut self, call: &WindowAssignNode) -> Result<Rows, SqlError> {
        let CallWindow::Session { gap_ms, keys, .. } = &call.window else {
            return Err(SqlError::not_in_stream("a session without a gap"));
        };
        let islands = session_islands::expand(call.input.clone(), &call.time, keys, *gap_ms)?;
        let rows = self.rows(&super::optimize(islands)?)?;
        Ok(Rows { schema: UserDefinedLogicalNodeCore::schema(call).clone(), ..rows })
    }
}

/// From a bound of a window (0 start, 1 end, 2 time) to its end; `None` where that differs.
fn until_end_ms(window: &CallWindow, bound: usize) -> Option<i64> {
    match (bound, window) {
        (0, CallWindow::Aligned(Window::Tumbling { size_ms, .. } | Window::Hopping { size_ms, .. })) => Some(*size_ms),
        (0, _) => None,
        // A row at the end of a session would belong to it.
        (1, CallWindow::Session { .. }) => Some(1),
        (1, CallWindow::Aligned(_)) => Some(0),
        (_, CallWindow::Session { .. }) => Some(2),
        (_, CallWindow::Aligned(_)) => Some(1),
    }
}

/// Whether the time of a window call is that of a watermark, but rows of it may come when the watermark has passed them:
/// because something below waits for others, or corrects itself.
pub(super) fn is_overtaken(call: &WindowAssignNode) -> bool {
    let Some(time) = call.time_index() else { return false };
    time_attribute(&call.input, time).is_none() && is_from_watermark(&call.input, time)
}

/// Whether a column is, value by value, one of which a watermark speaks.
fn is_from_watermark(plan: &LogicalPlan, column: usize) -> bool {
    let of = |plan: &LogicalPlan, expression: &Expr| match expression.clone().unalias_nested().data {
        Expr::Column(source) => {
            plan.schema().maybe_index_of_column(&source).is_some_and(|index| is_from_watermark(plan, index))
        }
        _ => false,
    };
    let of_side = |left: &LogicalPlan, right: &LogicalPlan| match column.checked_sub(left.schema().fields().len()) {
        None => is_from_watermark(left, column),
        Some(column) => is_from_watermark(right, column),
    };
    if time_attribute(plan, column).is_some() {
        return true;
    }
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.get(column).is_some_and(|expression| of(&projection.input, expression))
        }
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.get(column).is_some_and(|expression| of(&aggregate.input, expression))
        }
        LogicalPlan::SubqueryAlias(alias) => is_from_watermark(&alias.input, column),
        LogicalPlan::Filter(filter) => is_from_watermark(&filter.input, column),
        LogicalPlan::Distinct(Distinct::All(input)) => is_from_watermark(input, column),
        LogicalPlan::Window(window) => {
            column < window.input.schema().fields().len() && is_from_watermark(&window.input, column)
        }
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_from_watermark(input, column)),
        LogicalPlan::Join(join) => of_side(&join.left, &join.right),
        LogicalPlan::Extension(extension) => {
            if let Some(join) = extension.node.as_any().downcast_ref::<TemporalJoinNode>() {
                return of_side(&join.left, &join.right);
            }
            let call = extension.node.as_any().downcast_ref::<WindowAssignNode>();
            call.is_some_and(|call| match (column < call.width(), call.time_index()) {
                (true, _) => is_from_watermark(&call.input, column),
                (false, time) => time.is_some_and(|time| is_from_watermark(&call.input, time)),
            })
        }
        _ => false,
    }
}

/// Whether the changes of a plan's rows come before the watermark has passed their windows, or within the lateness that
/// windows below are allowed.
fn come_in_time(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Extension(extension) => {
            if extension.node.as_any().is::<WatermarkNode>() {
                return true;
            }
            let call = extension.node.as_any().downcast_ref::<WindowAssignNode>();
            call.is_some_and(|call| {
                let time = call.time_index().and_then(|time| time_attribute(&call.input, time));
                matches!(call.window, CallWindow::Aligned(_)) && time.is_some() && come_in_time(&call.input)
            })
        }
        LogicalPlan::Aggregate(aggregate) => closing_column(aggregate).is_some() && come_in_time(&aggregate.input),
        LogicalPlan::Filter(filter) => RankedFilter::find(plan).is_none() && come_in_time(&filter.input),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) => {
            plan.inputs().into_iter().all(come_in_time)
        }
        _ => false,
    }
}

/// Whether each table below has a watermark: what has none holds time back until it has ended.
fn tells_time(plan: &LogicalPlan) -> Result<bool, SqlError> {
    let mut tells = true;
    plan.apply(|node| {
        match node {
            LogicalPlan::TableScan(_) => tells = false,
            LogicalPlan::Extension(extension) if extension.node.as_any().is::<WatermarkNode>() => {
                return Ok(TreeNodeRecursion::Jump);
            }
            LogicalPlan::Extension(extension) => {
                let join = extension.node.as_any().downcast_ref::<TemporalJoinNode>();
                // What is looked up has no part in time.
                if let Some(join) = join.filter(|join| join.versions.is_none()) {
                    tells &= tells_time(&join.left).unwrap_or(false);
                    return Ok(TreeNodeRecursion::Jump);
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tells)
}
