//! What changes, as it changes: one stream of server-sent events for runs, tasks, attempts, backfills and views.
//!
//! Events are hints to redraw, not a log: they are coalesced, and a client that reads too slowly gets one `lagged`
//! event instead of those that it missed, and then asks again for what it shows.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{self, KeepAlive, Sse};
use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::backfills::Backfill;
use crate::error::ErrorBody;
use crate::extract::Query;
use crate::hub::Numbered;
use crate::node::Node;
use crate::project::VERSION;
use crate::runs::{TaskError, label};
use crate::scheduler::Change;
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
    /// A view's numbers or state changed. At most one in 250 ms for each.
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
pub(crate) async fn follow_events(
    State(node): State<Node>,
    Query(which): Query<EventsQuery>,
    headers: HeaderMap,
) -> impl IntoResponse {
    // Listening begins before the newest number is read, so that no event falls in between.
    let events = BroadcastStream::new(node.hub.subscribe());
    let server = node.server_id();
    let newest = node.hub.last();
    let hello = Event::Hello(Hello { version: VERSION.to_owned(), server: server.clone() });
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let id = move |seq: u64| format!("{server}-{seq}");
    let missed = seen.filter(|seen| **seen != *id(newest)).map(|_| Event::Lagged(Lagged { missed: 1 }));
    let first = futures::stream::iter([Some(hello), missed].into_iter().flatten().map({
        let id = id.clone();
        move |event| event.named(&id(newest))
    }));
    let rest = events.filter_map(move |heard| {
        std::future::ready(match heard {
            Ok(numbered) if numbered.event.is_wanted(&which) => Some(numbered.sse(&id(numbered.seq))),
            Ok(_) => None,
            Err(BroadcastStreamRecvError::Lagged(missed)) => Some(Event::Lagged(Lagged { missed }).named(&id(0))),
        })
    });
    let stopping = node.stopping.clone();
    let stream = first.chain(rest).take_until(stopping.cancelled_owned()).map(Ok::<_, Infallible>);
    Sse::new(stream).keep_alive(KeepAlive::default())
}

impl Event {
    /// The event's name: the same word as its `type`.
    fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Run(_) => "run",
            Self::Task(_) => "task",
            Self::Attempt(_) => "attempt",
            Self::Backfill(_) => "backfill",
            Self::Paused(_) => "paused",
            Self::View(_) => "view",
            Self::Project(_) => "project",
            Self::Lagged(_) => "lagged",
        }
    }

    /// Whether a stream that asks for less than everything wants it.
    fn is_wanted(&self, which: &EventsQuery) -> bool {
        let (flow, run) = match self {
            Self::Run(change) => (&change.flow, Some(change.id)),
            Self::Task(change) => (&change.flow, Some(change.run)),
            Self::Attempt(change) => (&change.flow, Some(change.run)),
            Self::Backfill(backfill) => (&backfill.flow, None),
            Self::Paused(change) => (&change.flow, None),
            Self::View(view) => return which.view.as_ref().is_none_or(|wanted| *wanted == view.name),
            Self::Hello(_) | Self::Project(_) | Self::Lagged(_) => return true,
        };
        let is_detail = matches!(self, Self::Task(_) | Self::Attempt(_));
        which.flow.as_ref().is_none_or(|wanted| wanted == flow)
            && (!is_detail || which.run.is_none_or(|wanted| Some(wanted) == run))
    }

    fn named(&self, id: &str) -> sse::Event {
        let event = sse::Event::default().event(self.name()).id(id);
        // These few types always serialise; if not, an empty event tells the client to ask again.
        event.json_data(self).unwrap_or_else(|_| sse::Event::default().event("lagged").data("{}"))
    }

    /// The event that tells of a scheduler's change; definitions that were read again are told by the reloader.
    pub(crate) fn of_change(change: Change) -> Option<Self> {
        Some(match change {
            Change::Run { flow, run, name, status, interval_start, backfill, at } => Self::Run(RunChange {
                id: run.0,
                label: label(&flow, &name),
                name,
                flow,
                status: status.into(),
                interval_start,
                backfill: backfill.map(|id| id.0),
                at,
            }),
            Change::Task { flow, run, task, status, attempts, not_before, at, .. } => Self::Task(TaskChange {
                flow,
                run: run.0,
                task,
                status: status.into(),
                letter: status.letter(),
                attempts,
                retry_at: not_before,
                at,
            }),
            Change::Attempt { flow, run, task, attempt, status, error, at } => Self::Attempt(AttemptChange {
                flow,
                run: run.0,
                task,
                attempt,
                status: status.into(),
                error: error.map(TaskError::of),
                at,
            }),
            Change::Paused { flow, paused, at } => Self::Paused(PausedChange { flow, paused, at }),
            Change::Backfill { .. } | Change::Reloaded { .. } => return None,
        })
    }
}

impl Numbered {
    fn sse(&self, id: &str) -> sse::Event {
        sse::Event::default().event(self.event.name()).id(id).data(&self.json)
    }
}

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<Node> {
    OpenApiRouter::default().routes(routes!(follow_events))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(flow: &str, run: i64) -> Event {
        Event::Task(TaskChange {
            flow: flow.to_owned(),
            run,
            task: "land".to_owned(),
            status: TaskStatus::Running,
            letter: 'r',
            attempts: 1,
            retry_at: None,
            at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn a_stream_gets_what_it_asks_for() {
        let everything = EventsQuery::default();
        let of_flow = EventsQuery { flow: Some("daily".to_owned()), ..everything.clone() };
        let of_run = EventsQuery { run: Some(7), ..everything.clone() };
        for (which, event, wanted) in [
            (&everything, task("other", 1), true),
            (&of_flow, task("daily", 1), true),
            (&of_flow, task("other", 1), false),
            (&of_run, task("daily", 7), true),
            (&of_run, task("daily", 8), false),
            (&of_flow, Event::Lagged(Lagged { missed: 1 }), true),
        ] {
            assert_eq!(event.is_wanted(which), wanted, "{which:?} {event:?}");
        }
    }
}
