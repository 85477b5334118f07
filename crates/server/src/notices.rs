//! Notices: who was told of what, what waits, and what nobody took.

use axum::extract::State;
use jiff::Timestamp;
use mulgil_history::read::{AlertRow, NoticeQuery, NoticeRow};
use mulgil_sched::id::RunId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Query};
use crate::node::Node;

const NOTICES_DEFAULT: u32 = 50;
const NOTICES_MAX: u32 = 1000;

/// Where a notice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeStatus {
    /// Not delivered yet; it is tried again.
    Waiting,
    /// Somebody took it.
    Delivered,
    /// Nobody took it, often enough.
    GivenUp,
}

impl From<mulgil_history::outbox::NoticeStatus> for NoticeStatus {
    fn from(status: mulgil_history::outbox::NoticeStatus) -> Self {
        use mulgil_history::outbox::NoticeStatus as S;
        match status {
            S::Waiting => Self::Waiting,
            S::Delivered => Self::Delivered,
            S::GivenUp => Self::GivenUp,
        }
    }
}

impl From<NoticeStatus> for mulgil_history::outbox::NoticeStatus {
    fn from(status: NoticeStatus) -> Self {
        match status {
            NoticeStatus::Waiting => Self::Waiting,
            NoticeStatus::Delivered => Self::Delivered,
            NoticeStatus::GivenUp => Self::GivenUp,
        }
    }
}

/// Something that somebody is told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// Its place among all: a number, in the order of writing.
    pub seq: i64,
    /// Tells it from every other; whoever gets it gets this too, as `Idempotency-Key` or `Message-ID`.
    pub key: String,
    /// Where it goes: a channel of the project, or a webhook of the flow.
    pub channel: String,
    /// What it is about: `failure`, `success`, `retry`, `deadline` or `slow`.
    pub kind: String,
    /// Of which flow.
    pub flow: String,
    /// Of which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// It, in a line.
    pub subject: String,
    /// Where it stands.
    pub status: NoticeStatus,
    /// How often it was tried.
    pub tries: u32,
    /// When it was written, with what it tells of.
    pub created_at: Timestamp,
    /// When it is tried next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When it was delivered, or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Notice {
    fn of(row: NoticeRow) -> Self {
        let subject = row.body.get("subject").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        // The template of a flow's own webhook may be long, and is nobody's business here.
        let is_own = row.channel.starts_with("webhook:");
        Self {
            seq: row.seq,
            key: row.key,
            channel: if is_own { "webhook".to_owned() } else { row.channel },
            kind: row.kind,
            flow: row.flow,
            run: row.run.map(|run| run.0),
            subject,
            status: row.status.into(),
            tries: row.tries,
            created_at: row.created_at,
            next_at: row.next_at,
            ended_at: row.ended_at,
            error: row.error,
        }
    }
}

/// Something noticed of a run beside its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// What it is about: `deadline` or `slow`.
    pub kind: String,
    /// It, in a sentence.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

impl From<AlertRow> for Alert {
    fn from(row: AlertRow) -> Self {
        Self { kind: row.kind, text: row.text, at: row.at }
    }
}

/// Which notices.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NoticesQuery {
    /// Of which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// With which status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub status: Option<NoticeStatus>,
    /// Only notices before this place: the last one of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// How many, at most 1000; 50 if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Notices, newest first. Events of data lineage are left out.
#[utoipa::path(get, path = "/notices", tag = "runs", params(NoticesQuery),
    responses((status = 200, body = [Notice]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_notices(
    State(node): State<Node>,
    Query(query): Query<NoticesQuery>,
) -> Result<Json<Vec<Notice>>, ApiError> {
    let query = NoticeQuery {
        run: query.run.map(RunId),
        status: query.status.map(Into::into),
        without: Some("lineage".to_owned()),
        before: query.before,
        limit: query.limit.unwrap_or(NOTICES_DEFAULT).min(NOTICES_MAX),
    };
    Ok(Json(node.history.notices(&query).await?.into_iter().map(Notice::of).collect()))
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(list_notices))
}
