//! `GROUP BY ..., window_start, window_end` where the bounds are columns already: over an aggregate per window, a join of
//! two, or rows that are in several windows.
//!
//! A group is complete when its window is. So rows are aggregated into windows of one millisecond by the last millisecond
//! of theirs, with the bounds as keys like any other: then windows of every kind are the same.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};
use mulgil_dataflow::expression::NamedExpression;
use mulgil_dataflow::graph::{LogicalOperator, Window};
use mulgil_dataflow::trigger::Trigger;

use super::aggregate::bind_aggregate;
use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::time_attribute::{TimeAttribute, of_expression};
use super::translate::{Rows, Translation};
use super::window_aggregate::distinctly_named;
use crate::plan::window::{WindowAssignNode, WindowPolicy};
use crate::problem::SqlError;

/// The last millisecond of the windows.
const WINDOW_TIME: &str = "last millisecond of the window";

/// The group that says when a group is complete, and how far behind it that is.
pub(super) fn closing_column(aggregate: &Aggregate) -> Option<(Expr, i64)> {
    let closing = |group: &Expr| {
        let until_complete_ms = of_expression(&aggregate.input, group)?.until_complete_ms()?;
        Some((group.clone().unalias_nested().data, until_complete_ms))
    };
    aggregate.group_expr.iter().find_map(closing)
}

impl Translation {
    /// Aggregates rows whose windows are columns.
    pub(super) fn over_window_columns(
        &mut self,
        aggregate: &Aggregate,
        (closing, until_complete_ms): (Expr, i64),
    ) -> Result<Rows, SqlError> {
        let input = self.rows(&aggregate.input)?;
        if self.graph.is_updating(input.node) {
            let is_closing = |group: &Expr| group.clone().unalias_nested().data == closing;
            let key = aggregate.group_expr.iter().position(is_closing);
            return self.rolling_windows(input, aggregate, key.map(|key| (key, until_complete_ms)));
        }
        let input = self.with_window_time(input, closing, until_complete_ms)?;
        let column = input.schema.fields().len() - 1;
        let WindowPolicy { trigger, late_rows } = policy(&aggregate.input);
        let (input, groups) = match &late_rows {
            Some(_) => self.keys_as_columns(input, aggregate.group_expr.clone())?,
            None => (input, aggregate.group_expr.clone()),
        };
        let mut keys = Vec::new();
        for (group, field) in groups.iter().zip(aggregate.schema.fields()) {
            let expression = if late_rows.is_some() {
                BoundExpression::bind(group, &input.schema)?
            } else {
                BoundExpression::bind_key(group, &input.schema)?
            };
            keys.push(NamedExpression { name: field.name().clone(), expression });
        }
        let aggregates = aggregate.aggr_expr.iter().map(|call| bind_aggregate(call, &input.schema));
        let operator = LogicalOperator::WindowAggregate {
            column,
            window: Window::Tumbling { size_ms: 1, offset_ms: 0 },
            keys,
            aggregates: aggregates.collect::<Result<Vec<_>, SqlError>>()?,
            trigger,
        };
        let schema = schema_of(aggregate)?;
        let output = self.push(operator, vec![input.node], &schema, Key::none());
        self.late_rows_of((output.node, 0), &input.schema, late_rows.as_deref())?;
        let group_count = aggregate.group_expr.len();
        let columns = output.schema.columns().into_iter().map(Expr::Column).enumerate();
        let columns = columns.filter(|(index, _)| !(group_count..group_count + 2).contains(index));
        let columns: Vec<Expr> = columns.map(|(_, column)| column).collect();
        let rows = self.project(output, &columns, &aggregate.schema)?;
        Ok(Rows { key: key_of(aggregate), ..rows })
    }

    /// Appends the last millisecond of the rows' windows.
    fn with_window_time(&mut self, input: Rows, closing: Expr, until_complete_ms: i64) -> Result<Rows, SqlError> {
        let shift = Expr::Literal(ScalarValue::DurationMillisecond(Some(until_complete_ms - 1)), None);
        let window_time = if until_complete_ms == 1 { closing } else { closing + shift };
        let mut fields: Vec<_> =
            input.schema.iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        let data_type = window_time.get_type(&input.schema)?;
        fields.push((None, Arc::new(Field::new(WINDOW_TIME, data_type, true))));
        let mut columns: Vec<Expr> = input.schema.columns().into_iter().map(Expr::Column).collect();
        columns.push(window_time);
        let metadata = input.schema.metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
        self.project(input, &columns, &schema)
    }
}

/// The columns of the operator: the groups, the one-millisecond window, the aggregates.
fn schema_of(aggregate: &Aggregate) -> Result<DFSchemaRef, SqlError> {
    let fields = aggregate.schema.fields();
    let (groups, calls) = fields.split_at(aggregate.group_expr.len().min(fields.len()));
    let mut all: Vec<Field> = groups.iter().map(|field| field.as_ref().clone()).collect();
    let bound = DataType::Timestamp(TimeUnit::Millisecond, None);
    all.extend(["from", "to"].map(|name| Field::new(format!("{WINDOW_TIME}: {name}"), bound.clone(), false)));
    let named = calls.iter().zip(&aggregate.aggr_expr);
    all.extend(named.map(|(field, call)| field.as_ref().clone().with_name(text_of(call))));
    Ok(Arc::new(DFSchema::try_from(Schema::new(distinctly_named(all)))?))
}

/// Each group names the row; of the window's end and its last millisecond one is enough, and its start where all windows
/// have one size.
fn key_of(aggregate: &Aggregate) -> Key {
    let names_end = |group: &Expr| {
        let attribute = of_expression(&aggregate.input, group);
        attribute.and_then(TimeAttribute::until_complete_ms).is_some()
    };
    let groups = 0..aggregate.group_expr.len();
    let (window, own): (Vec<usize>, Vec<usize>) =
        groups.partition(|group| aggregate.group_expr.get(*group).is_some_and(names_end));
    Key::of(own.into_iter().map(|part| vec![part]).chain([window]).collect())
}

/// What is done with windows, where the rows come from a window call as they are.
pub(super) fn policy(plan: &LogicalPlan) -> WindowPolicy {
    let call = match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<WindowAssignNode>(),
        LogicalPlan::Aggregate(_) => return WindowPolicy::default(),
        _ => None,
    };
    let own = call.map_or_else(WindowPolicy::default, |call| call.policy.clone());
    plan.inputs().into_iter().map(policy).fold(own, |one, other| WindowPolicy {
        trigger: Trigger {
            early: one.trigger.early.or(other.trigger.early),
            allowed_lateness_ms: one.trigger.allowed_lateness_ms.max(other.trigger.allowed_lateness_ms),
        },
        late_rows: one.late_rows.or(other.late_rows),
    })
}
