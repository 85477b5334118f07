//! How a statement would run: DataFusion's plans in batch, the dataflow's graph in stream mode.

use mulgil_dataflow::explain::{Format, logical, physical};
use mulgil_dataflow::graph::Graph;
use mulgil_dataflow::physical::plan;
use mulgil_engine::error::JobError;
use mulgil_sql::session::Session;
use mulgil_sql::statement::{Statement, StatementKind};

use super::{Mode, RunError};

/// What to explain, and how.
#[derive(Clone, Copy, Debug)]
pub struct ExplainOptions {
    /// Batch or stream.
    pub mode: Mode,
    /// Whether the logical plan is shown.
    pub logical: bool,
    /// Whether the physical plan is shown.
    pub physical: bool,
    /// How a stream's graph is written down; batch plans are text.
    pub format: Format,
    /// Worker threads of a stream.
    pub parallelism: usize,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self { mode: Mode::Batch, logical: true, physical: true, format: Format::Text, parallelism: 1 }
    }
}

/// Explains a `SELECT`, an `INSERT INTO` or a `CREATE MATERIALIZED TABLE`.
///
/// # Errors
/// The statement cannot be planned in this mode.
pub async fn explain(session: &Session, statement: &Statement, options: ExplainOptions) -> Result<String, RunError> {
    if let StatementKind::Explain(inner) = &statement.kind {
        return Box::pin(explain(session, inner, options)).await;
    }
    if options.mode == Mode::Batch {
        let plans = session.explain_batch(statement).await?;
        let mut text = String::new();
        if options.logical {
            text.push_str(&plans.logical);
            text.push('\n');
        }
        if options.physical {
            text.push_str(&plans.physical);
        }
        return Ok(text);
    }
    let plan = match &statement.kind {
        StatementKind::CreateView(view) => session.stream_view(&view.name)?,
        _ => session.stream_statement(statement, 0)?,
    };
    let mut text = explain_graph(&plan.graph, options)?;
    if options.format == Format::Text {
        plan.warnings.iter().for_each(|warning| text.push_str(&format!("\nwarning: {warning}\n")));
    }
    Ok(text)
}

fn explain_graph(graph: &Graph, options: ExplainOptions) -> Result<String, RunError> {
    let mut parts = Vec::new();
    if options.logical {
        parts.push(logical(graph, options.format));
    }
    if options.physical {
        let planned = plan(graph, options.parallelism).map_err(|error| JobError::Plan(error.to_string()))?;
        parts.push(physical(&planned, options.format));
    }
    Ok(parts.join("\n"))
}
