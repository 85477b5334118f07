//! A projection over a filter that both ask for the same costly value (a regular expression's match, say): it is computed
//! once, before the filter, as a column that both read.
//!
//! No row pays for what it did not need: conditions that cost little come first, and where one of them lets a row through
//! whatever the value, the value is left out; if the projection wants it of such a row, it is computed there.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, disjunction, split_binary_owned, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Projection, SubqueryAlias, lit, when,
};

use super::calculation::{is_costly, place_of};
use super::rank::RankedFilter;
use super::translate::{Rows, Translation};
use crate::problem::SqlError;

/// The column that says whether a row passes whatever the costly values are.
const PASSES: &str = "passes anyway";

impl Translation {
    /// A projection over a filter, where they have something costly in common.
    pub(super) fn shared_calculation(&mut self, projection: &Projection) -> Result<Option<Rows>, SqlError> {
        let Some(filter) = filter_below(&projection.input)? else { return Ok(None) };
        let shared = common_costly(projection, &filter.predicate)?;
        if shared.is_empty() || RankedFilter::find(&LogicalPlan::Filter(filter.clone())).is_some() {
            return Ok(None);
        }
        let (cheap, costly) = by_cost(split_conjunction_owned(filter.predicate.clone()))?;
        // Of several that must all hold, the first may spare the others.
        let [only] = costly.as_slice() else { return Ok(None) };
        let input = self.rows(&filter.input)?;
        let own: Vec<Expr> = input.schema.columns().into_iter().map(Expr::Column).collect();
        let mut plan = LogicalPlanBuilder::from(place_of(&input));
        if let Some(cheap) = conjunction(cheap) {
            plan = plan.filter(cheap)?;
        }
        // What is left may have a cheap alternative that is enough.
        let (anyway, costly) = by_cost(split_binary_owned(only.clone(), Operator::Or))?;
        let anyway = disjunction(anyway);
        let rest = disjunction(costly).unwrap_or_else(|| lit(false));
        let passes = Expr::Column(Column::new_unqualified(PASSES));
        let mut columns = own;
        if let Some(anyway) = &anyway {
            plan =
                plan.project(columns.iter().cloned().chain([anyway.clone().alias(PASSES)]).collect::<Vec<Expr>>())?;
            columns.push(passes.clone());
        }
        let name = |number: usize| format!("computed before #{number}");
        let values = shared.iter().enumerate().map(|(number, value)| {
            let unless_passing = match &anyway {
                Some(_) => {
                    let none = ScalarValue::try_from(&value.get_type(&input.schema)?)?;
                    when(passes.clone(), lit(none)).otherwise(value.clone())?
                }
                None => value.clone(),
            };
            Ok(unless_passing.alias(name(number)))
        });
        let values = values.collect::<Result<Vec<Expr>>>()?;
        plan = plan.project(columns.into_iter().chain(values).collect::<Vec<Expr>>())?;
        let known = |number: usize| Expr::Column(Column::new_unqualified(name(number)));
        let rest = replaced(rest, &shared, &|number| Ok(known(number)))?;
        let predicate = if anyway.is_some() { passes.clone().or(rest) } else { rest };
        let rows = self.steps(input, &plan.filter(predicate)?.build()?)?;
        let in_projection = |number: usize| match (&anyway, shared.get(number)) {
            (Some(_), Some(value)) => when(passes.clone(), value.clone()).otherwise(known(number)),
            _ => Ok(known(number)),
        };
        let expressions = projection.expr.iter().zip(projection.schema.iter()).map(|(expression, (table, field))| {
            let replaced = replaced(expression.clone().unalias(), &shared, &in_projection)?;
            Ok(replaced.alias_qualified(table.cloned(), field.name()))
        });
        let expressions = expressions.collect::<Result<Vec<Expr>>>()?;
        let over = Arc::new(place_of(&rows));
        let projection = Projection::try_new_with_schema(expressions, over, Arc::clone(&projection.schema))?;
        self.calculated(rows, &projection).map(Some)
    }
}

/// A filter, or one under other names: as one over its input under these names.
fn filter_below(plan: &LogicalPlan) -> Result<Option<Filter>> {
    match plan {
        LogicalPlan::Filter(filter) => Ok(Some(filter.clone())),
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(filter) = filter_below(&alias.input)? else { return Ok(None) };
            let known = filter.input.schema();
            let predicate = filter.predicate.clone().transform(|part| {
                let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
                let index = known.index_of_column(column)?;
                Ok(Transformed::yes(Expr::Column(Column::from(alias.schema.qualified_field(index)))))
            })?;
            let input = SubqueryAlias::try_new(filter.input, alias.alias.clone())?;
            Filter::try_new(predicate.data, Arc::new(LogicalPlan::SubqueryAlias(input))).map(Some)
        }
        _ => Ok(None),
    }
}

/// Conditions that cost little, and the others.
fn by_cost(conditions: Vec<Expr>) -> Result<(Vec<Expr>, Vec<Expr>)> {
    let (mut cheap, mut costly) = (Vec::new(), Vec::new());
    for condition in conditions {
        let is_costly = condition.exists(|part| Ok(is_costly(part)))?;
        (if is_costly { &mut costly } else { &mut cheap }).push(condition);
    }
    Ok((cheap, costly))
}

/// The costly values that a condition and a projection above it ask for, in the condition's order.
fn common_costly(projection: &Projection, predicate: &Expr) -> Result<Vec<Expr>> {
    let collect = |expression: &Expr, found: &mut Vec<Expr>| -> Result<()> {
        expression.apply(|part| {
            // What a lambda computes is of its variables, which are no columns.
            if matches!(part, Expr::Lambda(_)) {
                return Ok(TreeNodeRecursion::Jump);
            }
            if is_costly(part) {
                found.push(part.clone());
                return Ok(TreeNodeRecursion::Jump);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    };
    let mut of_predicate = Vec::new();
    collect(predicate, &mut of_predicate)?;
    if of_predicate.is_empty() {
        return Ok(Vec::new());
    }
    let mut of_projection = Vec::new();
    for expression in &projection.expr {
        collect(expression, &mut of_projection)?;
    }
    let wanted: HashSet<Expr> = of_projection.into_iter().collect();
    let mut shared: Vec<Expr> = Vec::new();
    for value in of_predicate {
        if wanted.contains(&value) && !shared.contains(&value) {
            shared.push(value);
        }
    }
    Ok(shared)
}

/// The expression with something in place of the shared values.
fn replaced(expression: Expr, shared: &[Expr], by: &dyn Fn(usize) -> Result<Expr>) -> Result<Expr> {
    let replaced = expression.transform_down(|part| match shared.iter().position(|value| *value == part) {
        Some(number) => Ok(Transformed::new(by(number)?, true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(part)),
    })?;
    Ok(replaced.data)
}
