//! A few counters and gauges in Prometheus' text format.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;

/// Counters and gauges in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "project",
    responses((status = 200, body = String, content_type = "text/plain"), (status = "default", body = ErrorBody)))]
pub(crate) async fn metrics(State(node): State<Node>) -> Result<String, ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(metrics))
}
