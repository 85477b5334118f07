//! `SELECT DISTINCT ON (k) ... ORDER BY k, ts DESC`: the first row of each `k`. Written out as `ROW_NUMBER() ... = 1`, which
//! both modes know.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::{Distinct, DistinctOn, Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, lit};

/// The name of the row's number.
const NUMBER: &str = "number #";

/// Replaces `DISTINCT ON`.
pub(super) fn number_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(on)) => first_rows(on).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

fn first_rows(on: DistinctOn) -> Result<LogicalPlan> {
    let mut order = on.sort_expr.unwrap_or_default();
    // Rows of one key are equal in it.
    order.retain(|by| !on.on_expr.contains(&by.expr));
    if order.is_empty() {
        // Which row is the first is open then; but some order there must be.
        order = on.on_expr.iter().map(|key| key.clone().sort(true, false)).collect();
    }
    let number = row_number().partition_by(on.on_expr).order_by(order).build()?.alias(NUMBER);
    let is_first = Expr::Column(Column::new_unqualified(NUMBER)).eq(lit(1_u64));
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(on.input));
    input.window(vec![number])?.filter(is_first)?.project(on.select_expr)?.build()
}
