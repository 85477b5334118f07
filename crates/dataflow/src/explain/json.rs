//! Graphs as JSON documents.

use serde_json::{Value, json};

use super::{describe, exchange, side_of, steps};
use crate::graph::Graph;
use crate::physical::PhysicalGraph;

pub(super) fn logical(graph: &Graph) -> String {
    let nodes: Vec<Value> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(id, node)| {
            let columns = node.schema.fields().iter();
            let columns = columns.map(|field| json!({"name": field.name(), "type": field.data_type().to_string()}));
            json!({
                "id": id,
                "operator": describe(node),
                "inputs": node.inputs,
                "columns": columns.collect::<Vec<Value>>(),
                "updating": graph.is_updating(id),
            })
        })
        .collect();
    pretty(&json!({ "nodes": nodes }))
}

pub(super) fn physical(graph: &PhysicalGraph) -> String {
    let stages: Vec<Value> = graph
        .stages
        .iter()
        .enumerate()
        .map(|(id, stage)| {
            json!({"id": id, "name": stage.name, "subtasks": graph.parallelism, "steps": steps(stage), "updating": stage.is_updating})
        })
        .collect();
    let edges: Vec<Value> = graph
        .edges
        .iter()
        .map(|edge| {
            let mut value =
                json!({"from": edge.from, "to": edge.to, "port": edge.port, "exchange": exchange(graph, edge)});
            if let (Some(side), Some(value)) = (side_of(graph, edge), value.as_object_mut()) {
                value.insert("side".to_owned(), side.into());
            }
            value
        })
        .collect();
    pretty(&json!({ "parallelism": graph.parallelism, "stages": stages, "edges": edges }))
}

fn pretty(document: &Value) -> String {
    format!("{document:#}\n")
}
