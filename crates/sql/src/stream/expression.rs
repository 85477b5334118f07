//! DataFusion's physical expressions as the dataflow's [`Expression`]s.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::physical_expr::expressions::{Column as PhysicalColumn, LambdaVariable};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::unparser::expr_to_sql;
use mulgil_dataflow::expression::{EvaluationError, Expression};

/// An expression of DataFusion, bound to the columns of its input.
#[derive(Debug)]
pub(crate) struct BoundExpression {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    text: String,
}

impl BoundExpression {
    /// Binds a logical expression to the columns of `schema`.
    pub(crate) fn bind(expression: &Expr, schema: &DFSchema) -> Result<Arc<Self>> {
        let physical =
            create_physical_expr(expression, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        Self::of(physical, schema, text_of(expression))
    }

    /// Binds a key to group by or to join on: of floats `-0.0` is `0.0` there, as it is in batch and in SQL.
    pub(crate) fn bind_key(expression: &Expr, schema: &DFSchema) -> Result<Arc<Self>> {
        let normalized = normalized_key(expression, schema)?;
        let physical =
            create_physical_expr(&normalized, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        Self::of(physical, schema, text_of(expression))
    }

    /// Whether it can stand over other columns: a lambda's variables are numbered behind all columns of its input.
    pub(crate) fn is_movable(&self) -> bool {
        !self.physical.exists(|part| Ok(part.downcast_ref::<LambdaVariable>().is_some())).unwrap_or(true)
    }

    /// The same expression over other columns: `sources[i]` is what column `i` was, with its text.
    pub(crate) fn over(&self, sources: &[(usize, String)]) -> Result<Arc<dyn Expression>> {
        let moved = Arc::clone(&self.physical).transform(|part| {
            let Some(column) = part.downcast_ref::<PhysicalColumn>() else { return Ok(Transformed::no(part)) };
            match sources.get(column.index()) {
                Some((index, name)) => {
                    Ok(Transformed::yes(Arc::new(PhysicalColumn::new(name, *index)) as Arc<dyn PhysicalExpr>))
                }
                None => plan_err!("there is no column {}", column.index()),
            }
        })?;
        let text = match self.as_column().and_then(|index| sources.get(index)) {
            Some((_, text)) => text.clone(),
            None => self.text.clone(),
        };
        Ok(Arc::new(Self { physical: moved.data, data_type: self.data_type.clone(), text }))
    }

    /// Takes a bound expression of DataFusion's.
    pub(crate) fn of(physical: Arc<dyn PhysicalExpr>, schema: &DFSchema, text: String) -> Result<Arc<Self>> {
        let data_type = physical.data_type(schema.as_arrow())?;
        Ok(Arc::new(Self { physical, data_type, text }))
    }
}

/// What rows are told apart by: the expression itself, and of a float without the sign of a zero.
pub(crate) fn normalized_key(expression: &Expr, schema: &DFSchema) -> Result<Expr> {
    let data_type = expression.get_type(schema)?;
    if !data_type.is_floating() {
        return Ok(expression.clone());
    }
    Ok(expression.clone().unalias_nested().data + Expr::Literal(ScalarValue::new_zero(&data_type)?, None))
}

/// The expression as a user would write it: without the tables' names.
pub(crate) fn text_of(expression: &Expr) -> String {
    let bare = expression.clone().unalias_nested().data.transform(|part| {
        Ok(match part {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            other => Transformed::no(other),
        })
    });
    let Ok(bare) = bare else { return expression.human_display().to_string() };
    if let Expr::Column(column) = &bare.data {
        return column.name.clone();
    }
    match expr_to_sql(&bare.data) {
        Ok(sql) => sql.to_string(),
        Err(_) => bare.data.human_display().to_string(),
    }
}

impl fmt::Display for BoundExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expression for BoundExpression {
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        self.physical
            .evaluate(rows)
            .and_then(|value| value.into_array(rows.num_rows()))
            .map_err(|error| EvaluationError { expression: self.text.clone(), reason: error.strip_backtrace() })
    }

    fn as_column(&self) -> Option<usize> {
        self.physical.downcast_ref::<PhysicalColumn>().map(PhysicalColumn::index)
    }
}
