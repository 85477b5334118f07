//! What a caller is told when a request cannot be answered: a status, a stable code, one sentence, and where there is
//! one, a detail and the remedy.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mulgil_history::HistoryError;
use mulgil_log::LogError;
use mulgil_sched::rerun::RerunError;
use mulgil_serving::run::RunError;
use mulgil_serving::views::ViewError;
use mulgil_sql::problem::SqlError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::scheduler::SchedulerError;

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A stable word for programs: `not_found`, `invalid`, `conflict`, `needs_confirmation`, `forbidden`, `unauthorized`,
    /// `too_large`, `unavailable` or `internal`.
    pub code: String,
    /// What went wrong, in one sentence.
    pub message: String,
    /// More about it: a file and line, the failing statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A request that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", body.message)]
pub struct ApiError {
    /// The status of the answer.
    pub status: StatusCode,
    /// The body of the answer.
    pub body: ErrorBody,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body = ErrorBody { code: code.to_owned(), message: message.into(), detail: None, hint: None };
        Self { status, body }
    }

    /// 404: there is no such thing. `what` is a noun, `name` what was asked for.
    pub fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} {name}"))
    }

    /// 400: the request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 401: a token is needed and was not given, or is not the right one.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 403: the request comes from a page or an address that may not send it.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 409: the request does not fit the state of things.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// 413: the request is larger than what is taken.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 503: a part of the server does not answer now; asking again may help.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// 500: something that should not happen.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.body.detail = Some(detail.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }
}

impl From<SchedulerError> for ApiError {
    fn from(error: SchedulerError) -> Self {
        let message = error.to_string();
        match error {
            SchedulerError::UnknownFlow { .. }
            | SchedulerError::UnknownRun(_)
            | SchedulerError::UnknownTask { .. }
            | SchedulerError::UnknownBackfill(_)
            | SchedulerError::Rerun(RerunError::NoSuchTask { .. } | RerunError::NoSuchGroup { .. }) => {
                Self::new(StatusCode::NOT_FOUND, "not_found", message)
            }
            SchedulerError::Params(_)
            | SchedulerError::NoInterval { .. }
            | SchedulerError::Key
            | SchedulerError::Plan(_) => Self::invalid(message),
            SchedulerError::NeedsConfirmation { .. } => Self::new(StatusCode::CONFLICT, "needs_confirmation", message),
            SchedulerError::Rerun(_)
            | SchedulerError::KeyUsed { .. }
            | SchedulerError::Paused(_)
            | SchedulerError::Mark { .. }
            | SchedulerError::Ended { .. }
            | SchedulerError::BackfillEnded(_)
            | SchedulerError::Definition { .. } => Self::conflict(message),
            SchedulerError::History(error) => Self::from(&*error),
            SchedulerError::Stopped | SchedulerError::StandsBy { .. } | SchedulerError::TooMany(_) => {
                Self::unavailable(message)
            }
            SchedulerError::Illegal(_) | SchedulerError::BrokenFlow(_) => Self::internal(message),
        }
    }
}

impl From<&HistoryError> for ApiError {
    fn from(error: &HistoryError) -> Self {
        let message = error.to_string();
        if error.is_passing() { Self::unavailable(message).with_hint("try again") } else { Self::internal(message) }
    }
}

impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        Self::from(&error)
    }
}

impl From<LogError> for ApiError {
    fn from(error: LogError) -> Self {
        let message = error.to_string();
        match error {
            LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not_found", message)
            }
            LogError::TopicName { .. }
            | LogError::TopicOptions { .. }
            | LogError::AppendId
            | LogError::OffsetOutOfRange { .. } => Self::invalid(message),
            LogError::TopicExists { .. } | LogError::AppendIdTaken { .. } => Self::conflict(message),
            LogError::RecordTooLarge { .. } | LogError::AppendTooLarge { .. } => Self::too_large(message),
            LogError::Io { .. } | LogError::Closed => Self::unavailable(message),
            LogError::Locked { .. } | LogError::ReadOnly { .. } | LogError::Damaged { .. } => Self::internal(message),
        }
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Problem(problem) => {
                let place = format!("{}:{}:{}", problem.file.display(), problem.line, problem.column);
                let refused = Self::invalid(problem.message.clone()).with_detail(place);
                problem.remedy.clone().into_iter().fold(refused, Self::with_hint)
            }
            error => Self::invalid(error.to_string()),
        }
    }
}

impl From<ViewError> for ApiError {
    fn from(error: ViewError) -> Self {
        let message = error.to_string();
        match error {
            ViewError::Unknown { .. } => Self::new(StatusCode::NOT_FOUND, "not_found", message),
            ViewError::Sql { .. } => Self::invalid(message),
            ViewError::Mode { .. } => Self::conflict(message),
            ViewError::ShutDown | ViewError::Store { .. } | ViewError::Export { .. } => Self::unavailable(message),
            ViewError::Result { .. } => Self::internal(message),
        }
    }
}

impl From<RunError> for ApiError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Sql(error) => error.into(),
            error => Self::invalid(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() {
            tracing::error!(code = self.body.code, detail = self.body.detail, "{}", self.body.message);
        }
        (self.status, Json(self.body)).into_response()
    }
}
