//! Which columns of a plan are *time attributes*: those of which the watermark says when no more rows come.
//!
//! A table has one, the column of its watermark. A window call adds the bounds of its windows, and they stay time
//! attributes after the aggregation: its rows come before the watermark passes the window's end. So windows can be built
//! over windows.

use datafusion::common::JoinType;
use datafusion::logical_expr::{Aggregate, Expr, Join, LogicalPlan};
use mulgil_dataflow::graph::Window;

use super::rank::RankedFilter;
use crate::plan::late_input::LateInputNode;
use crate::plan::temporal::TemporalJoinNode;
use crate::plan::watermark::WatermarkNode;
use crate::plan::window::{CallWindow, WindowAssignNode};

/// How a column tells time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeAttribute {
    /// It is the event time that the watermark speaks of.
    EventTime,
    /// It is where the row's window begins.
    WindowStart {
        /// The size of all windows; `None` where they differ.
        size_ms: Option<i64>,
    },
    /// It is where the row's window ends.
    WindowEnd,
    /// It is the last millisecond of the row's window.
    WindowTime,
    /// It is where the row's session ends.
    SessionEnd,
    /// It is the last millisecond of the row's session.
    SessionTime,
}

impl TimeAttribute {
    /// How far behind the column's value the moment is at which the row's window is complete; `None` where that cannot be
    /// said. A session is complete when no row can touch its end any more.
    pub(crate) fn until_complete_ms(self) -> Option<i64> {
        match self {
            TimeAttribute::EventTime => None,
            TimeAttribute::WindowStart { size_ms } => size_ms,
            TimeAttribute::WindowEnd => Some(0),
            TimeAttribute::WindowTime | TimeAttribute::SessionEnd => Some(1),
            TimeAttribute::SessionTime => Some(2),
        }
    }
}

/// How a column of a plan tells time; `None` where it does not.
pub(crate) fn time_attribute(plan: &LogicalPlan, column: usize) -> Option<TimeAttribute> {
    match plan {
        LogicalPlan::Extension(extension) => {
            if let Some(watermark) = extension.node.as_any().downcast_ref::<WatermarkNode>() {
                return (index_of(&watermark.input, &watermark.time)? == column).then_some(TimeAttribute::EventTime);
            }
            // Each left row comes out once, before the watermark passes it.
            if let Some(join) = extension.node.as_any().downcast_ref::<TemporalJoinNode>() {
                return time_attribute(&join.left, column);
            }
            if let Some(mark) = extension.node.as_any().downcast_ref::<LateInputNode>() {
                return time_attribute(&mark.input, column);
            }
            of_call(extension.node.as_any().downcast_ref::<WindowAssignNode>()?, column)
        }
        LogicalPlan::Projection(projection) => of_expression(&projection.input, projection.expr.get(column)?),
        LogicalPlan::SubqueryAlias(alias) => time_attribute(&alias.input, column),
        LogicalPlan::Filter(filter) => {
            // The first rows of a window come at its end: then their event time is long past.
            let is_ranked = RankedFilter::find(plan).is_some();
            let attribute = time_attribute(&filter.input, column);
            attribute.filter(|attribute| !is_ranked || *attribute != TimeAttribute::EventTime)
        }
        LogicalPlan::Window(window) => time_attribute(&window.input, column),
        LogicalPlan::Union(union) => {
            let mut inputs = union.inputs.iter().map(|input| time_attribute(input, column));
            let first = inputs.next()??;
            inputs.all(|other| other == Some(first)).then_some(first)
        }
        LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate, column),
        LogicalPlan::Join(join) => of_join(join, column),
        _ => None,
    }
}

/// How an expression over a plan's columns tells time.
pub(crate) fn of_expression(input: &LogicalPlan, expression: &Expr) -> Option<TimeAttribute> {
    let bare = expression.clone().unalias_nested().data;
    time_attribute(input, index_of(input, &bare)?)
}

fn index_of(input: &LogicalPlan, expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Column(column) => input.schema().maybe_index_of_column(column),
        _ => None,
    }
}

fn of_call(call: &WindowAssignNode, column: usize) -> Option<TimeAttribute> {
    let Some(bound) = column.checked_sub(call.width()) else {
        // A session's rows wait for its end.
        let is_aligned = matches!(call.window, CallWindow::Aligned(_));
        return time_attribute(&call.input, column).filter(|_| is_aligned);
    };
    time_attribute(&call.input, call.time_index()?)?;
    Some(match (&call.window, bound) {
        (CallWindow::Aligned(window), 0) => TimeAttribute::WindowStart {
            size_ms: match window {
                Window::Tumbling { size_ms, .. } | Window::Hopping { size_ms, .. } => Some(*size_ms),
                Window::Cumulating { .. } => None,
            },
        },
        (CallWindow::Aligned(_), 1) => TimeAttribute::WindowEnd,
        (CallWindow::Aligned(_), _) => TimeAttribute::WindowTime,
        (CallWindow::Session { .. }, 0) => TimeAttribute::WindowStart { size_ms: None },
        (CallWindow::Session { .. }, 1) => TimeAttribute::SessionEnd,
        (CallWindow::Session { .. }, _) => TimeAttribute::SessionTime,
    })
}

/// An aggregate per window gives its rows when the window closes; others give rows at any time.
fn of_aggregate(aggregate: &Aggregate, column: usize) -> Option<TimeAttribute> {
    let attribute = |group: &Expr| of_expression(&aggregate.input, group).filter(|a| *a != TimeAttribute::EventTime);
    let is_windowed =
        || aggregate.group_expr.iter().filter_map(attribute).any(|attribute| attribute.until_complete_ms().is_some());
    attribute(aggregate.group_expr.get(column)?).filter(|_| is_windowed())
}

/// A join that asks for equal windows gives its rows before they close.
fn of_join(join: &Join, column: usize) -> Option<TimeAttribute> {
    if !matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::LeftAnti) {
        return None;
    }
    let is_windowed = join.on.iter().any(|(left, right)| {
        let left = of_expression(&join.left, left).filter(|attribute| attribute.until_complete_ms().is_some());
        left.is_some() && left == of_expression(&join.right, right)
    });
    let of_side = match column.checked_sub(join.left.schema().fields().len()) {
        None => time_attribute(&join.left, column),
        Some(column) => time_attribute(&join.right, column),
    };
    of_side.filter(|attribute| is_windowed && *attribute != TimeAttribute::EventTime)
}

/// Whether a table below has a watermark.
pub(crate) fn has_watermark(plan: &LogicalPlan) -> bool {
    if let LogicalPlan::Extension(extension) = plan
        && extension.node.as_any().is::<WatermarkNode>()
    {
        return true;
    }
    plan.inputs().into_iter().any(has_watermark)
}
