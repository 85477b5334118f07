//! What a view promises of its rows when it is killed, how its checkpoints go, and its savepoints.

use axum::extract::State;
use jiff::Timestamp;
use mulgil_connect::definition::TableName;
use mulgil_engine::status::{CheckpointStatus, GuaranteeStatus};
use mulgil_serving::status::RestartStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path};
use crate::node::Node;
use crate::views::{ViewDetail, time};

/// What is promised of a view's rows, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guarantee {
    /// `at-most-once`, `at-least-once`, `exactly-once` or `end-to-end exactly-once`.
    pub given: String,
    /// What the tables have to do with it.
    pub reasons: Vec<GuaranteeReason>,
}

/// What a table has to do with a guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuaranteeReason {
    /// Whether the table is read; otherwise it is written.
    pub is_source: bool,
    /// The table.
    pub table: String,
    /// What it can do.
    pub says: String,
}

impl From<GuaranteeStatus> for Guarantee {
    fn from(status: GuaranteeStatus) -> Self {
        let reasons = status.reasons.into_iter().map(|reason| GuaranteeReason {
            is_source: reason.is_source,
            table: reason.table,
            says: reason.says.to_owned(),
        });
        Self { given: status.given.to_owned(), reasons: reasons.collect() }
    }
}

/// How often a view's job has been started again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restarts {
    /// How often, since a person started it.
    pub count: u64,
    /// How often in a row without coming a row further.
    pub tries: u32,
    /// When it is started next. Absent: it does not wait for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Timestamp>,
    /// Why it failed last.
    pub last_error: String,
    /// When it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
}

impl Restarts {
    /// What has happened, if anything has.
    pub(crate) fn of(status: &RestartStatus) -> Option<Self> {
        Some(Self {
            count: status.count,
            tries: status.tries,
            next_try_at: time(status.next_try_ms),
            last_error: status.last_error.clone()?,
            failed_at: time(status.failed_ms),
        })
    }
}

/// How the checkpoints of a view go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Checkpoints {
    /// How many have been made since the view was started.
    pub completed: u64,
    /// How many could not be written.
    pub failed: u64,
    /// How many were given up because rows would have stood still for too long.
    #[serde(default)]
    pub given_up: u64,
    /// When the last one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// How long rows stood still for the last one, in milliseconds.
    pub pause_ms: f64,
    /// How long it took to write the last one, while rows went on, in milliseconds.
    pub took_ms: f64,
    /// What the last one has written, in bytes.
    pub written_bytes: u64,
    /// What the state takes on disk, in bytes.
    pub state_bytes: u64,
    /// Why the last one could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<CheckpointStatus> for Checkpoints {
    fn from(status: CheckpointStatus) -> Self {
        Self {
            completed: status.completed,
            failed: status.failed,
            given_up: status.given_up,
            completed_at: time(status.completed_ms),
            pause_ms: status.pause_ms,
            took_ms: status.took_ms,
            written_bytes: status.written_bytes,
            state_bytes: status.state_bytes,
            error: status.error,
        }
    }
}

/// A savepoint of a view: its state under a name, kept until somebody removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Savepoint {
    /// Its name.
    pub name: String,
    /// When its state was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<Timestamp>,
    /// How many bytes its state takes.
    pub size_bytes: u64,
}

impl From<mulgil_engine::savepoint::Savepoint> for Savepoint {
    fn from(savepoint: mulgil_engine::savepoint::Savepoint) -> Self {
        Self { name: savepoint.name, made_at: time(Some(savepoint.made_ms)), size_bytes: savepoint.size_bytes }
    }
}

/// What a savepoint is to be called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SavepointAsk {
    /// Its name: letters, digits, `-`, `_`. Absent: the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Keeps the state of a view, as it is now, under a name.
#[utoipa::path(post, path = "/views/{view}/savepoints", tag = "views",
    params(("view" = String, Path, description = "The view's name.")), request_body = SavepointAsk,
    responses((status = 200, body = Savepoint), (status = "default", body = ErrorBody)))]
pub(crate) async fn make_savepoint(
    State(node): State<Node>,
    Path(view): Path<String>,
    Json(ask): Json<SavepointAsk>,
) -> Result<Json<Savepoint>, ApiError> {
    let name = ask.name.unwrap_or_else(|| Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string());
    let made = node.loaded().views.savepoint(&TableName::parse(&view), &name).await?;
    Ok(Json(made.into()))
}

/// The savepoints of a view, the newest last.
#[utoipa::path(get, path = "/views/{view}/savepoints", tag = "views",
    params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = [Savepoint]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_savepoints(
    State(node): State<Node>,
    Path(view): Path<String>,
) -> Result<Json<Vec<Savepoint>>, ApiError> {
    let savepoints = node.loaded().views.savepoints(&TableName::parse(&view)).await?;
    Ok(Json(savepoints.into_iter().map(Savepoint::from).collect()))
}

/// Lets a view go on from a savepoint.
#[utoipa::path(post, path = "/views/{view}/savepoints/{savepoint}/restore", tag = "views",
    params(("view" = String, Path, description = "The view's name."), ("savepoint" = String, Path, description = "The savepoint's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn restore_savepoint(
    State(node): State<Node>,
    Path((view, savepoint)): Path<(String, String)>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    let status = loaded.views.restore(&TableName::parse(&view), &savepoint).await?;
    Ok(Json(ViewDetail::of(status, &loaded)))
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(make_savepoint, list_savepoints)).routes(routes!(restore_savepoint))
}
