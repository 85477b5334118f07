//! `FROM t CROSS JOIN UNNEST(t.list)`: a join with what each row itself brings. The row and its elements are computed in
//! one go: the plan beneath the `UNNEST` stands on `t`, whose columns are passed on, and there is nothing left to join.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{NullHandling, Result, ScalarValue};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder};

/// Replaces joins with the elements of each row.
pub(crate) fn flatten(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Join(join) => match flattened(join)? {
            Some(flat) => Ok(Transformed::yes(flat)),
            None => Ok(Transformed::no(node)),
        },
        _ => Ok(Transformed::no(node)),
    })
    .map(|transformed| transformed.data)
}

fn flattened(join: &Join) -> Result<Option<LogicalPlan>> {
    let is_true = |filter: &Expr| matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
    let filter = join.filter.as_ref().filter(|filter| !is_true(filter));
    let keeps_all = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left if filter.is_none() => true,
        _ => return Ok(None),
    };
    if !join.on.is_empty() {
        return Ok(None);
    }
    let Some(flat) = Graft { left: &join.left, keeps_all }.onto(&join.right)? else { return Ok(None) };
    match filter {
        Some(filter) => LogicalPlanBuilder::from(flat).filter(filter.clone())?.build().map(Some),
        None => Ok(Some(flat)),
    }
}

/// The plan of a join's right side, set upon its left.
struct Graft<'a> {
    left: &'a Arc<LogicalPlan>,
    /// Whether a row without elements stays.
    keeps_all: bool,
}

impl Graft<'_> {
    /// `right` with the left's columns before its own; `None` where it is no mere `UNNEST` of the left's columns.
    fn onto(&self, right: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        Ok(match right {
            LogicalPlan::Subquery(subquery) => self.beneath(&subquery.subquery)?,
            LogicalPlan::SubqueryAlias(alias) => match self.onto(&alias.input)? {
                Some(input) => {
                    let columns = alias.input.schema().columns().into_iter().zip(alias.schema.columns());
                    let columns = columns.map(|(inner, outer)| {
                        Expr::Column(inner).alias_qualified(Some(alias.alias.clone()), outer.name)
                    });
                    Some(self.project(input, columns.collect())?)
                }
                None => None,
            },
            LogicalPlan::Projection(projection) => match self.onto(&projection.input)? {
                Some(input) => Some(self.project(input, projection.expr.clone())?),
                None => None,
            },
            _ => None,
        })
    }

    /// Within the subquery: down to the one empty row, in whose place the left comes.
    fn beneath(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        Ok(match plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Some(self.left.as_ref().clone()),
            LogicalPlan::Projection(projection) => match self.beneath(&projection.input)? {
                Some(input) => {
                    let columns = projection.expr.iter().cloned().map(without_outer).collect::<Result<_>>()?;
                    Some(self.project(input, columns)?)
                }
                None => None,
            },
            LogicalPlan::Unnest(unnest) => match self.beneath(&unnest.input)? {
                Some(input) => {
                    let mut options = unnest.options.clone();
                    if self.keeps_all {
                        options.null_handling = NullHandling::PreserveAndExpandEmpty;
                    }
                    let builder = LogicalPlanBuilder::from(input);
                    Some(builder.unnest_columns_with_options(unnest.exec_columns.clone(), options)?.build()?)
                }
                None => None,
            },
            _ => None,
        })
    }

    /// The left's columns, then `own`.
    fn project(&self, input: LogicalPlan, own: Vec<Expr>) -> Result<LogicalPlan> {
        let left = self.left.schema().columns().into_iter().map(Expr::Column);
        LogicalPlanBuilder::from(input).project(left.chain(own).collect::<Vec<Expr>>())?.build()
    }
}

/// A column of the row outside is now one of the row itself.
fn without_outer(expression: Expr) -> Result<Expr> {
    expression
        .transform(|part| {
            Ok(match part {
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                other => Transformed::no(other),
            })
        })
        .map(|transformed| transformed.data)
}
