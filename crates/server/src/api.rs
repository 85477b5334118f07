//! The HTTP API as a whole: every route under `/api/v1`, and the OpenAPI document that says what they are.

use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;

use crate::node::Node;
use crate::{
    attempts, backfills, coming, dashboards, events, flows, grid, hooks, metrics, project, runs, sql, topics, views,
    why, workers,
};

/// Where the API begins.
pub const PREFIX: &str = "/api/v1";

/// Every route with its documentation.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    let info = InfoBuilder::new()
        .title("Mulgil")
        .version("1")
        .description(Some(
            "Flows, runs, views, SQL and topics of one Mulgil project. Times are RFC 3339 in UTC. Whatever fails answers \
             with an `ErrorBody`. A server that listens beyond loopback wants `Authorization: Bearer <token>`.",
        ))
        .build();
    let resources = OpenApiRouter::default()
        .merge(project::routes())
        .merge(flows::routes())
        .merge(hooks::routes())
        .merge(coming::routes())
        .merge(crate::matrix::routes())
        .merge(grid::routes())
        .merge(crate::versions::routes())
        .merge(runs::routes())
        .merge(crate::reruns::routes())
        .merge(why::routes())
        .merge(crate::items::routes())
        .merge(crate::notices::routes())
        .merge(attempts::routes())
        .merge(backfills::routes())
        .merge(views::routes())
        .merge(dashboards::routes())
        .merge(sql::routes())
        .merge(topics::routes())
        .merge(crate::pools::routes())
        .merge(workers::routes())
        .merge(events::routes())
        .merge(metrics::routes());
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build()).nest(PREFIX, resources)
}

/// The OpenAPI document of this version.
pub fn openapi() -> OpenApi {
    routes().into_openapi()
}
