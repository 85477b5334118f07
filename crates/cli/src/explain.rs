//! `mulgil explain`: the dataflow graph of a query, or its stages and exchanges.

use std::path::Path;

use anyhow::{Context, Result};
use mulgil_dataflow::explain::{self, Format as GraphFormat};
use mulgil_dataflow::physical;

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
    print(&graph, which, format(arguments.format, explain.dot))?;
    Ok(Exit::Done)
}

/// Prints a graph.
pub(crate) fn print(graph: &mulgil_dataflow::graph::Graph, which: Graph, format: GraphFormat) -> Result<()> {
    graph.warnings().iter().for_each(|warning| remark(&format!("warning: {warning}")));
    let text = match which {
        Graph::Logical => explain::logical(graph, format),
        Graph::Physical => {
            let parallelism = std::thread::available_parallelism().map_or(1, usize::from);
            explain::physical(&physical::plan(graph, parallelism)?, format)
        }
    };
    write_out(&(text.trim_end().to_owned() + "\n"))
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
