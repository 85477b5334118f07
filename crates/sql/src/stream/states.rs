//! An aggregation as states by pane, in the stream.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::logical_expr::UserDefinedLogicalNodeCore;
use mulgil_dataflow::expression::Expression;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::operators::pane_aggregate::PaneAggregate;

use super::aggregate::bind_aggregate;
use super::expression::BoundExpression;
use super::key::Key;
use super::translate::{Rows, Translation};
use crate::plan::pane_states::PaneStatesNode;
use crate::problem::SqlError;

/// The aggregation over rows of `schema`.
pub(crate) fn bind(node: &PaneStatesNode, schema: &DFSchema) -> Result<PaneAggregate, SqlError> {
    let keys = node.keys.iter().map(|key| Ok(BoundExpression::bind_key(key, schema)? as Arc<dyn Expression>));
    Ok(PaneAggregate {
        time: BoundExpression::bind(&node.time, schema)?,
        pane_ms: node.pane_ms,
        keys: keys.collect::<Result<_, SqlError>>()?,
        calls: node.calls.iter().map(|call| bind_aggregate(call, schema)).collect::<Result<_, _>>()?,
    })
}

impl Translation {
    /// States as they come: rows that have pane and key in common are added up behind the sink.
    pub(super) fn pane_states(&mut self, node: &PaneStatesNode) -> Result<Rows, SqlError> {
        let input = self.rows(&node.input)?;
        let aggregate = bind(node, &input.schema)?;
        let schema = UserDefinedLogicalNodeCore::schema(node);
        Ok(self.push(LogicalOperator::Apply(Arc::new(aggregate)), vec![input.node], schema, Key::none()))
    }
}
