//! `x NOT IN (SELECT y ...)` where `x` or `y` may be null: then whether `x` is among them may be unknown, and an anti join
//! alone would take it for no. Written out as two questions that are never unknown: is there an equal one, and is there
//! one of which a null leaves it open.
//!
//! The second is asked of distinct answers only (is `y` null or not), of which there are two at most, and which change
//! when the first null comes or the last one goes. So both are anti joins, in batch and as streams.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, exists, lit, not,
    not_exists, when,
};

/// The name of the column that says whether a member is null.
const IS_NULL: &str = "is null";

/// Writes out what may be unknown.
pub(super) fn decide_membership(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut known = 0;
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        let mut questions = Questions { schema: Arc::clone(filter.input.schema()), count: known };
        let predicate = questions.condition(filter.predicate)?;
        known = questions.count;
        Filter::try_new(predicate, filter.input).map(|filter| Transformed::yes(LogicalPlan::Filter(filter)))
    })
    .map(|transformed| transformed.data)
}

/// Asked by conditions over rows of a schema.
struct Questions {
    schema: Arc<DFSchema>,
    /// How many have been asked in the whole query.
    count: usize,
}

impl Questions {
    /// The same condition where unknown counts as false.
    fn condition(&mut self, expression: Expr) -> Result<Expr> {
        match expression {
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let (left, right) = (self.condition(*left)?, self.condition(*right)?);
                Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
            }
            Expr::Not(inner) => match *inner {
                Expr::InSubquery(member) => {
                    self.condition(Expr::InSubquery(InSubquery { negated: !member.negated, ..member }))
                }
                other => Ok(not(self.value(other)?)),
            },
            // Where it is not sure that it is one, it counts as none.
            Expr::InSubquery(member) if !member.negated => Ok(Expr::InSubquery(member)),
            Expr::InSubquery(member) => Ok(match self.ask(&member)? {
                Some((equal, open)) => not_exists(equal).and(not_exists(open)),
                None => Expr::InSubquery(member),
            }),
            other => self.value(other),
        }
    }

    /// The same expression, null where it is unknown.
    fn value(&mut self, expression: Expr) -> Result<Expr> {
        let decided = expression.transform_up(|part| {
            let Expr::InSubquery(member) = &part else { return Ok(Transformed::no(part)) };
            let Some((equal, open)) = self.ask(member)? else { return Ok(Transformed::no(part)) };
            let unknown = lit(ScalarValue::Boolean(None));
            let decided =
                when(exists(equal), lit(!member.negated)).when(exists(open), unknown).otherwise(lit(member.negated))?;
            Ok(Transformed::yes(decided))
        })?;
        Ok(decided.data)
    }

    /// The members that are equal, and those that may be, for all that is known; `None` where nothing can be unknown, or
    /// where the planner must say what is wrong.
    fn ask(&mut self, member: &InSubquery) -> Result<Option<(Arc<LogicalPlan>, Arc<LogicalPlan>)>> {
        let Subquery { subquery, outer_ref_columns, .. } = &member.subquery;
        let [field] = subquery.schema().fields().as_ref() else { return Ok(None) };
        let may_be_null = field.is_nullable() || member.expr.nullable(&self.schema)?;
        let Some(one) = self.seen_from_within(&member.expr)? else { return Ok(None) };
        if !may_be_null {
            return Ok(None);
        }
        self.count += 1;
        let own = subquery.schema().columns().into_iter().map(Expr::Column);
        let own = own.map(|member| member.alias(format!("member {}", self.count)));
        let members = LogicalPlanBuilder::from(subquery.as_ref().clone()).project(own)?;
        // Those of a query that stands by itself are kept once, for both questions.
        let members = if outer_ref_columns.is_empty() { members.distinct()? } else { members };
        let name = members.schema().columns().into_iter().next().map(Expr::Column);
        let Some(name) = name else { return Ok(None) };
        let equal = members.clone().filter(one.clone().eq(name.clone()))?.build()?;
        let open = one.is_null().or(Expr::Column(Column::new_unqualified(IS_NULL)));
        let open = members.project([name.is_null().alias(IS_NULL)])?.distinct()?.filter(open)?.build()?;
        Ok(Some((Arc::new(equal), Arc::new(open))))
    }

    /// An expression over the rows outside, as one within a subquery. `None` where it is over something else.
    fn seen_from_within(&self, expression: &Expr) -> Result<Option<Expr>> {
        let mut is_known = true;
        let inner = expression.clone().transform(|part| {
            Ok(match part {
                Expr::Column(column) => match self.schema.maybe_index_of_column(&column) {
                    Some(index) => {
                        let field = Arc::clone(self.schema.qualified_field(index).1);
                        Transformed::yes(Expr::OuterReferenceColumn(field, column))
                    }
                    None => {
                        is_known = false;
                        Transformed::no(Expr::Column(column))
                    }
                },
                Expr::OuterReferenceColumn(..) => {
                    is_known = false;
                    Transformed::no(part)
                }
                other => Transformed::no(other),
            })
        })?;
        Ok(is_known.then_some(inner.data))
    }
}
