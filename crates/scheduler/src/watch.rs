//! What is looked at while a run is open: whether it ends by its deadline, and whether it takes longer than usual.
//!
//! Both are told once for a run, also across restarts: an alert is one of a kind in the history. Runs of a backfill are not watched.

use std::collections::{BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::{DataInterval, Flow, Occasion};
use mulgil_history::outbox::NewAlert;
use mulgil_history::read::AlertRow;
use mulgil_history::write::{Trigger, Write};
use mulgil_sched::id::RunId;
use mulgil_sched::status::RunStatus;
use mulgil_sched::usual::{RUNS_MAX, Usual, usual};
use serde_json::json;

use super::batch::Now;
use super::state::{OpenRun, Scheduler, Timer};
use super::telling::{News, about};

/// What is known of an open run for this.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// By when it has to have ended.
    pub(super) deadline: Option<Timestamp>,
    /// When it began, the last time.
    pub(super) started: Option<Timestamp>,
    /// What has been told of it.
    pub(super) alerted: BTreeSet<Occasion>,
    /// Whether it has been told of a retry since it began.
    pub(super) retry_told: bool,
}

impl Watch {
    /// What a new run has to keep.
    pub(super) fn new(flow: &Flow, interval: Option<DataInterval>, trigger: Trigger, created: Timestamp) -> Self {
        let scheduled = interval.filter(|_| trigger == Trigger::Schedule).and_then(|interval| flow.due(interval));
        let deadline = match trigger {
            Trigger::Backfill => None,
            _ => flow.deadline_after(scheduled.unwrap_or(created)),
        };
        Self { deadline, ..Self::default() }
    }

    /// With what has been told of it already.
    pub(super) fn heard(&mut self, alerts: &[AlertRow]) {
        self.alerted.extend(alerts.iter().filter_map(|alert| Occasion::from_word(&alert.kind)));
    }

    /// Of a run that had ended: whoever runs it again after its deadline knows that it is late.
    pub(super) fn reopened(&mut self, alerts: &[AlertRow], now: Now) {
        self.heard(alerts);
        self.deadline = self.deadline.filter(|deadline| *deadline > now);
    }
}

impl Scheduler {
    /// Sets the timers of a run that is open from now on.
    pub(super) fn watch(&mut self, id: RunId, now: Now) {
        let Some(run) = self.runs.get(&id).filter(|run| run.backfill.is_none()) else { return };
        let fresh = |occasion| !run.watch.alerted.contains(&occasion);
        let deadline = run.watch.deadline.filter(|_| fresh(Occasion::Deadline));
        let is_slow_possible = run.state.status == RunStatus::Running && fresh(Occasion::Slow);
        self.timers.extend(deadline.map(|at| (at, Timer::Deadline(id))));
        if is_slow_possible {
            // The history is asked soon, but not in the middle of a step.
            self.timers.insert((now, Timer::Usual(id)));
        }
    }

    /// A run's status has changed.
    pub(super) fn run_changed(&mut self, id: RunId, to: RunStatus, now: Now) {
        if to == RunStatus::Running {
            self.run_begins(id, now);
        }
        self.lineage_of_run(id, to, now);
        if to.is_terminal() {
            self.run_ends(id, to, now);
            self.tell_of_end(id, to, now);
        }
    }

    fn run_begins(&mut self, id: RunId, now: Now) {
        if let Some(run) = self.runs.get_mut(&id) {
            (run.watch.started, run.watch.retry_told) = (Some(now), false);
            if run.backfill.is_none() && !run.watch.alerted.contains(&Occasion::Slow) {
                self.timers.insert((now, Timer::Usual(id)));
            }
        }
    }

    /// Late, if its deadline has come, whether the timer has been heard or not.
    fn run_ends(&mut self, id: RunId, to: RunStatus, now: Now) {
        self.deadline_due(id, now);
        let Some(run) = self.runs.get(&id) else { return };
        self.tally.run(&run.flow.name, to, run.watch.started.map_or(SignedDuration::ZERO, |at| at.duration_until(now)));
        if to == RunStatus::Succeeded
            && run.backfill.is_none()
            && let Some(started) = run.watch.started
            && let Some(durations) = self.durations.get_mut(&run.flow.name)
        {
            durations.push_front(started.duration_until(now));
            durations.truncate(RUNS_MAX as usize);
        }
    }

    /// A run's deadline has come, unless the clock was set back since.
    pub(super) fn deadline_due(&mut self, id: RunId, now: Now) {
        let Some(run) = self.runs.get(&id).filter(|run| run.backfill.is_none()) else { return };
        let Some(deadline) = run.watch.deadline else { return };
        if deadline > now {
            self.timers.insert((deadline, Timer::Deadline(id)));
            return;
        }
        let local = deadline.to_zoned(run.flow.timezone.clone());
        let zone = run.flow.timezone.iana_name().unwrap_or("UTC");
        let text = format!("it should have ended by {}, {zone}", local.strftime("%Y-%m-%d %H:%M"));
        self.alert(id, Occasion::Deadline, "has not ended by its deadline", text, now);
    }

    /// How long the runs of a flow usually take is wanted for this one.
    pub(super) async fn usual_wanted(&mut self, id: RunId) {
        let Some(run) = self.runs.get(&id).filter(|run| run.state.status == RunStatus::Running) else { return };
        let (flow, started) = (run.flow.name.clone(), run.watch.started);
        if !self.durations.contains_key(&flow) {
            match self.history.durations(&flow, RUNS_MAX).await {
                Ok(durations) => {
                    self.durations.insert(flow.clone(), durations.into());
                }
                Err(error) => {
                    return tracing::warn!(%error, flow, "whether the run takes longer than usual is not known");
                }
            }
        }
        if let Some(at) = self.usual_of(&flow).zip(started).and_then(|(usual, at)| at.checked_add(usual.limit).ok()) {
            self.timers.insert((at, Timer::Slow(id)));
        }
    }

    fn usual_of(&self, flow: &str) -> Option<Usual> {
        let durations: Vec<SignedDuration> = self.durations.get(flow)?.iter().copied().collect();
        usual(&durations)
    }

    /// A run may be taking longer than usual now.
    pub(super) fn slow_due(&mut self, id: RunId, now: Now) {
        let Some(run) = self.runs.get(&id).filter(|run| run.state.status == RunStatus::Running) else { return };
        let Some((usual, started)) = self.usual_of(&run.flow.name).zip(run.watch.started) else { return };
        let took = started.duration_until(now);
        if took < usual.limit {
            // It was started again since, or the clock was set back, or what is usual has changed.
            if let Ok(at) = started.checked_add(usual.limit) {
                self.timers.insert((at, Timer::Slow(id)));
            }
            return;
        }
        let text = format!("it has run for {}, and usually takes {}", rounded(took), rounded(usual.median));
        self.alert(id, Occasion::Slow, "takes longer than usual", text, now);
    }

    fn alert(&mut self, id: RunId, occasion: Occasion, what: &str, text: String, now: Now) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if !run.watch.alerted.insert(occasion) {
            return;
        }
        let news = News {
            occasion,
            key: format!("run-{id}"),
            run: Some(id),
            body: json!({
                "subject": format!("{} {what}", run.name),
                "text": text.clone(),
                "run": about(run, run.state.status),
            }),
        };
        let flow = run.flow.clone();
        let alert = NewAlert { run: id, kind: occasion.word().to_owned(), text, at: now };
        self.batch.record(Write::Alert(alert), None);
        self.tell(&flow, news, now);
    }
}

/// How long runs of each flow took that succeeded, the newest first.
pub(super) type Durations = std::collections::HashMap<String, VecDeque<SignedDuration>>;

fn rounded(duration: SignedDuration) -> String {
    let rounded = duration.round(jiff::Unit::Second).unwrap_or(duration);
    format!("{rounded:#}")
}

impl OpenRun {
    /// The name of a task.
    pub(super) fn task_name(&self, task: u32) -> String {
        self.state.graph.task(task).map_or(String::new(), |node| node.name.to_string())
    }
}
