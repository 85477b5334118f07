//! Rounds of a backfill: when all its runs have ended, those that failed run again, and so on as often as was asked for, as long
//! as a round mends something.
//!
//! What was cancelled stays so, and a run that would run a task a second time that is not idempotent waits for a person: nobody
//! is there to confirm it. A backfill that is paused begins its round when it is resumed.

use jiff::SignedDuration;
use mulgil_history::read::RunQuery;
use mulgil_history::write::{BackfillStatus, Write};
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::RunStatus;

use super::batch::Now;
use super::error::SchedulerError;
use super::open_backfill::OpenBackfill;
use super::rerun::Reopening;
use super::state::{Scheduler, Timer};

/// When to look again for what failed, where that could not be looked up.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// How far a backfill has come with its rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rounds {
    /// How many there may be.
    pub(super) most: u32,
    /// How many have begun.
    pub(super) begun: u32,
    /// How many runs had failed when the last one began.
    pub(super) failed_before: u64,
}

impl OpenBackfill {
    /// Whether what has failed runs again, now that everything has ended.
    pub(super) fn wants_round(&self) -> bool {
        let Rounds { most, begun, failed_before } = self.rounds;
        let mends = begun == 0 || self.failed < failed_before;
        self.open.is_empty() && self.failed > 0 && begun < most && mends
    }
}

impl Scheduler {
    /// Lets the next round of a backfill begin, unless it is paused: then it begins when it is resumed.
    pub(super) fn plan_round(&mut self, id: BackfillId, now: Now) {
        if self.backfills.get(&id).is_some_and(|backfill| backfill.status == BackfillStatus::Running) {
            self.timers.insert((now, Timer::Round(id)));
        }
    }

    /// A round may begin, unless a person was faster. Where nothing can run again, the backfill ends.
    pub(super) async fn round_due(&mut self, id: BackfillId, now: Now) -> Result<(), SchedulerError> {
        let wants = |backfill: &&OpenBackfill| backfill.status == BackfillStatus::Running && backfill.wants_round();
        if self.backfills.get(&id).filter(wants).is_none() {
            return Ok(());
        }
        // What has ended in this turn has to be found.
        self.store_so_far().await?;
        let again = match self.what_failed(id).await {
            Ok(again) => again,
            Err(error) => {
                tracing::warn!(backfill = %id, %error, "cannot look up what has failed; trying again");
                self.timers.insert((now.saturating_add(LOOK_AGAIN).unwrap_or(Now::MAX), Timer::Round(id)));
                return Ok(());
            }
        };
        let Some(backfill) = self.backfills.get_mut(&id) else { return Ok(()) };
        if again.is_empty() {
            let end = backfill.end();
            self.close_backfill(id, end, now);
            return Ok(());
        }
        let failed = backfill.failed;
        backfill.rounds = Rounds { begun: backfill.rounds.begun + 1, failed_before: failed, ..backfill.rounds };
        backfill.trial = None;
        let round = backfill.rounds.begun;
        let newest_first = backfill.newest_first;
        let change = self.backfill_change(id, now);
        self.batch.record(Write::BackfillRound { backfill: id, round, failed, at: now }, change);
        self.allow(id, 0);
        for mut reopening in again {
            let run = reopening.run.state.id;
            reopening.run.newest_first = newest_first;
            self.count_again(id, run, RunStatus::Failed);
            self.reopen(reopening, now)?;
        }
        Ok(())
    }

    /// The runs of a backfill that failed and may run again without being confirmed.
    async fn what_failed(&mut self, id: BackfillId) -> Result<Vec<Reopening>, SchedulerError> {
        let failed =
            RunQuery { backfill: Some(id), status: Some(RunStatus::Failed), limit: u32::MAX, ..RunQuery::default() };
        let runs: Vec<RunId> = self.history.runs(&failed).await?.into_iter().map(|run| run.id).collect();
        let mut again = Vec::new();
        for run in runs {
            match self.prepare_rerun(run, &RerunScope::Failed, false).await {
                Ok(reopening) if reopening.to_confirm().next().is_none() => again.push(reopening),
                Ok(_) => {}
                // It stays as it is; the others need not.
                Err(error) => tracing::warn!(%run, %error, "a run of a backfill cannot run again"),
            }
        }
        Ok(again)
    }
}
