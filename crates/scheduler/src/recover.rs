//! The start: the loop's memory, rebuilt from the history.
//!
//! One server at a time decides, and its workers die with it. Where it is certain that they are gone (the history is a file and its lock
//! is held), a lease that the history still calls live is dead: what its process group left running is killed, the attempt is lost,
//! and its task is ready again, which is no retry of the user's. A task that is not idempotent and had begun has failed instead.
//!
//! Where a lease on the history was taken over, the workers of the server before may still be at work on another machine. Their
//! leases hold their slots until they have run out. That is counted from now, by the clock of this server alone: whatever was
//! renewed was renewed before.

use mulgil_history::read::{LiveLease, Memory};
use mulgil_history::write::ProcessMark;
use mulgil_sched::status::{RunStatus, TaskStatus};
use mulgil_worker::crash;
use mulgil_worker::process::kill_left_over;
use mulgil_worker::remote::wire::is_remote;

use super::batch::Now;
use super::calls::lanes;
use super::error::SchedulerError;
use super::open_backfill::OpenBackfill;
use super::request::FlowSource;
use super::runs::{expiry, key_of, queued};
use super::state::{self, ELSEWHERE, OpenRun, Scheduler, Timer};

impl Scheduler {
    /// Rebuilds the memory, and mends what the end of the last server left behind.
    pub(super) async fn recover(&mut self, flows: Vec<FlowSource>) -> Result<(), SchedulerError> {
        let now = self.clock.now();
        let memory = self.history.memory().await?;
        self.last_run = memory.last_run;
        self.last_backfill = memory.last_backfill;
        self.last_epoch = memory.last_epoch;
        self.notices_waiting = memory.notices_waiting;
        self.paused = memory.paused.iter().cloned().collect();
        self.set_flows(flows);
        self.recall_paces().await?;
        let current: Vec<_> = self.flows.values().map(|source| source.flow.clone()).collect();
        for flow in current {
            if let Err(reason) = self.version_of(&flow) {
                tracing::error!(flow = flow.name, reason, "the flow cannot run");
            }
        }
        self.recover_backfills(&memory);
        self.recover_runs(&memory, now).await?;
        self.recover_calls(&memory);
        for lease in &memory.leases {
            match self.options.predecessors.is_gone(&lease.owner) {
                // A worker of its own lives on when a server dies: it will say what it still holds.
                _ if is_remote(&lease.owner) => self.wait_for(lease, None, now),
                true => self.bury(lease, now).await,
                false => self.fence(lease, now).await,
            }
        }
        let empty = self.backfills.iter().filter(|(_, backfill)| backfill.open.is_empty());
        let empty: Vec<_> = empty.map(|(id, _)| *id).collect();
        for id in empty {
            self.end_if_done(id, now);
        }
        crash::point("before what is recovered is stored");
        self.store().await?;
        crash::point("after what is recovered is stored");
        let names: Vec<String> = self.flows.keys().cloned().collect();
        for name in names {
            self.catch_up(&name, now).await?;
        }
        self.store().await
    }

    fn recover_backfills(&mut self, memory: &Memory) {
        for row in &memory.backfills {
            self.open_backfill(row.id, OpenBackfill::of_row(row), row.runs.running);
        }
    }

    async fn recover_runs(&mut self, memory: &Memory, now: Now) -> Result<(), SchedulerError> {
        let lanes = lanes(memory);
        for (row, tasks) in &memory.runs {
            match self.read_back(row, tasks).await {
                Ok(mut run) => {
                    run.lane = lanes.get(&row.id).copied().unwrap_or(run.lane);
                    run.newest_first = row
                        .backfill
                        .and_then(|id| self.backfills.get(&id))
                        .is_some_and(|backfill| backfill.newest_first);
                    self.resume(run, memory, now);
                }
                // The run stays in the history as it is, for the day on which its definition can be read again.
                Err(error @ SchedulerError::Definition { .. }) => tracing::error!(%error, "a run cannot go on"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn resume(&mut self, mut run: OpenRun, memory: &Memory, now: Now) {
        let id = run.state.id;
        for lease in memory.leases.iter().filter(|lease| lease.attempt.run == id) {
            if let Some(task) = run.state.tasks.get_mut(lease.attempt.task as usize) {
                task.live = Some(lease.status);
            }
        }
        if let Some(backfill) = run.backfill {
            self.join_backfill(backfill, id);
        }
        match run.state.status {
            RunStatus::Queued => self.admission.queue_run(queued(&run, now)),
            _ => self.admission.resume_run(queued(&run, now)),
        }
        let retrying: Vec<_> = run.state.tasks_with(TaskStatus::Retrying).collect();
        for task in retrying {
            if let Some(at) = run.state.task(task).and_then(|task| task.not_before) {
                self.timers.insert((at, Timer::Retry(id, task)));
            }
        }
        let ready: Vec<_> = run.state.tasks_with(TaskStatus::Ready).collect();
        run.watch.heard(memory.alerts.get(&id).map_or(&[], Vec::as_slice));
        self.runs.insert(id, run);
        self.limit_time(id);
        self.watch(id, now);
        ready.into_iter().for_each(|task| self.enqueue(id, task));
    }

    /// The server before has lost its lease, so what it runs has to end: at once, where it is on this machine. Else it is waited for.
    async fn fence(&mut self, lease: &LiveLease, now: Now) {
        match lease.process {
            Some(process) if kill_left_over(process, lease.epoch).await => {
                self.lose(lease.attempt, "its server lost the lead", now);
            }
            process => self.wait_for(lease, process, now),
        }
    }

    /// A lease that may still live counts until it has run out.
    fn wait_for(&mut self, lease: &LiveLease, left_over: Option<ProcessMark>, now: Now) {
        let id = lease.attempt;
        let Some(run) = self.runs.get(&id.run) else { return };
        let Some(task) = run.state.graph.task(id.task) else { return };
        self.admission.adopt(id, &task.pool, key_of(run, task));
        let expires = expiry(now, self.options.lease_life);
        let live =
            state::LiveLease { epoch: lease.epoch, seat: ELSEWHERE, expires, since: now, begun: None, left_over };
        self.leases.insert(id, live);
        self.timers.insert((expires, Timer::Lease(id)));
    }

    async fn bury(&mut self, lease: &LiveLease, now: Now) {
        if let Some(process) = lease.process
            && kill_left_over(process, lease.epoch).await
        {
            tracing::warn!(attempt = %lease.attempt, pid = process.pid, "killed what the last server left running");
        }
        self.lose(lease.attempt, "the server stopped", now);
    }
}
