//! Projections and filters, made cheap before they are bound: what several expressions have in common is computed once,
//! and the costly parts of a predicate see only the rows that the cheap ones leave undecided.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::utils::{conjunction, disjunction, split_binary_owned, split_conjunction_owned};
use datafusion::logical_expr::{EmptyRelation, Expr, Filter, LogicalPlan, Operator, Projection, lit};
use datafusion::optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};
use mulgil_dataflow::graph::LogicalOperator;

use super::expression::BoundExpression;
use super::translate::{Rows, Translation};
use crate::problem::SqlError;

impl Translation {
    /// A projection over rows that are there.
    pub(super) fn calculated(&mut self, input: Rows, projection: &Projection) -> Result<Rows, SqlError> {
        let over = Arc::new(place_of(&input));
        let alone = Projection::try_new_with_schema(projection.expr.clone(), over, Arc::clone(&projection.schema))?;
        self.without_repeats(input, LogicalPlan::Projection(alone))
    }

    /// A filter over rows that are there.
    pub(super) fn filter(&mut self, input: Rows, predicate: &Expr) -> Result<Rows, SqlError> {
        if matches!(predicate, Expr::Literal(ScalarValue::Boolean(Some(true)), _)) {
            return Ok(input);
        }
        let alone = Filter::try_new(predicate.clone(), Arc::new(place_of(&input)))?;
        self.without_repeats(input, LogicalPlan::Filter(alone))
    }

    fn without_repeats(&mut self, input: Rows, alone: LogicalPlan) -> Result<Rows, SqlError> {
        for expression in alone.expressions() {
            // What a lambda computes is of its variables, which are no columns.
            if expression.exists(|part| Ok(matches!(part, Expr::Lambda(_))))? {
                return self.steps(input, &alone);
            }
        }
        let shared = CommonSubexprEliminate::new().rewrite(alone, &OptimizerContext::new())?;
        self.steps(input, &shared.data)
    }

    /// Projections and filters above the place of `input`, from the lowest to the highest.
    pub(super) fn steps(&mut self, input: Rows, plan: &LogicalPlan) -> Result<Rows, SqlError> {
        match plan {
            LogicalPlan::Projection(projection) => {
                let input = self.steps(input, &projection.input)?;
                self.project(input, &projection.expr, &projection.schema)
            }
            LogicalPlan::Filter(filter) => {
                let input = self.steps(input, &filter.input)?;
                let predicate = BoundExpression::bind_as(
                    &cheap_first(filter.predicate.clone())?,
                    &input.schema,
                    &filter.predicate,
                )?;
                Ok(self.push(LogicalOperator::Filter { predicate }, vec![input.node], &input.schema, input.key))
            }
            _ => Ok(input),
        }
    }
}

/// Stands for the rows in a plan of one step.
pub(super) fn place_of(input: &Rows) -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::clone(&input.schema) })
}

/// The same predicate where unknown counts as false: `cheap OR costly` asks for the costly part only where the cheap one
/// is not true, `cheap AND costly` only where it is.
fn cheap_first(predicate: Expr) -> Result<Expr, SqlError> {
    let Expr::BinaryExpr(binary) = &predicate else { return Ok(predicate) };
    let op = binary.op;
    let parts = match op {
        Operator::And => split_conjunction_owned(predicate),
        Operator::Or => split_binary_owned(predicate, Operator::Or),
        _ => return Ok(predicate),
    };
    let mut cheap = Vec::new();
    let mut costly = Vec::new();
    for part in parts {
        let is_costly = part.exists(|part| Ok(is_costly(part)))?;
        if is_costly { costly.push(cheap_first(part)?) } else { cheap.push(part) }
    }
    let joined = |parts| if op == Operator::And { conjunction(parts) } else { disjunction(parts) };
    Ok(match (joined(cheap), joined(costly)) {
        (Some(cheap), Some(costly)) if op == Operator::And => either(cheap, costly, lit(false)),
        (Some(cheap), Some(costly)) => either(cheap, lit(true), costly),
        (Some(all), None) | (None, Some(all)) => all,
        (None, None) => lit(op == Operator::And),
    })
}

fn either(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(condition), Box::new(then))], Some(Box::new(otherwise))))
}

/// Whether it costs much more a row than copying the row's columns.
pub(super) fn is_costly(expression: &Expr) -> bool {
    match expression {
        Expr::ScalarFunction(call) => call.func.name().starts_with("regexp"),
        Expr::SimilarTo(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use datafusion::functions::expr_fn::regexp_like;
    use datafusion::logical_expr::col;

    use super::*;

    #[test]
    fn costly_parts_come_last() {
        let costly = || regexp_like(col("url"), lit("x"), None);
        let (a, b) = (|| col("a").gt(lit(1)), || col("b").gt(lit(2)));
        for (predicate, expected) in [
            (a().and(b()), a().and(b())),
            (costly(), costly()),
            (costly().or(a()), either(a(), lit(true), costly())),
            (costly().and(a()).and(b()), either(a().and(b()), costly(), lit(false))),
            (costly().or(a()).and(b()), either(b(), either(a(), lit(true), costly()), lit(false))),
        ] {
            assert_eq!(cheap_first(predicate.clone()).unwrap(), expected, "{predicate}");
        }
    }
}
