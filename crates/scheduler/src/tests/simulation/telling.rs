//! The outbox of the history in memory, a postman who is not always heard, and what must hold of both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mulgil_flow::{DataInterval, Flow, Occasion};
use mulgil_history::HistoryError;
use mulgil_history::outbox::{NewNotice, NoticeChange, NoticeStatus};
use mulgil_history::read::{AlertRow, NoticeRow, Outbox};
use mulgil_history::write::{Trigger, Write};
use mulgil_sched::id::RunId;
use mulgil_sched::status::RunStatus;
use serde_json::Value;

use tokio::sync::oneshot;

use super::flows::project;
use super::store::{Stored, StoredRun};
use super::world::{Happening, SECOND, World};
use crate::event::{Event, Report};

/// How often the postman goes round.
const ROUND: i64 = 300 * SECOND;

impl Stored {
    /// Takes a write of the outbox. A key is one notice, and what has ended stays.
    pub(super) fn tell(&mut self, write: &Write) -> Result<(), HistoryError> {
        match write {
            Write::Notice(notice) => {
                let seq = self.notices.len() as i64 + 1;
                self.notices.entry(notice.key.clone()).or_insert_with(|| row(notice, seq));
            }
            Write::NoticeStatus(change) => {
                let waiting = self.notices.get_mut(&change.key).filter(|row| row.status == NoticeStatus::Waiting);
                if let Some(row) = waiting {
                    row.tries += 1;
                    (row.status, row.next_at) = (change.to, change.next_at);
                    row.error.clone_from(&change.error);
                    row.ended_at = (change.to != NoticeStatus::Waiting).then_some(change.at);
                }
            }
            Write::Alert(alert) => {
                let row = AlertRow { kind: alert.kind.clone(), text: alert.text.clone(), at: alert.at };
                self.alerts.entry((alert.run, alert.kind.clone())).or_insert(row);
            }
            _ => {}
        }
        Ok(())
    }

    /// What was noticed of runs that have not ended.
    pub(super) fn alerts_of_open_runs(&self) -> HashMap<RunId, Vec<AlertRow>> {
        let mut alerts: HashMap<RunId, Vec<AlertRow>> = HashMap::new();
        let is_open = |run: &RunId| self.runs.get(run).is_some_and(|run| !run.row.status.is_terminal());
        for ((run, _), alert) in self.alerts.iter().filter(|((run, _), _)| is_open(run)) {
            alerts.entry(*run).or_default().push(alert.clone());
        }
        alerts
    }

    /// What was noticed of a run.
    pub(super) fn alerts_of(&self, run: RunId) -> Vec<AlertRow> {
        self.alerts.iter().filter(|((of, _), _)| *of == run).map(|(_, alert)| alert.clone()).collect()
    }

    /// How long the latest runs of a flow took that succeeded.
    pub(super) fn durations(&self, flow: &str, limit: u32) -> Vec<SignedDuration> {
        let rows = self.runs.values().rev().map(|run| &run.row);
        let told = rows.filter(|row| row.flow == flow && row.backfill.is_none() && row.status == RunStatus::Succeeded);
        let durations = told.filter_map(|row| Some(row.started_at?.duration_until(row.ended_at?)));
        durations.take(limit as usize).collect()
    }

    /// What is due.
    pub(super) fn outbox(&self, now: Timestamp, of_channel: u32) -> Outbox {
        let waiting = || self.notices.values().filter(|row| row.status == NoticeStatus::Waiting);
        let is_due = |row: &NoticeRow| row.next_at.is_some_and(|at| at <= now);
        let mut due: Vec<NoticeRow> = waiting().filter(|row| is_due(row)).cloned().collect();
        due.sort_by_key(|row| row.seq);
        due.truncate(of_channel as usize);
        Outbox { due, next_at: waiting().filter(|row| !is_due(row)).filter_map(|row| row.next_at).min() }
    }
}

fn row(notice: &NewNotice, seq: i64) -> NoticeRow {
    let waits = notice.refused.is_none();
    NoticeRow {
        seq,
        key: notice.key.clone(),
        channel: notice.channel.clone(),
        kind: notice.kind.clone(),
        flow: notice.flow.clone(),
        run: notice.run,
        body: notice.body.clone(),
        status: notice.status(),
        tries: 0,
        created_at: notice.at,
        next_at: waits.then_some(notice.at),
        ended_at: (!waits).then_some(notice.at),
        error: notice.refused.clone(),
    }
}

impl World {
    /// Delivers some of what is due. Now and then nobody takes it, and now and then what was said of it is lost.
    pub(super) fn post(&mut self) {
        let now = self.today();
        // The scheduler's clock may be ahead: what it wrote is due when it says so.
        let due = self.history.look(|stored, _| stored.outbox(now, 20).due);
        let mut changes = Vec::new();
        for notice in due {
            let taken = !self.troubled() || self.random.chance(70);
            if taken {
                self.history.look(|_, checker| checker.told.delivered(&notice.key));
            }
            let again = (!taken).then(|| now + SignedDuration::from_micros(ROUND));
            let to = if taken { NoticeStatus::Delivered } else { NoticeStatus::Waiting };
            changes.push(NoticeChange { key: notice.key, to, next_at: again, error: None, at: now });
        }
        if !changes.is_empty() && (!self.troubled() || self.random.chance(80)) {
            let (reply, _) = oneshot::channel();
            self.turn(Some(Event::Report(Report::Told { changes, reply })));
        }
        self.plan(ROUND, Happening::Post { life: self.life });
    }
}

/// What was told of, and what must have been.
#[derive(Default)]
pub(super) struct Told {
    written: BTreeMap<String, Value>,
    delivered: BTreeMap<String, u32>,
    reopened: BTreeSet<RunId>,
    pub(super) notices: u64,
    pub(super) late: u64,
    pub(super) slow: u64,
    pub(super) again: u64,
}

impl Told {
    fn delivered(&mut self, key: &str) {
        let times = self.delivered.entry(key.to_owned()).or_default();
        *times += 1;
        self.again += u64::from(*times == 2);
    }

    /// A commit: whoever wants to hear of an end hears of it in the very batch, and no key comes twice.
    pub(super) fn committed(
        &mut self,
        writes: &[Write],
        flow_of: &dyn Fn(RunId) -> Option<(Arc<Flow>, bool)>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let mut ends: BTreeMap<(RunId, Occasion), usize> = BTreeMap::new();
        let mut notices: BTreeMap<(RunId, Occasion), usize> = BTreeMap::new();
        for write in writes {
            if let Write::RunStatus(change) = write
                && change.from.is_terminal()
            {
                self.reopened.insert(change.run);
            }
            match write {
                Write::RunStatus(change) if change.to == RunStatus::Failed => {
                    *ends.entry((change.run, Occasion::Failure)).or_default() += 1
                }
                Write::RunStatus(change) if change.to == RunStatus::Succeeded => {
                    *ends.entry((change.run, Occasion::Success)).or_default() += 1
                }
                Write::RunBackfill { run, .. } => drop(self.reopened.insert(*run)),
                Write::Alert(alert) => {
                    self.late += u64::from(alert.kind == "deadline");
                    self.slow += u64::from(alert.kind == "slow");
                }
                Write::Notice(notice) => {
                    self.notices += 1;
                    let occasion = Occasion::from_word(&notice.kind).unwrap();
                    // After a restart a retry may be told of again, under the same key, which is no second notice; and a batch whose
                    // answer was lost comes again as it was. A run that is called again in the very instant of its end, and ends in it
                    // again, has one notice of both.
                    let before = self.written.insert(notice.key.clone(), notice.body.clone());
                    let is_same =
                        occasion == Occasion::Retry || notice.run.is_some_and(|run| self.reopened.contains(&run));
                    if before.is_some_and(|before| before != notice.body) && !is_same {
                        faults.push(format!("{} was written twice", notice.key));
                    }
                    if let Some(run) = notice.run {
                        *notices.entry((run, occasion)).or_default() += 1;
                    }
                }
                _ => {}
            }
        }
        for ((run, occasion), times) in ends {
            let Some((flow, in_backfill)) = flow_of(run) else { continue };
            let receivers = if in_backfill { 0 } else { flow.receivers(occasion, &project().notify).len() };
            let found = notices.get(&(run, occasion)).copied().unwrap_or(0);
            if found != times * receivers {
                faults.push(format!(
                    "run {run}: {found} notices of {occasion:?} for {times} ends and {receivers} receivers"
                ));
            }
        }
        faults
    }

    /// The end of the world: everything was delivered, and every run that was late has its one alert.
    pub(super) fn end(&self, stored: &Stored, flow_of: &dyn Fn(&StoredRun) -> Option<Arc<Flow>>) -> Vec<String> {
        let lost = stored
            .notices
            .values()
            .filter(|notice| notice.status != NoticeStatus::Delivered || !self.delivered.contains_key(&notice.key));
        let mut faults: Vec<String> = lost.map(|notice| format!("never delivered: {notice:?}")).collect();
        for (id, run) in stored.runs.iter().filter(|(id, _)| !self.reopened.contains(id)) {
            let row = &run.row;
            let (Some(flow), Some(ended)) = (flow_of(run), row.ended_at) else { continue };
            let interval = row.interval_start.zip(row.interval_end).map(|(start, end)| DataInterval { start, end });
            let due = interval.filter(|_| row.trigger == Trigger::Schedule).and_then(|interval| flow.due(interval));
            let deadline = flow.deadline_after(due.unwrap_or(row.created_at)).filter(|_| row.backfill.is_none());
            let is_late = deadline.is_some_and(|deadline| deadline <= ended);
            if is_late && !stored.alerts.contains_key(&(*id, "deadline".to_owned())) {
                faults.push(format!("run {id} ended at {ended}, its deadline was {deadline:?}, and nobody was told"));
            }
            let told = stored.alerts.get(&(*id, "deadline".to_owned()));
            if let Some(alert) = told.filter(|alert| deadline.is_none_or(|deadline| alert.at < deadline)) {
                faults.push(format!("run {id} was called late before its deadline {deadline:?}: {alert:?}"));
            }
        }
        faults
    }
}
