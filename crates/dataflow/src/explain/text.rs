//! Graphs as indented lines: results on top, what they are made of below.

use std::fmt::Write;

use super::{describe, exchange, side_of, steps};
use crate::graph::{Graph, LogicalOperator, NodeId};
use crate::physical::PhysicalGraph;

pub(super) fn logical(graph: &Graph) -> String {
    let mut text = String::new();
    let mut written = vec![false; graph.nodes.len()];
    let is_taken = |id: NodeId| graph.nodes.iter().any(|node| node.inputs.contains(&id));
    let roots = (0..graph.nodes.len()).filter(|id| !is_taken(*id));
    // What is put aside on the way to a sink comes after it.
    let (aside, sinks): (Vec<NodeId>, Vec<NodeId>) = roots.partition(|id| is_aside(graph, *id));
    for id in sinks.into_iter().chain(aside) {
        write_node(graph, id, 0, &mut written, &mut text);
    }
    text
}

/// Whether a node's rows are late rows of another.
fn is_aside(graph: &Graph, id: NodeId) -> bool {
    let Some(node) = graph.nodes.get(id) else { return false };
    matches!(node.operator, LogicalOperator::LateRows { .. }) || node.inputs.iter().any(|input| is_aside(graph, *input))
}

fn write_node(graph: &Graph, id: NodeId, depth: usize, written: &mut [bool], text: &mut String) {
    let Some(node) = graph.nodes.get(id) else { return };
    let Some(written_before) = written.get_mut(id) else { return };
    let indent = "  ".repeat(depth);
    if std::mem::replace(written_before, true) {
        let _ = writeln!(text, "{indent}{id}: as above");
        return;
    }
    let _ = writeln!(text, "{indent}{id}: {}", describe(node));
    for input in &node.inputs {
        write_node(graph, *input, depth + 1, written, text);
    }
}

pub(super) fn physical(graph: &PhysicalGraph) -> String {
    let mut text = format!("parallelism {}\n", graph.parallelism);
    for (id, stage) in graph.stages.iter().enumerate() {
        let _ = writeln!(text, "stage {id}");
        for edge in graph.edges.iter().filter(|edge| edge.to == id) {
            let side = side_of(graph, edge).map_or_else(String::new, |side| format!(", {side}"));
            let _ = writeln!(text, "  from stage {}{side} by {}", edge.from, exchange(graph, edge));
        }
        for step in steps(stage) {
            let _ = writeln!(text, "  {step}");
        }
    }
    text
}
