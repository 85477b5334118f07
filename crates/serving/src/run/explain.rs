//! How a statement would run: DataFusion's plans in batch, the dataflow's graph in stream mode.

use std::sync::Arc;

use mulgil_connect::definition::TableName;
use mulgil_connect::guarantee::{Given, Guarantee};
use mulgil_connect::sink::Sink;
use mulgil_dataflow::explain::{Format, logical, physical};
use mulgil_dataflow::graph::Graph;
use mulgil_dataflow::physical::plan;
use mulgil_engine::error::JobError;
use mulgil_engine::job::guarantee;
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;
use mulgil_sql::statement::{Statement, StatementKind};
use mulgil_sql::stream::StreamPlan;

use super::{Mode, RunError, side_sinks, sources};
use crate::result::ResultTable;
use crate::sink::ResultSink;

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
    /// What is asked of the rows of a stream; views say so for themselves.
    pub guarantee: Option<Guarantee>,
    /// Whether a stream would make checkpoints; views do.
    pub has_checkpoints: bool,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Batch,
            logical: true,
            physical: true,
            format: Format::Text,
            parallelism: 1,
            guarantee: None,
            has_checkpoints: false,
        }
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
    let given = match &statement.kind {
        StatementKind::CreateView(view) => guarantee_of_view(session, &plan, &view.name)?,
        StatementKind::Insert(insert) => guarantee_of_insert(session, &plan, &insert.table, options)?,
        _ => None,
    };
    let mut text = explain_graph(&plan.graph, options)?;
    if options.format == Format::Text {
        given.iter().for_each(|given| text.push_str(&format!("\n{given}\n")));
        plan.warnings.iter().for_each(|warning| text.push_str(&format!("\nwarning: {warning}\n")));
    }
    Ok(text)
}

/// What is promised of a view's rows.
///
/// # Errors
/// The guarantee that it asks for cannot be given.
pub fn guarantee_of_view(session: &Session, plan: &StreamPlan, view: &TableName) -> Result<Option<Given>, RunError> {
    let Some(view) = session.catalog().view(view) else { return Ok(None) };
    let name = view.name.to_string();
    let table = ResultTable::new(Arc::clone(&plan.schema), None, false, view.rows_max)?;
    let sink = Arc::new(ResultSink::new(name.clone(), Arc::new(table), Arc::default()));
    given(session, plan, (name, sink), (view.stream.guarantee, true)).map(Some)
}

fn guarantee_of_insert(
    session: &Session,
    plan: &StreamPlan,
    table: &TableName,
    options: ExplainOptions,
) -> Result<Option<Given>, RunError> {
    let Some(target) = session.catalog().table(table) else { return Ok(None) };
    let sink = session.connectors().sink(&target.definition).map_err(SqlError::from)?;
    given(session, plan, (table.to_string(), sink), (options.guarantee, options.has_checkpoints)).map(Some)
}

fn given(
    session: &Session,
    plan: &StreamPlan,
    (name, sink): (String, Arc<dyn Sink>),
    (asked, has_checkpoints): (Option<Guarantee>, bool),
) -> Result<Given, RunError> {
    let mut sinks = side_sinks(session, plan)?;
    sinks.insert(name, sink);
    let sources = sources(session, plan)?;
    Ok(guarantee(&plan.graph, (&sources, &sinks), asked, has_checkpoints).map_err(JobError::Guarantee)?)
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
