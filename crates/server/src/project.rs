//! The project that this server serves: its name, its health, its broken files, and the documents about the API itself.

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::Json;
use crate::node::Node;

/// The version of Mulgil.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The project and its server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectInfo {
    /// The project's name, from `mulgil.yaml`, else its folder's name.
    pub name: String,
    /// The project's folder on the server's machine.
    pub folder: String,
    /// The version of Mulgil that serves it.
    pub version: String,
    /// The project's IANA time zone: the default of its flows.
    pub timezone: String,
    /// When the server started.
    pub started_at: Timestamp,
    /// How long the server has been up, in seconds.
    pub uptime_seconds: u64,
    /// How many files are broken. See `GET /problems`.
    pub problems: u32,
    /// How many flows there are, broken ones left out.
    pub flows: u32,
    /// How many views there are, broken ones left out.
    pub views: u32,
}

/// What kind of file a problem is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// `mulgil.yaml`.
    Project,
    /// A file in `flows/`.
    Flow,
    /// A file in `sources/`.
    Source,
    /// A file in `views/`.
    View,
    /// A file in `dashboards/`.
    Dashboard,
}

/// One mistake in a file of the project. It stops only the flow or view that it stands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of file it is in.
    pub kind: ProblemKind,
    /// The flow or view that it stops, where its name is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file, relative to the project's folder.
    pub file: String,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column, in characters from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The text of that line, as it stands in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

/// The server's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`. A server that is not well answers with an error instead.
    pub status: String,
}

/// What a reload found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// The names of the flows that are now known.
    pub flows: Vec<String>,
    /// The names of the views that are now known.
    pub views: Vec<String>,
    /// The files that are broken.
    pub problems: Vec<Problem>,
}

/// The project and its server.
#[utoipa::path(get, path = "/project", tag = "project",
    responses((status = 200, body = ProjectInfo), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_project(State(node): State<Node>) -> Json<ProjectInfo> {
    let loaded = node.loaded();
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    Json(ProjectInfo {
        name: loaded.folder.name(),
        folder: node.dir.display().to_string(),
        version: VERSION.to_owned(),
        timezone: crate::flows::zone_name(&loaded.folder.project.timezone),
        started_at: node.started_at,
        uptime_seconds: node.started.elapsed().as_secs(),
        problems: count(loaded.problems.len()),
        flows: count(loaded.folder.flows.len()),
        views: count(loaded.catalog.views().count()),
    })
}

/// The broken files of the project.
///
/// A broken flow or view is stopped; everything else keeps running.
#[utoipa::path(get, path = "/problems", tag = "project",
    responses((status = 200, body = [Problem]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_problems(State(node): State<Node>) -> Json<Vec<Problem>> {
    Json(node.loaded().problems.clone())
}

/// Reads the project's files again.
///
/// Files are also read again by themselves when they change; this waits until it is done.
#[utoipa::path(post, path = "/reload", tag = "project",
    responses((status = 200, body = Reloaded), (status = "default", body = ErrorBody)))]
pub(crate) async fn reload(State(node): State<Node>) -> Result<Json<Reloaded>, ApiError> {
    let loaded = node.reloader.reload().await?;
    Ok(Json(Reloaded {
        flows: loaded.folder.flows.iter().map(|source| source.flow.name.clone()).collect(),
        views: loaded.catalog.views().map(|view| view.name.to_string()).collect(),
        problems: loaded.problems.clone(),
    }))
}

/// Answers `ok` when the server can reach its history. Needs no token.
#[utoipa::path(get, path = "/healthz", tag = "project",
    responses((status = 200, body = Health), (status = "default", body = ErrorBody)))]
pub(crate) async fn healthz(State(node): State<Node>) -> Result<Json<Health>, ApiError> {
    node.history.backfills(None, 1).await?;
    Ok(Json(Health { status: "ok".to_owned() }))
}

/// The JSON Schema of flow files, for editors.
#[utoipa::path(get, path = "/flow-schema.json", tag = "project",
    responses((status = 200, body = serde_json::Value, content_type = "application/schema+json")))]
pub(crate) async fn flow_schema() -> Json<serde_json::Value> {
    Json(mulgil_flow::json_schema())
}

/// This API as an OpenAPI document.
#[utoipa::path(get, path = "/openapi.json", tag = "project", responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn openapi_document() -> Json<utoipa::openapi::OpenApi> {
    Json(crate::api::openapi())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(show_project))
        .routes(routes!(list_problems))
        .routes(routes!(reload))
        .routes(routes!(healthz))
        .routes(routes!(flow_schema))
        .routes(routes!(openapi_document))
}
