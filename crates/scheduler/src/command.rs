//! What people ask for. Each command first lets the batch so far be stored, since it reads the history.

use jiff::ToSpan;
use jiff::civil::Date;
use mulgil_flow::{DataInterval, Flow, RunKey, Schedule};
use mulgil_history::write::{Trigger, Write};
use mulgil_sched::id::RunId;
use mulgil_sched::step::Event;

use super::batch::Now;
use super::change::Change;
use super::error::SchedulerError;
use super::event::Command;
use super::request::{Dropping, FlowSource, TriggerRequest, Triggered};
use super::runs::Detail;
use super::state::{RunOrder, Scheduler};

impl Scheduler {
    /// Stores what this turn has decided, with the ends of calls and the runs that written tables start, and says what time it is.
    pub(super) async fn store_so_far(&mut self) -> Result<Now, SchedulerError> {
        let now = self.clock.now();
        self.follow_calls().await?;
        self.start_on_tables(now).await?;
        self.store().await?;
        Ok(now)
    }

    /// Does what a command says; the answer goes out once it is stored. An error here ends the loop; what only the
    /// caller did wrong goes to the caller.
    pub(super) async fn obey(&mut self, command: Command) -> Result<(), SchedulerError> {
        let now = self.store_so_far().await?;
        match command {
            Command::Trigger(request, reply) => {
                let answer = self.trigger(request, now).await;
                self.batch.reply(reply, answer);
            }
            Command::PlanBackfill(request, reply) => {
                let answer = self.plan_backfill(&request).await;
                self.batch.reply(reply, answer);
            }
            Command::StartBackfill(request, reply) => {
                let answer = self.start_backfill(request, now).await;
                self.batch.reply(reply, answer);
            }
            Command::PauseBackfill(backfill, paused, reply) => {
                let answer = self.pause_backfill(backfill, paused, now).await;
                self.batch.reply(reply, answer);
            }
            Command::CancelBackfill(backfill, reply) => {
                let answer = self.cancel_backfill(backfill, now).await;
                self.batch.reply(reply, answer);
            }
            Command::PreviewRerun(request, reply) => {
                let answer = self.preview_reruns(&request).await;
                self.batch.reply(reply, answer);
            }
            Command::PreviewMark(request, reply) => {
                let answer = self.mark(request, true, now).await;
                self.batch.reply(reply, answer);
            }
            Command::Mark(request, reply) => {
                let answer = self.mark(request, false, now).await;
                self.batch.reply(reply, answer);
            }
            Command::Rerun(request, reply) => {
                let answer = self.rerun(request, now).await;
                self.batch.reply(reply, answer);
            }
            Command::CancelRun(run, reply) => {
                let answer = self.cancel_run(run, now).await;
                self.batch.reply(reply, answer);
            }
            Command::SetPaused(flow, paused, reply) => {
                let answer = self.set_paused(flow, paused, now).await;
                self.batch.reply(reply, answer);
            }
            Command::Reload(flows, project, reply) => {
                project.into_iter().for_each(|project| self.take_settings(project));
                let answer = self.reload(flows, now).await;
                self.batch.reply(reply, answer);
            }
            Command::WhyRun(run, task, reply) => {
                let answer = self.why_run(run, task).await;
                self.batch.reply(reply, answer);
            }
            Command::WhyFlow(flow, reply) => {
                let answer = self.why_flow(&flow, now);
                self.batch.reply(reply, answer);
            }
            Command::Workers(reply) => self.batch.reply(reply, Ok(self.staff())),
            Command::Drop(dropping, reply) => {
                let gone = self.drop_runs(dropping);
                self.batch.reply(reply, Ok(gone));
            }
            Command::Gauges(reply) => self.batch.reply(reply, Ok(self.gauges())),
            Command::Pools(reply) => self.batch.reply(reply, Ok(self.admission.loads())),
        }
        Ok(())
    }

    /// A flow of the project.
    pub(super) fn flow(&self, name: &str) -> Result<FlowSource, SchedulerError> {
        let unknown = || SchedulerError::UnknownFlow { flow: name.to_owned(), known: self.known_flows() };
        self.flows.get(name).cloned().ok_or_else(unknown)
    }

    async fn trigger(&mut self, request: TriggerRequest, now: Now) -> Result<Triggered, SchedulerError> {
        let source = self.flow(&request.flow)?;
        if let Some(arrival) = &request.arrival {
            return self.arrived(&source, arrival, &request.params, now).await;
        }
        if let Some(asked_before) = self.asked_before(&request).await? {
            return Ok(asked_before);
        }
        let params = source.flow.resolve_params(&request.params)?;
        let interval = wanted_interval(&source.flow, &request, now)?;
        let key = RunKey::new(&source.flow, interval, &params);
        let existing = self.history.runs_by_key(&request.flow, &[key.text().to_owned()]).await?;
        if let Some(existing) = existing.into_iter().next() {
            self.keep_key(&request, existing.id, now);
            return Ok(Triggered { run: existing.id, name: existing.name, created: false });
        }
        let order = RunOrder { interval, params, trigger: Trigger::Manual, key: None, backfill: None, retries: true };
        let run = self.create_run(&source, order, now)?;
        self.keep_key(&request, run, now);
        Ok(Triggered { run, name: key.run_id().to_owned(), created: true })
    }

    /// Drops runs that are kept no longer. What is open stays, whoever asks.
    fn drop_runs(&mut self, Dropping { runs, rest }: Dropping) -> Vec<RunId> {
        let gone: Vec<RunId> = runs.into_iter().filter(|run| !self.runs.contains_key(run)).collect();
        if !gone.is_empty() {
            self.batch.record(Write::Drop { runs: gone.clone() }, None);
        }
        if let Some((runs, notices)) = rest {
            self.batch.record(Write::DropRest { runs, notices }, None);
        }
        gone
    }

    async fn cancel_run(&mut self, run: RunId, now: Now) -> Result<(), SchedulerError> {
        if self.runs.contains_key(&run) {
            return Ok(self.apply(run, Event::Cancel, Detail::default(), now)?);
        }
        match self.history.run(run).await? {
            Some(detail) => Err(SchedulerError::Ended { run, status: detail.run.status }),
            None => Err(SchedulerError::UnknownRun(run)),
        }
    }

    async fn set_paused(&mut self, flow: String, paused: bool, now: Now) -> Result<(), SchedulerError> {
        self.flow(&flow)?;
        let changed = if paused { self.paused.insert(flow.clone()) } else { self.paused.remove(&flow) };
        if !changed {
            return Ok(());
        }
        let change = Change::Paused { flow: flow.clone(), paused, at: now };
        self.batch.record(Write::Paused { flow: flow.clone(), paused, at: now }, change);
        if !paused {
            // What was missed meanwhile is treated as if no server had run.
            self.catch_up(&flow, now).await?;
        }
        Ok(())
    }
}

fn wanted_interval(flow: &Flow, request: &TriggerRequest, now: Now) -> Result<Option<DataInterval>, SchedulerError> {
    let missing = |what: String| SchedulerError::NoInterval { flow: flow.name.clone(), what };
    if let Some(interval) = request.interval {
        let proper = interval.start < interval.end;
        return if proper { Ok(Some(interval)) } else { Err(missing(format!("{interval}: it ends before it starts"))) };
    }
    match (&flow.schedule, request.date) {
        (Some(schedule), Some(date)) => {
            let interval = interval_of_day(schedule, date);
            interval.map(Some).ok_or_else(|| missing(format!("that starts on {date}")))
        }
        (Some(schedule), None) => {
            let interval = latest_interval(schedule, now);
            interval.map(Some).ok_or_else(|| missing("that has ended".to_owned()))
        }
        (None, Some(date)) => Err(missing(format!("that starts on {date}, since it has no schedule"))),
        (None, None) => Ok(None),
    }
}

fn interval_of_day(schedule: &Schedule, date: Date) -> Option<DataInterval> {
    let from = date.to_zoned(schedule.timezone.clone()).ok()?.timestamp();
    let to = date.tomorrow().ok()?.to_zoned(schedule.timezone.clone()).ok()?.timestamp();
    schedule.intervals(from, to).next()
}

/// The latest interval whose run is due, found by looking back ever further.
fn latest_interval(schedule: &Schedule, now: Now) -> Option<DataInterval> {
    let last = schedule.end.map_or(now, |end| end.min(now));
    [1, 40, 400, 4_000].into_iter().find_map(|days: i64| {
        let since = last.checked_sub((days * 24).hours()).ok()?;
        schedule.fires(since).take_while(|fire| fire.at <= now).last().map(|fire| fire.interval)
    })
}
