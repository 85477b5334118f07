//! Fits the columns of an `INSERT INTO`'s query to the columns of its table.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use datafusion::common::{ExprSchema, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};

use crate::catalog::{Catalog, Table};
use crate::problem::{Mistake, did_you_mean};
use crate::statement::InsertDeclaration;

/// The table that is written to.
pub(crate) fn target(catalog: &Catalog, insert: &InsertDeclaration) -> Result<Arc<Table>, Mistake> {
    if let Some(table) = catalog.table(&insert.table) {
        return Ok(Arc::clone(table));
    }
    if catalog.view(&insert.table).is_some() {
        return Err(Mistake::new(insert.table_at, format!("{} is a view and cannot be written to", insert.table))
            .remedy("a view is kept up to date from its query"));
    }
    if let Some(problem) = catalog.problem(&insert.table) {
        return Err(Mistake::new(insert.table_at, format!("table {} is declared, but broken", insert.table))
            .remedy(format!("mend it first: {problem}")));
    }
    let names: Vec<String> = catalog.tables().map(|table| table.definition.name.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Err(Mistake::new(insert.table_at, format!("unknown table {}", insert.table)).remedy(did_you_mean(
        &insert.table.to_string(),
        &names,
        "tables",
    )))
}

/// Puts the query's columns, by place or by the names given, under the columns that the table takes, cast to their types.
pub(crate) fn fit_columns(
    plan: LogicalPlan,
    table: &Table,
    insert: &InsertDeclaration,
) -> Result<LogicalPlan, Mistake> {
    let schema = table.definition.writable_schema();
    let given = plan.schema().columns();
    let expected: Vec<String> = if insert.columns.is_empty() {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    } else {
        insert.columns.clone()
    };
    if let Some(unknown) = expected.iter().find(|name| schema.index_of(name).is_err()) {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        return Err(Mistake::new(insert.table_at, format!("table {} has no column {unknown} to write", insert.table))
            .remedy(did_you_mean(unknown, &names, "columns")));
    }
    if expected.len() != given.len() {
        return Err(Mistake::new(
            insert.table_at,
            format!("{} takes {} columns, but the query gives {}", insert.table, expected.len(), given.len()),
        )
        .remedy(format!("the columns are: {}", expected.join(", "))));
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let place = expected.iter().position(|name| name == field.name());
        let value = match place.and_then(|place| given.get(place)) {
            None if field.is_nullable() => {
                let null = ScalarValue::try_from(field.data_type())
                    .map_err(|error| Mistake::from_planner(&error, insert.table_at))?;
                Expr::Literal(null, None)
            }
            None => {
                return Err(Mistake::new(insert.table_at, format!("column {} must have a value", field.name()))
                    .remedy("name it among the columns, and give it in the query"));
            }
            Some(column) => {
                let from =
                    plan.schema().data_type(column).map_err(|error| Mistake::from_planner(&error, insert.table_at))?;
                if from == field.data_type() {
                    Expr::Column(column.clone())
                } else if can_cast_types(from, field.data_type()) {
                    cast(Expr::Column(column.clone()), field.data_type().clone())
                } else {
                    return Err(Mistake::new(
                        insert.table_at,
                        format!("column {} is {}, but the query gives {from}", field.name(), field.data_type()),
                    )
                    .remedy("cast it in the query"));
                }
            }
        };
        columns.push(value.alias(field.name()));
    }
    LogicalPlanBuilder::from(plan)
        .project(columns)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| Mistake::from_planner(&error, insert.table_at))
}
