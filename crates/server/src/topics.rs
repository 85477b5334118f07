//! Topics of the event log: what there is, appending records, reading them back.

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use mulgil_log::{self as log, StartAt, TopicOptions};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::append_body::BodyFormat;
use crate::error::{ApiError, ErrorBody};
use crate::extract::{Bytes, Json, Path, Query};
use crate::node::Node;

/// The largest body of one append.
const APPEND_BYTES_MAX: usize = 16 * 1024 * 1024;
const RECORDS_DEFAULT: u32 = 100;
const RECORDS_MAX: u32 = 10_000;
/// How much is read from the log at once.
const READ_BYTES: usize = 1024 * 1024;
/// The longest that an answer waits for records to come.
const WAIT_MS_MAX: u64 = 30_000;

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
    /// The partition to append to. Unless told, the one with the fewest records, for the whole body.
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
    /// Whether they had been appended before, by a request with the same `Idempotency-Key`: then nothing was now.
    pub repeated: bool,
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
    /// Wait so many milliseconds, 30000 at most, for records when there are none yet: to follow a topic.
    pub wait_ms: Option<u64>,
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
    node.log.topics().iter().map(Topic::of).collect::<Result<_, _>>().map(Json)
}

/// Appends records: JSON lines, JSON, CSV or lines of text.
///
/// `application/x-ndjson`, and whatever is not one of the others: one JSON object a line. `application/json`: one object or an array of
/// them. `text/csv`: a header line with the fields' names; a cell is a string, `true` and `false` are booleans, an empty one is null. A record is a JSON object.
/// `text/plain`: each line is a record as it is, for tables of the format `raw`; blank lines are left out.
/// One that cannot be read is told with its line, and then nothing of the body is appended. The answer comes when all of it is on disk. A topic that is not there yet is
/// created with one partition. A body has at most 16 MiB.
///
/// With the header `Idempotency-Key` (1 to 255 bytes) a request can be sent again: within a day the same key with the same body appends nothing and is answered as
/// the first time, also when the server has been killed in between. The same key with other records is a conflict.
#[utoipa::path(post, path = "/topics/{topic}", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), AppendQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "What tells this append from all others.")),
    request_body(content((String = "application/x-ndjson"), (String = "application/json"), (String = "text/csv"), (String = "text/plain"))),
    responses((status = 200, body = Appended), (status = "default", body = ErrorBody)))]
pub(crate) async fn append_records(
    State(node): State<Node>,
    Path(topic): Path<String>,
    Query(to): Query<AppendQuery>,
    headers: HeaderMap,
    Bytes(body): Bytes,
) -> Result<Json<Appended>, ApiError> {
    let now_ms = Timestamp::now().as_millisecond();
    let values = BodyFormat::of(&headers).values(&body)?;
    let record = |value| log::Record { timestamp_ms: now_ms, key: None, value };
    let records: Vec<log::Record> = values.into_iter().map(record).collect();
    let topic = node.log.topic_or_create(&topic, TopicOptions::default())?;
    let partition = match to.partition {
        Some(partition) => partition,
        // Whoever does not care gets the partition with the fewest records.
        None => shortest(&topic)?,
    };
    let once = match idempotency_key(&headers)? {
        Some(key) => topic.append_once(key, partition, records, now_ms).await?,
        None => {
            let offsets = topic.append(partition, &records).await?;
            log::Once { partition, offsets, is_repeated: false }
        }
    };
    let log::Once { partition, offsets, is_repeated } = once;
    let records = offsets.end - offsets.start;
    Ok(Json(Appended { records, partition, first_offset: offsets.start, repeated: is_repeated }))
}

/// What tells a request from all others, where its sender says so.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let wrong =
        |_| ApiError::invalid("the header Idempotency-Key is not ASCII text").with_hint("send a UUID, for example");
    key.to_str().map(Some).map_err(wrong)
}

/// Reads records of a partition.
#[utoipa::path(get, path = "/topics/{topic}/records", tag = "topics",
    params(("topic" = String, Path, description = "The topic's name."), RecordsQuery),
    responses((status = 200, body = Records), (status = "default", body = ErrorBody)))]
pub(crate) async fn read_records(
    State(node): State<Node>,
    Path(topic): Path<String>,
    Query(from): Query<RecordsQuery>,
) -> Result<Json<Records>, ApiError> {
    let topic = node.log.topic(&topic)?;
    let partition = from.partition.unwrap_or(0);
    let start = from.offset.map_or(StartAt::Earliest, StartAt::Offset);
    if let Some(wait_ms) = from.wait_ms {
        let end = from.offset.unwrap_or(topic.offsets(partition)?.start);
        let mut watch = topic.watch(partition)?;
        let wait = Duration::from_millis(wait_ms.min(WAIT_MS_MAX));
        tokio::select! {
            // Either way the records are read afterwards, be there some or none.
            _ = tokio::time::timeout(wait, watch.wait_for(|next| *next > end)) => {}
            () = node.stopping.cancelled() => {}
        }
    }
    let limit = from.limit.unwrap_or(RECORDS_DEFAULT).min(RECORDS_MAX) as usize;
    let read = tokio::task::spawn_blocking(move || read(&topic, partition, start, limit));
    let records =
        read.await.map_err(|error| ApiError::internal("reading records failed").with_detail(error.to_string()))?;
    records.map(Json)
}

fn shortest(topic: &log::Topic) -> Result<u32, ApiError> {
    let mut best = (u64::MAX, 0);
    for partition in 0..topic.partitions() {
        best = best.min((topic.offsets(partition)?.end, partition));
    }
    Ok(best.1)
}

fn read(topic: &log::Topic, partition: u32, start: StartAt, limit: usize) -> Result<Records, ApiError> {
    let mut reader = topic.reader(partition, start)?;
    let mut records = Vec::new();
    let mut next_offset = reader.offset();
    while records.len() < limit {
        let frames = reader.read(READ_BYTES)?;
        if frames.is_empty() {
            break;
        }
        for record in frames.iter().flat_map(log::Frame::records).take(limit - records.len()) {
            next_offset = record.offset + 1;
            records.push(Record::of(record));
        }
    }
    Ok(Records { records, next_offset })
}

impl Topic {
    fn of(topic: &log::Topic) -> Result<Self, ApiError> {
        let partition = |partition: u32| -> Result<Partition, ApiError> {
            let offsets = topic.offsets(partition)?;
            let bytes = topic.size_bytes(partition)?;
            Ok(Partition { partition, first_offset: offsets.start, next_offset: offsets.end, bytes })
        };
        let partitions = (0..topic.partitions()).map(partition).collect::<Result<_, _>>()?;
        Ok(Self { name: topic.name().to_owned(), partitions })
    }
}

impl Record {
    fn of(record: log::RecordRef<'_>) -> Self {
        let text = || serde_json::Value::String(String::from_utf8_lossy(record.value).into_owned());
        Self {
            offset: record.offset,
            timestamp: Timestamp::from_millisecond(record.timestamp_ms).unwrap_or_default(),
            value: serde_json::from_slice(record.value).unwrap_or_else(|_| text()),
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(list_topics))
        .routes(routes!(append_records).layer(DefaultBodyLimit::max(APPEND_BYTES_MAX)))
        .routes(routes!(read_records))
}
