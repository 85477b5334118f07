//! `GROUP BY ..., window_start, window_end` over a window call, as a window aggregation.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{Aggregate, Expr};
use mulgil_dataflow::expression::NamedExpression;
use mulgil_dataflow::graph::{LogicalOperator, Window};

use super::aggregate::bind_aggregate;
use super::changing_windows::is_overtaken;
use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::session::is_parted_by;
use super::time_attribute::{TimeAttribute, has_watermark, time_attribute};
use super::translate::{Rows, Translation, column_index};
use super::window_columns::closing_column;
use super::windowed::WindowedInput;
use crate::plan::window::{CallWindow, WindowAssignNode};
use crate::problem::SqlError;

impl Translation {
    /// An aggregate that is complete when its window is: over a window call, or over the columns of windows that came
    /// about below.
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Rows, SqlError> {
        if aggregate.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_))) {
            // Not every set needs to have the window, so the rows are aggregated as those of any table.
            return self.rolling_aggregate(aggregate);
        }
        if let Some(rows) = self.count_aggregate(aggregate)? {
            return Ok(rows);
        }
        if let Some(windowed) = WindowedInput::find(&aggregate.input)? {
            let groups = rewritten(&windowed, &aggregate.group_expr)?;
            let calls = rewritten(&windowed, &aggregate.aggr_expr)?;
            let names_window = windowed.names_window(&groups);
            if names_window {
                if is_overtaken(windowed.call) {
                    return self.changing_windows(aggregate, &windowed, &groups);
                }
                check_event_time(windowed.call)?;
            }
            let is_key = |group: &&Expr| windowed.window_column(group).is_none();
            let mut own = groups.iter().filter(is_key).chain(&calls).chain(&windowed.predicates);
            let needs_columns = own.any(|expression| windowed.uses_window(expression));
            match windowed.call.window {
                CallWindow::Session { gap_ms, .. }
                    if names_window
                        && !needs_columns
                        && windowed.predicates.is_empty()
                        && is_parted_by(windowed.call, &groups, &windowed) =>
                {
                    return self.session_aggregate(aggregate, &windowed, &groups, &calls, gap_ms);
                }
                CallWindow::Aligned(window) if names_window && (!needs_columns || window.is_tumbling()) => {
                    return self.over_call((aggregate, window), &windowed, &groups, &calls, needs_columns);
                }
                _ => {}
            }
        }
        match closing_column(aggregate) {
            Some(closing) => self.over_window_columns(aggregate, closing),
            None => self.rolling_aggregate(aggregate),
        }
    }

    /// `GROUP BY ..., window_start, window_end` over a window call. Where only the keys name the window's bounds, the
    /// operator assigns windows itself; else they are made columns first, and rows are aggregated by `window_start`,
    /// which lies in the window that it begins.
    fn over_call(
        &mut self,
        (aggregate, window): (&Aggregate, Window),
        windowed: &WindowedInput<'_>,
        groups: &[Expr],
        calls: &[Expr],
        needs_columns: bool,
    ) -> Result<Rows, SqlError> {
        let is_key = |group: &&Expr| windowed.window_column(group).is_none();
        let nodes_before = self.graph.nodes.len();
        let mut input = self.rows(&windowed.call.input)?;
        if self.graph.is_updating(input.node) {
            self.forget_from(nodes_before);
            return self.changing_windows(aggregate, windowed, groups);
        }
        let mut column = column_index(&windowed.call.time, &input.schema)?;
        if needs_columns {
            input = self.window_assign(input, windowed.call)?;
            column = windowed.width();
        }
        for predicate in &windowed.predicates {
            input = self.filter(input, predicate)?;
        }
        let late_rows = windowed.call.policy.late_rows.clone();
        let mut own: Vec<Expr> = groups.iter().filter(is_key).cloned().collect();
        if late_rows.is_some() {
            (input, own) = self.keys_as_columns(input, own)?;
        }
        let mut keys = Vec::new();
        let fields = groups.iter().zip(aggregate.schema.fields()).filter(|(group, _)| is_key(group));
        for (key, (_, field)) in own.iter().zip(fields) {
            let expression = if late_rows.is_some() {
                BoundExpression::bind(key, &input.schema)?
            } else {
                BoundExpression::bind_key(key, &input.schema)?
            };
            keys.push(NamedExpression { name: field.name().clone(), expression });
        }
        let aggregates =
            calls.iter().map(|call| bind_aggregate(call, &input.schema)).collect::<Result<Vec<_>, SqlError>>()?;
        let schema = window_aggregate_schema(aggregate, windowed, groups)?;
        let operator = LogicalOperator::WindowAggregate {
            column,
            window,
            keys,
            aggregates,
            trigger: windowed.call.policy.trigger,
        };
        let output = self.push(operator, vec![input.node], &schema, Key::none());
        self.late_rows_of((output.node, 0), &input.schema, late_rows.as_deref())?;
        self.in_order(output, aggregate, windowed, groups)
    }

    /// Puts the operator's columns (keys, window, aggregates) into the order of the `GROUP BY`.
    pub(super) fn in_order(
        &mut self,
        output: Rows,
        aggregate: &Aggregate,
        windowed: &WindowedInput<'_>,
        groups: &[Expr],
    ) -> Result<Rows, SqlError> {
        let columns = output.schema.columns();
        let column = |index: usize| columns.get(index).cloned().map(Expr::Column);
        let key_count = groups.iter().filter(|group| windowed.window_column(group).is_none()).count();
        let mut next_key = 0;
        let mut ordered = Vec::with_capacity(aggregate.schema.fields().len());
        for group in groups {
            ordered.extend(match windowed.window_column(group) {
                Some(2) => column(key_count + 1).map(one_ms_before).transpose()?,
                Some(bound) => column(key_count + bound),
                None => {
                    next_key += 1;
                    column(next_key - 1)
                }
            });
        }
        ordered.extend((0..aggregate.aggr_expr.len()).filter_map(|call| column(key_count + 2 + call)));
        let rows = self.project(output, &ordered, &aggregate.schema)?;
        let bound = |group: &usize| groups.get(*group).and_then(|group| windowed.window_column(group));
        let (window, own): (Vec<usize>, Vec<usize>) = (0..groups.len()).partition(|group| bound(group).is_some());
        let names_window =
            |group: &usize| groups.get(*group).is_some_and(|g| windowed.names_window(std::slice::from_ref(g)));
        let window: Vec<usize> = window.into_iter().filter(names_window).collect();
        Ok(Rows { key: Key::of(own.into_iter().map(|part| vec![part]).chain([window]).collect()), ..rows })
    }
}

fn rewritten(windowed: &WindowedInput<'_>, expressions: &[Expr]) -> Result<Vec<Expr>, SqlError> {
    Ok(expressions.iter().map(|expression| windowed.rewrite(expression)).collect::<Result<Vec<Expr>, _>>()?)
}

/// The window's end less 1 ms, as Flink's `window_time`.
fn one_ms_before(end: Expr) -> Result<Expr, SqlError> {
    let one_ms = Expr::Literal(ScalarValue::DurationMillisecond(Some(1)), None);
    Ok(end - one_ms)
}

/// Time must come from the watermark's column: otherwise nothing would say when a window is complete.
pub(super) fn check_event_time(call: &WindowAssignNode) -> Result<(), SqlError> {
    let index = column_index(&call.time, call.input.schema())?;
    let name = text_of(&call.time);
    let refused = |what: &str, remedy: String| {
        Err(SqlError::NotInStream { construct: format!("a window over {name}, {what},"), remedy })
    };
    match time_attribute(&call.input, index) {
        Some(TimeAttribute::WindowStart { .. }) => refused(
            "which has passed when the window's rows come",
            "use window_time in DESCRIPTOR, which is the last moment of the window".to_owned(),
        ),
        Some(TimeAttribute::SessionTime) => refused(
            "which may have passed when the session's row comes: a row at its end would still belong to it",
            "use window_end in DESCRIPTOR".to_owned(),
        ),
        Some(_) => Ok(()),
        None if has_watermark(&call.input) => refused(
            "which is not the column of the table's watermark",
            "use the watermark's column in DESCRIPTOR, or run it with --mode batch".to_owned(),
        ),
        None => refused(
            "whose table has no watermark",
            format!("add WATERMARK FOR {name} AS {name} - INTERVAL '5' SECOND to the table"),
        ),
    }
}

pub(super) fn window_aggregate_schema(
    aggregate: &Aggregate,
    windowed: &WindowedInput<'_>,
    groups: &[Expr],
) -> Result<DFSchemaRef, SqlError> {
    let fields = aggregate.schema.fields();
    let zone = match windowed.call.input.schema().data_type_of(&windowed.call.time)? {
        DataType::Timestamp(_, zone) => zone,
        _ => None,
    };
    let keys = groups.iter().zip(fields).filter(|(group, _)| windowed.window_column(group).is_none());
    let mut all: Vec<Field> = keys.map(|(_, field)| field.as_ref().clone()).collect();
    let bound = DataType::Timestamp(TimeUnit::Millisecond, zone);
    all.extend(["window_start", "window_end"].map(|name| Field::new(name, bound.clone(), true)));
    let calls = aggregate.aggr_expr.iter().zip(fields.iter().skip(groups.len()));
    all.extend(calls.map(|(call, field)| field.as_ref().clone().with_name(text_of(call))));
    Ok(Arc::new(DFSchema::try_from(Schema::new(distinctly_named(all)))?))
}

/// A key may be called like another, or like a bound of the window; expressions above go by name.
pub(super) fn distinctly_named(mut fields: Vec<Field>) -> Vec<Field> {
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    for (index, field) in fields.iter_mut().enumerate() {
        if names.iter().filter(|name| *name == field.name()).count() > 1 {
            field.set_name(format!("{index}: {}", field.name()));
        }
    }
    fields
}

/// The type of a column expression.
trait TypeOf {
    fn data_type_of(&self, expression: &Expr) -> Result<DataType, SqlError>;
}

impl TypeOf for DFSchema {
    fn data_type_of(&self, expression: &Expr) -> Result<DataType, SqlError> {
        use datafusion::logical_expr::ExprSchemable;
        Ok(expression.get_type(self)?)
    }
}
