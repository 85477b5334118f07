//! `SESSION(...)` as operators: aggregated by its own keys and bounds at once, else row by row first.

use std::sync::Arc;

use datafusion::logical_expr::{Aggregate, Expr};
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::session_aggregate::SessionAggregate;

use super::expression::{BoundExpression, text_of};
use super::key::Key;
use super::rolling::Columns;
use super::translate::{Rows, Translation};
use super::window_aggregate::window_aggregate_schema;
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
        let input = self.rows(&windowed.call.input)?;
        let mut columns = Columns::default();
        let keys: Vec<&Expr> = groups.iter().filter(|group| windowed.window_column(group).is_none()).collect();
        for key in &keys {
            columns.push(BoundExpression::bind_key(key, &input.schema)?, None);
        }
        columns.push(BoundExpression::bind(&windowed.call.time, &input.schema)?, None);
        let calls =
            calls.iter().map(|call| columns.whole_call(call, &input.schema)).collect::<Result<_, SqlError>>()?;
        let prepared = columns.project(self, &input)?;
        let definition = SessionAggregate {
            key_count: keys.len(),
            calls,
            key_texts: keys.into_iter().map(text_of).collect(),
            gap_ms,
            trigger: windowed.call.trigger,
        };
        let schema = window_aggregate_schema(aggregate, windowed, groups)?;
        let operator = LogicalOperator::Apply(Arc::new(definition));
        let output = self.push(operator, vec![prepared.node], &schema, Key::none());
        self.in_order(output, aggregate, windowed, groups)
    }

    /// Rows with the bounds of their sessions.
    pub(super) fn session_assign(&mut self, _input: Rows, _call: &WindowAssignNode) -> Result<Rows, SqlError> {
        Err(SqlError::not_in_stream("SESSION other than aggregated by its own keys and window"))
    }
}
