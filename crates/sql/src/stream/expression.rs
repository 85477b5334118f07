//! DataFusion's physical expressions as the dataflow's [`Expression`]s.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprSchemable, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, Column as PhysicalColumn, LambdaVariable, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::unparser::expr_to_sql;
use mulgil_dataflow::expression::{EvaluationError, Expression};

use super::fixed_interval::with_durations;

/// An expression of DataFusion, bound to the columns of its input.
#[derive(Debug)]
pub(crate) struct BoundExpression {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    text: String,
    narrow: Option<Narrow>,
    /// Of a constant: itself, for so many rows as batches mostly have.
    constant: OnceLock<ArrayRef>,
}

/// A constant is spread out for this many rows at once, and for more each time anew.
const CONSTANT_ROWS: usize = 32 * 1024;

/// An expression over just the columns that it reads. AND and OR look at their right side for some rows only, and copy
/// all columns of these rows, the long texts that nobody asked for too.
#[derive(Debug)]
struct Narrow {
    columns: Vec<usize>,
    physical: Arc<dyn PhysicalExpr>,
}

impl Narrow {
    /// Where it makes a difference.
    fn of(physical: &Arc<dyn PhysicalExpr>) -> Result<Option<Self>> {
        let chooses_rows = physical.exists(|part| {
            let binary = part.downcast_ref::<BinaryExpr>();
            Ok(binary.is_some_and(|binary| matches!(binary.op(), Operator::And | Operator::Or)))
        })?;
        if !chooses_rows || has_lambda(physical) {
            return Ok(None);
        }
        let mut columns: Vec<usize> = collect_columns(physical).iter().map(PhysicalColumn::index).collect();
        columns.sort_unstable();
        columns.dedup();
        let moved = Arc::clone(physical).transform(|part| {
            let Some(column) = part.downcast_ref::<PhysicalColumn>() else { return Ok(Transformed::no(part)) };
            let Ok(place) = columns.binary_search(&column.index()) else { return Ok(Transformed::no(part)) };
            Ok(Transformed::yes(Arc::new(PhysicalColumn::new(column.name(), place)) as Arc<dyn PhysicalExpr>))
        })?;
        Ok(Some(Self { columns, physical: moved.data }))
    }

    fn evaluate(&self, rows: &RecordBatch) -> Result<ColumnarValue> {
        self.physical.evaluate(&rows.project(&self.columns)?)
    }
}

impl BoundExpression {
    /// Binds a logical expression to the columns of `schema`.
    pub(crate) fn bind(expression: &Expr, schema: &DFSchema) -> Result<Arc<Self>> {
        Self::bind_as(expression, schema, expression)
    }

    /// Binds a logical expression that says the same as `written`, which is how users know it.
    pub(crate) fn bind_as(expression: &Expr, schema: &DFSchema, written: &Expr) -> Result<Arc<Self>> {
        let physical =
            create_physical_expr(expression, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
        Self::of(physical, schema, text_of(written))
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
        !has_lambda(&self.physical)
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
        let narrow = Narrow::of(&moved.data)?;
        Ok(Arc::new(Self {
            physical: moved.data,
            data_type: self.data_type.clone(),
            text,
            narrow,
            constant: OnceLock::new(),
        }))
    }

    /// The value of a number or time that is a constant, without copying it for each batch: `count(*)` counts ones.
    fn constant(&self, row_count: usize) -> Option<ArrayRef> {
        let literal = self.physical.downcast_ref::<Literal>()?;
        if row_count > CONSTANT_ROWS || self.data_type.primitive_width().is_none() {
            return None;
        }
        if self.constant.get().is_none() {
            let _ = self.constant.set(literal.value().to_array_of_size(CONSTANT_ROWS).ok()?);
        }
        self.constant.get().map(|constant| constant.slice(0, row_count))
    }

    /// Takes a bound expression of DataFusion's.
    pub(crate) fn of(physical: Arc<dyn PhysicalExpr>, schema: &DFSchema, text: String) -> Result<Arc<Self>> {
        let physical = with_durations(physical, schema.as_arrow())?;
        let data_type = physical.data_type(schema.as_arrow())?;
        let narrow = Narrow::of(&physical)?;
        Ok(Arc::new(Self { physical, data_type, text, narrow, constant: OnceLock::new() }))
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

fn has_lambda(physical: &Arc<dyn PhysicalExpr>) -> bool {
    physical.exists(|part| Ok(part.downcast_ref::<LambdaVariable>().is_some())).unwrap_or(true)
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
        if let Some(constant) = self.constant(rows.num_rows()) {
            return Ok(constant);
        }
        let value = match &self.narrow {
            Some(narrow) => narrow.evaluate(rows),
            None => self.physical.evaluate(rows),
        };
        value
            .and_then(|value| value.into_array(rows.num_rows()))
            .map_err(|error| EvaluationError { expression: self.text.clone(), reason: error.strip_backtrace() })
    }

    fn as_column(&self) -> Option<usize> {
        self.physical.downcast_ref::<PhysicalColumn>().map(PhysicalColumn::index)
    }
}
