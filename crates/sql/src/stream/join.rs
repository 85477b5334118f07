//! `JOIN`, and what becomes one: `IN`, `EXISTS` and scalar subqueries, comma lists with conditions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, NullEquality, TableReference};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, Join, LogicalPlan, cast};
use mulgil_dataflow::expression::NamedExpression;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::join::{Condition, Join as JoinOperator, JoinKind, Side, Sides};

use super::expression::{BoundExpression, normalized_key, text_of};
use super::key::Key;
use super::retention::retention;
use super::translate::{Rows, Translation};
use crate::problem::SqlError;

impl Translation {
    /// The key of rows that are sent to where `columns` say. Where these can change under one key, the change of a row and
    /// its former self go different ways, and may come in either order: such rows have no key, only themselves.
    pub(super) fn key_behind_exchange(&self, rows: &Rows, columns: &[usize]) -> Key {
        if self.graph.is_updating(rows.node) && !rows.key.covers(columns) { Key::none() } else { rows.key.clone() }
    }

    /// A join of which the columns `needed` (by index) are asked for, or all. The rows have the columns that are needed,
    /// in the join's order.
    pub(super) fn join(&mut self, join: &Join, needed: Option<&[usize]>) -> Result<Rows, SqlError> {
        let kind = kind_of(join.join_type);
        let retention = retention(join);
        let inputs = Sides {
            left: self.input(&join.left, retention.is_some())?,
            right: self.input(&join.right, retention.is_some())?,
        };
        let widths = Sides { left: inputs.left.width, right: inputs.right.width };
        let (left, right) = (inputs.left.rows.clone(), inputs.right.rows.clone());
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) =
            key_pairs(&join.on, &left.schema, &right.schema)?.into_iter().unzip();
        let (left, left_keys) = self.with_keys(left, &left_keys)?;
        let (right, right_keys) = self.with_keys(right, &right_keys)?;
        let left_key = inputs.left.key_of_plan(&self.key_behind_exchange(&left, &left_keys));
        let right_key = inputs.right.key_of_plan(&self.key_behind_exchange(&right, &right_keys));
        let key = match (kind.shows(Side::Left), kind.shows(Side::Right)) {
            (true, true) => left_key.beside(&right_key, widths.left),
            (true, false) => left_key,
            (false, _) => right_key,
        };
        let condition = join.filter.as_ref().map(|filter| condition(filter, &left, &right)).transpose()?;
        let outputs = outputs(kind, widths, needed);
        let schema = output_schema(&join.schema, needed)?;
        let is_everywhere = join.on.is_empty() && !kind.shows_alone(Side::Right) && is_small(&join.right);
        let left_by = if is_everywhere { self.lies_by(&left) } else { None };
        let operator = JoinOperator {
            kind,
            keys: Sides { left: left_keys, right: right_keys },
            on: on_text(&join.on),
            nulls_match: join.null_equality == NullEquality::NullEqualsNull,
            condition,
            outputs,
            retention,
            time_to_live: self.time_to_live,
            is_lookup: false,
            is_right_everywhere: left_by.is_some(),
            left_by: left_by.unwrap_or_default(),
            contest: None,
        };
        let operator = LogicalOperator::Apply(Arc::new(operator));
        let rows = self.push(operator, vec![left.node, right.node], &schema, key);
        self.late_rows_of((rows.node, 0), &left.schema, inputs.left.late_table.as_deref())?;
        self.late_rows_of((rows.node, 1), &right.schema, inputs.right.late_table.as_deref())?;
        match needed {
            Some(needed) => {
                let sources: Vec<Option<usize>> = needed.iter().map(|column| Some(*column)).collect();
                Ok(Rows { key: rows.key.project(&sources), ..rows })
            }
            None => Ok(rows),
        }
    }

    /// The columns by which rows that are joined with a few rows are to lie: none, as they lie already, where no row is taken
    /// back, else those of their key. `None` where they have no key, or are one row.
    fn lies_by(&self, rows: &Rows) -> Option<Vec<usize>> {
        if !self.graph.is_updating(rows.node) {
            return Some(Vec::new());
        }
        rows.key.columns().filter(|columns| !columns.is_empty())
    }

    /// The rows with each key expression as a column: its own where it is one, else a new one at the end.
    pub(super) fn with_keys(&mut self, rows: Rows, keys: &[Expr]) -> Result<(Rows, Vec<usize>), SqlError> {
        let mut columns: Vec<Expr> = rows.schema.columns().into_iter().map(Expr::Column).collect();
        let width = columns.len();
        let mut places = Vec::with_capacity(keys.len());
        for key in keys {
            let bare = normalized_key(&key.clone().unalias_nested().data, &rows.schema)?;
            let found = match &bare {
                Expr::Column(column) => rows.schema.maybe_index_of_column(column),
                other => columns.iter().skip(width).position(|column| column == other).map(|at| width + at),
            };
            places.push(found.unwrap_or_else(|| {
                columns.push(bare);
                columns.len() - 1
            }));
        }
        if columns.len() == width {
            return Ok((rows, places));
        }
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
            rows.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        let mut expressions = Vec::with_capacity(columns.len());
        for (index, column) in columns.iter().enumerate() {
            let expression = BoundExpression::bind(column, &rows.schema)?;
            let name = rows.schema.fields().get(index).map_or_else(|| text_of(column), |field| field.name().clone());
            if index >= width {
                let data_type = column.get_type(&rows.schema)?;
                fields.push((None, Arc::new(Field::new(format!("{name} #{index}"), data_type, true))));
            }
            expressions.push(NamedExpression { name, expression });
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        let key = rows.key;
        let rows = self.push(LogicalOperator::Project { expressions }, vec![rows.node], &schema, key);
        Ok((rows, places))
    }
}

/// Whether a plan has a handful of rows at most: one, or one for each truth value.
fn is_small(plan: &LogicalPlan) -> bool {
    let is_truth = |field: &Arc<Field>| *field.data_type() == DataType::Boolean;
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let is_key = |group: &Expr| !matches!(group, Expr::GroupingSet(_));
            let mut keys = aggregate.group_expr.iter().zip(aggregate.schema.fields());
            keys.all(|(group, field)| is_key(group) && is_truth(field))
        }
        LogicalPlan::Distinct(Distinct::All(input)) => input.schema().fields().iter().all(is_truth),
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => {
            plan.inputs().into_iter().all(is_small)
        }
        _ => false,
    }
}

pub(super) fn kind_of(join_type: JoinType) -> JoinKind {
    match join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::LeftSemi,
        JoinType::RightSemi => JoinKind::RightSemi,
        JoinType::LeftAnti => JoinKind::LeftAnti,
        JoinType::RightAnti => JoinKind::RightAnti,
        JoinType::LeftMark => JoinKind::LeftMark,
        JoinType::RightMark => JoinKind::RightMark,
    }
}

/// The pairs of expressions that must be equal, brought to one type.
pub(super) fn key_pairs(on: &[(Expr, Expr)], left: &DFSchema, right: &DFSchema) -> Result<Vec<(Expr, Expr)>, SqlError> {
    let pair = |(l, r): &(Expr, Expr)| -> Result<(Expr, Expr), SqlError> {
        let (l_type, r_type) = (l.get_type(left)?, r.get_type(right)?);
        if l_type == r_type {
            return Ok((l.clone(), r.clone()));
        }
        let common = comparison_coercion(&l_type, &r_type).ok_or_else(|| {
            SqlError::not_in_stream(format!("a join of {} ({l_type}) with {} ({r_type})", text_of(l), text_of(r)))
        })?;
        let typed =
            |key: &Expr, from: DataType| if from == common { key.clone() } else { cast(key.clone(), common.clone()) };
        Ok((typed(l, l_type), typed(r, r_type)))
    };
    on.iter().map(pair).collect()
}

pub(super) fn on_text(on: &[(Expr, Expr)]) -> String {
    let texts = on.iter().map(|(left, right)| format!("{} = {}", text_of(left), text_of(right)));
    texts.collect::<Vec<String>>().join(" AND ")
}

/// The columns of each side that come out.
fn outputs(kind: JoinKind, widths: Sides<usize>, needed: Option<&[usize]>) -> Sides<Vec<usize>> {
    let left_width = if kind.shows(Side::Left) { widths.left } else { 0 };
    let right_width = if kind.shows(Side::Right) { widths.right } else { 0 };
    let all: Vec<usize> = (0..left_width + right_width).collect();
    let needed = needed.unwrap_or(&all).iter().copied().filter(|column| *column < left_width + right_width);
    let (left, right): (Vec<usize>, Vec<usize>) = needed.partition(|column| *column < left_width);
    Sides { left, right: right.into_iter().map(|column| column - left_width).collect() }
}

fn output_schema(schema: &DFSchemaRef, needed: Option<&[usize]>) -> Result<DFSchemaRef, SqlError> {
    let Some(needed) = needed else { return Ok(Arc::clone(schema)) };
    let fields = needed.iter().map(|column| {
        let (qualifier, field) = schema.qualified_field(*column);
        (qualifier.cloned(), Arc::clone(field))
    });
    Ok(Arc::new(DFSchema::new_with_metadata(fields.collect(), HashMap::new())?))
}

/// The condition over the columns that it names.
pub(super) fn condition(filter: &Expr, left: &Rows, right: &Rows) -> Result<Condition, SqlError> {
    let mut refs: Vec<&Column> = filter.column_refs().into_iter().collect();
    refs.sort();
    let mut columns = Vec::with_capacity(refs.len());
    let mut fields = Vec::with_capacity(refs.len());
    for column in refs {
        let (side, rows) = match left.schema.maybe_index_of_column(column) {
            Some(_) => (Side::Left, left),
            None => (Side::Right, right),
        };
        let index = rows.schema.index_of_column(column)?;
        let (qualifier, field) = rows.schema.qualified_field(index);
        columns.push((side, index));
        fields.push((qualifier.cloned(), Arc::new(field.as_ref().clone().with_nullable(true))));
    }
    let schema = DFSchema::new_with_metadata(fields, HashMap::new())?;
    Ok(Condition { columns, predicate: BoundExpression::bind(filter, &schema)? })
}
