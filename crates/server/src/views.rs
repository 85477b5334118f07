//! Views: how each is kept up to date, how far it has come in event time, and its rows.

use axum::Json;
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
use crate::node::Node;
use crate::project::Problem;
use crate::sql::{Column, Rows};

/// How a view is kept up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefreshMode {
    /// Computed as a whole, in batch.
    Full,
    /// Kept up to date by a stream.
    Continuous,
    /// Batch layer, speed layer and serving layer.
    Lambda,
    /// Stream only, replayed from the log.
    Kappa,
}

/// What a view is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// Its stream is being started.
    Starting,
    /// It is kept up to date.
    Running,
    /// Everything there was to read has been read.
    Finished,
    /// It is not kept up to date, since it failed.
    Failed,
    /// It is not kept up to date, since nobody asked for it.
    Stopped,
}

/// A view in one line of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewSummary {
    /// The view's name.
    pub name: String,
    /// How it is kept up to date.
    pub mode: RefreshMode,
    /// What it is doing.
    pub state: ViewState,
    /// How far event time has come: no more rows before it are awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// How many rows were read.
    pub rows_in: u64,
    /// How many rows it has.
    pub rows: u64,
    /// How many rows came after the watermark had passed their window.
    pub late_rows: u64,
    /// How many rows are read a second, over the last seconds.
    pub rows_in_per_second: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why its file is broken. Empty: it is not.
    pub problems: Vec<Problem>,
}

/// A view with its definition and what holds it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewDetail {
    /// What the list says too.
    #[serde(flatten)]
    pub summary: ViewSummary,
    /// The statement that defines it.
    pub definition: String,
    /// Its file, relative to the project's folder.
    pub file: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The partition of a source that holds its watermark back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back_by: Option<HeldBackBy>,
    /// The partitions that it reads.
    pub sources: Vec<SourceProgress>,
    /// When its rows last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Timestamp>,
}

/// The partition with the smallest watermark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBackBy {
    /// The source table.
    pub source: String,
    /// The partition.
    pub partition: String,
}

/// How far a view has read one partition of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceProgress {
    /// The source table.
    pub source: String,
    /// The partition.
    pub partition: String,
    /// Its watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// `active`, `idle` or `finished`.
    pub state: String,
    /// How many rows were read from it.
    pub rows: u64,
}

/// Which rows of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RowsQuery {
    /// At most so many; 100 unless told, 10000 at most.
    pub limit: Option<u32>,
    /// A column to order by; `-` before it for the largest first, such as `-window_start`. Several with commas.
    pub order: Option<String>,
}

/// Every view, broken ones too, by name.
#[utoipa::path(get, path = "/views", tag = "views",
    responses((status = 200, body = [ViewSummary]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_views(State(node): State<Node>) -> Result<Json<Vec<ViewSummary>>, ApiError> {
    Err(node.not_wired())
}

/// One view.
#[utoipa::path(get, path = "/views/{view}", tag = "views", params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_view(
    State(node): State<Node>,
    Path(_view): Path<String>,
) -> Result<Json<ViewDetail>, ApiError> {
    Err(node.not_wired())
}

/// The rows of a view as they are now.
#[utoipa::path(get, path = "/views/{view}/rows", tag = "views",
    params(("view" = String, Path, description = "The view's name."), RowsQuery),
    responses((status = 200, body = Rows), (status = "default", body = ErrorBody)))]
pub(crate) async fn read_view(
    State(node): State<Node>,
    Path(_view): Path<String>,
    Query(_page): Query<RowsQuery>,
) -> Result<Json<Rows>, ApiError> {
    Err(node.not_wired())
}

/// Computes a view anew, and answers when that is done.
#[utoipa::path(post, path = "/views/{view}/refresh", tag = "views",
    params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn refresh_view(
    State(node): State<Node>,
    Path(_view): Path<String>,
) -> Result<Json<ViewDetail>, ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(list_views))
        .routes(routes!(show_view))
        .routes(routes!(read_view))
        .routes(routes!(refresh_view))
}
