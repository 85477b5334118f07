//! `SESSION(...)` as operators: aggregated by its own keys and bounds at once, else row by row first.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Aggregate, Expr, UserDefinedLogicalNodeCore};
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::session_aggregate::SessionAggregate;
use mulgil_dataflow::operators::session_assign::SessionAssign;

use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::late_rows::columns_for;
use super::rolling::Columns;
use super::translate::{Rows, Translation, arrow_schema, column_index};
use super::window_aggregate::{check_event_time, window_aggregate_schema};
use super::windowed::WindowedInput;
use crate::plan::window::WindowAssignNode;
use crate::problem::SqlError;

/// Whether the groups are the session's keys and bounds, and nothing else.
pub(super) fn is_parted_by(call: &WindowAssignNode, groups: &[Expr], windowed: &WindowedInput<'_>) -> bool {
    let is_bound = |group: &Expr| windowed.window_column(group).is_some();
    call.keys().iter().all(|key| groups.contains(key))
        && groups.iter().all(|group| is_bound(group) || call.keys().contains(group))
}

impl Translation {
    /// `GROUP BY` the keys of a session and its bounds.
    pub(super) fn session_aggregate(
        &mut self,
        aggregate: &Aggregate,
        windowed: &WindowedInput<'_>,
        groups: &[Expr],
        calls: &[Expr],
        gap_ms: i64,
    ) -> Result<Rows, SqlError> {
        let nodes_before = self.graph.nodes.len();
        let input = self.rows(&windowed.call.input)?;
        if self.graph.is_updating(input.node) {
            self.forget_from(nodes_before);
            return self.changing_windows(aggregate, windowed, groups);
        }
        let mut columns = Columns::default();
        let keys: Vec<&Expr> = groups.iter().filter(|group| windowed.window_column(group).is_none()).collect();
        for key in &keys {
            columns.push(BoundExpression::bind_key(key, &input.schema)?, None);
        }
        columns.push(BoundExpression::bind(&windowed.call.time, &input.schema)?, None);
        let calls =
            calls.iter().map(|call| columns.whole_call(call, &input.schema)).collect::<Result<_, SqlError>>()?;
        let late_rows = windowed.call.policy.late_rows.clone();
        let mut of_late_rows = Vec::new();
        for column in late_rows.iter().map(|table| columns_for(table, &input.schema)) {
            for column in column?.into_iter().map(Expr::Column) {
                of_late_rows.push(columns.push(BoundExpression::bind(&column, &input.schema)?, Some(&column)));
            }
        }
        let prepared = columns.project(self, &input)?;
        let definition = SessionAggregate {
            key_count: keys.len(),
            calls,
            key_texts: keys.into_iter().map(text_of).collect(),
            gap_ms,
            trigger: windowed.call.policy.trigger,
        };
        let schema = window_aggregate_schema(aggregate, windowed, groups)?;
        let operator = LogicalOperator::Apply(Arc::new(definition));
        let output = self.push(operator, vec![prepared.node], &schema, Key::none());
        if let Some(table) = late_rows {
            let prepared = prepared.schema;
            let columns = of_late_rows.iter().map(|column| Column::from(prepared.qualified_field(*column)));
            self.late_rows_to(&table, (output.node, 0), &prepared, columns.collect())?;
        }
        self.in_order(output, aggregate, windowed, groups)
    }

    /// Rows with the bounds of their sessions.
    pub(super) fn session_assign(
        &mut self,
        input: Rows,
        call: &WindowAssignNode,
        (gap_ms, keys): (i64, &[Expr]),
    ) -> Result<Rows, SqlError> {
        check_event_time(call)?;
        let (input, keys) = self.keys_as_columns(input, keys.to_vec())?;
        let definition = SessionAssign {
            input: arrow_schema(&input.schema),
            keys: keys.iter().map(|key| column_index(key, &input.schema)).collect::<Result<_, SqlError>>()?,
            column: column_index(&call.time, &input.schema)?,
            gap_ms,
            allowed_lateness_ms: call.policy.trigger.allowed_lateness_ms,
        };
        let given = UserDefinedLogicalNodeCore::schema(call);
        let fields = input.schema.iter().chain(given.iter().skip(call.width()));
        let fields = fields.map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema.metadata().clone())?);
        let operator = LogicalOperator::Apply(Arc::new(definition));
        let output = self.push(operator, vec![input.node], &schema, input.key);
        self.late_rows_of((output.node, 0), &input.schema, call.policy.late_rows.as_deref())?;
        if schema.fields().len() == given.fields().len() {
            return Ok(output);
        }
        let columns: Vec<Expr> = given.columns().into_iter().map(Expr::Column).collect();
        self.project(output, &columns, given)
    }
}
