//! The outbox of the history in memory.

use jiff::{SignedDuration, Timestamp};
use mulgil_history::HistoryError;
use mulgil_history::outbox::{NewNotice, NoticeStatus};
use mulgil_history::read::{AlertRow, NoticeRow, Outbox};
use mulgil_history::write::Write;
use mulgil_sched::status::RunStatus;

use super::store::Stored;

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
