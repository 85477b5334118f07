//! Which stages and exchanges a graph is cut into, as snapshots.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::*;
use crate::explain::{self, Format};
use crate::graph::{AggregateCall, Graph, LogicalOperator, NodeId};
use crate::native::{Binary, BinaryOperation, Count, Literal, column};
use crate::trigger::Trigger;

fn schema(names: &[&str]) -> SchemaRef {
    let field = |name: &&str| {
        let is_time = name.starts_with("window") || *name == "ts";
        let time = DataType::Timestamp(TimeUnit::Millisecond, None);
        Field::new(*name, if is_time { time } else { DataType::Int64 }, true)
    };
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<Field>>()))
}

fn source(graph: &mut Graph) -> NodeId {
    let table = "departures".to_owned();
    graph.push(
        LogicalOperator::Source { table, projection: vec![0, 1, 2], has_changes: false },
        vec![],
        schema(&["origin", "ts", "delay"]),
    )
}

fn watermark(graph: &mut Graph, input: NodeId) -> NodeId {
    let schema = graph.nodes[input].schema.clone();
    let bound = column(&schema, "ts").unwrap().expression;
    graph.push(LogicalOperator::Watermark { column: 1, bound, is_clock: false }, vec![input], schema)
}

fn filter(graph: &mut Graph, input: NodeId) -> NodeId {
    let schema = graph.nodes[input].schema.clone();
    let zero = Literal::new("0", Arc::new(arrow::array::Int64Array::from(vec![0])));
    let left = column(&schema, "delay").unwrap().expression;
    let predicate = Arc::new(Binary::new(left, BinaryOperation::Greater, zero));
    graph.push(LogicalOperator::Filter { predicate }, vec![input], schema)
}

fn aggregate(graph: &mut Graph, input: NodeId, time: &str, keys: &[&str], allowed_lateness_ms: u64) -> NodeId {
    let schema_in = graph.nodes[input].schema.clone();
    let mut names = keys.to_vec();
    names.extend(["window_start", "window_end", "flights"]);
    let operator = LogicalOperator::WindowAggregate {
        column: schema_in.index_of(time).unwrap(),
        window: Window::Tumbling { size_ms: 3_600_000, offset_ms: 0 },
        keys: keys.iter().map(|key| column(&schema_in, key).unwrap()).collect(),
        aggregates: vec![AggregateCall {
            name: "flights".to_owned(),
            function: Arc::new(Count),
            arguments: vec![],
            filter: None,
        }],
        trigger: Trigger::allowing(allowed_lateness_ms),
    };
    graph.push(operator, vec![input], schema(&names))
}

fn project(graph: &mut Graph, input: NodeId, names: &[&str]) -> NodeId {
    let schema_in = graph.nodes[input].schema.clone();
    let expressions = names.iter().map(|name| column(&schema_in, name).unwrap()).collect();
    graph.push(LogicalOperator::Project { expressions }, vec![input], schema(names))
}

fn sink(graph: &mut Graph, input: NodeId, table: &str) -> NodeId {
    let schema = graph.nodes[input].schema.clone();
    graph.push(LogicalOperator::Sink { table: table.to_owned() }, vec![input], schema)
}

/// The flights per hour, with an allowed lateness.
fn flights_per_hour() -> Graph {
    let mut graph = Graph::new();
    let node = source(&mut graph);
    let node = watermark(&mut graph, node);
    let node = filter(&mut graph, node);
    let node = aggregate(&mut graph, node, "ts", &["origin"], 86_400_000);
    let node = project(&mut graph, node, &["origin", "window_start", "flights"]);
    sink(&mut graph, node, "flights_per_hour");
    graph
}

#[test]
fn an_aggregation_is_cut_at_the_exchange() {
    let physical = plan(&flights_per_hour(), 4).unwrap();
    insta::assert_snapshot!(explain::physical(&physical, Format::Text));
}

#[test]
fn with_one_subtask_nothing_is_exchanged() {
    let physical = plan(&flights_per_hour(), 1).unwrap();
    insta::assert_snapshot!(explain::physical(&physical, Format::Text));
    assert!(physical.edges.is_empty());
    assert!(physical.stages[0].is_updating);
}

/// Streams part and join: two filters over one watermarked source, joined again, into two tables.
#[test]
fn streams_part_and_join() {
    let mut graph = Graph::new();
    let node = source(&mut graph);
    let read = watermark(&mut graph, node);
    let left = filter(&mut graph, read);
    let right = filter(&mut graph, read);
    let schema = graph.nodes[left].schema.clone();
    let union = graph.push(LogicalOperator::Union, vec![left, right], schema);
    sink(&mut graph, union, "both");
    sink(&mut graph, left, "left");
    let physical = plan(&graph, 2).unwrap();
    insta::assert_snapshot!(explain::physical(&physical, Format::Text));
    insta::assert_snapshot!("streams_part_and_join_logical", explain::logical(&graph, Format::Text));
    assert!(physical.edges.iter().all(|edge| edge.exchange == Exchange::Forward));
}

/// Late rows leave the operator that drops them by a side output; rows, not states, come to it then.
#[test]
fn late_rows_are_put_aside() {
    let mut graph = Graph::new();
    let node = source(&mut graph);
    let read = watermark(&mut graph, node);
    let aggregated = aggregate(&mut graph, read, "ts", &["origin"], 0);
    let schema = graph.nodes[read].schema.clone();
    let late = graph.push(LogicalOperator::LateRows { port: 0 }, vec![aggregated], schema);
    sink(&mut graph, late, "late");
    sink(&mut graph, aggregated, "per_hour");
    for (parallelism, edges, side_of) in [(1, "forward", 0), (3, "hash, forward", 1)] {
        let physical = plan(&graph, parallelism).unwrap();
        let exchanges: Vec<&str> = physical.edges.iter().map(|edge| edge.exchange.name()).collect();
        assert_eq!(exchanges.join(", "), edges);
        let side = physical.edges.last().unwrap();
        assert_eq!((side.from, side.side), (side_of, Some(0)));
        let stage = &physical.stages[side_of];
        assert!(matches!(stage.operators[stage.sides[0].operator].kind, OperatorKind::WindowAggregate(_, Form::Rows)));
        assert_eq!(stage.sink.as_deref(), Some("per_hour"));
        let name = &stage.operators[stage.sides[0].operator].name;
        let text = explain::physical(&physical, Format::Text);
        assert!(
            text.contains(&format!("  from stage {side_of}, late rows of {name} by forward\n  write late\n")),
            "{text}"
        );
        assert!(explain::physical(&physical, Format::Json).contains(&format!("\"side\": \"late rows of {name}\"")));
        assert!(explain::physical(&physical, Format::Dot).contains("style=dashed"));
    }
    let logical = explain::logical(&graph, Format::Text);
    assert!(
        logical.starts_with("5: write per_hour\n") && logical.contains("\n4: write late\n  3: late rows\n"),
        "{logical}"
    );

    let mut wrong = Graph::new();
    let node = source(&mut wrong);
    let schema = wrong.nodes[node].schema.clone();
    wrong.push(LogicalOperator::LateRows { port: 0 }, vec![node], schema);
    assert_eq!(plan(&wrong, 1).unwrap_err().reason, "its input drops no late rows");
}

#[test]
fn rows_that_lie_by_their_key_are_not_exchanged_again() {
    let mut graph = Graph::new();
    let node = source(&mut graph);
    let node = watermark(&mut graph, node);
    let node = aggregate(&mut graph, node, "ts", &["origin", "delay"], 0);
    let same = project(&mut graph, node, &["flights", "origin", "window_end", "delay"]);
    let kept = aggregate(&mut graph, same, "window_end", &["origin", "delay"], 0);
    sink(&mut graph, kept, "kept");
    let moved = aggregate(&mut graph, same, "window_end", &["delay"], 0);
    sink(&mut graph, moved, "moved");
    let physical = plan(&graph, 2).unwrap();
    let exchanges: Vec<&str> = physical.edges.iter().map(|edge| edge.exchange.name()).collect();
    assert_eq!(exchanges, ["hash", "forward", "forward", "hash"]);
}

#[test]
fn sources_can_be_spread_over_all_subtasks() {
    let options = PlanOptions { parallelism: 2, rebalance: true };
    let physical = plan_with(&flights_per_hour(), options).unwrap();
    let exchanges: Vec<&str> = physical.edges.iter().map(|edge| edge.exchange.name()).collect();
    assert_eq!(exchanges, ["round-robin", "hash"]);
    let alone = plan_with(&flights_per_hour(), PlanOptions { parallelism: 1, rebalance: true }).unwrap();
    assert!(alone.edges.is_empty());
}

#[test]
fn graphs_that_cannot_run_are_refused_with_the_reason() {
    type Build = fn(&mut Graph);
    let cases: [(Build, &str); 6] = [
        (
            |graph| {
                let node = source(graph);
                let node = filter(graph, node);
                watermark(graph, node);
            },
            "a watermark must stand on a source",
        ),
        (
            |graph| {
                let node = source(graph);
                watermark(graph, node);
                watermark(graph, node);
            },
            "a watermark must stand on a source",
        ),
        (
            |graph| {
                let node = source(graph);
                let node = aggregate(graph, node, "ts", &[], 1);
                aggregate(graph, node, "window_end", &[], 0);
            },
            "its input is a changelog",
        ),
        (
            |graph| {
                let node = source(graph);
                let window = Window::Tumbling { size_ms: 0, offset_ms: 0 };
                let schema = graph.nodes[node].schema.clone();
                graph.push(LogicalOperator::WindowAssign { column: 1, window }, vec![node], schema);
            },
            "a window's size must be positive",
        ),
        (
            |graph| {
                graph.push(LogicalOperator::Union, vec![], schema(&[]));
            },
            "it needs at least one input, not 0",
        ),
        (
            |graph| {
                graph.push(LogicalOperator::Sink { table: "t".to_owned() }, vec![3], schema(&[]));
            },
            "its input 3 does not stand before it",
        ),
    ];
    for (build, reason) in cases {
        let mut graph = Graph::new();
        build(&mut graph);
        let error = plan(&graph, 2).unwrap_err().to_string();
        assert!(error.contains(reason), "{error} should say: {reason}");
    }
}

#[test]
fn the_parallelism_is_brought_into_its_range() {
    assert_eq!(plan(&Graph::new(), 0).unwrap().parallelism, 1);
    assert_eq!(plan(&Graph::new(), 10_000).unwrap().parallelism, 256);
}

#[test]
fn graphs_are_written_as_text_json_and_dot() {
    let graph = flights_per_hour();
    let physical = plan(&graph, 2).unwrap();
    for (name, format) in [("text", Format::Text), ("json", Format::Json), ("dot", Format::Dot)] {
        insta::assert_snapshot!(format!("logical_{name}"), explain::logical(&graph, format));
        insta::assert_snapshot!(format!("physical_{name}"), explain::physical(&physical, format));
    }
}
