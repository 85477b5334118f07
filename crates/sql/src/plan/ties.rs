//! Makes the order of ranked rows total, in batch: `ROW_NUMBER() OVER (ORDER BY price)` leaves open which of two rows of
//! one price comes first. Both modes let the rows themselves decide, column by column, so both give the same rows,
//! whatever the order of arrival and the number of threads. Streams do it inside their operators.
//!
//! Which columns there are to compare depends on which ones the query goes on to use: so columns that nobody needs are
//! dropped first, by the same rules as for a stream.

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, Window, WindowFrameUnits, WindowFunctionDefinition};
use mulgil_dataflow::operators::rank::breaks_ties;
use std::sync::Arc;

/// The functions whose result depends on the place of a row alone, never on which rows are its equals.
const BY_PLACE: [&str; 4] = ["row_number", "lag", "lead", "ntile"];

/// Whether a query has a window function that ties could make ambiguous.
pub(crate) fn has_ties(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Window(window) if window.window_expr.iter().all(goes_by_place));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Lets every column decide after those of the `ORDER BY`.
pub(crate) fn break_ties(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Window(window) if window.window_expr.iter().all(goes_by_place) => {
            let input = window.input.schema();
            let total = window.window_expr.iter().map(|call| with_total_order(call, input)).collect();
            // The columns keep their names, by which the plan above knows them.
            let columns = Window::try_new(total, Arc::clone(&window.input))?;
            Ok(Transformed::yes(LogicalPlan::Window(columns)))
        }
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

fn window_function(call: &Expr) -> Option<&WindowFunction> {
    match call {
        Expr::Alias(alias) => window_function(&alias.expr),
        Expr::WindowFunction(function) => Some(function),
        _ => None,
    }
}

fn goes_by_place(call: &Expr) -> bool {
    window_function(call).is_some_and(|function| match &function.fun {
        WindowFunctionDefinition::WindowUDF(own) if BY_PLACE.contains(&own.name()) => true,
        WindowFunctionDefinition::WindowUDF(own) => {
            ["first_value", "last_value", "nth_value"].contains(&own.name()) && is_by_rows(function)
        }
        WindowFunctionDefinition::AggregateUDF(_) => is_by_rows(function),
    })
}

fn is_by_rows(function: &WindowFunction) -> bool {
    function.params.window_frame.units == WindowFrameUnits::Rows
}

fn with_total_order(call: &Expr, input: &DFSchema) -> Expr {
    let name = call.schema_name().to_string();
    let Some(function) = window_function(call) else { return call.clone() };
    let mut function = function.clone();
    let ties = input.iter().filter(|(_, field)| breaks_ties(field.data_type()));
    let ties = ties.map(|column| Sort::new(Expr::Column(column.into()), true, false));
    function.params.order_by.extend(ties);
    Expr::WindowFunction(Box::new(function)).alias(name)
}
