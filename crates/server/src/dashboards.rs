//! Dashboards: pages of panels that the files of `dashboards/` describe. Their queries are asked by `POST /sql`, as all others are.

use axum::extract::State;
use mulgil_connect::definition::TableName;
use mulgil_flow::Diagnostic;
use mulgil_sql::catalog::Catalog;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::extract::Json;
use crate::node::Node;

/// A page of panels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dashboard {
    /// Its name, unique in the project.
    pub name: String,
    /// The page's heading.
    pub title: String,
    /// What the page tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The file that it stands in, relative to the project's folder.
    pub file: String,
    /// Its panels, from top to bottom.
    pub panels: Vec<Panel>,
}

/// A query that is drawn: as lines where its rows have a time, as a table otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Panel {
    /// Its heading.
    pub title: String,
    /// The view that it follows: the query is to be asked again when that changes.
    pub view: String,
    /// The query, for `POST /sql`.
    pub sql: String,
}

impl From<&mulgil_flow::Dashboard> for Dashboard {
    fn from(read: &mulgil_flow::Dashboard) -> Self {
        let panel = |panel: &mulgil_flow::Panel| Panel {
            title: panel.title.clone(),
            view: panel.view.clone(),
            sql: panel.sql.clone(),
        };
        Self {
            name: read.name.clone(),
            title: read.title.clone(),
            description: read.description.clone(),
            file: read.file.clone(),
            panels: read.panels.iter().map(panel).collect(),
        }
    }
}

/// Panels that follow what is no view of the project. They are shown all the same: the view may come.
pub(crate) fn wrong_views(dashboards: &[mulgil_flow::Dashboard], catalog: &Catalog) -> Vec<Diagnostic> {
    let known: Vec<String> = catalog.views().map(|view| view.name.to_string()).collect();
    let is_known = |view: &str| catalog.views().any(|known| known.name == TableName::parse(view));
    let mut found = Vec::new();
    for dashboard in dashboards {
        for panel in dashboard.panels.iter().filter(|panel| !is_known(&panel.view)) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            found.push(Diagnostic {
                file: dashboard.file.clone(),
                line: panel.at.line,
                column: panel.at.column,
                message: format!("there is no view {}", panel.view),
                remedy: Some(format!("views: {known}")),
            });
        }
    }
    found
}

/// All dashboards, in the order of their files.
///
/// The ones whose files are broken are among the project's problems.
#[utoipa::path(get, path = "/dashboards", tag = "dashboards",
    responses((status = 200, body = [Dashboard]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_dashboards(State(node): State<Node>) -> Result<Json<Vec<Dashboard>>, ApiError> {
    Ok(Json(node.loaded().folder.dashboards.iter().map(Dashboard::from).collect()))
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(list_dashboards))
}
