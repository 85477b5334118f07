//! Events of lineage: written into the outbox with the transitions that they tell of.

use mulgil_flow::{LineageEvent, LineageRun};
use mulgil_history::outbox::NewNotice;
use mulgil_history::write::Write;
use mulgil_sched::id::{AttemptId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus};

use super::batch::Now;
use super::state::Scheduler;
use super::telling::WAITING_MAX;

/// How they stand in the outbox.
const CHANNEL: &str = "lineage:";
const KIND: &str = "lineage";

impl Scheduler {
    /// A run has changed.
    pub(super) fn lineage_of_run(&mut self, id: RunId, to: RunStatus, now: Now) {
        let event = match to {
            RunStatus::Running => LineageEvent::Start,
            RunStatus::Succeeded => LineageEvent::Complete,
            RunStatus::Failed => LineageEvent::Fail,
            RunStatus::Cancelled => LineageEvent::Abort,
            RunStatus::Queued | RunStatus::Cancelling => return,
        };
        self.trace(id, None, event, None, now);
    }

    /// An attempt has changed.
    pub(super) fn lineage_of_attempt(&mut self, id: AttemptId, to: AttemptStatus, error: Option<&str>, now: Now) {
        let event = match to {
            AttemptStatus::Leased => return,
            AttemptStatus::Running => LineageEvent::Start,
            AttemptStatus::Succeeded => LineageEvent::Complete,
            AttemptStatus::Failed | AttemptStatus::TimedOut => LineageEvent::Fail,
            AttemptStatus::Cancelled | AttemptStatus::Lost => LineageEvent::Abort,
        };
        self.trace(id.run, Some(id), event, error, now);
    }

    fn trace(&mut self, id: RunId, attempt: Option<AttemptId>, event: LineageEvent, error: Option<&str>, now: Now) {
        let Some(lineage) = &self.options.project.lineage else { return };
        let namespace = lineage.namespace.as_ref().or(self.options.project.name.as_ref());
        let Some(run) = self.runs.get(&id) else { return };
        let task = attempt.and_then(|attempt| Some((run.flow.task(&run.task_name(attempt.task))?, attempt.attempt)));
        if attempt.is_some() && task.is_none() {
            return;
        }
        // A run that is begun again is another run for those who draw it.
        let begun = run.watch.started.unwrap_or(now);
        let traced = LineageRun {
            namespace: namespace.map_or("mulgil", String::as_str),
            flow: &run.flow,
            run: (id.0, begun),
            interval: run.interval,
            attempt: task,
        };
        let body = traced.event(event, error, now);
        let of = attempt.map_or(String::new(), |attempt| format!("-{}-{}", attempt.task, attempt.attempt));
        // Events of lineage never take the room of what people wait for.
        let is_full = self.notices_waiting >= WAITING_MAX / 2;
        self.notices_waiting += u64::from(!is_full);
        let notice = NewNotice {
            key: format!("lineage-{id}-{}{of}-{}", begun.as_microsecond(), event.word().to_lowercase()),
            channel: CHANNEL.to_owned(),
            kind: KIND.to_owned(),
            flow: run.flow.name.clone(),
            run: Some(id),
            body,
            at: now,
            refused: is_full.then(|| format!("{} notices wait already", WAITING_MAX / 2)),
        };
        self.batch.record(Write::Notice(notice), None);
        self.batch.fills_outbox = true;
    }
}
