//! Runs statements over a catalog in batch, and plans them for the stream.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::Location;
use futures::TryStreamExt;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableName;
use mulgil_connect::sink::Sink;
use mulgil_connect::writer::{Append, WriteSummary};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::time_to_live::TimeToLive;
use mulgil_dataflow::trigger::EarlyFire;

use crate::catalog::{Catalog, Table, View};
use crate::frame::Frame;
use crate::insert;
use crate::layers::{is_unwindowed, states_of};
use crate::opened_scans::OpenedScans;
use crate::options::StreamOptions;
use crate::plan::expand::expand;
use crate::plan::ties::{break_ties, has_ties};
use crate::plan::{Planner, StateOptions, Unscanned, planning_state, session_state, table_name_of};
use crate::problem::{Mistake, SqlError};
use crate::statement::{InsertDeclaration, QueryText, RefreshMode, Statement, StatementKind, parse_all};
use crate::stream::{self, StreamPlan};
use crate::system::System;

/// The file that problems of text without a file name.
pub const QUERY_FILE: &str = "query";

/// What a session may use.
#[derive(Clone, Copy, Debug)]
pub struct SessionOptions {
    /// Memory for joins, sorts and aggregations together; what does not fit goes to temporary files.
    pub memory_limit_bytes: usize,
    /// How many threads work on one query.
    pub target_partitions: usize,
    /// Rows of a batch.
    pub batch_size_rows: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { memory_limit_bytes: 512 * 1024 * 1024, target_partitions: 2, batch_size_rows: 8192 }
    }
}

/// The stored results of views, to be read in place of their queries.
pub trait ViewSnapshots: Send + Sync {
    /// The view's result as it is now, or `None` where none is stored.
    fn snapshot(&self, view: &TableName) -> Option<Arc<dyn TableProvider>>;
}

/// The rows of a query, as they come.
pub struct QueryResult {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: SendableRecordBatchStream,
}

/// A catalog, its connectors, and the limits under which statements run. Cheap to make, one for each request.
#[derive(Clone)]
pub struct Session {
    catalog: Arc<Catalog>,
    connectors: Arc<Connectors>,
    options: SessionOptions,
    pub(crate) snapshots: Option<Arc<dyn ViewSnapshots>>,
    pub(crate) system: Option<Arc<System>>,
    stream: StreamOptions,
}

impl Session {
    /// A session with the default options.
    pub fn new(catalog: Arc<Catalog>, connectors: Arc<Connectors>) -> Self {
        Self {
            catalog,
            connectors,
            options: SessionOptions::default(),
            snapshots: None,
            system: None,
            stream: StreamOptions::default(),
        }
    }

    /// With other limits.
    pub fn with_options(mut self, options: SessionOptions) -> Self {
        self.options = options;
        self
    }

    /// With a time to live for the state of statements in stream mode that nothing else bounds; views have their own.
    pub fn with_time_to_live(mut self, time_to_live: Option<TimeToLive>) -> Self {
        self.stream.time_to_live = time_to_live;
        self
    }

    /// With early results of the windows of statements in stream mode; views have their own.
    pub fn with_early_fire(mut self, early: Option<EarlyFire>) -> Self {
        self.stream.trigger.early = early;
        self
    }

    /// With stored results of views: a query over a view that is kept up to date reads them.
    pub fn with_view_snapshots(mut self, snapshots: Arc<dyn ViewSnapshots>) -> Self {
        self.snapshots = Some(snapshots);
        self
    }

    /// With tables and functions beside the project's, for queries in batch.
    pub fn with_system(mut self, system: Arc<System>) -> Self {
        self.system = Some(system);
        self
    }

    /// With tables for the rows of statements in stream mode that are too late; views have their own.
    pub fn with_late_rows(mut self, tables: Vec<TableName>) -> Self {
        self.stream.late_rows = tables;
        self
    }

    /// The catalog.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// The connectors.
    pub fn connectors(&self) -> &Arc<Connectors> {
        &self.connectors
    }

    /// Runs one `SELECT` in batch. Logs are read up to now.
    ///
    /// # Errors
    /// A mistake in the text, with its place in it; a table that cannot be opened.
    pub async fn query(&self, sql: &str) -> Result<QueryResult, SqlError> {
        let statement = single_statement(sql)?;
        match &statement.kind {
            StatementKind::Query(_) => self.run_query(&statement).await,
            _ => Err(problem(Mistake::new(statement.at, "expected a SELECT")).into()),
        }
    }

    /// Runs a parsed `SELECT` in batch.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn run_query(&self, statement: &Statement) -> Result<QueryResult, SqlError> {
        let StatementKind::Query(query) = &statement.kind else {
            return Err(problem(Mistake::new(statement.at, "expected a SELECT")).into());
        };
        let state = self.state()?;
        let plan = self.batch_plan(&state, query, statement.at).await?;
        self.run(state, &plan).await
    }

    /// Runs one `INSERT INTO` in batch: all of it becomes visible at once, or nothing.
    ///
    /// # Errors
    /// A mistake in the text, with its place in it; a table that cannot be read or written.
    pub async fn execute(&self, sql: &str) -> Result<WriteSummary, SqlError> {
        self.run_insert(&single_statement(sql)?, None).await
    }

    /// Runs a parsed `INSERT INTO` in batch. In the name of `append` its rows are in the table once, however often it runs.
    ///
    /// # Errors
    /// As [`Session::execute`].
    pub async fn run_insert(&self, statement: &Statement, append: Option<&Append>) -> Result<WriteSummary, SqlError> {
        let StatementKind::Insert(declaration) = &statement.kind else {
            return Err(problem(Mistake::new(statement.at, "expected an INSERT INTO")).into());
        };
        let target = self.insert_target(declaration)?;
        let state = self.state()?;
        let plan = self.batch_plan(&state, &declaration.query, statement.at).await?;
        let plan = insert::fit_columns(plan, &target, declaration).map_err(problem)?;
        let rows = self.run(state, &plan).await?;
        match self.connectors.writer(&target.definition) {
            Ok(writer) => Ok(match append {
                Some(append) => writer.append_once(append, rows.stream).await?,
                None => writer.append(rows.stream).await?,
            }),
            // Logs and the like take rows one by one, and have no batch writer.
            Err(refusal) => match self.connectors.sink(&target.definition) {
                Ok(sink) => write_to_sink(sink.as_ref(), rows.stream).await,
                Err(_) => Err(refusal.into()),
            },
        }
    }

    /// Runs a view's query in batch, from its tables, whatever is stored.
    ///
    /// # Errors
    /// The view is unknown; a table cannot be read.
    pub async fn run_view(&self, view: &TableName) -> Result<QueryResult, SqlError> {
        self.run_view_where(view, None).await
    }

    /// The same, for the rows of the view for which a condition over its columns holds. As far as that is possible, only
    /// what they need is read.
    ///
    /// # Errors
    /// See [`Session::run_view`]; the condition names a column that the view has not.
    pub async fn run_view_where(&self, view: &TableName, condition: Option<Expr>) -> Result<QueryResult, SqlError> {
        let view = self.known_view(view)?;
        let state = self.state()?;
        let own = Self { stream: view.stream.clone(), ..self.clone() };
        let wanted = |plan: LogicalPlan| match condition {
            Some(condition) => LogicalPlanBuilder::from(plan).filter(condition)?.build(),
            None => Ok(plan),
        };
        let at = Location { line: view.line, column: 1 };
        let plan = own.batch_plan_with(&state, &view.query, at, &[], wanted).await?;
        self.run(state, &plan).await
    }

    /// A view's query as a dataflow that ends in a sink named like the view.
    ///
    /// # Errors
    /// The view is unknown, or stream mode does not know a construct of it.
    pub fn stream_view(&self, view: &TableName) -> Result<StreamPlan, SqlError> {
        let view = self.known_view(view)?;
        let at = Location { line: view.line, column: 1 };
        let planner = Planner::new(&self.catalog, planning_state(), &Unscanned, &view.stream);
        let in_file = |mistake: Mistake| mistake.in_file(&view.file);
        let mut plan = planner.query(&view.query, at).map_err(in_file)?;
        if view.mode == RefreshMode::Lambda && is_unwindowed(&plan) {
            plan = states_of(&plan, view, &self.catalog.functions, at).map_err(in_file)?;
        }
        let late_rows = planner.late_rows(at).map_err(in_file)?;
        stream::plan(plan, Some(view.name.to_string()), view.stream.time_to_live, Some(&late_rows))
    }

    /// A `SELECT` or `INSERT INTO` as a dataflow. The sink of a `SELECT` is named [`stream::RESULT_SINK`].
    /// `allowed_lateness_ms` is for windows of the statement itself; views that it reads keep their own.
    ///
    /// # Errors
    /// A mistake in the text, or a construct that stream mode does not know.
    pub fn stream_statement(&self, statement: &Statement, allowed_lateness_ms: u64) -> Result<StreamPlan, SqlError> {
        let mut own = self.stream.clone();
        own.trigger.allowed_lateness_ms = allowed_lateness_ms;
        let planner = Planner::new(&self.catalog, planning_state(), &Unscanned, &own);
        let late_rows = planner.late_rows(statement.at).map_err(problem)?;
        let into = |plan: LogicalPlan, sink: String| {
            stream::plan(plan, Some(sink), self.stream.time_to_live, Some(&late_rows))
        };
        match &statement.kind {
            StatementKind::Query(query) => {
                let plan = planner.query(query, statement.at).map_err(problem)?;
                into(plan, stream::RESULT_SINK.to_owned())
            }
            StatementKind::Insert(declaration) => {
                let target = self.insert_target(declaration)?;
                let plan = planner.query(&declaration.query, statement.at).map_err(problem)?;
                let plan = insert::fit_columns(plan, &target, declaration).map_err(problem)?;
                into(plan, target.definition.name.to_string())
            }
            _ => Err(problem(Mistake::new(statement.at, "expected a SELECT or an INSERT INTO")).into()),
        }
    }

    /// The dataflow graph of a view (by name), or of one `SELECT` or `INSERT INTO`.
    ///
    /// # Errors
    /// As [`Session::stream_view`] and [`Session::stream_statement`].
    pub fn stream_graph(&self, view_or_sql: &str) -> Result<mulgil_dataflow::graph::Graph, SqlError> {
        let name = TableName::parse(view_or_sql.trim());
        let plan = match self.catalog.view(&name) {
            Some(_) => self.stream_view(&name)?,
            None => self.stream_statement(&single_statement(view_or_sql)?, 0)?,
        };
        Ok(plan.graph)
    }

    /// DataFusion's plans of a statement in batch: the logical one, optimised, and the physical one.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn explain_batch(&self, statement: &Statement) -> Result<BatchExplanation, SqlError> {
        let query = match &statement.kind {
            StatementKind::Query(query) => query,
            StatementKind::Insert(declaration) => &declaration.query,
            StatementKind::CreateView(view) => &view.query,
            StatementKind::Explain(inner) => return Box::pin(self.explain_batch(inner)).await,
            StatementKind::CreateTable(_) | StatementKind::Set(_) => {
                return Err(problem(Mistake::new(statement.at, "only queries have a plan")).into());
            }
        };
        let state = self.state()?;
        let plan = self.batch_plan(&state, query, statement.at).await?;
        let logical = state.optimize(&plan)?;
        let physical = state.query_planner().create_physical_plan(&logical, &state).await?;
        Ok(BatchExplanation {
            logical: logical.display_indent().to_string(),
            physical: datafusion::physical_plan::displayable(physical.as_ref()).indent(false).to_string(),
        })
    }

    fn known_view(&self, name: &TableName) -> Result<&Arc<View>, SqlError> {
        self.catalog.view(name).ok_or_else(|| {
            let names: Vec<String> = self.catalog.views().map(|view| view.name.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mistake = match self.catalog.problem(name) {
                Some(problem) => return problem.clone().into(),
                None => Mistake::new(Location { line: 1, column: 1 }, format!("unknown view {name}")),
            };
            problem(mistake.remedy(crate::problem::did_you_mean(&name.to_string(), &names, "views"))).into()
        })
    }

    fn insert_target(&self, declaration: &InsertDeclaration) -> Result<Arc<Table>, SqlError> {
        insert::target(&self.catalog, declaration).map_err(|mistake| problem(mistake).into())
    }

    /// The rows of a table or view, to build a query on in Rust.
    ///
    /// # Errors
    /// There is no such table or view.
    pub fn table(&self, name: &str) -> Result<Frame, SqlError> {
        Ok(Frame::table(&self.catalog, name)?.with_time_to_live(self.stream.time_to_live))
    }

    /// The rows of a `SELECT`, to build a query on in Rust.
    ///
    /// # Errors
    /// A mistake in the text, with its place in it.
    pub fn select(&self, sql: &str) -> Result<Frame, SqlError> {
        Ok(Frame::sql(&self.catalog, sql)?.with_time_to_live(self.stream.time_to_live))
    }

    /// Runs a frame in batch.
    ///
    /// # Errors
    /// A table cannot be opened.
    pub async fn run_frame(&self, frame: &Frame) -> Result<QueryResult, SqlError> {
        let mut tables = HashMap::new();
        for name in tables_scanned(frame.plan())? {
            if let Some(table) = self.catalog.table(&name) {
                let provider = self.connectors.provider(&table.definition).await?;
                tables.insert(name, provider_as_source(provider));
            }
        }
        let opened = frame.plan().clone().transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(mut scan) => match tables.get(&table_name_of(&scan.table_name)) {
                Some(source) => {
                    scan.source = Arc::clone(source);
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                None => Ok(Transformed::no(LogicalPlan::TableScan(scan))),
            },
            other => Ok(Transformed::no(other)),
        })?;
        self.run(self.state()?, &executable(opened.data)?).await
    }

    pub(crate) fn state(&self) -> Result<SessionState, SqlError> {
        let mut state = session_state(StateOptions {
            memory_limit_bytes: self.options.memory_limit_bytes,
            target_partitions: self.options.target_partitions,
            batch_size_rows: self.options.batch_size_rows,
        })?;
        // `now()` is this moment throughout the statement.
        state.mark_start_execution();
        Ok(state)
    }

    /// Plans queries in batch, with what the session brings along.
    pub(crate) fn batch_planner<'a>(&'a self, state: &'a SessionState, scans: &'a OpenedScans) -> Planner<'a> {
        let functions = self.system.as_deref().map(System::functions);
        let options = StreamOptions { session_max_ms: self.stream.session_max_ms, ..StreamOptions::default() };
        Planner::new(&self.catalog, state, scans, &options).with_functions(functions)
    }

    async fn batch_plan(&self, state: &SessionState, query: &QueryText, at: Location) -> Result<LogicalPlan, SqlError> {
        self.batch_plan_with(state, query, at, &[], Ok).await
    }

    /// Plans twice: once to find mistakes and the tables that are read, then over the opened tables. `fill` gives the plan
    /// the values of its parameters, which have these types.
    pub(crate) async fn batch_plan_with(
        &self,
        state: &SessionState,
        query: &QueryText,
        at: Location,
        types: &[Option<DataType>],
        fill: impl FnOnce(LogicalPlan) -> datafusion::common::Result<LogicalPlan>,
    ) -> Result<LogicalPlan, SqlError> {
        let mut scans = OpenedScans::new(self.snapshots.clone(), self.system.clone());
        let checked = self.batch_planner(state, &scans).with_parameters(types).query(query, at).map_err(problem)?;
        let mut tables = HashMap::new();
        for name in tables_scanned(&checked)? {
            if let Some(table) = self.catalog.table(&name) {
                let provider = self.connectors.provider(&table.definition).await?;
                tables.insert(name, provider_as_source(provider));
            }
        }
        scans.tables = tables;
        let plan = self.batch_planner(state, &scans).with_parameters(types).query(query, at).map_err(problem)?;
        executable(fill(plan)?)
    }

    pub(crate) async fn run(&self, state: SessionState, plan: &LogicalPlan) -> Result<QueryResult, SqlError> {
        let optimized = state.optimize(plan).map_err(SqlError::from_running)?;
        let physical =
            state.query_planner().create_physical_plan(&optimized, &state).await.map_err(SqlError::from_running)?;
        let context = SessionContext::new_with_state(state);
        let stream = execute_stream(physical, context.task_ctx()).map_err(SqlError::from_running)?;
        Ok(QueryResult { schema: stream.schema(), stream })
    }
}

/// The plan in nodes that DataFusion knows, with the order of rows made total.
fn executable(mut plan: LogicalPlan) -> Result<LogicalPlan, SqlError> {
    if has_ties(&plan)? {
        plan = break_ties(stream::optimize(plan)?)?;
    }
    Ok(expand(plan)?)
}

async fn write_to_sink(sink: &dyn Sink, mut rows: SendableRecordBatchStream) -> Result<WriteSummary, SqlError> {
    let mut writer = sink.writer(0).await?;
    let mut summary = WriteSummary::default();
    while let Some(batch) = rows.try_next().await? {
        summary.rows += batch.num_rows() as u64;
        writer.write(Batch::append(batch)).await?;
    }
    writer.commit().await?;
    Ok(summary)
}

/// What DataFusion will do.
#[derive(Clone, Debug)]
pub struct BatchExplanation {
    /// The optimised logical plan.
    pub logical: String,
    /// The physical plan.
    pub physical: String,
}

pub(crate) fn problem(mistake: Mistake) -> crate::problem::SqlProblem {
    mistake.in_file(Path::new(QUERY_FILE))
}

/// Reads a text that holds one statement.
pub fn single_statement(sql: &str) -> Result<Statement, SqlError> {
    let (statements, mistakes) = parse_all(sql);
    if let Some((_, mistake)) = mistakes.into_iter().next() {
        return Err(problem(mistake).into());
    }
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(statement), None) => Ok(statement),
        (None, _) => Err(problem(Mistake::new(Location { line: 1, column: 1 }, "there is no statement")).into()),
        (Some(_), Some(second)) => {
            Err(problem(Mistake::new(second.at, "expected one statement, found another")).into())
        }
    }
}

fn tables_scanned(plan: &LogicalPlan) -> Result<Vec<TableName>, SqlError> {
    let mut names = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            names.push(table_name_of(&scan.table_name));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    names.sort();
    names.dedup();
    Ok(names)
}
