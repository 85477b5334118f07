//! What becomes of rows between the last operator that is more than a projection or a condition, and a sink.
//!
//! A view's result is part of the checkpoint. Where another shape of it is asked for (a column more, another condition on
//! groups), the rows that are kept are not those of the query any more. An operator that knows all rows that it has given
//! gives them once more, and the result is made anew; where it does not, the change is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Field;
use mulgil_dataflow::explain::describe;
use mulgil_dataflow::graph::{Graph, LogicalOperator, NodeId};

/// The shapes of a graph's sinks, by table: what is done on the way to it, and the columns that come there.
pub(super) type Shapes = BTreeMap<String, Vec<String>>;

/// See [`Shapes`].
pub(super) fn shapes(graph: &Graph) -> Shapes {
    let shape = |(table, sink)| {
        let (_, way) = way(graph, sink);
        (table, way)
    };
    sinks(graph).map(shape).collect()
}

/// The operator before the way to a sink.
pub(super) fn giver(graph: &Graph, table: &str) -> Option<NodeId> {
    let (_, sink) = sinks(graph).find(|(name, _)| name == table)?;
    way(graph, sink).0
}

/// Whether an operator can give once more all that it has given and that stands.
pub(super) fn gives_again(graph: &Graph, node: NodeId) -> bool {
    match graph.nodes.get(node).map(|node| &node.operator) {
        Some(LogicalOperator::Apply(definition)) => definition.gives_again(),
        _ => false,
    }
}

fn sinks(graph: &Graph) -> impl Iterator<Item = (String, NodeId)> {
    graph.nodes.iter().enumerate().filter_map(|(id, node)| match &node.operator {
        LogicalOperator::Sink { table } => Some((table.clone(), id)),
        _ => None,
    })
}

/// The operator before the way to a sink, and what is done on the way, from its end.
fn way(graph: &Graph, sink: NodeId) -> (Option<NodeId>, Vec<String>) {
    let (mut way, mut at) = (Vec::new(), Some(sink));
    while let Some(id) = at {
        let Some(node) = graph.nodes.get(id) else { break };
        let passes_on = matches!(node.operator, LogicalOperator::Project { .. } | LogicalOperator::Filter { .. });
        if id != sink && !passes_on {
            break;
        }
        if id == sink {
            let column = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
            way.push(node.schema.fields().iter().map(column).collect::<Vec<String>>().join(", "));
        } else {
            way.push(describe(node));
        }
        at = node.inputs.first().copied();
    }
    (at, way)
}
