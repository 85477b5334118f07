//! SQL and transfer tasks over the project's tables: a query's rows, or an interval's rows of another table, put into a
//! table in one commit.
//!
//! The work runs on threads of its own, so that a long query does not hold up the scheduler and the worker's reports.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use async_trait::async_trait;
use futures::StreamExt;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableName;
use mulgil_connect::error::ConnectError;
use mulgil_connect::writer::Append;
use mulgil_flow::{SqlResult, Variables, Write, WriteTarget};
use mulgil_sql::catalog::{Catalog, Table};
use mulgil_sql::problem::SqlError;
use mulgil_sql::session::Session;
use mulgil_sql::statement::{Statement, StatementKind, parse_statements};

use crate::data::{DataTasks, SqlTask, TableWait, TransferTask};
use crate::filling::filled;
use crate::log::AttemptLog;
use crate::partition::partition_of;
use crate::result::check_size;
use crate::threads::DataThreads;
use crate::transfer;
use crate::writing::{Writing, counted, written};

/// Runs data tasks with `sql` and `connect`.
pub struct TableTasks {
    connectors: Arc<Connectors>,
    /// The tables as they are declared now: files may have changed since the program started.
    catalog: Box<dyn Fn() -> Arc<Catalog> + Send + Sync>,
    threads: DataThreads,
}

impl TableTasks {
    /// Data tasks over these systems; `catalog` is asked anew for each task.
    pub fn new(connectors: Arc<Connectors>, catalog: impl Fn() -> Arc<Catalog> + Send + Sync + 'static) -> Self {
        Self { connectors, catalog: Box::new(catalog), threads: DataThreads::new("mulgil-data") }
    }

    /// The tables, with the values of a run in their options.
    fn session(&self, variables: &Variables) -> Session {
        Session::new(filled(&(self.catalog)(), variables), self.connectors.clone())
    }

    /// Does the work in a task of its own, which ends when the caller stops waiting.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        self.threads.run(work).await.unwrap_or_else(|reason| Err(Failure::Own(reason)))
    }
}

#[async_trait]
impl DataTasks for TableTasks {
    async fn sql(&self, task: SqlTask, log: &AttemptLog) -> Result<Option<serde_json::Value>, String> {
        let (session, log) = (self.session(&task.variables), log.clone());
        let place = task.file.clone().unwrap_or_else(|| "sql".to_owned());
        let work = self.run(async move { run_sql(&session, task, &log).await });
        work.await.map_err(|failure| failure.in_file(&place))
    }

    async fn has_rows(&self, wait: TableWait) -> Result<bool, String> {
        let session = self.session(&wait.variables);
        let work = self.run(async move { has_rows(&session, &wait).await });
        work.await.map_err(|failure| failure.in_file("the look at the table"))
    }

    async fn transfer(&self, task: TransferTask, log: &AttemptLog) -> Result<serde_json::Value, String> {
        let (session, log) = (self.session(&task.variables), log.clone());
        let work = self.run(async move { run_transfer(&session, task, &log).await });
        work.await.map_err(|failure| failure.in_file("the transfer's query"))
    }
}

/// Why a statement failed: in SQL's words, whose place is still to be named, or in our own.
pub(crate) enum Failure {
    Sql(SqlError),
    Own(String),
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Sql(error.into())
    }
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self::Own(error)
    }
}

impl Failure {
    /// The sentence for people; a mistake in the text gets the file in place of `query`.
    fn in_file(self, place: &str) -> String {
        match self {
            Self::Sql(SqlError::Problem(mut problem)) => {
                problem.file = place.into();
                problem.to_string()
            }
            Self::Sql(error) => error.to_string(),
            Self::Own(error) => error,
        }
    }
}

async fn has_rows(session: &Session, wait: &TableWait) -> Result<bool, Failure> {
    let table = table_of(session, &wait.table)?;
    let partition = match &wait.values {
        None => Vec::new(),
        Some(values) => {
            let partition = Write::ReplacePartition { partition: values.clone() };
            partition_of(&partition, &table.definition, &wait.variables)?
        }
    };
    let mut rows = session.query(&transfer::any_row(&table.definition, &partition)).await?.stream;
    while let Some(batch) = rows.next().await {
        if batch.map_err(SqlError::from)?.num_rows() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn run_transfer(session: &Session, task: TransferTask, log: &AttemptLog) -> Result<serde_json::Value, Failure> {
    let source = table_of(session, &task.from)?;
    let target = table_of(session, &task.target.table)?;
    let partition = partition_of(&task.target.write, &target.definition, &task.variables)?;
    let mut query = transfer::query(&source.definition, &task.rows, &target.definition, &partition, &task.variables)?;
    if matches!(task.target.write, Write::Merge { .. }) {
        query += &transfer::latest_last(&source.definition, &task.rows);
    }
    log.note(&query);
    let rows = session.query(&query).await?;
    let writing =
        Writing { session, table: &target, target: &task.target, partition, append: task.append.as_ref(), log };
    writing.write(rows).await
}

async fn run_sql(session: &Session, task: SqlTask, log: &AttemptLog) -> Result<Option<serde_json::Value>, Failure> {
    let place = task.file.as_deref().unwrap_or("sql");
    let (statements, problems) = parse_statements(place.as_ref(), &task.text);
    if !problems.is_empty() {
        return Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").into());
    }
    let Some(last) = statements.len().checked_sub(1) else {
        return Err(format!("{place} holds no statement").into());
    };
    for (number, statement) in statements.iter().enumerate() {
        let target = task.target.as_ref().filter(|_| number == last);
        if let Some(wanted) = task.result.filter(|_| number == last) {
            return rows_as_result(session, statement, wanted, log).await.map(Some);
        }
        let append = task.append.as_ref().map(|append| append.part(number + 1));
        let written = run_statement(session, statement, target, (&task, append.as_ref()), log).await?;
        if number == last {
            return Ok(written);
        }
    }
    Ok(None)
}

/// The rows of the last query as the task's result. Reading stops where it would grow too large.
async fn rows_as_result(
    session: &Session,
    statement: &Statement,
    wanted: SqlResult,
    log: &AttemptLog,
) -> Result<serde_json::Value, Failure> {
    let line = statement.line();
    if !matches!(statement.kind, StatementKind::Query(_)) {
        return Err(format!("line {line}: the task says `result:`, but its last statement is no query").into());
    }
    let mut stream = session.run_query(statement).await?.stream;
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(SqlError::from)?;
        let batch = if wanted == SqlResult::Row { batch.slice(0, batch.num_rows().min(1)) } else { batch };
        // A column without a value is there all the same: whoever reads the result can ask for it.
        let writer = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = writer.build::<_, arrow::json::writer::LineDelimited>(Vec::new());
        writer.write(&batch).map_err(|error| Failure::Own(format!("a row is no JSON: {error}")))?;
        let text = writer.into_inner();
        bytes += text.len();
        check_size(bytes, wanted == SqlResult::Rows)?;
        let read = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
        let read: Result<Vec<_>, _> = read.collect();
        rows.extend(read.map_err(|error| Failure::Own(format!("a row is no JSON: {error}")))?);
        if wanted == SqlResult::Row && !rows.is_empty() {
            break;
        }
    }
    log.note(&format!("line {line}: {} rows are the result", rows.len()));
    Ok(match wanted {
        SqlResult::Row => rows.into_iter().next().unwrap_or(serde_json::Value::Null),
        SqlResult::Rows => rows.into(),
    })
}

async fn run_statement(
    session: &Session,
    statement: &Statement,
    target: Option<&WriteTarget>,
    (task, append): (&SqlTask, Option<&Append>),
    log: &AttemptLog,
) -> Result<Option<serde_json::Value>, Failure> {
    let begun = Instant::now();
    let line = statement.line();
    match (&statement.kind, target) {
        (StatementKind::Query(_), Some(target)) => {
            let table = table_of(session, &target.table)?;
            let partition = partition_of(&target.write, &table.definition, &task.variables)?;
            let rows = session.run_query(statement).await?;
            let writing = Writing { session, table: &table, target, partition, append: task.append.as_ref(), log };
            writing.write(rows).await.map(Some)
        }
        (StatementKind::Query(_), None) => {
            let (mut rows, read) = counted(session.run_query(statement).await?.stream);
            while let Some(batch) = rows.next().await {
                batch.map_err(SqlError::from)?;
            }
            let rows = read.load(Ordering::Relaxed);
            log.note(&format!("line {line}: {rows} rows, which go nowhere without `to:`"));
            Ok(None)
        }
        (StatementKind::Insert(_), None) => {
            let summary = session.run_insert(statement, append).await?;
            match summary.is_repeated {
                true => log.note(&format!(
                    "line {line}: its rows are there already, by an earlier attempt: nothing was written"
                )),
                false => log.note(&format!("line {line}: {}", written(&summary, begun))),
            }
            Ok(None)
        }
        (StatementKind::Insert(_), Some(target)) => Err(Failure::Own(format!(
            "line {line}: the last statement is an INSERT, but the task says `to: {}`: end with a SELECT, or remove `to:`",
            target.table
        ))),
        _ => Err(Failure::Own(format!(
            "line {line}: a SQL task runs SELECT and INSERT only: declare tables in sources/ and views in views/"
        ))),
    }
}

fn table_of(session: &Session, name: &str) -> Result<Arc<Table>, String> {
    let catalog = session.catalog();
    let parsed = TableName::parse(name);
    if let Some(problem) = catalog.problem(&parsed) {
        return Err(format!("table {name} is broken: {problem}"));
    }
    catalog.table(&parsed).cloned().ok_or_else(|| {
        let known: Vec<String> = catalog.tables().map(|table| table.definition.name.to_string()).collect();
        format!("there is no table {name}: declare it in sources/; there are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests;
