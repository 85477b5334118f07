//! Topics of the event log: what there is, appending JSON lines, reading records back.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Partition {
    /// Its number, from 0.
    pub partition: u32,
    /// The offset of the oldest record that is kept.
    pub first_offset: u64,
    /// The offset that the next record gets.
    pub next_offset: u64,
    /// How many bytes it has on disk.
    pub bytes: u64,
}

/// Where to append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AppendQuery {
    /// The partition to append to. Unless told, the server chooses one for the whole body.
    pub partition: Option<u32>,
}

/// What was appended. It is on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Appended {
    /// How many records.
    pub records: u64,
    /// The partition that they stand in.
    pub partition: u32,
    /// The offset of the first of them.
    pub first_offset: u64,
}

/// Which records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RecordsQuery {
    /// The partition; 0 unless told.
    pub partition: Option<u32>,
    /// The offset to begin at; unless told, the oldest that is kept.
    pub offset: Option<u64>,
    /// At most so many; 100 unless told, 10000 at most.
    pub limit: Option<u32>,
}

/// Records of one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Records {
    /// The records, in the order of their offsets.
    pub records: Vec<Record>,
    /// Pass it as `offset` for what follows.
    pub next_offset: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Record {
    /// Its offset.
    pub offset: u64,
    /// When it was appended.
    pub timestamp: Timestamp,
    /// Its value, where that is JSON; else its text as a JSON string.
    pub value: serde_json::Value,
}

/// Every topic.
#[utoipa::path(get, path = "/topics", tag = "topics",
    responses((status = 200, body = [Topic]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_topics(State(node): State<Node>) -> Result<Json<Vec<Topic>>, ApiError> {
    Err(node.not_wired())
}

/// Appends JSON lines.
///
/// Each line must be one JSON object; a line that is not is told with its number, and then nothing of the body is
/// appended. The answer comes when all of it is on disk.
#[utoipa::path(post, path = "/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), AppendQuery),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = Appended), (status = "default", body = ErrorBody)))]
pub(crate) async fn append_records(
    State(node): State<Node>,
    Path(_topic): Path<String>,
    Query(_to): Query<AppendQuery>,
    _body: Bytes,
) -> Result<Json<Appended>, ApiError> {
    Err(node.not_wired())
}

/// Reads records of a partition.
#[utoipa::path(get, path = "/topics/{topic}/records", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), RecordsQuery),
    responses((status = 200, body = Records), (status = "default", body = ErrorBody)))]
pub(crate) async fn read_records(
    State(node): State<Node>,
    Path(_topic): Path<String>,
    Query(_from): Query<RecordsQuery>,
) -> Result<Json<Records>, ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(list_topics)).routes(routes!(append_records)).routes(routes!(read_records))
}
