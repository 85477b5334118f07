//! Schedules: timers for what is due next, and the catch-up policy for what was missed. A slot is identified by its
//! run's key (flow and interval), which the history holds at most once.

use std::collections::HashSet;
use std::time::Duration;

use jiff::SignedDuration;
use mulgil_flow::{Fire, Flow, Overlap, RunKey, Schedule};
use mulgil_history::write::{Trigger, Write};
use mulgil_sched::admission::TaskKey;
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::status::RunStatus;
use mulgil_sched::step::Event;

use super::batch::Now;
use super::change::Change;
use super::error::SchedulerError;
use super::request::FlowSource;
use super::runs::Detail;
use super::state::{OpenRun, RunOrder, Scheduler, Timer};

/// A fire that is so little late was not missed: the timer itself was slow.
const IN_TIME: SignedDuration = SignedDuration::from_secs(60);
/// When to try again a schedule whose slots could not be looked up.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Scheduler {
    /// Replaces the project's flows, and with them the timers of their schedules.
    pub(super) async fn reload(&mut self, flows: Vec<FlowSource>, now: Now) -> Result<(), SchedulerError> {
        self.set_flows(flows);
        self.recall_paces().await?;
        let names: Vec<String> = self.flows.keys().cloned().collect();
        for name in names {
            match self.fired.get(&name) {
                // Known before: it goes on from where it was.
                Some(_) if self.goes_by_clock(&name) => self.schedule_due(&name, now).await?,
                _ => self.catch_up(&name, now).await?,
            }
        }
        self.batch.changes.push(Change::Reloaded { at: now });
        Ok(())
    }

    /// Takes the flows over; no timer is set yet.
    pub(super) fn set_flows(&mut self, flows: Vec<FlowSource>) {
        for name in self.flows.keys() {
            self.admission.set_flow_limit(name, None);
            self.admission.set_own_limit(name, None);
        }
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Schedule(_)));
        self.flows = flows.into_iter().map(|source| (source.flow.name.clone(), source)).collect();
        for (name, source) in &self.flows {
            self.admission.set_flow_limit(name, source.flow.concurrency.map(|limit| limit as usize));
            let overlap = source.flow.schedule.as_ref().and_then(|schedule| schedule.overlap);
            self.admission.set_own_limit(name, overlap.map(|_| 1));
        }
        self.admission.set_task_limits(self.flows.values().flat_map(|source| task_limits(&source.flow)));
        let wanted: HashSet<String> = self.flows.values().map(|source| source.flow.version.to_string()).collect();
        let open: HashSet<String> = self.runs.values().map(|run| run.flow.version.to_string()).collect();
        self.versions.retain(|hash, version| {
            wanted.contains(hash) || open.contains(hash) || open.contains(&version.flow.version.0)
        });
    }

    /// Makes the runs that the catch-up policy wants for what was missed, and sets the timer for what is next.
    pub(super) async fn catch_up(&mut self, name: &str, now: Now) -> Result<(), SchedulerError> {
        let Some((source, schedule)) = self.scheduled(name) else { return Ok(()) };
        if !self.paused.contains(name) {
            let since = match self.history.last_scheduled(name).await? {
                Some(start) => fire_of(&schedule, start),
                // A schedule without a beginning that never ran has missed nothing.
                None => schedule.start.unwrap_or(now),
            };
            let missed = match schedule.on.is_empty() {
                true => schedule.missed(since, now),
                false => self.missed_on_tables(&schedule, since, now).await?,
            };
            self.create_scheduled(&source, &missed, now).await?;
        }
        self.set_timer(name, &schedule, now);
        Ok(())
    }

    /// A schedule's timer is due.
    pub(super) async fn schedule_due(&mut self, name: &str, now: Now) -> Result<(), SchedulerError> {
        let Some((source, schedule)) = self.scheduled(name) else { return Ok(()) };
        let since = self.fired.get(name).copied().unwrap_or(now);
        if !self.paused.contains(name) {
            let mut due = schedule.missed(since, now);
            let last = schedule.fires(since).take_while(|fire| fire.at <= now).last();
            // The policy is for what was missed; what is due now runs whatever it says.
            if let Some(last) = last.filter(|fire| fire.at.duration_until(now) <= IN_TIME)
                && due.last() != Some(&last)
            {
                due.push(last);
            }
            if let Err(error) = self.create_scheduled(&source, &due, now).await {
                tracing::error!(flow = name, %error, "cannot make the runs that are due; trying again");
                let again = now.saturating_add(LOOK_AGAIN).unwrap_or(Now::MAX);
                self.timers.insert((again, Timer::Schedule(name.to_owned())));
                return Ok(());
            }
        }
        self.set_timer(name, &schedule, now);
        Ok(())
    }

    /// Whether a flow's schedule fires by the clock, rather than when tables have been written.
    fn goes_by_clock(&self, name: &str) -> bool {
        let schedule = self.flows.get(name).and_then(|source| source.flow.schedule.as_ref());
        schedule.is_some_and(|schedule| schedule.on.is_empty())
    }

    pub(super) fn scheduled(&self, name: &str) -> Option<(FlowSource, Schedule)> {
        if !self.options.schedules {
            return None;
        }
        let source = self.flows.get(name)?.clone();
        let schedule = source.flow.schedule.clone()?;
        Some((source, schedule))
    }

    fn set_timer(&mut self, name: &str, schedule: &Schedule, now: Now) {
        self.fired.insert(name.to_owned(), now);
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Schedule(flow) if flow == name));
        if let Some(next) = schedule.next_after(now).filter(|_| schedule.on.is_empty()) {
            self.timers.insert((next.at, Timer::Schedule(name.to_owned())));
        }
    }

    pub(super) async fn create_scheduled(
        &mut self,
        source: &FlowSource,
        fires: &[Fire],
        now: Now,
    ) -> Result<(), SchedulerError> {
        if fires.is_empty() {
            return Ok(());
        }
        let params = match source.flow.resolve_params(&Default::default()) {
            Ok(params) => params,
            Err(error) => {
                tracing::error!(flow = source.flow.name, %error, "a schedule cannot make runs without parameters");
                return Ok(());
            }
        };
        let key = |fire: &Fire| RunKey::new(&source.flow, Some(fire.interval), &params).text().to_owned();
        let keys: Vec<String> = fires.iter().map(key).collect();
        let rows = self.history.runs_by_key(&source.flow.name, &keys).await?;
        let mut existing: HashSet<String> = rows.into_iter().map(|row| row.key).collect();
        // What this turn has made so far is not stored yet.
        existing.extend(self.batch.writes.iter().filter_map(|write| match write {
            Write::Run(run) if run.flow == source.flow.name => Some(run.key.clone()),
            _ => None,
        }));
        for (fire, _) in fires.iter().zip(&keys).filter(|(_, key)| !existing.contains(*key)) {
            let order = RunOrder {
                interval: Some(fire.interval),
                params: params.clone(),
                trigger: Trigger::Schedule,
                key: None,
                backfill: None,
                retries: true,
            };
            let earlier = self.open_scheduled(&source.flow.name);
            let run = self.create_run(source, order, now)?;
            let overlap = source.flow.schedule.as_ref().and_then(|schedule| schedule.overlap);
            self.overlap(overlap, run, &earlier, now)?;
        }
        Ok(())
    }

    /// The runs that the flow's schedule made and that have not ended.
    fn open_scheduled(&self, flow: &str) -> Vec<RunId> {
        let mine = |run: &&OpenRun| run.flow.name == flow && run.trigger == Trigger::Schedule && run.backfill.is_none();
        let mut open: Vec<RunId> = self.runs.values().filter(mine).map(|run| run.state.id).collect();
        open.sort_unstable();
        open
    }

    /// Keeps a new run and those before it from overlapping, as the schedule says. A run that is left out is there all the
    /// same, cancelled: its slot is taken, so nothing makes it up later, and everybody can see why.
    fn overlap(
        &mut self,
        rule: Option<Overlap>,
        run: RunId,
        earlier: &[RunId],
        now: Now,
    ) -> Result<(), SchedulerError> {
        let (stopped, why) = match rule {
            Some(Overlap::Skip) if !earlier.is_empty() => (vec![run], "left out: the run before it had not ended"),
            Some(Overlap::Cancel) => (earlier.to_vec(), "stopped: the next run was due"),
            Some(Overlap::Skip | Overlap::Queue) | None => return Ok(()),
        };
        for run in stopped {
            let open = self.runs.get(&run).map(|run| &run.state);
            if open.is_some_and(|run| run.status != RunStatus::Cancelling) {
                let note = Some((TaskIndex::default(), why.to_owned()));
                self.apply(run, Event::Cancel, Detail { note, ..Detail::default() }, now)?;
            }
        }
        Ok(())
    }
}

/// When the run of the interval that starts at `start` was due.
fn fire_of(schedule: &Schedule, start: Now) -> Now {
    let fire = schedule.fires(start).find(|fire| fire.interval.start >= start);
    fire.filter(|fire| fire.interval.start == start).map_or(start, |fire| fire.at)
}

fn task_limits(flow: &Flow) -> impl Iterator<Item = (TaskKey, usize)> {
    let key = |task: &str| TaskKey { flow: flow.name.as_str().into(), task: task.into() };
    flow.tasks.iter().filter_map(move |task| Some((key(&task.name), task.concurrency? as usize)))
}
