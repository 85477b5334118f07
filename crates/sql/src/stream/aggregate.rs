//! DataFusion's aggregate functions as the dataflow's [`AggregateFunction`]s.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DataFusionError, Result};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{EmitTo, Expr, GroupsAccumulator};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};
use mulgil_dataflow::aggregate::{AggregateFunction, Algebra, GroupAccumulator};
use mulgil_dataflow::expression::{EvaluationError, Expression};
use mulgil_dataflow::graph::AggregateCall;

use super::expression::{BoundExpression, text_of};
use crate::problem::SqlError;

/// An aggregate function of DataFusion with its arguments' types bound.
#[derive(Debug)]
struct BoundAggregate {
    expression: Arc<AggregateFunctionExpr>,
    state_fields: Vec<Field>,
    algebra: Algebra,
    text: String,
}

/// Binds `count(*) FILTER (WHERE ...)` to the columns of `schema`.
pub(crate) fn bind_aggregate(call: &Expr, schema: &DFSchema) -> Result<AggregateCall, SqlError> {
    let name = text_of(call);
    let bare = call.clone().unalias_nested().data;
    let Expr::AggregateFunction(function) = &bare else {
        return Err(SqlError::not_in_stream(format!("the aggregate {}", text_of(call))));
    };
    let params = &function.params;
    let distinct = if params.distinct { "DISTINCT " } else { "" };
    let text = format!("{distinct}{}", function.func.name());
    let lowered = LoweredAggregateBuilder::new(
        &bare,
        schema,
        schema.as_arrow(),
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
    .with_name(&name)
    .build()?;
    // A function that needs its rows sorted beforehand could not be given rows as they come.
    if lowered.aggregate.order_sensitivity().hard_requires() && !function.func.supports_within_group_clause() {
        return Err(SqlError::not_in_stream(format!("ORDER BY inside {}", text_of(call))));
    }
    let order = lowered.aggregate.order_bys().iter().map(|sort| Arc::clone(&sort.expr));
    let arguments = lowered
        .aggregate
        .expressions()
        .into_iter()
        .chain(order)
        .zip(argument_texts(&params.args))
        .map(|(argument, text)| Ok(BoundExpression::of(argument, schema, text)? as Arc<dyn Expression>))
        .collect::<Result<Vec<Arc<dyn Expression>>>>()?;
    let filter = match (lowered.filter, &params.filter) {
        (Some(filter), Some(written)) => {
            Some(BoundExpression::of(filter, schema, text_of(written))? as Arc<dyn Expression>)
        }
        _ => None,
    };
    let state_fields = lowered.aggregate.state_fields()?.iter().map(|field| field.as_ref().clone()).collect();
    let algebra = if params.distinct { Algebra::Other } else { algebra_of(function.func.name()) };
    let function = BoundAggregate { expression: lowered.aggregate, state_fields, algebra, text };
    // A function that cannot make an accumulator says so now, not at the first row.
    function.accumulator()?;
    Ok(AggregateCall { name, function: Arc::new(function), arguments, filter })
}

/// What kind of sum the state of one of DataFusion's functions is.
fn algebra_of(name: &str) -> Algebra {
    match name {
        "count" => Algebra::Count,
        "sum" => Algebra::Sum,
        "avg" => Algebra::Average,
        "min" => Algebra::Least,
        "max" => Algebra::Greatest,
        _ => Algebra::Other,
    }
}

/// As many texts as the function may have arguments.
fn argument_texts(arguments: &[Expr]) -> impl Iterator<Item = String> {
    arguments.iter().map(text_of).chain(std::iter::repeat(String::new()))
}

impl fmt::Display for BoundAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl BoundAggregate {
    fn failed(text: &str, error: &DataFusionError) -> EvaluationError {
        EvaluationError { expression: text.to_owned(), reason: error.strip_backtrace() }
    }
}

impl AggregateFunction for BoundAggregate {
    fn state_fields(&self) -> Vec<Field> {
        self.state_fields.clone()
    }

    fn data_type(&self) -> DataType {
        self.expression.field().data_type().clone()
    }

    fn algebra(&self) -> Algebra {
        self.algebra
    }

    fn accumulator(&self) -> Result<Box<dyn GroupAccumulator>, EvaluationError> {
        let groups = if self.expression.groups_accumulator_supported() {
            self.expression.create_groups_accumulator()
        } else {
            let expression = Arc::clone(&self.expression);
            expression.create_accumulator().map(|_| {
                let adapter = GroupsAccumulatorAdapter::new(move || expression.create_accumulator());
                Box::new(adapter) as Box<dyn GroupsAccumulator>
            })
        };
        let groups = groups.map_err(|error| Self::failed(&self.text, &error))?;
        Ok(Box::new(Groups { groups, text: self.text.clone() }))
    }
}

/// The state of all groups.
struct Groups {
    groups: Box<dyn GroupsAccumulator>,
    text: String,
}

impl GroupAccumulator for Groups {
    fn update(
        &mut self,
        arguments: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<(), EvaluationError> {
        self.groups
            .update_batch(arguments, groups, filter, group_count)
            .map_err(|error| BoundAggregate::failed(&self.text, &error))
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], group_count: usize) -> Result<(), EvaluationError> {
        // DataFusion's adapter gives no columns for no groups, and takes none.
        if groups.is_empty() {
            return Ok(());
        }
        self.groups.merge_batch(states, groups, group_count).map_err(|error| BoundAggregate::failed(&self.text, &error))
    }

    fn take_states(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        self.groups.state(EmitTo::All).map_err(|error| BoundAggregate::failed(&self.text, &error))
    }

    fn take_results(&mut self) -> Result<ArrayRef, EvaluationError> {
        self.groups.evaluate(EmitTo::All).map_err(|error| BoundAggregate::failed(&self.text, &error))
    }

    fn size_bytes(&self) -> usize {
        self.groups.size()
    }
}
