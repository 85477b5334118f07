//! `(SELECT max(v) FROM t)` in place of a value: joined beside each row, so that all rows are corrected when it changes.
//!
//! A join would give a row several times where there are several values, in which batch sees an error. So the sub-query
//! must be one row by what it is: an aggregate without groups, or the first row. One that names the row outside is joined
//! by what it names, where DataFusion sees to that.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::{Aggregate, Expr, Join, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::OptimizerContext;

use crate::problem::SqlError;

/// How rules make joins of values, those that stand by themselves too.
pub(super) fn joined_values() -> OptimizerContext {
    let mut options = ConfigOptions::default();
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    OptimizerContext::new_with_config_options(Arc::new(options))
}

/// The plan with every sub-query in place of a value where it can be joined: in a projection or a filter.
pub(super) fn with_joined_values(plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    refuse_several_rows(&plan)?;
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) if has_value(&aggregate.aggr_expr) || has_value(&aggregate.group_expr) => {
            below_aggregate(aggregate).map(Transformed::yes)
        }
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner && has_value(join.filter.as_slice()) => {
            above_join(join).map(Transformed::yes)
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

fn is_value(part: &Expr) -> Result<bool> {
    Ok(matches!(part, Expr::ScalarSubquery(_)))
}

fn has_value(expressions: &[Expr]) -> bool {
    expressions.iter().any(|expression| expression.exists(is_value).unwrap_or(false))
}

/// Computes the values below an aggregation, as columns.
fn below_aggregate(aggregate: Aggregate) -> Result<LogicalPlan> {
    let mut columns: Vec<Expr> = aggregate.input.schema().columns().into_iter().map(Expr::Column).collect();
    let names = aggregate.schema.columns();
    let mut values: Vec<Expr> = Vec::new();
    let mut as_column = |expression: Expr| {
        expression.transform_down(|part| {
            if !is_value(&part)? {
                return Ok(Transformed::no(part));
            }
            let number = values.iter().position(|value| *value == part).unwrap_or_else(|| {
                values.push(part);
                values.len() - 1
            });
            let column = Expr::Column(Column::new_unqualified(format!("value #{number}")));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })
    };
    let mut groups = Vec::new();
    for group in aggregate.group_expr {
        groups.push(as_column(group)?.data);
    }
    let mut calls = Vec::new();
    for call in aggregate.aggr_expr {
        calls.push(as_column(call)?.data);
    }
    columns.extend(values.into_iter().enumerate().map(|(number, value)| value.alias(format!("value #{number}"))));
    let input = LogicalPlanBuilder::from(Arc::unwrap_or_clone(aggregate.input)).project(columns)?;
    let plan = input.aggregate(groups, calls)?.build()?;
    // Above it is known by its former names.
    let renamed = plan.schema().columns().into_iter().zip(names);
    let renamed = renamed.map(|(own, known)| Expr::Column(own).alias_qualified(known.relation, known.name));
    LogicalPlanBuilder::from(plan.clone()).project(renamed.collect::<Vec<Expr>>())?.build()
}

/// Asks above an inner join what its condition asks.
fn above_join(mut join: Join) -> Result<LogicalPlan> {
    let filter = join.filter.take();
    let plan = LogicalPlanBuilder::from(LogicalPlan::Join(join));
    match filter {
        Some(filter) => plan.filter(filter)?.build(),
        None => plan.build(),
    }
}

fn refuse_several_rows(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut several = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if let Expr::ScalarSubquery(value) = part {
                    several |= value.outer_ref_columns.is_empty() && value.subquery.max_rows() != Some(1);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    if several {
        return Err(SqlError::NotInStream {
            construct: "a sub-query in place of a value that may have more than one row".to_owned(),
            remedy: "make it one by an aggregate without GROUP BY, (SELECT max(v) FROM t), or run it with --mode batch"
                .to_owned(),
        });
    }
    Ok(())
}
