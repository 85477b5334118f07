//! Backfills: planned first, then made as queued runs all at once; the queues let so many be active as was asked.

use std::collections::HashMap;

use mulgil_flow::RunKey;
use mulgil_flow::backfill::{Action, Existing, Order, Plan, PlannedRun, Which, plan};
use mulgil_history::write::{BackfillStatus, NewBackfill, Trigger, Write};
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::RunStatus;
use mulgil_sched::step::Event;

use super::batch::Now;
use super::change::Change;
use super::error::SchedulerError;
use super::request::{BackfillRequest, BackfillStarted};
use super::rerun::{Reopening, tasks_to_confirm};
use super::runs::Detail;
use super::state::{OpenBackfill, OpenRun, RunOrder, Scheduler};

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
        let new: Vec<&PlannedRun> = plan.runs.iter().filter(|run| run.action == Action::Run).collect();
        let starts = new.len() + again.len();
        let mut started =
            BackfillStarted { backfill: None, new: new.len(), again: again.len(), skipped: plan.runs.len() - starts };
        let (Some(from), Some(to)) =
            (plan.runs.iter().map(|run| run.interval.start).min(), plan.runs.iter().map(|run| run.interval.end).max())
        else {
            return Ok(started);
        };
        if starts == 0 {
            return Ok(started);
        }
        let source = self.flow(&request.flow)?;
        let params = source.flow.resolve_params(&request.params)?;
        // Before anything is written, so that a broken graph leaves no empty backfill.
        self.version_of(&source.flow).map_err(SchedulerError::BrokenFlow)?;

        let concurrency = request.concurrency.unwrap_or(BackfillRequest::CONCURRENCY_DEFAULT).max(1);
        let newest_first = request.order == Order::NewestFirst;
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
            planned: u32::try_from(starts).unwrap_or(u32::MAX),
            at: now,
        };
        let change =
            Change::Backfill { flow: request.flow.clone(), backfill: id, status: BackfillStatus::Running, at: now };
        self.batch.record(Write::Backfill(row), change);
        self.open_backfill(id, request.flow.clone(), concurrency, newest_first, 0);
        for planned in new {
            let order = RunOrder {
                interval: Some(planned.interval),
                params: params.clone(),
                trigger: Trigger::Backfill,
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

    /// Reads back the runs that run again, and asks before a task that is not idempotent does.
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
        let asks: Vec<String> = again.iter().map(tasks_to_confirm).filter(|tasks| !tasks.is_empty()).collect();
        if !asks.is_empty() && !request.confirmed {
            return Err(SchedulerError::NeedsConfirmation { tasks: asks.join(", ") });
        }
        Ok(again)
    }

    /// Remembers a backfill as open.
    pub(super) fn open_backfill(
        &mut self,
        id: BackfillId,
        flow: String,
        concurrency: u32,
        newest_first: bool,
        bad: u64,
    ) {
        self.admission.set_backfill_limit(id, concurrency as usize);
        self.backfills.insert(id, OpenBackfill { flow, open: Default::default(), bad, newest_first });
    }

    pub(super) fn join_backfill(&mut self, id: BackfillId, run: RunId) {
        if let Some(backfill) = self.backfills.get_mut(&id) {
            backfill.open.insert(run);
        }
    }

    /// A run of a backfill has ended; with the last one the backfill does.
    pub(super) fn backfill_run_ended(&mut self, id: BackfillId, run: RunId, well: bool, now: Now) {
        let Some(backfill) = self.backfills.get_mut(&id) else { return };
        if backfill.open.remove(&run) && !well {
            backfill.bad += 1;
        }
        if backfill.open.is_empty() {
            let to = if backfill.bad == 0 { BackfillStatus::Succeeded } else { BackfillStatus::Failed };
            self.close_backfill(id, to, now);
        }
    }

    pub(super) fn close_backfill(&mut self, id: BackfillId, to: BackfillStatus, now: Now) {
        if let Some(backfill) = self.backfills.remove(&id) {
            self.admission.forget_backfill(id);
            let change = Change::Backfill { flow: backfill.flow, backfill: id, status: to, at: now };
            let from = BackfillStatus::Running;
            self.batch.record(Write::BackfillStatus { backfill: id, from, to, at: now }, change);
        }
    }

    /// A run of an ended backfill runs again: the backfill is open until that run has ended.
    pub(super) async fn reopen_backfill(
        &mut self,
        id: BackfillId,
        run: &OpenRun,
        now: Now,
    ) -> Result<(), SchedulerError> {
        if !self.backfills.contains_key(&id) {
            let Some(row) = self.history.backfill(id).await? else { return Ok(()) };
            let bad = row.runs.failed + row.runs.cancelled;
            self.open_backfill(id, row.flow.clone(), row.concurrency, row.newest_first, bad);
            let change = Change::Backfill { flow: row.flow, backfill: id, status: BackfillStatus::Running, at: now };
            let write = Write::BackfillStatus { backfill: id, from: row.status, to: BackfillStatus::Running, at: now };
            self.batch.record(write, change);
        }
        if let Some(backfill) = self.backfills.get_mut(&id) {
            backfill.bad = backfill.bad.saturating_sub(u64::from(run.state.status != RunStatus::Succeeded));
            backfill.open.insert(run.state.id);
        }
        Ok(())
    }

    pub(super) async fn cancel_backfill(&mut self, id: BackfillId, now: Now) -> Result<(), SchedulerError> {
        let Some(backfill) = self.backfills.get(&id) else {
            return match self.history.backfill(id).await? {
                Some(_) => Err(SchedulerError::BackfillEnded(id)),
                None => Err(SchedulerError::UnknownBackfill(id)),
            };
        };
        let open: Vec<RunId> = backfill.open.iter().copied().collect();
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
