//! `PROCTIME()` in a subquery (`SELECT *, PROCTIME() AS p FROM bids`), for the stream: the time at which a row is read is taken
//! where it is read, and carried up from there.
//!
//! Where windows are built over that column, its table's time is processing time: the watermark that the table is declared
//! with is left out, and the clock's takes its place.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, TableReference};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias};

use super::processing_time::{column_of, function, is_call, replace};
use super::watermark::WatermarkNode;
use super::window::WindowAssignNode;

/// The column of the stamp on its way up. Users cannot name a column so.
const STAMP: &str = "time of reading";

/// A plan in which `PROCTIME()` stands where tables are read, as far as it can.
pub(crate) fn stamped_where_read(plan: LogicalPlan) -> Result<LogicalPlan> {
    let over_windows = plan.transform_down(|node| {
        let is_over_stamp = match &node {
            LogicalPlan::Extension(extension) => {
                let call = extension.node.as_any().downcast_ref::<WindowAssignNode>();
                call.is_some_and(|call| call.time_index().is_some_and(|time| is_stamp(&call.input, time)))
            }
            _ => false,
        };
        let Some(input) = node.inputs().first().copied().filter(|_| is_over_stamp) else {
            return Ok(Transformed::no(node));
        };
        match restamped(input, true)? {
            Some(input) => node.with_new_exprs(node.expressions(), vec![input]).map(Transformed::yes),
            None => Ok(Transformed::no(node)),
        }
    })?;
    let everywhere = over_windows.data.transform_up(|node| match &node {
        LogicalPlan::Projection(projection) if is_late_call(projection) => match restamped(&node, false)? {
            Some(stamped) => Ok(Transformed::yes(stamped)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(everywhere.data)
}

/// Whether a projection calls `PROCTIME()` other than where a table is read.
fn is_late_call(projection: &Projection) -> bool {
    column_of(projection).is_some() && !matches!(projection.input.as_ref(), LogicalPlan::TableScan(_))
}

/// Whether a column comes from a late call.
fn is_stamp(plan: &LogicalPlan, column: usize) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            match projection.expr.get(column).map(|e| e.clone().unalias_nested().data) {
                Some(Expr::Column(own)) => {
                    let index = projection.input.schema().maybe_index_of_column(&own);
                    index.is_some_and(|index| is_stamp(&projection.input, index))
                }
                Some(call) => is_call(&call) && is_late_call(projection),
                None => false,
            }
        }
        LogicalPlan::Filter(filter) => is_stamp(&filter.input, column),
        LogicalPlan::SubqueryAlias(alias) => is_stamp(&alias.input, column),
        _ => false,
    }
}

/// A plan down to its late call, with the stamp in place of that.
fn restamped(plan: &LogicalPlan, by_clock: bool) -> Result<Option<LogicalPlan>> {
    if let LogicalPlan::Projection(projection) = plan
        && is_late_call(projection)
    {
        let Some((input, stamp)) = carried(&projection.input, by_clock)? else { return Ok(None) };
        let stamp = Expr::Column(stamp);
        let named = |(own, (table, field)): (&Expr, (Option<&TableReference>, &FieldRef))| {
            let own = own.clone().unalias();
            Ok(replace(own, &stamp)?.data.alias_qualified(table.cloned(), field.name()))
        };
        let columns = projection.expr.iter().zip(projection.schema.iter()).map(named).collect::<Result<Vec<Expr>>>()?;
        return LogicalPlanBuilder::from(input).project(columns)?.build().map(Some);
    }
    let [input] = plan.inputs()[..] else { return Ok(None) };
    match restamped(input, by_clock)? {
        Some(input) => plan.with_new_exprs(plan.expressions(), vec![input]).map(Some),
        None => Ok(None),
    }
}

/// A plan over one table with the stamp as one more column, its last. With `by_clock` its time is that of the stamp.
fn carried(plan: &LogicalPlan, by_clock: bool) -> Result<Option<(LogicalPlan, Column)>> {
    match plan {
        LogicalPlan::TableScan(_) => {
            read(plan, plan.schema().columns().into_iter().map(Expr::Column).collect(), by_clock)
        }
        LogicalPlan::Projection(projection) => {
            if matches!(projection.input.as_ref(), LogicalPlan::TableScan(_)) {
                return read(&projection.input, projection.expr.clone(), by_clock);
            }
            let Some((input, stamp)) = carried(&projection.input, by_clock)? else { return Ok(None) };
            let columns = projection.expr.iter().cloned().chain([Expr::Column(stamp.clone())]);
            let plan = LogicalPlanBuilder::from(input).project(columns.collect::<Vec<Expr>>())?.build()?;
            Ok(Some((plan, stamp)))
        }
        LogicalPlan::Filter(filter) => {
            let Some((input, stamp)) = carried(&filter.input, by_clock)? else { return Ok(None) };
            let plan = LogicalPlanBuilder::from(input).filter(filter.predicate.clone())?.build()?;
            Ok(Some((plan, stamp)))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some((input, stamp)) = carried(&alias.input, by_clock)? else { return Ok(None) };
            let stamp = Column::new(Some(alias.alias.clone()), stamp.name);
            Ok(Some((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?), stamp)))
        }
        LogicalPlan::Extension(extension) => {
            let Some(watermark) = extension.node.as_any().downcast_ref::<WatermarkNode>() else { return Ok(None) };
            let Some((input, stamp)) = carried(&watermark.input, by_clock)? else { return Ok(None) };
            if by_clock {
                return Ok(Some((input, stamp)));
            }
            let WatermarkNode { time, bound, .. } = watermark.clone();
            let node = Arc::new(WatermarkNode { input, time, bound });
            Ok(Some((LogicalPlan::Extension(Extension { node }), stamp)))
        }
        _ => Ok(None),
    }
}

/// A table's columns and the stamp.
fn read(table: &LogicalPlan, mut columns: Vec<Expr>, by_clock: bool) -> Result<Option<(LogicalPlan, Column)>> {
    columns.push(function().call(Vec::new()).alias(STAMP));
    let input = LogicalPlanBuilder::from(table.clone()).project(columns)?.build()?;
    let stamp = Column::new_unqualified(STAMP);
    if !by_clock {
        return Ok(Some((input, stamp)));
    }
    let time = Expr::Column(stamp.clone());
    let node = Arc::new(WatermarkNode { input, bound: time.clone(), time });
    Ok(Some((LogicalPlan::Extension(Extension { node }), stamp)))
}
