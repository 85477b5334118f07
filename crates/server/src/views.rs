//! Views: how each is kept up to date, how far it has come in event time, and its rows.

use std::collections::BTreeSet;
use std::time::Instant;

use axum::extract::State;
use jiff::Timestamp;
use mulgil_connect::definition::TableName;
use mulgil_engine::status::{JobStatus, PartitionStatus};
use mulgil_serving::status::ViewStatus;
use mulgil_serving::views::ViewError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{ApiError, ErrorBody};
pub use crate::export::ExportOfView;
use crate::extract::{Json, Path, Query};
pub use crate::generations::{ArchiveRead, Build, BuildReason, Former, ReplayAsk};
pub use crate::layers::{ArchiveOfTable, Drift, LayersOfView};
use crate::node::Node;
pub use crate::outside::{BadRow, SystemWait};
use crate::progress::{Dataflow, Latency, state_word};
use crate::project::{Problem, ProblemKind};
pub use crate::recovery::{Checkpoints, Guarantee, GuaranteeReason, Restarts, Savepoint, SavepointAsk};
use crate::reload::Loaded;
use crate::row_key::RowKey;
use crate::rows::{columns, order_by, quoted};
use crate::sql::{Column, Rows};
pub use crate::switch::SwitchAsk;

const ROWS_DEFAULT: u32 = 100;
const ROWS_MAX: u32 = 10_000;

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
    /// Nothing keeps it up to date.
    Stopped,
    /// Its stream is being started, which takes as long as a system is away: see `waits`.
    Starting,
    /// A stream keeps it up to date.
    Running,
    /// It is being computed as a whole.
    Refreshing,
    /// Its result is there, and nothing more is to come by itself.
    Ready,
    /// Its job has failed, and is started again by itself: see `restarts`.
    Restarting,
    /// It failed and waits for a person: see `error`.
    Failed,
    /// Its file is broken: see `problems`.
    Broken,
}

/// A view in one line of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ViewSummary {
    /// The view's name.
    pub name: String,
    /// How it is kept up to date. Absent: its file is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RefreshMode>,
    /// What it is doing.
    pub state: ViewState,
    /// How far event time has come: no more rows before it are awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// How far the watermark is behind the newest event time that was read, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// How many rows were read.
    pub rows_in: u64,
    /// How many rows it has.
    pub rows: u64,
    /// How many rows came after the watermark had passed the end of their window.
    pub late_rows: u64,
    /// How many of those came so late that the result does not count them.
    pub late_rows_dropped: u64,
    /// How many rows are read a second, over the last seconds.
    pub rows_in_per_second: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Moves with every change of the result: rows need to be read again only when it has moved.
    pub version: u64,
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
    /// The latest few late rows, each as JSON text.
    pub late_sample: Vec<String>,
    /// How often its job has been started again. Absent: it never failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<Restarts>,
    /// The number of the generation that answers.
    #[serde(default)]
    pub generation: u64,
    /// The generation that is being built beside it. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub building: Option<Build>,
    /// The generation that it can be rolled back to. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Former>,
    /// How it was last exported. Absent: it was not, since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<ExportOfView>,
    /// Its layers, where its mode is `lambda`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<LayersOfView>,
    /// The archives in the lake that keep every row of its tables, where it keeps some.
    #[serde(default)]
    pub archives: Vec<ArchiveOfTable>,
    /// What is promised of its rows. Absent: it has not been started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarantee: Option<Guarantee>,
    /// How its checkpoints go. Absent: none has been made since it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<Checkpoints>,
    /// How many rows were left out because their event time was null.
    pub null_event_times: u64,
    /// How many rows were skipped because they could not be decoded.
    pub skipped_rows: u64,
    /// The last few rows that could not be decoded, the latest last.
    #[serde(default)]
    pub bad_rows: Vec<BadRow>,
    /// What it waits for that should be there and is not, such as a broker or a database.
    #[serde(default)]
    pub waits: Vec<SystemWait>,
    /// How long rows are under way. Absent: none has come through yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The parts of its dataflow. Absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataflow: Option<Dataflow>,
    /// When it was last computed as a whole, where its mode is `full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refreshed_at: Option<Timestamp>,
}

/// The partition with the smallest watermark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBackBy {
    /// The source table.
    pub source: String,
    /// The partition.
    pub partition: String,
    /// How far it has come. Absent: it has given no row yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// Since when it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
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
    /// Since when its watermark stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// `active`, `idle` or `finished`.
    pub state: String,
    /// How many rows were read from it.
    pub rows: u64,
    /// What they took in memory.
    #[serde(default)]
    pub bytes: u64,
    /// Rows a second, over the last seconds.
    #[serde(default)]
    pub rows_per_second: f64,
    /// Bytes a second, over the last seconds.
    #[serde(default)]
    pub bytes_per_second: f64,
    /// Rows that are there and not read yet, as the system counts them. Absent: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_rows: Option<u64>,
    /// What is waited for that should be there and is not, such as a broker. Absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// Which rows of a view.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RowsQuery {
    /// At most so many; 100 unless told, 10000 at most.
    pub limit: Option<u32>,
    /// A column to order by; `-` before it for the largest first, such as `-window_start`. Several with commas.
    pub order: Option<String>,
    /// Only rows in which columns have these values: a JSON object, such as `{"origin":"JFK"}`. Not together with `order`.
    pub key: Option<String>,
}

/// Every view, broken ones too, by name.
#[utoipa::path(get, path = "/views", tag = "views",
    responses((status = 200, body = [ViewSummary]), (status = "default", body = ErrorBody)))]
pub(crate) async fn list_views(State(node): State<Node>) -> Json<Vec<ViewSummary>> {
    let loaded = node.loaded();
    let whole = loaded.views.list().into_iter().map(ViewSummary::of);
    let broken = broken_names(&loaded).into_iter().map(|name| ViewSummary::broken(name, &loaded));
    let mut views: Vec<ViewSummary> = whole.chain(broken).collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    Json(views)
}

/// One view.
#[utoipa::path(get, path = "/views/{view}", tag = "views", params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn show_view(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    match loaded.views.status(&TableName::parse(&name)) {
        Ok(status) => Ok(Json(ViewDetail::of(status, &loaded))),
        Err(ViewError::Unknown { .. }) if broken_names(&loaded).contains(&name) => {
            Ok(Json(ViewDetail::broken(name, &loaded)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The rows of a view as they are now.
#[utoipa::path(get, path = "/views/{view}/rows", tag = "views",
    params(("view" = String, Path, description = "The view's name."), RowsQuery),
    responses((status = 200, body = Rows), (status = "default", body = ErrorBody)))]
pub(crate) async fn read_view(
    State(node): State<Node>,
    Path(name): Path<String>,
    Query(page): Query<RowsQuery>,
) -> Result<Json<Rows>, ApiError> {
    let loaded = node.loaded();
    let name = TableName::parse(&name);
    let known = columns(&*loaded.views.schema(&name)?);
    let order = order_by(page.order.as_deref().unwrap_or_default(), &known)?;
    let limit = page.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX);
    if let Some(key) = RowKey::of(&page, &*loaded.views.schema(&name)?)? {
        return key.rows(&loaded.views, &name, limit as usize).await.map(Json);
    }
    let table = format!("{}.{}", quoted(&name.namespace), quoted(&name.name));
    // One row more than asked for shows whether there are more.
    let sql = format!("SELECT * FROM {table} {order} LIMIT {}", limit + 1);
    let started = Instant::now();
    let answer = loaded.views.query(&sql).await?;
    Rows::collect(&answer.schema, answer.stream, limit as usize, started).await.map(Json)
}

/// Computes a view anew, and answers when that is done.
#[utoipa::path(post, path = "/views/{view}/refresh", tag = "views",
    params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn refresh_view(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    let views = loaded.views.clone();
    let refreshed = node.refreshing.run(async move { views.refresh(&TableName::parse(&name)).await }).await;
    let status = refreshed.map_err(ApiError::internal)??;
    Ok(Json(ViewDetail::of(status, &loaded)))
}

/// Starts a view that has failed, or waits to be started again, from its last checkpoint, now.
#[utoipa::path(post, path = "/views/{view}/resume", tag = "views",
    params(("view" = String, Path, description = "The view's name.")),
    responses((status = 200, body = ViewDetail), (status = "default", body = ErrorBody)))]
pub(crate) async fn resume_view(
    State(node): State<Node>,
    Path(name): Path<String>,
) -> Result<Json<ViewDetail>, ApiError> {
    let loaded = node.loaded();
    let status = loaded.views.resume(&TableName::parse(&name)).await?;
    Ok(Json(ViewDetail::of(status, &loaded)))
}

/// Views whose file is broken, so that there is no such view.
fn broken_names(loaded: &Loaded) -> BTreeSet<String> {
    let names = loaded.problems.iter().filter(|problem| problem.kind == ProblemKind::View);
    let names = names.filter_map(|problem| problem.name.clone());
    names.filter(|name| loaded.catalog.view(&TableName::parse(name)).is_none()).collect()
}

/// Milliseconds since the epoch as a time; none beyond what a time can say.
pub(crate) fn time(milliseconds: Option<i64>) -> Option<Timestamp> {
    Timestamp::from_millisecond(milliseconds?).ok()
}

impl ViewSummary {
    /// A view as serving knows it.
    pub(crate) fn of(status: ViewStatus) -> Self {
        Self {
            name: status.name,
            mode: Some(status.mode.into()),
            state: status.state.into(),
            watermark: time(status.watermark_ms),
            lag_ms: status.lag_ms,
            rows_in: status.rows_in,
            rows: status.rows,
            late_rows: status.late_updated + status.late_dropped,
            late_rows_dropped: status.late_dropped,
            rows_in_per_second: status.rows_per_second,
            error: status.error,
            version: status.version,
            problems: Vec::new(),
        }
    }

    fn broken(name: String, loaded: &Loaded) -> Self {
        let is_mine =
            |problem: &&Problem| problem.kind == ProblemKind::View && problem.name.as_deref() == Some(name.as_str());
        Self {
            problems: loaded.problems.iter().filter(is_mine).cloned().collect(),
            name,
            mode: None,
            state: ViewState::Broken,
            watermark: None,
            lag_ms: None,
            rows_in: 0,
            rows: 0,
            late_rows: 0,
            late_rows_dropped: 0,
            rows_in_per_second: 0.0,
            error: None,
            version: 0,
        }
    }
}

impl ViewDetail {
    pub(crate) fn of(status: ViewStatus, loaded: &Loaded) -> Self {
        let name = TableName::parse(&status.name);
        let job: Option<JobStatus> = loaded.views.job_status(&name).ok().flatten();
        Self {
            definition: status.definition.clone(),
            file: status.file.clone(),
            columns: loaded.views.schema(&name).map(|schema| columns(&schema)).unwrap_or_default(),
            held_back_by: status.held_back_by.clone().map(|held| HeldBackBy {
                source: held.table,
                partition: held.partition,
                watermark: time(held.watermark_ms),
                since: time(Some(held.since_ms)),
            }),
            latency: job.as_ref().and_then(|job| job.latency).map(Latency::from),
            dataflow: job.map(Dataflow::from),
            sources: status.partitions.iter().map(SourceProgress::of).collect(),
            late_sample: status.late_sample.clone(),
            restarts: Restarts::of(&status.restarts),
            generation: status.generation,
            building: status.building.clone().map(Build::from),
            former: status.former.clone().map(Former::from),
            export: status.export.clone().map(ExportOfView::from),
            layers: status.layers.clone().map(LayersOfView::from),
            archives: status.archives.iter().cloned().map(ArchiveOfTable::from).collect(),
            guarantee: status.guarantee.clone().map(Guarantee::from),
            checkpoints: status.checkpoints.clone().map(Checkpoints::from),
            null_event_times: status.null_event_times,
            skipped_rows: status.skipped_rows,
            bad_rows: status.bad_rows.iter().cloned().map(BadRow::from).collect(),
            waits: status.waits.iter().cloned().map(SystemWait::from).collect(),
            refreshed_at: time(status.refreshed_ms),
            summary: ViewSummary::of(status),
        }
    }

    fn broken(name: String, loaded: &Loaded) -> Self {
        let summary = ViewSummary::broken(name, loaded);
        let file = summary.problems.first().map(|problem| problem.file.clone()).unwrap_or_default();
        let text = loaded.folder.sql.iter().find(|(path, _)| path.as_os_str() == file.as_str());
        Self {
            definition: text.map(|(_, text)| text.clone()).unwrap_or_default(),
            file,
            columns: Vec::new(),
            held_back_by: None,
            latency: None,
            dataflow: None,
            sources: Vec::new(),
            late_sample: Vec::new(),
            restarts: None,
            generation: 0,
            building: None,
            former: None,
            export: None,
            layers: None,
            archives: Vec::new(),
            guarantee: None,
            checkpoints: None,
            null_event_times: 0,
            skipped_rows: 0,
            bad_rows: Vec::new(),
            waits: Vec::new(),
            refreshed_at: None,
            summary,
        }
    }
}

impl SourceProgress {
    fn of(partition: &PartitionStatus) -> Self {
        Self {
            source: partition.table.clone(),
            partition: partition.partition.clone(),
            watermark: time(partition.watermark_ms),
            since: time(Some(partition.watermark_since_ms)),
            state: state_word(partition.state).to_owned(),
            rows: partition.rows,
            bytes: partition.bytes,
            rows_per_second: partition.rows_per_second,
            bytes_per_second: partition.bytes_per_second,
            lag_rows: partition.lag_rows,
            waits_for: partition.waits_for.clone(),
        }
    }
}

impl From<mulgil_sql::statement::RefreshMode> for RefreshMode {
    fn from(mode: mulgil_sql::statement::RefreshMode) -> Self {
        use mulgil_sql::statement::RefreshMode as S;
        match mode {
            S::Full => Self::Full,
            S::Continuous => Self::Continuous,
            S::Lambda => Self::Lambda,
            S::Kappa => Self::Kappa,
        }
    }
}

impl From<mulgil_serving::status::ViewState> for ViewState {
    fn from(state: mulgil_serving::status::ViewState) -> Self {
        use mulgil_serving::status::ViewState as S;
        match state {
            S::Stopped => Self::Stopped,
            S::Starting => Self::Starting,
            S::Running => Self::Running,
            S::Refreshing => Self::Refreshing,
            S::Ready => Self::Ready,
            S::Restarting => Self::Restarting,
            S::Failed => Self::Failed,
        }
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default()
        .routes(routes!(list_views))
        .routes(routes!(show_view))
        .routes(routes!(read_view))
        .routes(routes!(refresh_view))
        .routes(routes!(resume_view))
        .merge(crate::changes::routes())
        .merge(crate::generations::routes())
        .merge(crate::layers::routes())
        .merge(crate::switch::routes())
        .merge(crate::recovery::routes())
}
