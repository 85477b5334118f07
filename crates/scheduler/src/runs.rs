//! Runs in the loop: making one, and taking `sched`'s steps with it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::SignedDuration;
use mulgil_flow::{Flow, RunKey, Variables};
use mulgil_history::write::{AttemptChange, FlowVersion, NewLease, NewRun, ProcessMark, RunChange, TaskChange, Write};
use mulgil_sched::admission::{Lane, QueuedRun, ReadyTask, TaskKey};
use mulgil_sched::graph::TaskNode;
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};
use mulgil_sched::life::IllegalTransition;
use mulgil_sched::run::{RunState, TaskState};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use mulgil_sched::step::{Action, Event, step};
use mulgil_worker::dispatcher::{Lease, Order};
use mulgil_worker::log::log_path;

use super::batch::Now;
use super::change::Change;
use super::error::SchedulerError;
use super::items::{failed_items, result_of};
use super::request::FlowSource;
use super::results::variables_of;
use super::state::{LiveLease, OpenRun, RunOrder, Scheduler, SeatId, Timer};
use super::watch::Watch;

/// What belongs to a step beside the event.
#[derive(Default)]
pub(super) struct Detail {
    /// The process of an attempt that starts.
    pub(super) process: Option<ProcessMark>,
    /// Why an attempt ended badly.
    pub(super) error: Option<String>,
    /// The worker that gets the lease.
    pub(super) seat: Option<SeatId>,
    /// What a task gives as its result.
    pub(super) result: Option<serde_json::Value>,
    /// Which task changes, and why, where no attempt says so.
    pub(super) note: Option<(TaskIndex, String)>,
    /// The items of a task.
    pub(super) items: Vec<serde_json::Value>,
}

impl Scheduler {
    /// Makes a run. The caller has made sure that there is none with this key.
    pub(super) fn create_run(
        &mut self,
        source: &FlowSource,
        order: RunOrder,
        now: Now,
    ) -> Result<RunId, SchedulerError> {
        let flow = &source.flow;
        let id = RunId(self.last_run + 1);
        let key = order.key.clone().unwrap_or_else(|| RunKey::new(flow, order.interval, &order.params));
        let run = self.open_run(id, flow, &key, &order, now)?;
        self.last_run = id.0;
        let hash = flow.version.to_string();
        let definition =
            FlowVersion { hash: hash.clone(), flow: flow.name.clone(), definition: source.text.clone(), at: now };
        self.batch.record(Write::FlowVersion(definition), None);
        let new = NewRun {
            id,
            flow: flow.name.clone(),
            key: key.text().to_owned(),
            name: run.name.clone(),
            version: hash,
            params: serde_json::Value::Object(order.params.into_iter().collect()),
            interval_start: order.interval.map(|interval| interval.start),
            interval_end: order.interval.map(|interval| interval.end),
            trigger: order.trigger,
            backfill: order.backfill,
            retries: order.retries,
            at: now,
            tasks: flow.tasks.iter().map(|task| task.name.clone()).collect(),
        };
        self.batch.record(Write::Run(new), run_change(&run, RunStatus::Queued, now));
        self.admission.queue_run(queued(&run, now));
        self.runs.insert(id, run);
        self.watch(id, now);
        Ok(id)
    }

    /// A run as it is before anything of it has begun.
    pub(super) fn open_run(
        &mut self,
        id: RunId,
        flow: &Arc<Flow>,
        key: &RunKey,
        order: &RunOrder,
        now: Now,
    ) -> Result<OpenRun, SchedulerError> {
        let version = self.version_of(flow).map_err(SchedulerError::BrokenFlow)?;
        Ok(OpenRun {
            state: RunState::new(id, version.graph, order.retries),
            flow: flow.clone(),
            name: key.run_id().to_owned(),
            interval: order.interval,
            trigger: order.trigger,
            backfill: order.backfill,
            lane: lane_of(order.backfill.is_some()),
            begun: None,
            newest_first: order
                .backfill
                .and_then(|id| self.backfills.get(&id))
                .is_some_and(|backfill| backfill.newest_first),
            watch: Watch::new(flow, order.interval, order.trigger, now),
            variables: Arc::new(Variables::new(flow, key, &order.params, &self.options.project)),
            results: HashMap::new(),
            items: HashMap::new(),
            gathered: HashMap::new(),
        })
    }

    /// Takes a step with a run, and turns what follows from it into writes and actions.
    pub(super) fn apply(
        &mut self,
        run: RunId,
        event: Event,
        detail: Detail,
        now: Now,
    ) -> Result<(), IllegalTransition> {
        self.apply_all(run, vec![(event, detail)], now)
    }

    /// Takes several steps with a run, the last one first, before it is looked at whether the run has ended.
    pub(super) fn apply_all(
        &mut self,
        run: RunId,
        mut steps: Vec<(Event, Detail)>,
        now: Now,
    ) -> Result<(), IllegalTransition> {
        while let Some((event, detail)) = steps.pop() {
            let Some(open) = self.runs.get_mut(&run) else {
                let event = format!("{event:?}");
                return Err(IllegalTransition { what: "a run", status: "not open".to_owned(), event });
            };
            for action in step(&mut open.state, event, now)? {
                match action {
                    Action::Decide { task } => steps.push(self.decide(run, task, &detail)),
                    action => self.carry_out(run, action, &detail, now),
                }
            }
        }
        if self.runs.get(&run).is_some_and(|open| open.state.status.is_terminal()) {
            self.close_run(run, now);
        }
        Ok(())
    }

    fn carry_out(&mut self, id: RunId, action: Action, detail: &Detail, now: Now) {
        let Some(run) = self.runs.get(&id) else { return };
        match action {
            Action::Run { from, to } => {
                let timed_out = run.state.timed_out;
                let write = Write::RunStatus(RunChange { run: id, from, to, timed_out, at: now });
                let change = run_change(run, to, now);
                self.batch.record(write, change);
                if to == RunStatus::Running {
                    self.begin_span(id, now);
                }
                self.run_changed(id, to, now);
            }
            Action::Task { task, from, to } => {
                let result = result_of(run, task, to, detail);
                let (write, change) = task_change(run, task, (from, to), result.clone(), detail, now);
                self.batch.record(write, change);
                self.keep_result(id, task, result);
                if to == TaskStatus::Succeeded {
                    self.table_written(id, task, now);
                }
                if to == TaskStatus::Retrying {
                    self.tell_of_retry(id, task, detail.error.as_deref(), now);
                }
            }
            Action::Items { of, count } => self.keep_items(id, of, count, detail, now),
            Action::Call { task } => self.begin_call(id, task, now),
            Action::StopCall { task } => self.calls.look_at(id, task),
            Action::Attempt { task, attempt, from, to } => {
                self.attempt_changed(AttemptId { run: id, task, attempt }, from, to, detail, now);
            }
            // Decided already, by the caller.
            Action::Decide { .. } => {}
            Action::Enqueue { task } => self.enqueue(id, task),
            Action::Dequeue { task } => self.admission.dequeue(id, task),
            Action::Wake { task, at } => {
                self.timers.insert((at, Timer::Retry(id, task)));
            }
            Action::Stop { task, attempt } => {
                let attempt = AttemptId { run: id, task, attempt };
                if let Some(lease) = self.leases.get(&attempt) {
                    self.batch.orders.push((lease.seat, Order::Stop(attempt)));
                }
            }
        }
    }

    /// Puts a ready task into its pool's queue.
    pub(super) fn enqueue(&mut self, id: RunId, task: TaskIndex) {
        if let Some(run) = self.runs.get(&id)
            && let Some(node) = run.state.graph.task(task)
        {
            if node.only_waits {
                return self.admission.enqueue_free(id, task);
            }
            let (pool, demand, priority) = (node.pool.clone(), node.demand.clone(), node.priority);
            let key = key_of(run, node);
            self.admission.enqueue(ReadyTask { run: id, task, key, pool, demand, lane: run.lane, priority });
        }
    }

    fn attempt_changed(
        &mut self,
        id: AttemptId,
        from: Option<AttemptStatus>,
        to: AttemptStatus,
        detail: &Detail,
        now: Now,
    ) {
        let Some(run) = self.runs.get(&id.run) else { return };
        let change = Change::Attempt {
            flow: run.flow.name.clone(),
            run: id.run,
            task: task_name(run, id.task),
            attempt: id.attempt,
            status: to,
            error: detail.error.clone(),
            at: now,
        };
        let write = match from {
            None => match detail.seat {
                Some(seat) => self.grant(id, seat, now),
                None => None,
            },
            Some(from) => {
                let (process, error) = (detail.process, detail.error.clone());
                Some(Write::Attempt(AttemptChange { attempt: id, from, to, process, error, at: now }))
            }
        };
        if let Some(write) = write {
            self.batch.record(write, change);
        }
        self.lineage_of_attempt(id, to, detail.error.as_deref(), now);
        if to.is_terminal() {
            self.admission.release(id);
            if let Some(lease) = self.leases.remove(&id) {
                if let Some(run) = self.runs.get(&id.run) {
                    self.tally.attempt(&run.flow.name, to, lease.since.duration_until(now));
                }
                if let Some(seat) = self.seats.get_mut(&lease.seat) {
                    seat.live.remove(&id);
                    seat.waiting.remove(&id);
                }
            }
        }
    }

    /// Gives the lease on a new attempt to a worker.
    fn grant(&mut self, id: AttemptId, seat_id: SeatId, now: Now) -> Option<Write> {
        let run = self.runs.get(&id.run)?;
        let seat = self.seats.get_mut(&seat_id)?;
        self.last_epoch += 1;
        let epoch = self.last_epoch;
        let expires = expiry(now, self.options.lease_life);
        let log = log_path(&run.flow.name, id.run.0, &task_name(run, id.task), id.attempt);
        let order = Lease {
            attempt: id,
            epoch,
            since: run.state.task(id.task).and_then(|task| task.since).unwrap_or(now),
            life: self.options.lease_life,
            flow: run.flow.clone(),
            task: task_name(run, run.origin(id.task)).into(),
            variables: variables_of(run, id.task),
            log: log.clone(),
        };
        let only_waits = run.state.graph.task(id.task).is_some_and(|node| node.only_waits);
        let seats = if only_waits { &mut seat.waiting } else { &mut seat.live };
        seats.insert(id);
        self.admission.lease(id);
        let lease = LiveLease { epoch, seat: seat_id, expires, since: now, begun: None, left_over: None };
        self.leases.insert(id, lease);
        self.timers.insert((expires, Timer::Lease(id)));
        self.batch.orders.push((seat_id, Order::Run(Box::new(order))));
        Some(Write::Lease(NewLease { attempt: id, epoch, owner: seat.name.clone(), expires, log, at: now }))
    }

    fn close_run(&mut self, id: RunId, now: Now) {
        self.admission.end_run(id);
        let Some(run) = self.runs.remove(&id) else { return };
        self.calls.run_ended(id, run.state.status);
        if let Some(backfill) = run.backfill {
            self.backfill_run_ended(backfill, id, run.state.status, now);
        }
    }

    /// Puts an open run among those that wait for their turn.
    pub(super) fn queue(&mut self, id: RunId, now: Now) {
        if let Some(run) = self.runs.get(&id) {
            self.admission.queue_run(queued(run, now));
        }
    }
}

/// Which task of its flow a task of a run is.
pub(super) fn key_of(run: &OpenRun, node: &TaskNode) -> TaskKey {
    TaskKey { flow: run.flow.name.as_str().into(), task: node.limited_as().into() }
}

/// When a lease that is given or renewed now runs out.
pub(super) fn expiry(now: Now, life: SignedDuration) -> Now {
    now.saturating_add(life).unwrap_or(Now::MAX)
}

/// Which lane a run takes.
pub(super) fn lane_of(in_backfill: bool) -> Lane {
    if in_backfill { Lane::Backfill } else { Lane::Daily }
}

/// A run as the queues see it.
pub(super) fn queued(run: &OpenRun, now: Now) -> QueuedRun {
    let time = run.interval.map_or(now, |interval| interval.start);
    let order = if run.newest_first { mirrored(time) } else { time };
    QueuedRun { run: run.state.id, flow: run.flow.name.as_str().into(), backfill: run.backfill, order }
}

/// The time as far before the epoch as it was after it: later times sort earlier.
fn mirrored(time: Now) -> Now {
    Now::from_microsecond(-time.as_microsecond()).unwrap_or(Now::MIN)
}

pub(super) fn task_name(run: &OpenRun, task: TaskIndex) -> String {
    run.state.graph.task(task).map_or(String::new(), |node| node.name.to_string())
}

fn run_change(run: &OpenRun, status: RunStatus, now: Now) -> Change {
    Change::Run {
        flow: run.flow.name.clone(),
        run: run.state.id,
        name: run.name.clone(),
        status,
        interval_start: run.interval.map(|interval| interval.start),
        backfill: run.backfill,
        at: now,
    }
}

/// What a step says of a task, else how its items have ended.
fn note_of(run: &OpenRun, task: TaskIndex, to: TaskStatus, detail: &Detail) -> Option<String> {
    match &detail.note {
        Some((of, note)) if *of == task => Some(note.clone()),
        _ if to == TaskStatus::Cancelled && run.state.timed_out => run.time_was_up(),
        _ => failed_items(run, task).filter(|_| to == TaskStatus::Failed),
    }
}

fn task_change(
    run: &OpenRun,
    task: TaskIndex,
    (from, to): (TaskStatus, TaskStatus),
    result: Option<serde_json::Value>,
    detail: &Detail,
    now: Now,
) -> (Write, Option<Change>) {
    let state = run.state.task(task).cloned().unwrap_or(TaskState::NEW);
    let write = TaskChange {
        run: run.state.id,
        task,
        from,
        to,
        attempts: state.attempts,
        retries_used: state.retries_used,
        losses: state.losses,
        since: state.since,
        not_before: state.not_before,
        result,
        note: note_of(run, task, to, detail),
        at: now,
    };
    (Write::Task(write), Some(task_change_now(run, task, now)))
}

/// A task as subscribers hear of it.
pub(super) fn task_change_now(run: &OpenRun, task: TaskIndex, now: Now) -> Change {
    let state = run.state.task(task).cloned().unwrap_or(TaskState::NEW);
    Change::Task {
        flow: run.flow.name.clone(),
        run: run.state.id,
        index: task,
        task: task_name(run, task),
        status: state.status,
        attempts: state.attempts,
        not_before: state.not_before,
        at: now,
    }
}
