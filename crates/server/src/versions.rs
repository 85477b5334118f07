//! The definitions that a flow has had, by content, and what is different between two of them.

use axum::extract::State;
use jiff::Timestamp;
use mulgil_flow::canonical_lines;
use mulgil_flow::difference::{Line, difference};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::{Json, Path, Query};
use crate::node::Node;

/// A definition that a flow has or has had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FlowVersion {
    /// The hash of its content: equal definitions have equal versions, whatever their files look like.
    pub version: String,
    /// When the first run was made from it. Absent: none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_run_at: Option<Timestamp>,
    /// How many runs follow it.
    pub runs: u64,
    /// Whether it is the flow as it is now.
    pub current: bool,
}

/// Which two definitions are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DifferenceQuery {
    /// The older one's version, or as many of its first digits as tell it from the others.
    pub from: String,
    /// The newer one's, likewise. Without it, the flow as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What is different between two definitions of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The older one's version.
    pub from: String,
    /// The newer one's version.
    pub to: String,
    /// Their canonical forms, line by line; of what is the same, a few lines around what is not. Empty: they are the same.
    pub lines: Vec<DifferenceLine>,
}

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DifferenceLine {
    /// Who has it.
    pub kind: DifferenceKind,
    /// Its text; of a gap, how many lines are left out.
    pub text: String,
}

/// Which of two definitions have a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Both.
    Same,
    /// The older one only.
    Removed,
    /// The newer one only.
    Added,
    /// Both, and it is left out with others.
    Gap,
}

/// The definitions of a flow, newest first; the flow as it is now before all others.
#[utoipa::path(get, path = "/flows/{flow}/versions", tag = "flows", params(("flow" = String, Path, description = "The flow's name.")),
    responses((status = 200, body = [FlowVersion]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_versions(
    State(node): State<Node>,
    Path(flow): Path<String>,
) -> Result<Json<Vec<FlowVersion>>, ApiError> {
    versions_of(&node, &flow).await.map(Json)
}

/// What is different between two definitions of a flow.
#[utoipa::path(get, path = "/flows/{flow}/difference", tag = "flows",
    params(("flow" = String, Path, description = "The flow's name."), DifferenceQuery),
    responses((status = 200, body = Difference), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_difference(
    State(node): State<Node>,
    Path(flow): Path<String>,
    Query(which): Query<DifferenceQuery>,
) -> Result<Json<Difference>, ApiError> {
    let versions = versions_of(&node, &flow).await?;
    let from = named(&versions, &which.from)?;
    let to =
        match &which.to {
            Some(to) => named(&versions, to)?,
            None => versions.iter().find(|version| version.current).map(|version| version.version.clone()).ok_or_else(
                || ApiError::invalid(format!("flow {flow} is not there any more")).with_hint("name both versions"),
            )?,
        };
    let lines = difference(&lines_of(&node, &flow, &from).await?, &lines_of(&node, &flow, &to).await?);
    Ok(Json(Difference { from, to, lines: lines.into_iter().map(Into::into).collect() }))
}

async fn versions_of(node: &Node, flow: &str) -> Result<Vec<FlowVersion>, ApiError> {
    let loaded = node.loaded();
    let current = loaded.folder.flows.iter().find(|source| source.flow.name == flow);
    let current = current.map(|source| source.flow.version.to_string());
    let stored = node.history.flow_versions(flow).await?;
    let of = |row: mulgil_history::read::VersionRow| FlowVersion {
        current: Some(&row.hash) == current.as_ref(),
        version: row.hash,
        first_run_at: Some(row.at),
        runs: row.runs,
    };
    let mut versions: Vec<FlowVersion> = stored.into_iter().map(of).collect();
    if let Some(version) = current.filter(|_| versions.iter().all(|version| !version.current)) {
        versions.push(FlowVersion { version, first_run_at: None, runs: 0, current: true });
    }
    // The order of the others stays.
    versions.sort_by_key(|version| !version.current);
    if versions.is_empty() {
        return Err(ApiError::not_found("flow", flow));
    }
    Ok(versions)
}

fn named(versions: &[FlowVersion], name: &str) -> Result<String, ApiError> {
    let mut fitting = versions.iter().filter(|version| !name.is_empty() && version.version.starts_with(name));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one.version.clone()),
        (Some(_), Some(_)) => Err(ApiError::invalid(format!("{name} is the beginning of several versions"))),
        (None, _) => Err(ApiError::not_found("version", name)),
    }
}

/// The canonical form; of a definition that cannot be read any more, its text.
async fn lines_of(node: &Node, flow: &str, version: &str) -> Result<Vec<String>, ApiError> {
    if let Some(definition) = node.definition(flow, version).await? {
        return Ok(canonical_lines(&definition));
    }
    let stored = node.history.flow_version(version).await?;
    let stored = stored.ok_or_else(|| ApiError::not_found("version", version))?;
    Ok(stored.definition.lines().map(str::to_owned).collect())
}

impl From<Line> for DifferenceLine {
    fn from(line: Line) -> Self {
        let (kind, text) = match line {
            Line::Same(text) => (DifferenceKind::Same, text),
            Line::Removed(text) => (DifferenceKind::Removed, text),
            Line::Added(text) => (DifferenceKind::Added, text),
            Line::Gap(many) => (DifferenceKind::Gap, many.to_string()),
        };
        Self { kind, text }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(list_versions)).routes(routes!(show_difference))
}
