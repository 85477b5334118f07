//! Workers: who they are, and the port through which those on other machines take work.
//!
//! What a worker says is no part of the API for people: both ends are this program, and `mulgil_worker::remote` knows the words. A
//! lease that is lost is answered with 410, a worker that has to join (again) with 404.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::Timestamp;
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};
use mulgil_worker::dispatcher::DispatchError;
use mulgil_worker::remote::desk::{DeskError, Guest};
use mulgil_worker::remote::link::{HOLD_HEADER, HOLD_MAX};
use mulgil_worker::remote::wire::{Finished, Join, Joined, LogStored, Poll, Polled, Started, name_of};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Bytes, Json, Path, Query};
use crate::node::Node;

/// The workers, and the tasks that wait for one that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Workers {
    /// The server's own first, then those on other machines by name.
    pub workers: Vec<WorkerInfo>,
    /// Ready tasks that no worker may run.
    pub unmet: Vec<UnmetDemand>,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerInfo {
    /// Its name.
    pub name: String,
    /// Its name together with what tells this start of it from every other: the owner of its leases.
    pub id: String,
    /// Whether it is part of the server.
    pub own: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether it takes tasks without tags.
    pub untagged: bool,
    /// Whether it has the project's folder, and so takes tasks that need its tables.
    pub project: bool,
    /// How many tasks it runs at once.
    pub slots: u32,
    /// How many it runs now.
    pub running: u32,
    /// The version of its program.
    pub version: String,
    /// When it was last heard.
    pub heartbeat_at: Timestamp,
    /// When it joined.
    pub joined_at: Timestamp,
}

/// Ready tasks that ask for a worker that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnmetDemand {
    /// What they wait for, in a few words: `a worker with the tags gpu`.
    pub waits_for: String,
    /// How many they are.
    pub tasks: u32,
    /// The flow of one of them.
    pub flow: String,
    /// Its run.
    pub run: i64,
    /// Its name.
    pub task: String,
}

/// The workers, and the tasks that wait for one that is not there.
#[utoipa::path(get, path = "/workers", tag = "workers",
    responses((status = 200, body = Workers), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_workers(State(node): State<Node>) -> Result<Json<Workers>, ApiError> {
    let workforce = node.scheduler.workers().await?;
    let guests: HashMap<String, Guest> =
        node.desk.guests().into_iter().map(|guest| (guest.owner.clone(), guest)).collect();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let info = |seated: crate::scheduler::Seated| {
        let guest = guests.get(&seated.name);
        WorkerInfo {
            name: name_of(&seated.name).to_owned(),
            own: seated.offer.own,
            tags: seated.offer.tags.into_iter().collect(),
            untagged: seated.offer.untagged,
            project: seated.offer.project,
            slots: count(seated.slots),
            running: count(seated.running),
            version: guest.map_or_else(|| crate::project::VERSION.to_owned(), |guest| guest.version.clone()),
            heartbeat_at: guest.map_or_else(Timestamp::now, |guest| guest.heard),
            joined_at: guest.map_or(node.started_at, |guest| guest.joined),
            id: seated.name,
        }
    };
    let mut workers: Vec<WorkerInfo> = workforce.workers.into_iter().map(info).collect();
    workers.sort_by(|a, b| (!a.own, &a.name, &a.id).cmp(&(!b.own, &b.name, &b.id)));
    let unmet = workforce.unmet.into_iter().map(|unmet| {
        let (flow, run, task) = unmet.example;
        UnmetDemand { waits_for: unmet.demand, tasks: count(unmet.tasks), flow, run: run.0, task }
    });
    Ok(Json(Workers { workers, unmet: unmet.collect() }))
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        let message = error.to_string();
        match error {
            DeskError::Unknown(worker) => Self::not_found("worker", worker),
            DeskError::Invalid(_) => Self::invalid(message),
            DeskError::Dispatch(error) => error.into(),
        }
    }
}

impl From<DispatchError> for ApiError {
    fn from(error: DispatchError) -> Self {
        let message = error.to_string();
        match error {
            DispatchError::Fenced { .. } => Self::gone(message),
            DispatchError::Stopped => Self::unavailable(message),
            DispatchError::Refused(_) => Self::invalid(message),
        }
    }
}

async fn join(State(node): State<Node>, Json(join): Json<Join>) -> Result<Json<Joined>, ApiError> {
    Ok(Json(node.desk.join(join).await?))
}

async fn poll(
    State(node): State<Node>,
    Path(worker): Path<String>,
    headers: HeaderMap,
    Json(poll): Json<Poll>,
) -> Result<Json<Polled>, ApiError> {
    let asked = headers.get(HOLD_HEADER).and_then(|hold| hold.to_str().ok()?.parse().ok());
    let hold = asked.map_or(HOLD_MAX, Duration::from_millis).min(HOLD_MAX);
    tokio::select! {
        polled = node.desk.poll(&worker, poll, hold) => Ok(Json(polled?)),
        () = node.stopping.cancelled() => Err(ApiError::unavailable("the server stops")),
    }
}

async fn started(
    State(node): State<Node>,
    Path(worker): Path<String>,
    Json(started): Json<Started>,
) -> Result<Json<()>, ApiError> {
    Ok(Json(node.desk.started(&worker, &started).await?))
}

async fn finished(
    State(node): State<Node>,
    Path(worker): Path<String>,
    Json(finished): Json<Finished>,
) -> Result<Json<()>, ApiError> {
    Ok(Json(node.desk.finished(&worker, finished).await?))
}

/// Which log, and where in it.
#[derive(Clone, Copy, Debug, Deserialize)]
struct LogPlace {
    run: i64,
    task: TaskIndex,
    attempt: u32,
    epoch: i64,
    offset: u64,
}

/// Takes a piece of a log. One that comes twice is written twice to the same place.
async fn log(
    State(node): State<Node>,
    Path(worker): Path<String>,
    Query(place): Query<LogPlace>,
    Bytes(piece): Bytes,
) -> Result<Json<LogStored>, ApiError> {
    node.desk.knows(&worker)?;
    let attempt = AttemptId { run: RunId(place.run), task: place.task, attempt: place.attempt };
    let log = node.scheduler.log_of(attempt, place.epoch).await?;
    let stored = write(&node.dir.join(&log), place.offset, &piece).await;
    let length = stored.map_err(|error| {
        ApiError::unavailable(format!("the log {log} cannot be written")).with_detail(error.to_string())
    })?;
    Ok(Json(LogStored { length }))
}

/// Writes a piece at its place, and says where the next one begins. A piece that lies behind the end is not taken: what comes
/// before it is missing here.
async fn write(path: &std::path::Path, offset: u64, piece: &[u8]) -> std::io::Result<u64> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let mut file = tokio::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path).await?;
    let length = file.metadata().await?.len();
    if offset > length {
        return Ok(length);
    }
    file.seek(SeekFrom::Start(offset)).await?;
    file.write_all(piece).await?;
    file.flush().await?;
    Ok(offset + piece.len() as u64)
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(list_workers))
        .route("/workers", post(join))
        .route("/workers/{worker}/poll", post(poll))
        .route("/workers/{worker}/started", post(started))
        .route("/workers/{worker}/finished", post(finished))
        .route("/workers/{worker}/log", post(log))
}

impl ApiError {
    /// 410: the lease is another's.
    fn gone(message: impl Into<String>) -> Self {
        let mut error = Self::conflict(message);
        error.status = StatusCode::GONE;
        error
    }
}
