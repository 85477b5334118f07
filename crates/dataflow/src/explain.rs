//! Graphs for people and tools: as text, as JSON, and in Graphviz's language.

mod dot;
mod json;
mod text;

use std::fmt::Write;

use crate::expression::NamedExpression;
use crate::graph::{AggregateCall, Graph, LogicalOperator, Node, Window};
use crate::physical::{Edge, Exchange, PhysicalGraph, Stage};

/// How a graph is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Indented lines.
    Text,
    /// A JSON document.
    Json,
    /// Graphviz.
    Dot,
}

/// Writes a logical graph down.
pub fn logical(graph: &Graph, format: Format) -> String {
    match format {
        Format::Text => text::logical(graph),
        Format::Json => json::logical(graph),
        Format::Dot => dot::logical(graph),
    }
}

/// Writes a physical graph down.
pub fn physical(graph: &PhysicalGraph, format: Format) -> String {
    match format {
        Format::Text => text::physical(graph),
        Format::Json => json::physical(graph),
        Format::Dot => dot::physical(graph),
    }
}

/// What a node does, in one line.
pub fn describe(node: &Node) -> String {
    let column_name = |column: usize| node.schema.fields().get(column).map_or("?", |field| field.name().as_str());
    match &node.operator {
        LogicalOperator::Source { table, .. } => format!("read {table} ({})", columns(node)),
        LogicalOperator::ProcessingTime => {
            let column = node.schema.fields().len().checked_sub(1).map(column_name).unwrap_or_default();
            format!("processing time AS {column}")
        }
        LogicalOperator::Watermark { column, bound, .. } => format!("watermark {} AS {bound}", column_name(*column)),
        LogicalOperator::Project { expressions } => format!("project {}", list(expressions, named)),
        LogicalOperator::Filter { predicate } => format!("filter {predicate}"),
        LogicalOperator::WindowAssign { column, window } => {
            format!("assign {} on {}", describe_window(window), column_name(*column))
        }
        LogicalOperator::WindowAggregate { window, keys, aggregates, trigger, .. } => {
            let mut text = format!("aggregate {}", list(aggregates, call));
            if !keys.is_empty() {
                let _ = write!(text, " by {}", list(keys, named));
            }
            let _ = write!(text, " per {}{trigger}", describe_window(window));
            text
        }
        LogicalOperator::Apply(definition) => definition.describe(),
        LogicalOperator::LateRows { port } => late_rows(*port),
        LogicalOperator::Union => "union".to_owned(),
        LogicalOperator::Sink { table } => format!("write {table}"),
    }
}

fn describe_window(window: &Window) -> String {
    let (text, offset_ms) = match *window {
        Window::Tumbling { size_ms, offset_ms } => (format!("tumbling window of {}", duration(size_ms)), offset_ms),
        Window::Hopping { slide_ms, size_ms, offset_ms } => {
            (format!("window of {} hopping by {}", duration(size_ms), duration(slide_ms)), offset_ms)
        }
        Window::Cumulating { step_ms, size_ms, offset_ms } => {
            (format!("window cumulating up to {} by {}", duration(size_ms), duration(step_ms)), offset_ms)
        }
    };
    if offset_ms == 0 { text } else { format!("{text} offset by {}", duration(offset_ms)) }
}

/// Milliseconds in the largest unit that says them exactly.
pub(crate) fn duration(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let exact = UNITS.iter().find(|(unit, _)| ms != 0 && ms % unit == 0);
    exact.map_or_else(|| format!("{ms} ms"), |(unit, name)| format!("{} {name}", ms / unit))
}

fn named(named: &NamedExpression) -> String {
    let text = named.expression.to_string();
    if text == named.name { text } else { format!("{text} AS {}", named.name) }
}

fn call(call: &AggregateCall) -> String {
    let arguments = if call.arguments.is_empty() { "*".to_owned() } else { list(&call.arguments, ToString::to_string) };
    let filter = call.filter.as_ref().map_or_else(String::new, |filter| format!(" FILTER (WHERE {filter})"));
    format!("{}({arguments}){filter} AS {}", call.function, call.name)
}

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<String>>().join(", ")
}

fn columns(node: &Node) -> String {
    node.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<&str>>().join(", ")
}

/// What a stage does, a line a step.
fn steps(stage: &Stage) -> Vec<String> {
    let mut steps: Vec<String> = stage.operators.iter().map(|operator| operator.name.clone()).collect();
    if let Some(source) = &stage.source {
        if let Some(watermark) = &source.watermark {
            steps.insert(watermark.after.min(steps.len()), format!("watermark AS {}", watermark.bound));
        }
        steps.insert(0, format!("read {}", source.table));
    }
    steps.extend(stage.sink.as_ref().map(|table| format!("write {table}")));
    steps
}

/// What an edge comes from, where that is a side output.
fn side_of(graph: &PhysicalGraph, edge: &Edge) -> Option<String> {
    let stage = graph.stages.get(edge.from)?;
    let side = stage.sides.get(edge.side?)?;
    let operator = stage.operators.get(side.operator)?;
    Some(format!("{} of {}", late_rows(side.port), operator.name))
}

fn late_rows(port: usize) -> String {
    if port == 0 { "late rows".to_owned() } else { format!("late rows from input {port}") }
}

/// How rows move along an edge.
fn exchange(graph: &PhysicalGraph, edge: &Edge) -> String {
    let Exchange::Hash(keys) = &edge.exchange else { return edge.exchange.name().to_owned() };
    let fields = graph.stages.get(edge.from).map(|stage| stage.schema.fields());
    let name =
        |key: &usize| fields.and_then(|fields| fields.get(*key)).map_or("?".to_owned(), |field| field.name().clone());
    format!("hash ({})", list(keys, name))
}

#[cfg(test)]
mod tests;
