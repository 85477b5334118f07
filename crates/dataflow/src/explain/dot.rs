//! Graphs in Graphviz's language: `dot -Tsvg` draws them.

use std::fmt::Write;

use super::{describe, exchange, steps};
use crate::graph::{Graph, LogicalOperator};
use crate::physical::PhysicalGraph;

pub(super) fn logical(graph: &Graph) -> String {
    let mut text = String::from("digraph logical {\n  rankdir=BT;\n  node [shape=box];\n");
    for (id, node) in graph.nodes.iter().enumerate() {
        let _ = writeln!(text, "  n{id} [label={}];", quoted(&describe(node)));
        for input in &node.inputs {
            let style = if matches!(node.operator, LogicalOperator::LateRows { .. }) { " [style=dashed]" } else { "" };
            let _ = writeln!(text, "  n{input} -> n{id}{style};");
        }
    }
    text.push_str("}\n");
    text
}

pub(super) fn physical(graph: &PhysicalGraph) -> String {
    let mut text = String::from("digraph physical {\n  rankdir=BT;\n  node [shape=box];\n");
    for (id, stage) in graph.stages.iter().enumerate() {
        let label = format!("stage {id} x {}\n{}", graph.parallelism, steps(stage).join("\n"));
        let _ = writeln!(text, "  s{id} [label={}];", quoted(&label));
    }
    for edge in &graph.edges {
        let label = quoted(&exchange(graph, edge));
        let style = if edge.side.is_some() { ", style=dashed" } else { "" };
        let _ = writeln!(text, "  s{} -> s{} [label={label}{style}];", edge.from, edge.to);
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
