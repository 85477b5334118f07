//! Queries with parameters: `$1`, `$2`, … stand in the text, and their values come later.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::opened_scans::OpenedScans;
use crate::point_query::PointQuery;
use crate::problem::{Mistake, SqlError};
use crate::session::{QueryResult, Session, problem, single_statement};
use crate::statement::StatementKind;

/// The most parameters of a query.
const PARAMETERS_MAX: usize = 65_535;

/// What is known of a query before its parameters have values.
#[derive(Clone, Debug)]
pub struct PreparedQuery {
    /// The columns of its rows.
    pub schema: SchemaRef,
    /// By parameter: its type, as told or as the query shows it; a text where the query takes any.
    pub parameters: Vec<DataType>,
    /// What it asks for, where it asks a view for the rows in which columns have given values.
    pub point: Option<PointQuery>,
}

impl Session {
    /// Plans a `SELECT` with parameters, and reads nothing. `types` are the types that the caller knows.
    ///
    /// # Errors
    /// A mistake in the text, with its place in it.
    pub fn prepare(&self, sql: &str, types: &[Option<DataType>]) -> Result<PreparedQuery, SqlError> {
        let statement = single_statement(sql)?;
        let StatementKind::Query(query) = &statement.kind else {
            return Err(problem(Mistake::new(statement.at, "expected a SELECT")).into());
        };
        let state = self.state()?;
        let scans = OpenedScans::new(self.snapshots.clone(), self.system.clone());
        let planned = |types: &[Option<DataType>]| {
            let planner = self.batch_planner(&state, &scans).with_parameters(types);
            planner.query(query, statement.at).map_err(problem)
        };
        let mut plan = planned(types)?;
        let mut parameters = types.to_vec();
        for (name, data_type) in plan.get_parameter_types()? {
            let Some(place) = place_of(&name).filter(|place| *place < PARAMETERS_MAX) else {
                return Err(problem(
                    Mistake::new(statement.at, format!("unknown parameter {name}"))
                        .remedy("parameters are $1, $2 and so on"),
                )
                .into());
            };
            if parameters.len() <= place {
                parameters.resize(place + 1, None);
            }
            if let Some(parameter) = parameters.get_mut(place).filter(|parameter| parameter.is_none()) {
                *parameter = data_type;
            }
        }
        for (place, data_type) in shown_types(&plan)? {
            if let Some(parameter) = parameters.get_mut(place).filter(|parameter| parameter.is_none()) {
                *parameter = Some(data_type);
            }
        }
        if parameters.iter().any(Option::is_none) {
            // What may be anything is a text: the columns that show it are texts too.
            for parameter in parameters.iter_mut().filter(|parameter| parameter.is_none()) {
                *parameter = Some(DataType::Utf8);
            }
            plan = planned(&parameters)?;
        }
        let parameters = parameters.into_iter().map(|parameter| parameter.unwrap_or(DataType::Utf8)).collect();
        let point = PointQuery::of(&plan, self.catalog());
        Ok(PreparedQuery { schema: Arc::new(Schema::new(plan.schema().fields().clone())), parameters, point })
    }

    /// Runs one `SELECT` with values for its parameters: arrays of one value each.
    ///
    /// # Errors
    /// As [`Session::query`]; a parameter without a value.
    pub async fn query_with(&self, sql: &str, parameters: &[ArrayRef]) -> Result<QueryResult, SqlError> {
        let statement = single_statement(sql)?;
        let StatementKind::Query(query) = &statement.kind else {
            return Err(problem(Mistake::new(statement.at, "expected a SELECT")).into());
        };
        let values = parameters.iter().map(|value| ScalarValue::try_from_array(value, 0));
        let values = ParamValues::from(values.collect::<Result<Vec<_>, _>>()?);
        let types: Vec<_> = parameters.iter().map(|value| Some(value.data_type().clone())).collect();
        let state = self.state()?;
        let fill = |plan: LogicalPlan| plan.replace_params_with_values(&values);
        let plan = self.batch_plan_with(&state, query, statement.at, &types, fill).await?;
        self.run(state, &plan).await
    }
}

/// The place of a parameter: 0 for `$1`.
pub(crate) fn place_of(name: &str) -> Option<usize> {
    name.trim_start_matches('$').parse::<usize>().ok()?.checked_sub(1)
}

/// The types of parameters that the query shows and DataFusion does not see: `CAST($1 AS BYTES)` takes bytes, and `x = ANY($1)` a list
/// of what `x` is.
fn shown_types(plan: &LogicalPlan) -> Result<Vec<(usize, DataType)>, SqlError> {
    let mut shown = Vec::new();
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                match part {
                    Expr::ScalarFunction(function) if function.name() == "array_has" => {
                        if let [Expr::Placeholder(list), item] = function.args.as_slice()
                            && let (Some(place), Ok(item)) = (place_of(&list.id), item.get_type(&schema))
                        {
                            shown.push((place, DataType::new_list(item, true)));
                        }
                    }
                    Expr::Cast(cast) => {
                        if let Expr::Placeholder(value) = cast.expr.as_ref()
                            && let Some(place) = place_of(&value.id)
                        {
                            shown.push((place, cast.field.data_type().clone()));
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(shown)
}
