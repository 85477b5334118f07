//! What somebody is told of: written into the outbox with the transition itself, in one transaction.
//!
//! A run is told of as a whole, once for each of its ends: with the tasks that failed, not task by task. Runs of a backfill are told
//! of when the backfill ends. Who is told is the flow's and the project's word (`mulgil_flow::Told`); how, the postman's.

use std::sync::Arc;

use mulgil_flow::{Flow, Notification, Occasion};
use mulgil_history::outbox::{NewNotice, NoticeChange, NoticeStatus};
use mulgil_history::write::{BackfillStatus, Write};
use mulgil_sched::id::{BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{RunStatus, TaskStatus};
use serde_json::{Value, json};

use super::batch::Now;
use super::state::{OpenRun, Scheduler};

/// Notices that may wait at once. What comes then is given up at once, and shown so: whoever takes nothing for so long is not
/// helped by more.
pub(super) const WAITING_MAX: u64 = 10_000;
/// Failed tasks that are named.
const NAMED_MAX: usize = 20;
/// How a flow's own webhook stands in the outbox: its template, which may name a secret, not what it means.
const WEBHOOK: &str = "webhook:";

/// Something to tell of.
pub(super) struct News {
    pub(super) occasion: Occasion,
    /// Tells it from other news of this occasion.
    pub(super) key: String,
    pub(super) run: Option<RunId>,
    pub(super) body: Value,
}

impl Scheduler {
    /// A run has ended.
    pub(super) fn tell_of_end(&mut self, id: RunId, to: RunStatus, now: Now) {
        let occasion = match to {
            RunStatus::Failed => Occasion::Failure,
            RunStatus::Succeeded => Occasion::Success,
            _ => return,
        };
        let Some(run) = self.runs.get(&id).filter(|run| run.backfill.is_none()) else { return };
        let failed: Vec<TaskIndex> = run.state.tasks_with(TaskStatus::Failed).collect();
        let named = failed.iter().take(NAMED_MAX).filter_map(|task| named_task(run, *task));
        let body = json!({
            "subject": format!("{} has {to}", run.name),
            "run": about(run, to),
            "tasks": named.collect::<Vec<_>>(),
            "more_tasks": failed.len().saturating_sub(NAMED_MAX),
        });
        let key = format!("run-{id}-{}", now.as_microsecond());
        let flow = run.flow.clone();
        self.tell(&flow, News { occasion, key, run: Some(id), body }, now);
    }

    /// A task is going to be tried again: told once for each start of its run.
    pub(super) fn tell_of_retry(&mut self, id: RunId, task: TaskIndex, error: Option<&str>, now: Now) {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.backfill.is_none()) else { return };
        if std::mem::replace(&mut run.watch.retry_told, true) {
            return;
        }
        let named = named_task(run, task);
        let body = json!({
            "subject": format!("{}: task {} failed and is tried again", run.name, run.task_name(task)),
            "text": error,
            "run": about(run, run.state.status),
            "tasks": named.into_iter().collect::<Vec<_>>(),
            "more_tasks": 0,
        });
        let started = run.watch.started.unwrap_or(now);
        let (key, flow) = (format!("run-{id}-{}", started.as_microsecond()), run.flow.clone());
        self.tell(&flow, News { occasion: Occasion::Retry, key, run: Some(id), body }, now);
    }

    /// A backfill has ended.
    pub(super) fn tell_of_backfill(&mut self, flow: &str, id: BackfillId, to: BackfillStatus, bad: u64, now: Now) {
        let occasion = match to {
            BackfillStatus::Failed => Occasion::Failure,
            BackfillStatus::Succeeded => Occasion::Success,
            BackfillStatus::Running | BackfillStatus::Paused | BackfillStatus::Cancelled => return,
        };
        let Some(flow) = self.flows.get(flow).map(|source| source.flow.clone()) else { return };
        let text = (bad > 0).then(|| format!("{bad} of its runs did not succeed"));
        let body = json!({
            "subject": format!("backfill {id} of {} has {}", flow.name, to.word()),
            "text": text,
            "backfill": {"id": id.0, "status": to.word(), "failed_runs": bad},
        });
        let key = format!("backfill-{id}-{}", now.as_microsecond());
        self.tell(&flow, News { occasion, key, run: None, body }, now);
    }

    /// Writes news into the outbox: a notice for each that wants to hear it.
    pub(super) fn tell(&mut self, flow: &Arc<Flow>, news: News, now: Now) {
        let receivers = flow.receivers(news.occasion, &self.options.project.notify);
        for (number, receiver) in receivers.into_iter().enumerate() {
            let (channel, name) = match receiver {
                Notification::Channel(name) => (name.clone(), name),
                Notification::Webhook(template) => (format!("{WEBHOOK}{template}"), format!("webhook{number}")),
            };
            let is_full = self.notices_waiting >= WAITING_MAX;
            self.notices_waiting += u64::from(!is_full);
            let notice = NewNotice {
                key: format!("{}-{}-{name}", news.occasion.word(), news.key),
                channel,
                kind: news.occasion.word().to_owned(),
                flow: flow.name.clone(),
                run: news.run,
                body: news.body.clone(),
                at: now,
                refused: is_full
                    .then(|| format!("{WAITING_MAX} notices wait already: whoever should take them does not")),
            };
            self.batch.record(Write::Notice(notice), None);
            self.batch.fills_outbox = true;
        }
    }

    /// What came of deliveries.
    pub(super) fn told(&mut self, changes: Vec<NoticeChange>) {
        for change in changes {
            if change.to != NoticeStatus::Waiting {
                self.notices_waiting = self.notices_waiting.saturating_sub(1);
            }
            self.batch.record(Write::NoticeStatus(change), None);
        }
    }
}

/// A run, as far as it is told.
pub(super) fn about(run: &OpenRun, status: RunStatus) -> Value {
    json!({
        "id": run.state.id.0,
        "name": run.name,
        "status": status.word(),
        "interval_start": run.interval.map(|interval| interval.start.to_string()),
        "interval_end": run.interval.map(|interval| interval.end.to_string()),
        "started_at": run.watch.started.map(|at| at.to_string()),
    })
}

fn named_task(run: &OpenRun, task: TaskIndex) -> Option<Value> {
    let state = run.state.task(task)?;
    Some(json!({"task": run.task_name(task), "attempt": state.attempts}))
}
