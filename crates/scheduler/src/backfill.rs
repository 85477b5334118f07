//! Backfills: planned first, then made as queued runs all at once; the queues let so many be active as was asked.

use std::collections::HashMap;

use mulgil_flow::RunKey;
use mulgil_flow::backfill::{Action, Existing, Order, Plan, PlannedRun, Which, plan};
use mulgil_history::write::{BackfillStatus, NewBackfill, Trigger, Write};
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::pace::Pace;
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::RunStatus;

use super::batch::Now;
use super::change::Change;
use super::error::SchedulerError;
use super::open_backfill::OpenBackfill;
use super::request::{BackfillRequest, BackfillStarted};
use super::rerun::{Reopening, ask};
use super::round::Rounds;
use super::state::{RunOrder, Scheduler};

/// A plan, and the runs that exist already for its intervals.
struct Planned {
    plan: Plan,
    existing: HashMap<String, (RunId, RunStatus)>,
}

impl Scheduler {
    pub(super) async fn plan_backfill(&mut self, request: &BackfillRequest) -> Result<Plan, SchedulerError> {
        Ok(self.planned(request).await?.plan)
    }

    async fn planned(&mut self, request: &BackfillRequest) -> Result<Planned, SchedulerError> {
        let flow = self.flow(&request.flow)?.flow;
        let params = flow.resolve_params(&request.params)?;
        let plan_with = |existing: &dyn Fn(&RunKey) -> Option<Existing>| {
            plan(&flow, &params, request.from, request.to, existing, request.which, request.order)
        };
        // The first plan only tells the keys, whose runs are then looked up in one query.
        let keys: Vec<String> = plan_with(&|_| None)?.runs.iter().map(|run| run.key.text().to_owned()).collect();
        let rows = self.history.runs_by_key(&flow.name, &keys).await?;
        let existing: HashMap<_, _> = rows.into_iter().map(|row| (row.key, (row.id, row.status))).collect();
        let plan = plan_with(&|key| existing.get(key.text()).map(|(_, status)| standing(*status)))?;
        Ok(Planned { plan, existing })
    }

    pub(super) async fn start_backfill(
        &mut self,
        request: BackfillRequest,
        now: Now,
    ) -> Result<BackfillStarted, SchedulerError> {
        let Planned { plan, existing } = self.planned(&request).await?;
        let again = self.prepare_again(&request, &plan, &existing).await?;
        let called = self.foretell(&again).await?;
        ask(&again, &called, request.confirmed)?;
        let new: Vec<&PlannedRun> = plan.runs.iter().filter(|run| run.action == Action::Run).collect();
        let starts = new.len() + again.len();
        let mut started =
            BackfillStarted { backfill: None, new: new.len(), again: again.len(), skipped: plan.runs.len() - starts };
        if starts == 0 {
            return Ok(started);
        }
        let source = self.flow(&request.flow)?;
        let params = source.flow.resolve_params(&request.params)?;
        // Before anything is written, so that a broken graph leaves no empty backfill.
        self.version_of(&source.flow).map_err(SchedulerError::BrokenFlow)?;

        let newest_first = request.order == Order::NewestFirst;
        let Some(id) = self.record_backfill(&request, &plan, starts, now) else { return Ok(started) };
        self.confirm(&called, now);
        for planned in new {
            let order = RunOrder {
                interval: Some(planned.interval),
                params: params.clone(),
                trigger: Trigger::Backfill,
                key: None,
                backfill: Some(id),
                retries: request.retries,
            };
            let run = self.create_run(&source, order, now)?;
            self.join_backfill(id, run);
        }
        for mut reopening in again {
            let run = reopening.run.state.id;
            reopening.run.newest_first = newest_first;
            self.adopt(&mut reopening.run, id, request.retries, now);
            self.reopen(reopening, now)?;
            self.join_backfill(id, run);
        }
        started.backfill = Some(id);
        Ok(started)
    }

    /// Writes a backfill of so many runs down and opens it; `None` for one without an interval.
    fn record_backfill(
        &mut self,
        request: &BackfillRequest,
        plan: &Plan,
        starts: usize,
        now: Now,
    ) -> Option<BackfillId> {
        let from = plan.runs.iter().map(|run| run.interval.start).min()?;
        let to = plan.runs.iter().map(|run| run.interval.end).max()?;
        let concurrency = request.concurrency.unwrap_or(BackfillRequest::CONCURRENCY_DEFAULT).max(1);
        let newest_first = request.order == Order::NewestFirst;
        let trial = request.trial.filter(|trial| *trial > 0);
        self.last_backfill += 1;
        let id = BackfillId(self.last_backfill);
        let row = NewBackfill {
            id,
            flow: request.flow.clone(),
            from,
            to,
            concurrency,
            which: word_of(request.which).to_owned(),
            newest_first,
            rounds: request.rounds,
            planned: u32::try_from(starts).unwrap_or(u32::MAX),
            trial,
            at: now,
        };
        let change =
            Change::Backfill { flow: request.flow.clone(), backfill: id, status: BackfillStatus::Running, at: now };
        self.batch.record(Write::Backfill(row), change);
        let open = OpenBackfill {
            flow: request.flow.clone(),
            status: BackfillStatus::Running,
            open: Default::default(),
            bad: 0,
            failed: 0,
            rounds: Rounds { most: request.rounds, ..Rounds::default() },
            newest_first,
            pace: Pace::new(concurrency, None),
            trial: trial.map(u64::from),
        };
        self.open_backfill(id, open, 0);
        Some(id)
    }

    /// Reads back the runs that run again.
    async fn prepare_again(
        &mut self,
        request: &BackfillRequest,
        plan: &Plan,
        existing: &HashMap<String, (RunId, RunStatus)>,
    ) -> Result<Vec<Reopening>, SchedulerError> {
        let scope = match request.which {
            Which::All => RerunScope::All,
            Which::Failed | Which::Missing => RerunScope::Failed,
        };
        let mut again = Vec::new();
        for planned in plan.runs.iter().filter(|run| run.action == Action::Rerun) {
            if let Some((run, _)) = existing.get(planned.key.text()) {
                again.push(self.prepare_rerun(*run, &scope, false).await?);
            }
        }
        Ok(again)
    }
}

fn standing(status: RunStatus) -> Existing {
    match status {
        RunStatus::Queued | RunStatus::Running | RunStatus::Cancelling => Existing::Active,
        RunStatus::Succeeded => Existing::Succeeded,
        RunStatus::Failed | RunStatus::Cancelled => Existing::Failed,
    }
}

fn word_of(which: Which) -> &'static str {
    match which {
        Which::Missing => "missing",
        Which::Failed => "failed",
        Which::All => "all",
    }
}
