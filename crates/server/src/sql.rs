//! SQL over tables and views: one answer as JSON, or streamed as CSV or JSON lines.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use mulgil_serving::run::{Mode, RunOptions, StatementResult, run_statements};
use mulgil_sql::session::{QUERY_FILE, QueryResult};
use mulgil_sql::statement::{Statement, StatementKind, parse_statements};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::Json;
use crate::node::Node;
use crate::own_tables::OwnTables;
use crate::reload::Loaded;
use crate::rows::{columns, csv, json_lines, json_rows};

const ROWS_DEFAULT: u32 = 1000;
const ROWS_MAX: u32 = 100_000;

/// How a query over streams runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SqlMode {
    /// Over what is there now.
    #[default]
    Batch,
    /// Over the changes, as a dataflow.
    Stream,
}

/// A statement to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlAsk {
    /// One or several statements; the rows are those of the last.
    pub sql: String,
    /// How it runs.
    #[serde(default)]
    pub mode: SqlMode,
    /// At most so many rows; of JSON answers 1000 unless told, 100000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its SQL type, such as `BIGINT` or `TIMESTAMP(3)`.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// Whether it may be null.
    pub nullable: bool,
}

/// Rows with their columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rows {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows: one value a column. Timestamps and dates are ISO 8601 text; integers beyond 2^53 are text.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there were more rows than the limit.
    pub truncated: bool,
    /// How long the query took, in milliseconds.
    pub elapsed_ms: u64,
}

/// Runs SQL.
///
/// In batch, views hold their results as they are now. A statement without rows, such as an `INSERT`, answers with one
/// row that says what it did.
///
/// With `Accept: text/csv` or `Accept: application/x-ndjson` the rows are streamed; CSV begins with a header line. A
/// failure after the first rows ends such a stream early, without its closing chunk.
#[utoipa::path(post, path = "/sql", tag = "sql", request_body = SqlAsk,
    responses((status = 200, content((Rows = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn run_sql(
    State(node): State<Node>,
    headers: HeaderMap,
    Json(ask): Json<SqlAsk>,
) -> Result<Response, ApiError> {
    let started = Instant::now();
    let answer = Answer::of(&node, &ask).await?;
    match wanted(&headers) {
        Wanted::Json => {
            let limit = ask.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX) as usize;
            Ok(Json(Rows::collect(&answer.schema, answer.batches, limit, started).await?).into_response())
        }
        wanted => Ok(stream(answer, wanted, ask.limit)),
    }
}

/// The form in which rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Json,
    Csv,
    JsonLines,
}

fn wanted(headers: &HeaderMap) -> Wanted {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("text/csv") {
        Wanted::Csv
    } else if accept.contains("application/x-ndjson") {
        Wanted::JsonLines
    } else {
        Wanted::Json
    }
}

/// Batches as they come.
type Batches = BoxStream<'static, Result<RecordBatch, ApiError>>;

/// The rows of the last statement.
struct Answer {
    schema: SchemaRef,
    batches: Batches,
}

impl Answer {
    async fn of(node: &Node, ask: &SqlAsk) -> Result<Self, ApiError> {
        let loaded = node.loaded();
        let (statements, _) = parse_statements(Path::new(QUERY_FILE), &ask.sql);
        // The usual case by the shortest way: one SELECT, over the views as they are now.
        if let ([Statement { kind: StatementKind::Query(_), .. }], SqlMode::Batch) = (statements.as_slice(), ask.mode) {
            let session = loaded.views.session().with_system(OwnTables::system(node.clone()));
            return Ok(Self::of_query(session.query(&ask.sql).await?));
        }
        let last = run_script(node, &loaded, ask).await?;
        match last {
            None => Err(ApiError::invalid("there is no statement")),
            Some(StatementResult::Rows(result)) => Ok(Self::of_query(result)),
            Some(StatementResult::FinalRows { schema, batches, .. }) => {
                Ok(Self { schema, batches: futures::stream::iter(batches.into_iter().map(Ok)).boxed() })
            }
            Some(StatementResult::Declared(name)) => Self::of_line("declared", name),
            Some(StatementResult::Written { table, rows }) => {
                Self::of_line("written", format!("{rows} rows to {table}"))
            }
            Some(StatementResult::Explained(plan)) => Self::of_line("plan", plan),
        }
    }

    fn of_query(result: QueryResult) -> Self {
        let batches = result.stream.map(|batch| batch.map_err(|error| failed(&error)));
        Self { schema: result.schema, batches: batches.boxed() }
    }

    /// What a statement without rows says, as one row.
    fn of_line(column: &str, text: String) -> Result<Self, ApiError> {
        let values: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let batch = RecordBatch::try_from_iter([(column, values)]).map_err(|error| failed(&error))?;
        Ok(Self { schema: batch.schema(), batches: futures::stream::iter([Ok(batch)]).boxed() })
    }
}

/// Runs all statements and keeps what the last one gave. The rows of those before it are not read.
async fn run_script(node: &Node, loaded: &Loaded, ask: &SqlAsk) -> Result<Option<StatementResult>, ApiError> {
    let mode = match ask.mode {
        SqlMode::Batch => Mode::Batch,
        SqlMode::Stream => Mode::Stream,
    };
    let system = Some(OwnTables::system(node.clone()));
    let options = RunOptions { mode, snapshots: Some(loaded.views.snapshots()), system, ..RunOptions::default() };
    let connectors = node.connectors.clone();
    let (catalog, text) = (loaded.catalog.clone(), ask.sql.clone());
    let runtime = tokio::runtime::Handle::current();
    // A thread of its own: the compiler cannot see that a callback's future may move between threads.
    let ran = tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let mut last = None;
            let keep = async |result| {
                last = Some(result);
                Ok(())
            };
            run_statements(Path::new(QUERY_FILE), &text, &catalog, connectors, &options, keep).await?;
            Ok(last)
        })
    });
    ran.await.map_err(|error| ApiError::internal("running statements failed").with_detail(error.to_string()))?
}

fn failed(error: &dyn std::error::Error) -> ApiError {
    ApiError::invalid(format!("query failed: {error}"))
}

impl Rows {
    /// Takes rows up to the limit, and looks whether there are more.
    pub(crate) async fn collect<E: std::error::Error>(
        schema: &Schema,
        mut batches: impl Stream<Item = Result<RecordBatch, E>> + Unpin,
        limit: usize,
        started: Instant,
    ) -> Result<Self, ApiError> {
        let mut rows = Vec::new();
        let mut truncated = false;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| failed(&error))?;
            let room = limit - rows.len();
            rows.extend(json_rows(&batch, room).map_err(|error| failed(&error))?);
            if batch.num_rows() > room {
                truncated = true;
                break;
            }
        }
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Self { columns: columns(schema), rows, truncated, elapsed_ms })
    }
}

/// Sends rows as they come. A failure breaks the answer off: the client sees that it is not whole.
fn stream(answer: Answer, wanted: Wanted, limit: Option<u32>) -> Response {
    let head = match wanted {
        // A header line stands also where there is no row.
        Wanted::Csv => csv(&RecordBatch::new_empty(answer.schema), true),
        _ => Ok(Vec::new()),
    };
    let mut room = limit.map_or(usize::MAX, |limit| limit as usize);
    let cut = answer.batches.map(move |batch| {
        let batch = batch?;
        let taken = batch.slice(0, batch.num_rows().min(room));
        room -= taken.num_rows();
        let bytes = if wanted == Wanted::Csv { csv(&taken, false) } else { json_lines(&taken) };
        bytes.map(|bytes| (bytes, room)).map_err(|error| failed(&error))
    });
    // The batch that fills the limit is the last one asked for.
    let mut full = false;
    let bytes = cut.take_while(move |item| {
        let go_on = !full;
        full = matches!(item, Ok((_, 0)));
        std::future::ready(go_on)
    });
    let head = futures::stream::iter([head.map_err(|error| failed(&error))]);
    let body = Body::from_stream(head.chain(bytes.map(|item| item.map(|(bytes, _)| bytes))));
    let media_type = if wanted == Wanted::Csv { "text/csv; charset=utf-8" } else { "application/x-ndjson" };
    ([(header::CONTENT_TYPE, media_type)], body).into_response()
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(run_sql))
}
