//! `GROUP BY` the keys and the number of a count window, as an aggregation that gives a window out, and forgets it, when it
//! is full. What else is done with the rows of count windows runs as what they are: rows with a number.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, Result, plan_err};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Window};
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::count_aggregate::CountAggregate;

use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::rolling::Columns;
use super::translate::{Rows, Translation};
use super::window_aggregate::distinctly_named;
use crate::plan::count_windows::windows_of;
use crate::problem::SqlError;

/// Numbered rows under projections only: every row that was numbered is still there.
struct NumberedInput<'a> {
    window: &'a Window,
    /// The input's columns, over those of the window functions.
    columns: Vec<Expr>,
    schema: &'a DFSchemaRef,
}

impl<'a> NumberedInput<'a> {
    fn find(plan: &'a LogicalPlan) -> Result<Option<Self>> {
        let schema = plan.schema();
        let found = match plan {
            LogicalPlan::Window(window) => {
                let columns = schema.columns().into_iter().map(Expr::Column).collect();
                return Ok(Some(Self { window, columns, schema }));
            }
            LogicalPlan::SubqueryAlias(alias) => Self::find(&alias.input)?,
            LogicalPlan::Projection(projection) => match Self::find(&projection.input)? {
                Some(mut input) => {
                    input.columns = projection.expr.iter().map(|own| input.rewrite(own)).collect::<Result<_>>()?;
                    Some(input)
                }
                None => None,
            },
            LogicalPlan::Unnest(unnest) => Self::find(&unnest.input)?.map(|mut input| {
                // An element stands for its list.
                let list = |index: &usize| input.columns.get(*index).cloned();
                input.columns = unnest.dependency_indices.iter().filter_map(list).collect();
                input
            }),
            _ => None,
        };
        Ok(found.map(|input| Self { schema, ..input }))
    }

    /// An expression over the input, as one over the window functions.
    fn rewrite(&self, expression: &Expr) -> Result<Expr> {
        let rewritten = expression.clone().transform_down(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            match self.columns.get(self.schema.index_of_column(column)?) {
                Some(own) => Ok(Transformed::new(own.clone().unalias_nested().data, true, TreeNodeRecursion::Jump)),
                None => plan_err!("there is no column {column}"),
            }
        })?;
        Ok(rewritten.data.unalias_nested().data)
    }

    /// The size of the windows that these groups are, and which of them is their number.
    fn windows(&self, groups: &[Expr]) -> Result<Option<(usize, u64)>> {
        let groups = groups.iter().map(|group| self.rewrite(group)).collect::<Result<Vec<Expr>>>()?;
        let [Expr::WindowFunction(call)] = self.window.window_expr.as_slice() else { return Ok(None) };
        let numbered = self.window.schema.columns().pop().map(Expr::Column);
        let of_group = |(place, group): (usize, &Expr)| {
            let (row, size) = windows_of(group)?;
            (Some(row) == numbered.as_ref()).then(|| (place, size.unsigned_abs()))
        };
        let Some((place, size)) = groups.iter().enumerate().find_map(of_group) else { return Ok(None) };
        let keys = &call.params.partition_by;
        let are_keys = groups.iter().enumerate().all(|(other, group)| other == place || keys.contains(group));
        Ok((are_keys && keys.iter().all(|key| groups.contains(key))).then_some((place, size)))
    }
}

impl Translation {
    /// An aggregate per key and count window.
    pub(super) fn count_aggregate(&mut self, aggregate: &Aggregate) -> Result<Option<Rows>, SqlError> {
        let Some(numbered) = NumberedInput::find(&aggregate.input)? else { return Ok(None) };
        let Some((place, size)) = numbered.windows(&aggregate.group_expr)? else { return Ok(None) };
        let input = self.rows(&aggregate.input)?;
        if self.graph.is_updating(input.node) {
            // A window that was full may not stay so.
            return self.rolling_aggregate_over(input, aggregate, None).map(Some);
        }
        let mut columns = Columns::default();
        let is_key = |(group, _): &(usize, &Expr)| *group != place;
        let keys: Vec<&Expr> = aggregate.group_expr.iter().enumerate().filter(is_key).map(|(_, key)| key).collect();
        for group in keys.iter().copied().chain(aggregate.group_expr.get(place)) {
            columns.push(BoundExpression::bind_key(group, &input.schema)?, None);
        }
        let calls = aggregate.aggr_expr.iter().map(|call| columns.whole_call(call, &input.schema));
        let calls = calls.collect::<Result<_, SqlError>>()?;
        let prepared = columns.project(self, &input)?;
        let key_texts = keys.iter().copied().map(text_of).collect();
        let definition = CountAggregate { key_count: keys.len(), calls, key_texts, size };
        let (schema, order) = schema_of(aggregate, place)?;
        let output = self.push(LogicalOperator::Apply(Arc::new(definition)), vec![prepared.node], &schema, Key::none());
        let own = output.schema.columns();
        let ordered: Vec<Expr> = order.iter().filter_map(|index| own.get(*index).cloned()).map(Expr::Column).collect();
        let rows = self.project(output, &ordered, &aggregate.schema)?;
        let key = Key::of((0..aggregate.group_expr.len()).map(|group| vec![group]).collect());
        Ok(Some(Rows { key, ..rows }))
    }
}

/// The columns of the operator (keys, the window's number, results), and where those of the aggregate are among them.
fn schema_of(aggregate: &Aggregate, place: usize) -> Result<(DFSchemaRef, Vec<usize>), SqlError> {
    let fields = aggregate.schema.fields();
    let group_count = aggregate.group_expr.len();
    let of_operator: Vec<usize> =
        (0..group_count).filter(|group| *group != place).chain([place]).chain(group_count..fields.len()).collect();
    let named = |column: &usize| {
        let field = fields.get(*column)?.as_ref().clone();
        let call = column.checked_sub(group_count).and_then(|call| aggregate.aggr_expr.get(call));
        Some(call.map_or(field.clone(), |call| field.with_name(text_of(call))))
    };
    let own: Vec<Field> = of_operator.iter().filter_map(named).collect();
    let order = (0..fields.len()).filter_map(|column| of_operator.iter().position(|own| *own == column)).collect();
    Ok((Arc::new(DFSchema::try_from(Schema::new(distinctly_named(own)))?), order))
}
