//! SQL over tables and views: one answer as JSON, or streamed as CSV or JSON lines.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;

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
/// With `Accept: text/csv` or `Accept: application/x-ndjson` the rows are streamed; CSV begins with a header line. A
/// failure after the first rows ends such a stream early, without its closing chunk.
#[utoipa::path(post, path = "/sql", tag = "sql", request_body = SqlAsk,
    responses((status = 200, content((Rows = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        (status = "default", body = ErrorBody)))]
pub(crate) async fn run_sql(State(node): State<Node>, Json(_ask): Json<SqlAsk>) -> Result<(), ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(run_sql))
}
