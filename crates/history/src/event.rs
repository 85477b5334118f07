//! What each [`Write`] leaves in the list of events, whichever store it goes to.

use jiff::Timestamp;
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};

use crate::row::micros;
use crate::write::{AttemptChange, Write};

struct Event {
    at: Timestamp,
    kind: &'static str,
    run: Option<RunId>,
    task: Option<TaskIndex>,
    attempt: Option<u32>,
    payload: String,
}

impl Event {
    fn new(at: Timestamp, payload: String) -> Self {
        Self { at, kind: "run", run: None, task: None, attempt: None, payload }
    }

    fn run(at: Timestamp, run: RunId, payload: String) -> Self {
        Self { run: Some(run), ..Self::new(at, payload) }
    }

    fn attempt(at: Timestamp, id: AttemptId, payload: String) -> Self {
        let AttemptId { run, task, attempt } = id;
        Self { kind: "attempt", task: Some(task), attempt: Some(attempt), ..Self::run(at, run, payload) }
    }
}

/// The events of a batch, in its order, as an array of `[at_us, kind, run, task, attempt, payload]`; nothing where there are none.
pub(crate) fn events_of(writes: &[Write]) -> Option<String> {
    let rows: Vec<serde_json::Value> = writes.iter().filter_map(event_of).map(row).collect();
    (!rows.is_empty()).then(|| serde_json::Value::from(rows).to_string())
}

fn row(event: Event) -> serde_json::Value {
    let Event { at, kind, run, task, attempt, payload } = event;
    serde_json::json!([micros(at), kind, run.map(|run| run.0), task, attempt, storable(&payload)])
}

/// A text as every store takes it: PostgreSQL has no place for the character of number zero, which a program may well have said.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

fn event_of(write: &Write) -> Option<Event> {
    Some(match write {
        // A definition is there with its first run, and a renewal is no change of status.
        Write::FlowVersion(_) | Write::Renew { .. } | Write::Table(_) | Write::Usage { .. } => return None,
        Write::Run(run) => Event::run(run.at, run.id, "-> queued".to_owned()),
        Write::RunStatus(change) => {
            let why = if change.timed_out { ": its time is up" } else { "" };
            Event::run(change.at, change.run, format!("{} -> {}{why}", change.from, change.to))
        }
        Write::Task(change) => {
            let why = change.note.as_ref().map_or(String::new(), |note| format!(": {note}"));
            let payload = format!("{} -> {}{why}", change.from, change.to);
            Event { kind: "task", task: Some(change.task), ..Event::run(change.at, change.run, payload) }
        }
        Write::RunVersion(change) => {
            let payload = format!("follows version {} instead of {}", change.to, change.from);
            Event::run(change.at, change.run, payload)
        }
        Write::Items(new) => {
            let payload = format!("goes over {} items", new.items.len());
            Event { kind: "task", task: Some(new.of), ..Event::run(new.at, new.run, payload) }
        }
        Write::Call(change) => {
            let payload = match (change.child, change.starts) {
                // It is about to.
                (None, _) => return None,
                (Some(child), true) => format!("starts run {child}"),
                (Some(child), false) => format!("waits for run {child}"),
            };
            Event { kind: "task", task: Some(change.task), ..Event::run(change.at, change.run, payload) }
        }
        Write::Confirmed(confirmed) => {
            let payload = format!("attempt {} may begin: somebody has confirmed it", confirmed.attempts + 1);
            Event { kind: "task", task: Some(confirmed.task), ..Event::run(confirmed.at, confirmed.run, payload) }
        }
        Write::Lease(lease) => Event::attempt(lease.at, lease.attempt, format!("-> leased by {}", lease.owner)),
        Write::Attempt(AttemptChange { attempt, from, to, error, at, .. }) => {
            let reason = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
            Event::attempt(*at, *attempt, format!("{from} -> {to}{reason}"))
        }
        Write::Backfill(backfill) => {
            let payload = format!("backfill {} of {}: {} runs", backfill.id, backfill.flow, backfill.planned);
            Event { kind: "backfill", ..Event::new(backfill.at, payload) }
        }
        Write::RunBackfill { run, backfill, at, .. } => Event::run(*at, *run, format!("joins backfill {backfill}")),
        Write::BackfillStatus { backfill, from, to, at } => {
            let payload = format!("backfill {backfill}: {} -> {}", from.word(), to.word());
            Event { kind: "backfill", ..Event::new(*at, payload) }
        }
        // Each has a row of its own that says more.
        Write::Notice(_) | Write::NoticeStatus(_) => return None,
        Write::Drop { .. } | Write::DropRest { .. } | Write::Asked(_) => return None,
        Write::Alert(alert) => Event::run(alert.at, alert.run, format!("{}: {}", alert.kind, alert.text)),
        Write::BackfillPace { backfill, pace, at } => {
            Event { kind: "backfill", ..Event::new(*at, format!("backfill {backfill}: {pace} at once")) }
        }
        Write::BackfillRound { backfill, round, failed, at } => {
            let payload = format!("backfill {backfill}: round {round}: {failed} that failed run again");
            Event { kind: "backfill", ..Event::new(*at, payload) }
        }
        Write::Paused { flow, paused, at } => {
            let payload = format!("flow {flow}: {}", if *paused { "paused" } else { "resumed" });
            Event { kind: "flow", ..Event::new(*at, payload) }
        }
    })
}
