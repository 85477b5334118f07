//! axum's extractors, refusing with an [`ApiError`] instead of plain text.

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::ApiError;

/// A JSON body.
#[derive(Clone, Copy, Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub(crate) struct Json<T>(pub(crate) T);

/// The parts of the path.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct Path<T>(pub(crate) T);

/// What stands behind the question mark.
#[derive(Clone, Copy, Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Query<T>(pub(crate) T);

/// A body as it came.
#[derive(Clone, Debug)]
pub(crate) struct Bytes(pub(crate) axum::body::Bytes);

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Ok(Self(axum::body::Bytes::from_request(request, state).await?))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let refused =
            refuse(rejection.status(), "the body is not the JSON that this route takes", rejection.body_text());
        match rejection {
            JsonRejection::MissingJsonContentType(_) => {
                refused.with_hint("send the header Content-Type: application/json")
            }
            _ => refused,
        }
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        refuse(rejection.status(), "the body could not be read", rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        refuse(rejection.status(), "the path has a part that this route does not take", rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        refuse(rejection.status(), "the query string has a part that this route does not take", rejection.body_text())
    }
}

fn refuse(status: StatusCode, message: &str, detail: String) -> ApiError {
    let error = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large("the body is larger than this route takes"),
        status if status.is_server_error() => ApiError::internal(message),
        _ => ApiError::invalid(message),
    };
    error.with_detail(detail)
}
