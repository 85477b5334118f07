//! The backfills of the history in memory.

use mulgil_history::HistoryError;
use mulgil_history::read::{BackfillRow, RunCounts};
use mulgil_history::write::{BackfillStatus, NewBackfill};
use mulgil_sched::status::RunStatus;

use super::store::{Stored, conflict};

impl Stored {
    pub(super) fn new_backfill(&mut self, backfill: &NewBackfill) -> Result<(), HistoryError> {
        let row = BackfillRow {
            id: backfill.id,
            flow: backfill.flow.clone(),
            from: backfill.from,
            to: backfill.to,
            concurrency: backfill.concurrency,
            which: backfill.which.clone(),
            newest_first: backfill.newest_first,
            status: BackfillStatus::Running,
            planned: backfill.planned,
            trial: backfill.trial,
            rounds: backfill.rounds,
            round: 0,
            failed_before: 0,
            pace: None,
            mean_run_us: None,
            runs: RunCounts::default(),
            created_at: backfill.at,
            ended_at: None,
        };
        if self.backfills.insert(backfill.id, row).is_some() {
            return Err(conflict(backfill.id, "new"));
        }
        Ok(())
    }

    pub(super) fn counted(&self, backfill: &BackfillRow) -> BackfillRow {
        let mut row = backfill.clone();
        for run in self.runs.values().filter(|run| run.row.backfill == Some(row.id)) {
            match run.row.status {
                RunStatus::Queued => row.runs.queued += 1,
                RunStatus::Running | RunStatus::Cancelling => row.runs.running += 1,
                RunStatus::Succeeded => row.runs.succeeded += 1,
                RunStatus::Failed => row.runs.failed += 1,
                RunStatus::Cancelled => row.runs.cancelled += 1,
            }
        }
        row
    }
}
