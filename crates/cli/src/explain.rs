//! `mulgil explain`: the dataflow graph of a query, or its stages and exchanges.

use std::path::Path;

use anyhow::{Context, Result};
use mulgil_connect::guarantee::Given;
use mulgil_dataflow::explain::{self, Format as GraphFormat};
use mulgil_dataflow::physical;
use mulgil_engine::status::GuaranteeStatus;

use crate::arguments::{Arguments, ExplainArguments, Format};
use crate::exit::Exit;
use crate::offline::Offline;
use crate::output::{remark, write_out};

/// Which graph is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Graph {
    /// Operators.
    Logical,
    /// Stages and exchanges.
    Physical,
}

/// Explains the query of a file.
pub(crate) fn execute(arguments: &Arguments, explain: &ExplainArguments) -> Result<Exit> {
    let text = read(&explain.file)?;
    let graph = Offline::open(&arguments.project)?.session().stream_graph(&text)?;
    let which = if explain.physical { Graph::Physical } else { Graph::Logical };
    print((&graph, None), which, format(arguments.format, explain.dot))?;
    Ok(Exit::Done)
}

/// Prints a graph, and what is promised of its rows.
pub(crate) fn print(
    (graph, given): (&mulgil_dataflow::graph::Graph, Option<&Given>),
    which: Graph,
    format: GraphFormat,
) -> Result<()> {
    graph.warnings().iter().for_each(|warning| remark(&format!("warning: {warning}")));
    let text = match which {
        Graph::Logical => explain::logical(graph, format),
        Graph::Physical => {
            let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
            explain::physical(&physical::plan(graph, parallelism)?, format)
        }
    };
    let text = match (given, format) {
        (Some(given), GraphFormat::Text) => format!("{}\n\n{given}", text.trim_end()),
        (Some(given), GraphFormat::Json) => with_guarantee(&text, given)?,
        _ => text,
    };
    write_out(&(text.trim_end().to_owned() + "\n"))
}

/// The graph's document with one member more.
fn with_guarantee(graph: &str, given: &Given) -> Result<String> {
    let mut document: serde_json::Value = serde_json::from_str(graph)?;
    if let Some(members) = document.as_object_mut() {
        members.insert("guarantee".to_owned(), serde_json::to_value(GuaranteeStatus::from(given.clone()))?);
    }
    Ok(serde_json::to_string_pretty(&document)?)
}

/// The graph's form for what was asked on the command line.
pub(crate) fn format(format: Format, dot: bool) -> GraphFormat {
    match (dot, format) {
        (true, _) => GraphFormat::Dot,
        (false, Format::Json) => GraphFormat::Json,
        (false, _) => GraphFormat::Text,
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}
