//! Graphs as indented lines: results on top, what they are made of below.

use std::fmt::Write;

use super::{describe, exchange, steps};
use crate::graph::{Graph, NodeId};
use crate::physical::PhysicalGraph;

pub(super) fn logical(graph: &Graph) -> String {
    let mut text = String::new();
    let mut written = vec![false; graph.nodes.len()];
    let is_taken = |id: NodeId| graph.nodes.iter().any(|node| node.inputs.contains(&id));
    for id in (0..graph.nodes.len()).filter(|id| !is_taken(*id)) {
        write_node(graph, id, 0, &mut written, &mut text);
    }
    text
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
            let _ = writeln!(text, "  from stage {} by {}", edge.from, exchange(graph, edge));
        }
        for step in steps(stage) {
            let _ = writeln!(text, "  {step}");
        }
    }
    text
}
