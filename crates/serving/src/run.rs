//! Runs a text of several statements, in batch or as streams, and hands out the rows: what `mulgil sql` does.

mod changelog;
mod explain;
mod frame;
mod job;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableName;
use mulgil_connect::guarantee::Guarantee;
use mulgil_connect::sink::Sink;
use mulgil_connect::source::Source;
use mulgil_dataflow::restart::RestartStrategy;
use mulgil_dataflow::spill::StateBudget;
use mulgil_dataflow::time_to_live::TimeToLive;
use mulgil_dataflow::trigger::EarlyFire;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_engine::error::JobError;
use mulgil_engine::state_files::StateOptions;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::options::{Settings, StreamOptions};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::{QueryResult, Session, SessionOptions, ViewSnapshots};
use mulgil_sql::statement::{Statement, StatementKind, parse_statements};
use mulgil_sql::stream::{RESULT_SINK, StreamPlan};
use mulgil_sql::system::System;

use self::changelog::ChangelogSink;
pub use self::explain::{ExplainOptions, explain, guarantee_of_view};
pub use self::frame::{run_frame, run_frame_into};
use self::job::run_job;
use crate::result::{ResultError, ResultTable};
use crate::sink::ResultSink;

/// The most final rows, or changes, that a streaming `SELECT` may gather in memory.
const GATHERED_ROWS_MAX: usize = 50_000_000;

/// How statements run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// DataFusion's executor over everything that is there.
    Batch,
    /// The dataflow engine; an updating query gives its final rows.
    Stream,
}

/// How statements run, in detail.
#[derive(Clone)]
pub struct RunOptions {
    /// Batch or stream.
    pub mode: Mode,
    /// Worker threads of a stream.
    pub parallelism: usize,
    /// Whether an `INSERT` in stream mode reads on for ever, instead of up to now. The result of a `SELECT` is of what is there.
    pub follow: bool,
    /// Where `INSERT`s in stream mode keep their checkpoints, each in a folder of its own, and go on from the last one.
    pub checkpoints: Option<CheckpointOptions>,
    /// What is promised of the rows of an `INSERT` in stream mode; the strongest that there is where nothing is said. Views
    /// say so for themselves.
    pub guarantee: Option<Guarantee>,
    /// How an `INSERT` that follows and keeps checkpoints is started again when it has failed. Views say so for themselves.
    pub restart: RestartStrategy,
    /// Limits of a batch query.
    pub session: SessionOptions,
    /// How long late rows update the windows of a bare query in stream mode.
    pub allowed_lateness_ms: u64,
    /// How often windows of a statement in stream mode give what they have so far; views say so for themselves.
    pub early_fire: Option<EarlyFire>,
    /// The tables to which rows of a statement in stream mode go that are too late; views say so for themselves.
    pub late_rows: Vec<TableName>,
    /// How long state that nothing else bounds is kept in stream mode; views say so for themselves.
    pub time_to_live: Option<TimeToLive>,
    /// How much memory the state of streams may take, and where the rest goes, each in a folder of its own.
    pub state: Option<StateOptions>,
    /// Whether a `SELECT` in stream mode gives its changes, with their kind in a first column `op`.
    pub changelog: bool,
    /// Stored results of views, to be read in place of their queries.
    pub snapshots: Option<Arc<dyn ViewSnapshots>>,
    /// Tables beside the project's, for queries in batch.
    pub system: Option<Arc<System>>,
}

impl RunOptions {
    /// Takes over what `SET` has said: all of `stated` that the settings speak of.
    fn take_over(&mut self, settings: &Settings, stated: &StreamOptions) {
        if settings.says("allowed-lateness") {
            self.allowed_lateness_ms = stated.trigger.allowed_lateness_ms;
        }
        if settings.says("early-fire") {
            self.early_fire = stated.trigger.early;
        }
        if settings.says("late-rows") {
            self.late_rows.clone_from(&stated.late_rows);
        }
        if settings.says("state-ttl") {
            self.time_to_live = stated.time_to_live;
        }
        if let (Some(bytes), Some(state)) = (stated.state_memory_bytes, &mut self.state) {
            state.budget = StateBudget::new(bytes);
        }
        if settings.says("guarantee") {
            self.guarantee = stated.guarantee;
        }
        if settings.says_any("restart-strategy.") {
            self.restart = stated.restart;
        }
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Batch,
            parallelism: 1,
            follow: false,
            checkpoints: None,
            guarantee: None,
            restart: RestartStrategy::default(),
            session: SessionOptions::default(),
            allowed_lateness_ms: 0,
            early_fire: None,
            late_rows: Vec::new(),
            time_to_live: None,
            state: None,
            changelog: false,
            snapshots: None,
            system: None,
        }
    }
}

/// What a statement gave.
pub enum StatementResult {
    /// A table or view was declared, for the statements after it.
    Declared(String),
    /// Rows were written.
    Written {
        /// The table.
        table: String,
        /// How many.
        rows: u64,
    },
    /// A `SELECT` in batch: rows as they come.
    Rows(QueryResult),
    /// A `SELECT` in stream mode: its final rows, once its bounded input has ended; or its changes.
    FinalRows {
        /// The columns.
        schema: SchemaRef,
        /// The rows.
        batches: Vec<RecordBatch>,
    },
    /// `EXPLAIN`.
    Explained(String),
}

/// Why a text could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A mistake in the text, or a failed query.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// A stream failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The result could not be gathered.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// The caller could not take a result.
    #[error("cannot show the result: {0}")]
    Show(String),
}

/// Runs the statements of a text in order; `CREATE` statements add to the catalog for the statements after them, and `SET`
/// statements to the options.
/// Each result is handed out before the next statement runs. `file` is for messages. Streams read logs up to now.
///
/// # Errors
/// A mistake anywhere in the text, before anything runs; or the first statement that fails.
pub async fn run_statements(
    file: &Path,
    text: &str,
    catalog: &Catalog,
    connectors: Arc<Connectors>,
    options: &RunOptions,
    mut each: impl AsyncFnMut(StatementResult) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let (statements, problems) = parse_statements(file, text);
    if let Some(problem) = problems.into_iter().next() {
        return Err(SqlError::from(problem).into());
    }
    let mut catalog = Arc::new(catalog.clone());
    let mut options = options.clone();
    let mut settings = Settings::default();
    for statement in &statements {
        if let StatementKind::Set(setting) = &statement.kind {
            let stated = settings.set(setting, file).map_err(SqlError::from)?;
            options.take_over(&settings, &stated);
            continue;
        }
        if let StatementKind::CreateTable(_) | StatementKind::CreateView(_) = &statement.kind {
            let mut extended = catalog.as_ref().clone();
            let name = extended.declare(statement, file, &connectors).map_err(SqlError::from)?;
            catalog = Arc::new(extended);
            each(StatementResult::Declared(name)).await?;
            continue;
        }
        let session = session(&catalog, &connectors, &options);
        let result = run_statement(&session, statement, &options).await.map_err(|error| in_file(error, file))?;
        each(result).await?;
    }
    Ok(())
}

fn session(catalog: &Arc<Catalog>, connectors: &Arc<Connectors>, options: &RunOptions) -> Session {
    let session = Session::new(Arc::clone(catalog), Arc::clone(connectors))
        .with_options(options.session)
        .with_time_to_live(options.time_to_live)
        .with_early_fire(options.early_fire)
        .with_late_rows(options.late_rows.clone());
    let session = match &options.snapshots {
        Some(snapshots) => session.with_view_snapshots(Arc::clone(snapshots)),
        None => session,
    };
    match &options.system {
        Some(system) => session.with_system(Arc::clone(system)),
        None => session,
    }
}

fn in_file(error: RunError, file: &Path) -> RunError {
    match error {
        RunError::Sql(error) => RunError::Sql(error.in_file(file)),
        other => other,
    }
}

async fn run_statement(
    session: &Session,
    statement: &Statement,
    options: &RunOptions,
) -> Result<StatementResult, RunError> {
    match (&statement.kind, options.mode) {
        (StatementKind::Explain(inner), mode) => {
            let options = ExplainOptions {
                mode,
                parallelism: options.parallelism,
                guarantee: options.guarantee,
                has_checkpoints: options.checkpoints.is_some(),
                ..ExplainOptions::default()
            };
            Ok(StatementResult::Explained(explain(session, inner, options).await?))
        }
        (StatementKind::Query(_), Mode::Batch) => Ok(StatementResult::Rows(session.run_query(statement).await?)),
        (StatementKind::Insert(insert), Mode::Batch) => {
            let written = session.run_insert(statement, None).await?;
            Ok(StatementResult::Written { table: insert.table.to_string(), rows: written.rows })
        }
        (StatementKind::Query(_), Mode::Stream) => {
            let plan = session.stream_statement(statement, options.allowed_lateness_ms)?;
            if options.changelog {
                changes(session, plan, options).await
            } else {
                final_rows(session, plan, options).await
            }
        }
        (StatementKind::Insert(insert), Mode::Stream) => {
            let plan = session.stream_statement(statement, options.allowed_lateness_ms)?;
            let table = insert.table.to_string();
            let definition = session.catalog().table(&insert.table);
            let definition = definition.ok_or_else(|| JobError::Plan(format!("table {table} is not declared")))?;
            let sink = session.connectors().sink(&definition.definition).map_err(SqlError::from)?;
            let rows = run_job(session, plan, options, table.clone(), sink).await?;
            Ok(StatementResult::Written { table, rows })
        }
        (StatementKind::CreateTable(_) | StatementKind::CreateView(_) | StatementKind::Set(_), _) => {
            Ok(StatementResult::Declared(String::new()))
        }
    }
}

/// The sources of the tables that a stream reads.
///
/// # Errors
/// Such a table cannot be read.
pub(crate) fn sources(session: &Session, plan: &StreamPlan) -> Result<HashMap<String, Arc<dyn Source>>, SqlError> {
    let mut sources = HashMap::new();
    for name in &plan.sources {
        if let Some(table) = session.catalog().table(name) {
            sources.insert(name.to_string(), session.connectors().source(&table.definition)?);
        }
    }
    Ok(sources)
}

/// The sinks of the tables into which a stream puts rows aside.
///
/// # Errors
/// Such a table cannot be written to.
pub(crate) fn side_sinks(session: &Session, plan: &StreamPlan) -> Result<HashMap<String, Arc<dyn Sink>>, SqlError> {
    let mut sinks = HashMap::new();
    for name in &plan.side_sinks {
        if let Some(table) = session.catalog().table(name) {
            sinks.insert(name.to_string(), session.connectors().sink(&table.definition)?);
        }
    }
    Ok(sinks)
}

async fn final_rows(session: &Session, plan: StreamPlan, options: &RunOptions) -> Result<StatementResult, RunError> {
    let mut schema = Arc::clone(&plan.schema);
    let table = ResultTable::new(Arc::clone(&schema), plan.key.clone(), plan.is_updating, GATHERED_ROWS_MAX)?;
    let table = Arc::new(table);
    let finish = plan.finish.clone();
    let sink = Arc::new(ResultSink::new(RESULT_SINK.to_owned(), Arc::clone(&table), Arc::default()));
    run_job(session, plan, options, RESULT_SINK.to_owned(), sink).await?;
    let mut batches = table.snapshot()?.batches;
    if let Some(finish) = finish {
        schema = finish.schema();
        batches = finish.apply(batches).await?;
    }
    Ok(StatementResult::FinalRows { schema, batches })
}

async fn changes(session: &Session, plan: StreamPlan, options: &RunOptions) -> Result<StatementResult, RunError> {
    let sink = Arc::new(ChangelogSink::new(&plan.schema, GATHERED_ROWS_MAX));
    let gathered = Arc::clone(&sink);
    run_job(session, plan, options, RESULT_SINK.to_owned(), sink).await?;
    Ok(StatementResult::FinalRows { schema: gathered.schema(), batches: gathered.take() })
}

/// Gathers the rows of a batch result.
///
/// # Errors
/// The query failed while it ran.
pub async fn collect(result: QueryResult) -> Result<(SchemaRef, Vec<RecordBatch>), RunError> {
    let batches = result.stream.try_collect().await.map_err(SqlError::from)?;
    Ok((result.schema, batches))
}
