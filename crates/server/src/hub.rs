//! The hub of events: one task hears the scheduler, the views and the reloader, turns what it hears into [`Event`]s,
//! numbers them, and tells every stream.
//!
//! ```text
//! scheduler ── changes ──┐
//! views ────── watch ────┼──▶ hub ──▶ broadcast (bounded) ──▶ a stream for each page
//! reloader ─── watch ────┘
//! ```
//!
//! Numbers that move all the time are coalesced here: a backfill's progress and a view's counters are read at most a
//! few times a second, however many rows and runs pass.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_history::History;
use mulgil_sched::id::BackfillId;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::events::{Event, Lagged, ProjectChange};
use crate::reload::Reloader;
use crate::scheduler::{Change, SchedulerHandle};
use crate::views::ViewSummary;

/// Events that a slow stream may be behind before it is told to ask again for everything.
const EVENTS_MAX: usize = 4096;
/// How often, at most, the progress of one backfill is told.
const BACKFILL_EVERY: Duration = Duration::from_millis(250);

/// An event with its number, ready to be sent.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// Its number, from 1 since the server started.
    pub(crate) seq: u64,
    /// The event.
    pub(crate) event: Event,
    /// The event as JSON, made once for all streams.
    pub(crate) json: String,
}

/// A handle to the hub.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    sender: broadcast::Sender<Arc<Numbered>>,
    last: Arc<AtomicU64>,
}

/// What the hub listens to.
pub(crate) struct HubParts {
    /// Tells of runs, tasks, attempts, backfills.
    pub(crate) scheduler: SchedulerHandle,
    /// Knows how far a backfill is.
    pub(crate) history: Arc<dyn History>,
    /// Tells of changed files.
    pub(crate) reloader: Reloader,
    /// Ends the hub.
    pub(crate) stopping: CancellationToken,
}

impl Hub {
    /// Starts the hub's task.
    pub(crate) fn start(parts: HubParts) -> Self {
        let hub = Self { sender: broadcast::Sender::new(EVENTS_MAX), last: Arc::default() };
        tokio::spawn(hub.clone().run(parts));
        hub
    }

    /// Hears every event from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Numbered>> {
        self.sender.subscribe()
    }

    /// The number of the newest event.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Tells everybody. Only the hub's task calls it, so that numbers and order agree.
    fn publish(&self, event: Event) {
        match serde_json::to_string(&event) {
            Ok(json) => {
                let seq = self.last.fetch_add(1, Ordering::AcqRel) + 1;
                // An error means that nobody is listening.
                let _ = self.sender.send(Arc::new(Numbered { seq, event, json }));
            }
            Err(error) => tracing::error!(%error, "an event could not be written as JSON"),
        }
    }

    async fn run(self, parts: HubParts) {
        let mut changes = parts.scheduler.subscribe();
        let mut loaded = parts.reloader.watch();
        let mut views = loaded.borrow().views.clone();
        let (mut news, mut has_news) = (views.subscribe(), true);
        let mut moved: BTreeSet<BackfillId> = BTreeSet::new();
        let mut tick = tokio::time::interval_at(Instant::now() + BACKFILL_EVERY, BACKFILL_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = parts.stopping.cancelled() => return,
                change = changes.recv() => match change {
                    Ok(change) => {
                        moved.extend(backfill_of(&change));
                        if let Some(event) = Event::of_change(change) {
                            self.publish(event);
                        }
                    }
                    Err(RecvError::Lagged(missed)) => self.publish(Event::Lagged(Lagged { missed })),
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick(), if !moved.is_empty() => {
                    for backfill in std::mem::take(&mut moved) {
                        self.publish_backfill(&*parts.history, backfill).await;
                    }
                },
                Ok(()) = loaded.changed() => {
                    let now = loaded.borrow_and_update().clone();
                    views = now.views.clone();
                    (news, has_news) = (views.subscribe(), true);
                    let problems = u32::try_from(now.problems.len()).unwrap_or(u32::MAX);
                    self.publish(Event::Project(ProjectChange { problems }));
                },
                view = news.recv(), if has_news => match view {
                    // The view may be gone by now, and its news with it.
                    Ok(change) => if let Ok(status) = views.status(&TableName::parse(&change.name)) {
                        self.publish(Event::View(ViewSummary::of(status)));
                    },
                    Err(RecvError::Lagged(missed)) => self.publish(Event::Lagged(Lagged { missed })),
                    Err(RecvError::Closed) => has_news = false,
                },
            }
        }
    }

    async fn publish_backfill(&self, history: &dyn History, backfill: BackfillId) {
        match history.backfill(backfill).await {
            Ok(Some(row)) => self.publish(Event::Backfill(crate::backfills::Backfill::of_row(row))),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, %backfill, "a backfill's progress could not be read"),
        }
    }
}

fn backfill_of(change: &Change) -> Option<BackfillId> {
    match change {
        Change::Run { backfill, .. } => *backfill,
        Change::Backfill { backfill, .. } => Some(*backfill),
        _ => None,
    }
}
