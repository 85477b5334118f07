//! Recognises queries that ask one view for the rows in which columns have given values, so that who keeps the view can answer
//! them from its index, without planning and without reading other rows.
//!
//! What is recognised is the plan, not the text: names are resolved and columns typed by the one planner there is. A query that
//! is anything else is none of them, and is answered as every query is.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, FetchType, LogicalPlan, Operator, SkipType};
use mulgil_connect::definition::TableName;

use crate::catalog::Catalog;
use crate::plan::table_name_of;
use crate::prepared::place_of;

/// A query for the rows of a view in which columns have given values.
#[derive(Clone, Debug)]
pub struct PointQuery {
    /// The view.
    pub view: TableName,
    /// The view's columns, as they were when the query was planned.
    pub view_schema: SchemaRef,
    /// The columns of the answer.
    pub schema: SchemaRef,
    /// By column of the answer: the view's column.
    pub columns: Vec<usize>,
    /// The view's columns that are to have a value.
    pub equals: Vec<(usize, Operand)>,
    /// At most so many rows.
    pub limit: Option<usize>,
}

/// What a column is compared with.
#[derive(Clone, Debug)]
pub enum Operand {
    /// A parameter: 0 for `$1`.
    Parameter(usize),
    /// A value in the text: an array of one.
    Value(ArrayRef),
}

impl PointQuery {
    /// The query that a plan is, if it is one. The plan is not optimised.
    pub(crate) fn of(plan: &LogicalPlan, catalog: &Catalog) -> Option<Self> {
        let (limit, plan) = limit_of(plan)?;
        let LogicalPlan::Projection(projection) = plan else { return None };
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return None };
        let scan = scan_of(filter.input.as_ref())?;
        let view = table_name_of(&scan.table_name);
        let is_view = catalog.view(&view).is_some() && catalog.table(&view).is_none();
        if !is_view || scan.projection.is_some() || !scan.filters.is_empty() || scan.fetch.is_some() {
            return None;
        }
        let columns = projection.expr.iter().map(|expression| {
            let Expr::Column(column) = unaliased(expression) else { return None };
            place_in(projection.input.schema(), column)
        });
        let equals = split_conjunction(&filter.predicate).into_iter();
        Some(Self {
            view,
            view_schema: scan.source.schema(),
            schema: Arc::new(Schema::new(projection.schema.fields().clone())),
            columns: columns.collect::<Option<_>>()?,
            equals: equals.map(|predicate| equality(predicate, filter.input.schema())).collect::<Option<_>>()?,
            limit,
        })
    }
}

/// A `LIMIT` with a number, and what is below it.
fn limit_of(plan: &LogicalPlan) -> Option<(Option<usize>, &LogicalPlan)> {
    let LogicalPlan::Limit(limit) = plan else { return Some((None, plan)) };
    match (limit.get_skip_type().ok()?, limit.get_fetch_type().ok()?) {
        (SkipType::Literal(0), FetchType::Literal(fetch)) => Some((fetch, limit.input.as_ref())),
        _ => None,
    }
}

/// The table below other names for it.
fn scan_of(plan: &LogicalPlan) -> Option<&datafusion::logical_expr::TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::SubqueryAlias(alias) => scan_of(alias.input.as_ref()),
        _ => None,
    }
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(alias.expr.as_ref()),
        other => other,
    }
}

/// Names change nothing about the order of the columns.
fn place_in(schema: &DFSchema, column: &Column) -> Option<usize> {
    schema.maybe_index_of_column(column)
}

/// `column = value`, either way round.
fn equality(predicate: &Expr, schema: &DFSchema) -> Option<(usize, Operand)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = predicate else { return None };
    let (column, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), value) | (value, Expr::Column(column)) => (column, value),
        _ => return None,
    };
    let operand = match value {
        Expr::Placeholder(placeholder) => Operand::Parameter(place_of(&placeholder.id)?),
        Expr::Literal(value, _) => Operand::Value(literal(value)?),
        _ => return None,
    };
    Some((place_in(schema, column)?, operand))
}

fn literal(value: &ScalarValue) -> Option<ArrayRef> {
    let is_plain = value.data_type().is_integer() || matches!(value.data_type(), DataType::Utf8 | DataType::Boolean);
    if is_plain { value.to_array().ok() } else { None }
}
