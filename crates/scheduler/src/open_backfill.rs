//! Backfills under way: their pace, their trial, pauses, and how they come to their end.
//!
//! A backfill may begin with a **trial**: after so many runs have ended it pauses, to be looked at. While it is paused, by
//! itself or by somebody, no further run of it begins; those that run go on. Its **pace**, how many runs go at once, halves
//! with every run that fails and recovers with those that succeed (see [`Pace`]).

use std::collections::BTreeSet;

use mulgil_history::read::BackfillRow;
use mulgil_history::write::{BackfillStatus, Write};
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::pace::Pace;
use mulgil_sched::status::RunStatus;
use mulgil_sched::step::Event;

use super::batch::Now;
use super::change::Change;
use super::error::SchedulerError;
use super::round::Rounds;
use super::runs::Detail;
use super::state::{OpenRun, Scheduler};

/// A backfill that has not ended.
pub(super) struct OpenBackfill {
    pub(super) flow: String,
    pub(super) status: BackfillStatus,
    /// Its runs that have not ended.
    pub(super) open: BTreeSet<RunId>,
    /// Its runs that have ended, but not well.
    pub(super) bad: u64,
    /// Those of them that failed.
    pub(super) failed: u64,
    pub(super) rounds: Rounds,
    /// Whether later intervals go first.
    pub(super) newest_first: bool,
    pub(super) pace: Pace,
    /// How many runs have to end before it pauses by itself.
    pub(super) trial: Option<u64>,
}

impl OpenBackfill {
    /// A backfill as the history has it.
    pub(super) fn of_row(row: &BackfillRow) -> Self {
        let bad = row.runs.failed + row.runs.cancelled;
        let ended = row.runs.succeeded + bad;
        Self {
            flow: row.flow.clone(),
            status: row.status,
            open: BTreeSet::new(),
            bad,
            failed: row.runs.failed,
            rounds: Rounds { most: row.rounds, begun: row.round, failed_before: row.failed_before },
            newest_first: row.newest_first,
            pace: Pace::new(row.concurrency, row.pace),
            trial: row.trial.and_then(|trial| u64::from(trial).checked_sub(ended)).filter(|left| *left > 0),
        }
    }

    /// How its end is called, if all its runs have ended.
    pub(super) fn end(&self) -> BackfillStatus {
        if self.bad == 0 { BackfillStatus::Succeeded } else { BackfillStatus::Failed }
    }
}

impl Scheduler {
    /// Remembers a backfill as open; of its runs so many are active now.
    pub(super) fn open_backfill(&mut self, id: BackfillId, backfill: OpenBackfill, active: u64) {
        self.admission.set_backfill_limit(id, backfill.pace.now() as usize);
        self.backfills.insert(id, backfill);
        self.allow(id, active);
    }

    /// Says how many of its runs may still begin.
    pub(super) fn allow(&mut self, id: BackfillId, active: u64) {
        let Some(backfill) = self.backfills.get(&id) else { return };
        let allowance = match (backfill.status, backfill.trial) {
            (BackfillStatus::Running, None) => None,
            (BackfillStatus::Running, Some(left)) => Some(usize::try_from(left.saturating_sub(active)).unwrap_or(0)),
            _ => Some(0),
        };
        self.admission.set_allowance(id, allowance);
    }

    pub(super) fn join_backfill(&mut self, id: BackfillId, run: RunId) {
        if let Some(backfill) = self.backfills.get_mut(&id) {
            backfill.open.insert(run);
        }
    }

    /// A run of a backfill has ended; with the last one the backfill does, with the last one of a trial it pauses.
    pub(super) fn backfill_run_ended(&mut self, id: BackfillId, run: RunId, status: RunStatus, now: Now) {
        let Some(backfill) = self.backfills.get_mut(&id) else { return };
        if !backfill.open.remove(&run) {
            return;
        }
        let well = status == RunStatus::Succeeded;
        backfill.bad += u64::from(!well);
        backfill.failed += u64::from(status == RunStatus::Failed);
        backfill.trial = backfill.trial.map(|left| left.saturating_sub(1));
        let trial_is_over = backfill.trial == Some(0);
        // Who cancels a run says nothing about how runs fare.
        let paced = if status == RunStatus::Cancelled { None } else { backfill.pace.ended(well) };
        if let Some(pace) = paced {
            self.admission.set_backfill_limit(id, pace as usize);
            let change = self.backfill_change(id, now);
            self.batch.record(Write::BackfillPace { backfill: id, pace, at: now }, change);
        }
        if !self.end_if_done(id, now) && trial_is_over {
            self.turn_backfill(id, BackfillStatus::Paused, now);
        }
    }

    /// Ends a backfill of which no run is open any more, or begins its next round. Whether none is.
    pub(super) fn end_if_done(&mut self, id: BackfillId, now: Now) -> bool {
        let Some(backfill) = self.backfills.get(&id).filter(|backfill| backfill.open.is_empty()) else { return false };
        if backfill.wants_round() {
            self.plan_round(id, now);
        } else {
            let end = backfill.end();
            self.close_backfill(id, end, now);
        }
        true
    }

    pub(super) fn backfill_change(&self, id: BackfillId, now: Now) -> Option<Change> {
        let backfill = self.backfills.get(&id)?;
        Some(Change::Backfill { flow: backfill.flow.clone(), backfill: id, status: backfill.status, at: now })
    }

    /// Takes an open backfill to another status, with what follows for its runs.
    fn turn_backfill(&mut self, id: BackfillId, to: BackfillStatus, now: Now) {
        let Some(backfill) = self.backfills.get_mut(&id) else { return };
        let from = std::mem::replace(&mut backfill.status, to);
        if from == to {
            return;
        }
        backfill.trial = None;
        let (flow, bad) = (backfill.flow.clone(), backfill.bad);
        self.tell_of_backfill(&flow, id, to, bad, now);
        let change = self.backfill_change(id, now);
        self.batch.record(Write::BackfillStatus { backfill: id, from, to, at: now }, change);
        self.allow(id, 0);
    }

    pub(super) fn close_backfill(&mut self, id: BackfillId, to: BackfillStatus, now: Now) {
        self.turn_backfill(id, to, now);
        self.backfills.remove(&id);
        self.admission.forget_backfill(id);
    }

    /// Lets no further run of a backfill begin, or lets them begin again. Twice is as good as once.
    pub(super) async fn pause_backfill(
        &mut self,
        id: BackfillId,
        paused: bool,
        now: Now,
    ) -> Result<(), SchedulerError> {
        self.find_backfill(id).await?;
        let to = if paused { BackfillStatus::Paused } else { BackfillStatus::Running };
        self.turn_backfill(id, to, now);
        self.end_if_done(id, now);
        Ok(())
    }

    /// A run of a backfill runs again: the backfill is open until that run has ended, and it may begin also while no other
    /// may, since somebody has asked for it.
    pub(super) async fn reopen_backfill(
        &mut self,
        id: BackfillId,
        run: &OpenRun,
        now: Now,
    ) -> Result<(), SchedulerError> {
        if !self.backfills.contains_key(&id) {
            let Some(row) = self.history.backfill(id).await? else { return Ok(()) };
            self.open_backfill(id, OpenBackfill { trial: None, ..OpenBackfill::of_row(&row) }, 0);
            self.turn_backfill(id, BackfillStatus::Running, now);
        }
        self.count_again(id, run.state.id, run.state.status);
        if let Some(backfill) = self.backfills.get_mut(&id) {
            backfill.trial = backfill.trial.map(|left| left + 1);
            self.admission.exempt(run.state.id);
        }
        Ok(())
    }

    /// A run of a backfill that had ended so is open again.
    pub(super) fn count_again(&mut self, id: BackfillId, run: RunId, ended: RunStatus) {
        if let Some(backfill) = self.backfills.get_mut(&id) {
            backfill.bad = backfill.bad.saturating_sub(u64::from(ended != RunStatus::Succeeded));
            backfill.failed = backfill.failed.saturating_sub(u64::from(ended == RunStatus::Failed));
            backfill.open.insert(run);
        }
    }

    async fn find_backfill(&mut self, id: BackfillId) -> Result<&OpenBackfill, SchedulerError> {
        match self.backfills.get(&id) {
            Some(backfill) => Ok(backfill),
            None => match self.history.backfill(id).await? {
                Some(_) => Err(SchedulerError::BackfillEnded(id)),
                None => Err(SchedulerError::UnknownBackfill(id)),
            },
        }
    }

    pub(super) async fn cancel_backfill(&mut self, id: BackfillId, now: Now) -> Result<(), SchedulerError> {
        let open: Vec<RunId> = self.find_backfill(id).await?.open.iter().copied().collect();
        // First the backfill, so that the ends of its runs do not end it another way.
        self.close_backfill(id, BackfillStatus::Cancelled, now);
        for run in open {
            // One that is being cancelled already stays so.
            if self.runs.get(&run).is_some_and(|run| run.state.status != RunStatus::Cancelling) {
                self.apply(run, Event::Cancel, Detail::default(), now)?;
            }
        }
        Ok(())
    }
}
