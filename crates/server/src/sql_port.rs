//! What the SQL port reads: views as they are now, tables, and what a client of PostgreSQL asks about its server.

mod catalog;
mod functions;
mod point;
mod tables;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use futures::StreamExt;
use mulgil_flow::SqlListen;
use mulgil_sql::problem::{Failure, ProblemKind, SqlError, SqlProblem};
use mulgil_sql::session::{QUERY_FILE, Session};
use mulgil_sql::statement::{Statement, StatementKind, parse_statements};
use mulgil_sql::system::System;
use mulgil_sqlport::port::{Listening, PortOptions};
use mulgil_sqlport::{Answer, Caller, PortError, Prepared, QueryError, QueryService, SqlPort};

pub use mulgil_sqlport::TlsFiles;

use self::point::PointAnswers;
use self::tables::Tables;
use crate::node::Node;
use crate::own_tables::OwnTables;

/// The SQL port of a server.
#[derive(Clone, Debug)]
pub struct SqlPortOptions {
    /// Where it listens.
    pub listen: SqlListen,
    /// How many clients may be connected at once; [`PortOptions::CONNECTIONS_MAX`] where nothing is said.
    pub connections_max: Option<usize>,
    /// The longest that a statement may take.
    pub timeout_max: Option<Duration>,
    /// The certificate with which connections are encrypted.
    pub tls: Option<TlsFiles>,
    /// How much memory a query may take; as much as those over HTTP where nothing is said.
    pub memory_limit_bytes: Option<usize>,
}

impl Default for SqlPortOptions {
    /// Nowhere: who wants the port says so.
    fn default() -> Self {
        Self { listen: SqlListen::Off, connections_max: None, timeout_max: None, tls: None, memory_limit_bytes: None }
    }
}

/// Begins to listen. At the usual address the port stays closed where somebody else listens there, and a warning says so.
/// `password` is the server's token: who may read over HTTP may read here.
pub(crate) async fn listen(options: &SqlPortOptions, password: Option<&str>) -> Result<Option<Listening>, PortError> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, SqlListen::USUAL_PORT));
    let address = match options.listen {
        SqlListen::Off => return Ok(None),
        SqlListen::Usual => usual,
        SqlListen::At(address) => address,
    };
    let connections_max = options.connections_max.unwrap_or(PortOptions::CONNECTIONS_MAX);
    let (timeout_max, tls) = (options.timeout_max, options.tls.clone());
    let password = password.map(str::to_owned);
    let listened = SqlPort::listen(PortOptions { address, connections_max, timeout_max, password, tls }).await;
    match listened {
        Err(error) if options.listen == SqlListen::Usual => {
            tracing::warn!(
                "the SQL port stays closed: {error} (`sql: {{listen: ADDRESS}}` in mulgil.yaml, or --sql-listen)"
            );
            Ok(None)
        }
        listened => listened.map(Some),
    }
}

/// Answers the port's queries over the project as it was last read.
pub(crate) struct ProjectQueries {
    node: Node,
    memory_limit_bytes: Option<usize>,
}

impl ProjectQueries {
    pub(crate) fn new(node: Node, memory_limit_bytes: Option<usize>) -> Self {
        Self { node, memory_limit_bytes }
    }

    fn session(&self, caller: Arc<Caller>) -> Session {
        let loaded = self.node.loaded();
        let views = &loaded.views;
        let mut options = views.session_options();
        options.memory_limit_bytes = self.memory_limit_bytes.unwrap_or(options.memory_limit_bytes);
        let session = views.session();
        let own = OwnTables::new(self.node.clone());
        let tables = Arc::new(Tables::new(loaded, Arc::clone(&caller), own));
        let functions = functions::all(&caller, &tables);
        let system = System::new(tables, functions);
        session.with_options(options).with_system(Arc::new(system))
    }
}

#[async_trait]
impl QueryService for ProjectQueries {
    async fn prepare(&self, caller: &Caller, text: &str, types: &[Option<DataType>]) -> Result<Prepared, QueryError> {
        if explained(text)?.is_some() {
            return Ok(Prepared { schema: plan_schema(), parameters: Vec::new(), shortcut: None });
        }
        let session = self.session(Arc::new(caller.clone()));
        let prepared = session.prepare(text, types).map_err(|error| refused(error, text))?;
        let shortcut = prepared.point.map(|query| PointAnswers::shortcut(self.node.clone(), query));
        Ok(Prepared { schema: prepared.schema, parameters: prepared.parameters, shortcut })
    }

    async fn run(&self, caller: Arc<Caller>, text: &str, parameters: &[ArrayRef]) -> Result<Answer, QueryError> {
        let session = self.session(caller);
        if let Some(statement) = explained(text)? {
            let plan = session.explain_batch(&statement).await.map_err(|error| refused(error, text))?;
            return plan_rows(&plan.physical);
        }
        let result = session.query_with(text, parameters).await.map_err(|error| refused(error, text))?;
        let batches = result.stream.map(|batch| batch.map_err(|error| failed(&SqlError::from(error))));
        Ok(Answer { schema: result.schema, batches: batches.boxed() })
    }
}

/// The statement that an `EXPLAIN` is about.
fn explained(text: &str) -> Result<Option<Statement>, QueryError> {
    let (statements, problems) = parse_statements(Path::new(QUERY_FILE), text);
    if let Some(problem) = problems.into_iter().next() {
        return Err(mistake(&problem, text));
    }
    Ok(statements.into_iter().find_map(|statement| match statement.kind {
        StatementKind::Explain(inner) => Some(*inner),
        _ => None,
    }))
}

fn plan_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("QUERY PLAN", DataType::Utf8, false)]))
}

fn plan_rows(plan: &str) -> Result<Answer, QueryError> {
    let lines: ArrayRef = Arc::new(StringArray::from(plan.lines().collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(plan_schema(), vec![lines])
        .map_err(|error| QueryError::new(QueryError::INTERNAL, error.to_string()))?;
    Ok(Answer { schema: plan_schema(), batches: futures::stream::iter([Ok(batch)]).boxed() })
}

fn refused(error: SqlError, text: &str) -> QueryError {
    match error {
        SqlError::Problem(problem) => mistake(&problem, text),
        SqlError::NotInStream { .. } | SqlError::Later(_) => {
            QueryError::new(QueryError::UNSUPPORTED, error.to_string())
        }
        error => failed(&error),
    }
}

fn mistake(problem: &SqlProblem, text: &str) -> QueryError {
    let code = match problem.kind {
        ProblemKind::Other => QueryError::MISTAKE,
        ProblemKind::Syntax => QueryError::SYNTAX,
        ProblemKind::UnknownTable => QueryError::UNKNOWN_TABLE,
        ProblemKind::UnknownColumn => QueryError::UNKNOWN_COLUMN,
        ProblemKind::UnknownFunction => QueryError::UNKNOWN_FUNCTION,
    };
    let error = QueryError::new(code, problem.message.clone()).at(position(problem, text));
    problem.remedy.clone().into_iter().fold(error, QueryError::hint)
}

/// Line and column as a character of the text, from 1.
fn position(problem: &SqlProblem, text: &str) -> usize {
    let line = usize::try_from(problem.line).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(problem.column).unwrap_or(1).max(1);
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    before + column
}

fn failed(error: &SqlError) -> QueryError {
    let (code, hint) = match error.failure() {
        Failure::OutOfMemory => {
            (QueryError::OUT_OF_MEMORY, Some("give queries more memory: `sql: {memory: SIZE}` in mulgil.yaml"))
        }
        Failure::DivisionByZero => (QueryError::DIVISION_BY_ZERO, None),
        Failure::InvalidValue => (QueryError::INVALID_TEXT, None),
        Failure::OutOfRange => (QueryError::OUT_OF_RANGE, None),
        Failure::Outside => (QueryError::IO, None),
        Failure::Other => (QueryError::INTERNAL, None),
    };
    hint.into_iter().fold(QueryError::new(code, error.to_string()), QueryError::hint)
}
