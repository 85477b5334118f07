//! The generations of a view: the one that answers, the one that is being built beside it, the one before.

use axum::extract::State;
use jiff::Timestamp;
use mulgil_connect::definition::TableName;
use mulgil_serving::status::{ArchiveReadStatus, BuildStatus, FormerStatus};
use mulgil_serving::views::ReplayOptions;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path};
use crate::node::Node;
use crate::views::{SystemWait, ViewDetail, ViewState, time};

/// Why a generation of a view was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildReason {
    /// The view is new.
    First,
    /// Somebody asked for a replay.
    Replay,
    /// Its definition has been changed.
    Changed,
    /// Somebody rolled the view back to it.
    RollBack,
}

impl From<mulgil_serving::views::Why> for BuildReason {
    fn from(why: mulgil_serving::views::Why) -> Self {
        use mulgil_serving::views::Why;
        match why {
            Why::First => Self::First,
            Why::Replay => Self::Replay,
            Why::Changed => Self::Changed,
            Why::RollBack => Self::RollBack,
        }
    }
}

/// A generation of a view that is being built, and takes over when it has caught up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// Its number.
    pub number: u64,
    /// Why it is built.
    pub reason: BuildReason,
    /// The statement that it is built from.
    pub definition: String,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<Timestamp>,
    /// It reads its sources from this time on. Absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The archives that it reads before its sources, which go on where those end.
    #[serde(default)]
    pub archives: Vec<ArchiveRead>,
    /// How many rows it may read a second. Absent: as many as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second_max: Option<u64>,
    /// What it is doing. `failed`: it waits for a person, and the view answers as before.
    pub state: ViewState,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it waits for that should be there and is not.
    pub waits: Vec<SystemWait>,
    /// How many rows it has read since it was last started.
    pub rows_in: u64,
    /// Rows a second, over the last seconds.
    pub rows_in_per_second: f64,
    /// How much of what the view has read it has read too: 0 to 1.
    pub done: f64,
    /// When it will have caught up if it goes on as it does, in milliseconds. Absent: it does not come nearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
}

/// An archive that is read before its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArchiveRead {
    /// The table.
    pub table: String,
    /// The archive's table in the lake.
    pub archive: String,
    /// The version of it that is read.
    pub version: u64,
    /// Whether it has been read, so that the table's own rows come.
    pub is_read: bool,
}

impl From<ArchiveReadStatus> for ArchiveRead {
    fn from(status: ArchiveReadStatus) -> Self {
        let ArchiveReadStatus { table, archive, version, is_read } = status;
        Self { table, archive, version, is_read }
    }
}

impl From<BuildStatus> for Build {
    fn from(status: BuildStatus) -> Self {
        Self {
            number: status.number,
            reason: status.why.into(),
            definition: status.definition,
            begun_at: time(Some(status.begun_ms)),
            from: time(status.from_ms),
            archives: status.archives.into_iter().map(ArchiveRead::from).collect(),
            rows_per_second_max: status.rows_per_second_max,
            state: status.state.into(),
            error: status.error,
            waits: status.waits.into_iter().map(SystemWait::from).collect(),
            rows_in: status.rows_in,
            rows_in_per_second: status.rows_per_second,
            done: status.done,
            left_ms: status.left_ms,
        }
    }
}

/// The generation of a view that answered before, and to which it can be rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Former {
    /// Its number.
    pub number: u64,
    /// The statement that it was built from.
    pub definition: String,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<Timestamp>,
}

impl From<FormerStatus> for Former {
    fn from(status: FormerStatus) -> Self {
        Self { number: status.number, definition: status.definition, begun_at: time(Some(status.begun_ms)) }
    }
}

/// How a view is to be built anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayAsk {
    /// Its sources are read from this time on, by the times that they keep themselves, and no archives. Absent: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// How many rows may be read a second, so that live work does not suffer. Absent: as many as can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second_max: Option<u64>,
}

/// Reads the sources of a view again.
///
/// With the option `archive`, the archives of its tables are read first, and the tables where those end; with `from`, the tables alone.
/// A view that is kept up to date by `kappa` is built anew beside itself, and goes on answering; what is built takes over
/// when it has caught up. One that is `continuous` begins again in its place, and forgets its checkpoints. This answers when
/// it has begun.
#[utoipa::path(post, path = "/views/{view}/replay", tag = "views",
    params(("view" = String, Path, description = "The view's name.")), request_body = Option<ReplayAsk>,
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn replay_view(
    State(node): State<Node>,
    Path(name): Path<String>,
    Json(ask): Json<Option<ReplayAsk>>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    let ReplayAsk { from, rows_per_second_max } = ask.unwrap_or_default();
    if rows_per_second_max == Some(0) {
        return Err(ApiError::invalid("rows_per_second_max is 0").with_hint("leave it out, or give a number from 1"));
    }
    let options = ReplayOptions { from_ms: from.map(Timestamp::as_millisecond), rows_per_second_max };
    let status = loaded.views.replay(&TableName::parse(&name), &options).await?;
    Ok(Json(ViewDetail::of(status, &loaded)))
}

/// Gives up what is being built beside a view.
#[utoipa::path(post, path = "/views/{view}/replay/cancel", tag = "views",
    params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn cancel_replay(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    let status = loaded.views.cancel_replay(&TableName::parse(&name)).await?;
    Ok(Json(ViewDetail::of(status, &loaded)))
}

/// Lets the former generation of a view take over again.
///
/// It goes on from its last checkpoint, and takes over when it has caught up; then the present one is the former. This answers
/// when it has begun.
#[utoipa::path(post, path = "/views/{view}/rollback", tag = "views",
    params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn roll_back_view(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    let status = loaded.views.roll_back(&TableName::parse(&name)).await?;
    Ok(Json(ViewDetail::of(status, &loaded)))
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(replay_view)).routes(routes!(cancel_replay)).routes(routes!(roll_back_view))
}
