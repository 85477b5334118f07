//! The log of an attempt: a piece of it from an offset, or followed while it grows.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{KeepAlive, Sse};
use mulgil_history::read::AttemptRow;
use mulgil_sched::id::RunId;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::log_file;
use crate::node::Node;
use crate::scheduler::Change;

/// How often a followed log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Pieces that may wait for a slow client, each of at most 256 KiB.
const PIECES_MAX: usize = 4;

/// From where to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// The byte to begin at: 0, or the `next_offset` of the piece before.
    pub offset: Option<u64>,
}

/// A piece of an attempt's log. The event stream `/log/stream` sends the same as the data of its `log` events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogChunk {
    /// The text, at most 256 KiB of it. Bytes that are no UTF-8 are replaced.
    pub text: String,
    /// Where the next piece begins, in bytes.
    pub next_offset: u64,
    /// Whether nothing more will come: the attempt is over and this is its last piece.
    pub complete: bool,
}

/// Part of an attempt's log.
#[utoipa::path(get, path = "/runs/{run}/tasks/{task}/attempts/{attempt}/log", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), ("task" = String, Path, description = "The task's name."),
        ("attempt" = u32, Path, description = "The attempt's number, from 1."), LogQuery),
    responses((status = 200, body = LogChunk), (status = "default", body = ErrorBody)))]
pub(crate) async fn read_log(
    State(node): State<Node>,
    Path((run, task, number)): Path<(i64, String, u32)>,
    Query(from): Query<LogQuery>,
) -> Result<Json<LogChunk>, ApiError> {
    let attempt = find(&node, run, &task, number).await?;
    let over = attempt.status.is_terminal();
    chunk(&node, &attempt, from.offset.unwrap_or(0), over).await.map(Json)
}

/// Follows an attempt's log as server-sent events.
///
/// Each `log` event has a `LogChunk` as its data and its `next_offset` as its id, so that a browser goes on where it
/// stopped. The stream ends after an `end` event.
#[utoipa::path(get, path = "/runs/{run}/tasks/{task}/attempts/{attempt}/log/stream", tag = "runs",
    params(("run" = i64, Path, description = "The run's id."), ("task" = String, Path, description = "The task's name."),
        ("attempt" = u32, Path, description = "The attempt's number, from 1."), LogQuery),
    responses((status = 200, body = LogChunk, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
pub(crate) async fn follow_log(
    State(node): State<Node>,
    Path((run, task, number)): Path<(i64, String, u32)>,
    Query(from): Query<LogQuery>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    // Listening begins before the status is read, so that the end cannot fall in between.
    let changes = node.scheduler.subscribe();
    let attempt = find(&node, run, &task, number).await?;
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let offset = resumed.or(from.offset).unwrap_or(0);
    let (pieces, stream) = mpsc::channel(PIECES_MAX);
    tokio::spawn(Follower { node, run, attempt, changes, pieces }.run(offset));
    Ok(Sse::new(ReceiverStream::new(stream)).keep_alive(KeepAlive::default()))
}

async fn find(node: &Node, run: i64, task: &str, number: u32) -> Result<AttemptRow, ApiError> {
    let found = node.history.run(RunId(run)).await?.ok_or_else(|| ApiError::not_found("run", run))?;
    let mut attempts = found.attempts.into_iter();
    attempts
        .find(|attempt| attempt.task == task && attempt.attempt == number)
        .ok_or_else(|| ApiError::not_found("attempt", format!("{number} of task {task} in run {run}")))
}

/// `over` has to be known from before the file is read: then nothing more can follow what was read.
async fn chunk(node: &Node, attempt: &AttemptRow, offset: u64, over: bool) -> Result<LogChunk, ApiError> {
    let path = node.dir.join(&attempt.log);
    let piece = log_file::read(&path, offset, !over).await.map_err(|error| {
        ApiError::unavailable(format!("the log {} cannot be read", attempt.log)).with_detail(error.to_string())
    })?;
    Ok(LogChunk { text: piece.text, next_offset: piece.next_offset, complete: over && piece.at_end })
}

type SseEvent = Result<axum::response::sse::Event, Infallible>;

/// Waits until the attempt has ended, or until changes were missed, so that it may have.
async fn news(changes: &mut broadcast::Receiver<Change>, followed: i64, row: &AttemptRow) {
    loop {
        match changes.recv().await {
            Ok(Change::Attempt { run, task, attempt, status, .. }) => {
                let is_followed = run.0 == followed && task == row.task && attempt == row.attempt;
                if is_followed && status.is_terminal() {
                    return;
                }
            }
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            // The scheduler has stopped: no news will come.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Follows one log for one client.
struct Follower {
    node: Node,
    run: i64,
    attempt: AttemptRow,
    changes: broadcast::Receiver<Change>,
    pieces: mpsc::Sender<SseEvent>,
}

impl Follower {
    async fn run(mut self, mut offset: u64) {
        let mut over = self.attempt.status.is_terminal();
        // A file tells nobody that it grows, least of all when a worker on another machine writes it.
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.send_new(&mut offset, over).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return tracing::warn!(%error, "a log could not be followed"),
            }
            if over {
                let end = axum::response::sse::Event::default().event("end").data("{}");
                // An error means that the client has gone.
                let _ = self.pieces.send(Ok(end)).await;
                return;
            }
            tokio::select! {
                _ = tick.tick() => {}
                () = news(&mut self.changes, self.run, &self.attempt) => over = self.is_over().await,
                () = self.pieces.closed() => return,
                () = self.node.stopping.cancelled() => return,
            }
        }
    }

    async fn is_over(&self) -> bool {
        match find(&self.node, self.run, &self.attempt.task, self.attempt.attempt).await {
            Ok(attempt) => attempt.status.is_terminal(),
            Err(error) => {
                tracing::warn!(%error, "the attempt of a followed log could not be read");
                false
            }
        }
    }

    /// Sends what has been written since; false when the client has gone.
    async fn send_new(&self, offset: &mut u64, over: bool) -> Result<bool, ApiError> {
        loop {
            let chunk = chunk(&self.node, &self.attempt, *offset, over).await?;
            if chunk.next_offset == *offset {
                return Ok(true);
            }
            *offset = chunk.next_offset;
            let event = axum::response::sse::Event::default().event("log").id(chunk.next_offset.to_string());
            let event = event.json_data(&chunk).map_err(|error| ApiError::internal(error.to_string()))?;
            if self.pieces.send(Ok(event)).await.is_err() {
                return Ok(false);
            }
            if chunk.complete {
                return Ok(true);
            }
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(read_log)).routes(routes!(follow_log))
}
