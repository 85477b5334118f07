//! What changes, as it changes: one stream of server-sent events for runs, tasks, attempts, backfills and views.
//!
//! Events are hints to redraw, not a log: they are coalesced, and a client that reads too slowly gets one `lagged`
//! event instead of those that it missed, and then asks again for what it shows.

use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::backfills::Backfill;
use crate::error::{ApiError, ErrorBody};
use crate::node::Node;
use crate::runs::TaskError;
use crate::status::{AttemptStatus, RunStatus, TaskStatus};
use crate::views::ViewSummary;

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only runs, tasks, attempts and backfills of this flow, beside those of all views.
    pub flow: Option<String>,
    /// Only tasks and attempts of this run.
    pub run: Option<i64>,
    /// Only this view, beside those of all flows.
    pub view: Option<String>,
}

/// The data of one server-sent event. Its `event` name is the same word as `type`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first event of every stream.
    Hello(Hello),
    /// A run was recorded or changed its status.
    Run(RunChange),
    /// A task changed its status.
    Task(TaskChange),
    /// An attempt began or ended.
    Attempt(AttemptChange),
    /// A backfill came further. At most one in 250 ms for each.
    Backfill(Backfill),
    /// A flow's schedule was paused or resumed.
    Paused(PausedChange),
    /// A view's numbers or state changed. At most one in 500 ms for each.
    View(ViewSummary),
    /// The project's files were read again: flows, views and problems may have changed.
    Project(ProjectChange),
    /// Some events were left out: ask again for everything that is shown.
    Lagged(Lagged),
}

/// Says who is speaking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hello {
    /// The version of Mulgil that serves.
    pub version: String,
    /// Changes with every start of the server: a page that sees another one reloads what it shows.
    pub server: String,
}

/// A run was recorded or changed its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunChange {
    /// The run.
    pub id: i64,
    /// Its name for people, unique in the project.
    pub name: String,
    /// The flow.
    pub flow: String,
    /// The local date or time of its interval's start, else its parameters.
    pub label: String,
    /// Where it stands now.
    pub status: RunStatus,
    /// The start of its data interval: it orders the columns of the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_start: Option<Timestamp>,
    /// The backfill that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<i64>,
    /// When it changed.
    pub at: Timestamp,
}

/// A task changed its status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskChange {
    /// The flow.
    pub flow: String,
    /// The run.
    pub run: i64,
    /// The task's name.
    pub task: String,
    /// Where it stands now.
    pub status: TaskStatus,
    /// The letter of its cell in the grid.
    pub letter: char,
    /// How many attempts were made so far.
    pub attempts: u32,
    /// When it will be tried again, where it is `retrying`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
    /// When it changed.
    pub at: Timestamp,
}

/// An attempt began or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptChange {
    /// The flow.
    pub flow: String,
    /// The run.
    pub run: i64,
    /// The task's name.
    pub task: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// Where it stands now.
    pub status: AttemptStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// When it changed.
    pub at: Timestamp,
}

/// A flow's schedule was paused or resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PausedChange {
    /// The flow.
    pub flow: String,
    /// Whether it is paused now.
    pub paused: bool,
    /// When it changed.
    pub at: Timestamp,
}

/// The project's files were read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectChange {
    /// How many files are broken now.
    pub problems: u32,
}

/// Some events were left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lagged {
    /// How many, at least.
    pub missed: u64,
}

/// What changes, as server-sent events.
///
/// The data of each is an `Event`. A comment line is sent every 15 seconds. A client that connects again with
/// `Last-Event-ID` gets `lagged` first when events were sent in between.
#[utoipa::path(get, path = "/events", tag = "events", params(EventsQuery),
    responses((status = 200, body = Event, content_type = "text/event-stream"), (status = "default", body = ErrorBody)))]
pub(crate) async fn follow_events(State(node): State<Node>, Query(_which): Query<EventsQuery>) -> Result<(), ApiError> {
    Err(node.not_wired())
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(follow_events))
}
