//! The loop itself: wait, take all that waits, decide, store once, act.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use mulgil_flow::Project;
use mulgil_history::History;
use mulgil_sched::admission::{Admission, DEFAULT_POOL};
use mulgil_sched::id::{AttemptId, RunId, TaskIndex};
use mulgil_sched::step;
use mulgil_worker::crash;
use mulgil_worker::dispatcher::Order;
use mulgil_worker::process::kill_left_over;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::batch::{Batch, Now};
use super::change::Change;
use super::clock::Clock;
use super::error::SchedulerError;
use super::event::Event;
use super::handle::{CHANGES_MAX, EVENTS_MAX, SchedulerHandle};
use super::request::{FlowSource, SchedulerOptions};
use super::runs::{Detail, expiry};
use super::state::{Scheduler, SeatId, Timer};
use super::tally::Tally;

/// Events taken in one turn: more would only delay the answers to the first.
const TURN_MAX: usize = 512;
/// Between tries to store a batch while the disk is full or the file locked: at first, and at most.
const STORE_AGAIN_FIRST: Duration = Duration::from_millis(100);
const STORE_AGAIN_MAX: Duration = Duration::from_secs(5);
/// A turn that comes so much later than its timer says that the server stood still: then leases get another life,
/// since their workers could not renew them.
const STOOD_STILL: SignedDuration = SignedDuration::from_secs(5);

/// Recovers what the history remembers and starts the loop. The second part is the loop's end: an error means that the
/// history and the loop's memory disagree, and that the server has to be started again.
///
/// Work is given out as soon as a worker joins (see `mulgil_worker::worker::start`).
pub async fn start(
    history: Arc<dyn History>,
    clock: Arc<dyn Clock>,
    options: SchedulerOptions,
    flows: Vec<FlowSource>,
) -> Result<(SchedulerHandle, JoinHandle<Result<(), SchedulerError>>), SchedulerError> {
    let (handle, inbox) = prepare();
    let ended = start_with(inbox, history, clock, options, flows).await?;
    Ok((handle, ended))
}

/// What is said to a scheduler that has not started yet.
pub struct Inbox {
    pub(super) queue: mpsc::Receiver<Event>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) outbox: Arc<Notify>,
}

/// A handle, and what comes of it once the scheduler [starts](start_with): until then, see [`Inbox::stand_by`].
pub fn prepare() -> (SchedulerHandle, Inbox) {
    let (events, queue) = mpsc::channel(EVENTS_MAX);
    let (changes, _) = broadcast::channel(CHANGES_MAX);
    let outbox = Arc::new(Notify::new());
    (SchedulerHandle { events, changes: changes.clone(), outbox: outbox.clone() }, Inbox { queue, changes, outbox })
}

/// As [`start`], with a handle that there is already.
pub async fn start_with(
    inbox: Inbox,
    history: Arc<dyn History>,
    clock: Arc<dyn Clock>,
    options: SchedulerOptions,
    flows: Vec<FlowSource>,
) -> Result<JoinHandle<Result<(), SchedulerError>>, SchedulerError> {
    let Inbox { queue, changes, outbox } = inbox;
    let mut scheduler = Scheduler::new(history, clock, options, changes);
    scheduler.outbox = outbox;
    scheduler.recover(flows).await?;
    Ok(tokio::spawn(scheduler.run(queue)))
}

fn admission_of(project: &Project) -> Admission {
    let slots = project.pools.get(DEFAULT_POOL).copied().unwrap_or(Project::DEFAULT_POOL_SLOTS);
    let mut admission = Admission::new(slots as usize);
    for (pool, slots) in &project.pools {
        admission.set_pool(pool, *slots as usize);
    }
    admission
}

impl Scheduler {
    /// A loop that knows nothing yet: see [`Scheduler::recover`].
    pub(super) fn new(
        history: Arc<dyn History>,
        clock: Arc<dyn Clock>,
        options: SchedulerOptions,
        changes: broadcast::Sender<Change>,
    ) -> Self {
        Self {
            history,
            clock,
            admission: admission_of(&options.project),
            options,
            changes,
            flows: BTreeMap::new(),
            versions: HashMap::new(),
            runs: HashMap::new(),
            backfills: HashMap::new(),
            calls: Default::default(),
            written: Vec::new(),
            tables_again: None,
            paused: Default::default(),
            seats: BTreeMap::new(),
            leases: HashMap::new(),
            timers: Default::default(),
            fired: HashMap::new(),
            durations: HashMap::new(),
            tally: Tally::default(),
            notices_waiting: 0,
            outbox: Arc::default(),
            draining: false,
            failure: None,
            last_run: 0,
            last_backfill: 0,
            last_epoch: 0,
            last_seat: 0,
            paces: HashMap::new(),
            batch: Batch::default(),
        }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Event>) -> Result<(), SchedulerError> {
        loop {
            self.settle().await?;
            tokio::select! {
                event = queue.recv() => {
                    // Every handle is gone: nobody will ever ask again.
                    let Some(event) = event else { return Ok(()) };
                    if let Some(done) = self.turn(event, &mut queue).await? {
                        self.store().await?;
                        let _ = done.send(());
                        return Ok(());
                    }
                }
                () = until(self.clock.as_ref(), self.next_due()) => {}
            }
            self.fire_timers().await?;
        }
    }

    /// Gives out what can be given and stores what that decides, until there is nothing more to do.
    pub(super) async fn settle(&mut self) -> Result<(), SchedulerError> {
        loop {
            self.start_on_tables(self.clock.now()).await?;
            self.follow_calls().await?;
            self.give_out(self.clock.now());
            self.store().await?;
            // An order that found no worker is given to another; a run that has ended is heard of by who called it.
            if self.batch.writes.is_empty() && self.calls.are_quiet() {
                return Ok(());
            }
        }
    }

    /// Takes this event and all that wait behind it. Returns whom to tell if one of them ends the loop.
    pub(super) async fn turn(
        &mut self,
        first: Event,
        queue: &mut mpsc::Receiver<Event>,
    ) -> Result<Option<oneshot::Sender<()>>, SchedulerError> {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(event) = next {
            match event {
                Event::Report(report) => self.hear(report, self.clock.now()),
                Event::Command(command) => self.obey(command).await?,
                Event::Drain(done) => {
                    self.draining = true;
                    self.batch.reply(done, ());
                }
                Event::Shutdown(done) => return Ok(Some(done)),
            }
            taken += 1;
            next = if taken < TURN_MAX { queue.try_recv().ok() } else { None };
        }
        Ok(None)
    }

    /// When the next timer is due, as a time to sleep.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let (at, _) = self.timers.first()?;
        Some(self.clock.now().duration_until(*at).max(SignedDuration::ZERO).unsigned_abs())
    }

    pub(super) async fn fire_timers(&mut self) -> Result<(), SchedulerError> {
        let now = self.clock.now();
        while let Some((at, timer)) = self.timers.first().cloned()
            && at <= now
        {
            self.timers.pop_first();
            let lag = at.duration_until(now);
            self.tally.lag = lag.unsigned_abs();
            let late = lag > STOOD_STILL;
            match timer {
                Timer::Retry(run, task) => self.retry_due(run, task, now),
                Timer::Call(run, task) => self.calls.look_at(run, task),
                Timer::Lease(attempt) if late => self.lengthen(attempt, now),
                Timer::Lease(attempt) => {
                    self.end_left_over(attempt, now).await;
                    self.lease_due(attempt, now);
                }
                // The turn goes on with looking.
                Timer::Tables => {}
                Timer::Round(backfill) => self.round_due(backfill, now).await?,
                Timer::RunTimeout(run) => self.time_may_be_up(run, now),
                Timer::Deadline(run) => self.deadline_due(run, now),
                Timer::Usual(run) => self.usual_wanted(run).await,
                Timer::Slow(run) => self.slow_due(run, now),
                Timer::Schedule(flow) => self.schedule_due(&flow, now).await?,
            }
        }
        Ok(())
    }

    /// Stores the turn's batch and acts upon it. A disk that is full is waited for; a conflict ends the loop.
    pub(super) async fn store(&mut self) -> Result<(), SchedulerError> {
        if let Some(error) = &self.failure {
            return Err(error.clone());
        }
        let writes = std::mem::take(&mut self.batch.writes);
        let mut pause = STORE_AGAIN_FIRST;
        let point = |name| {
            if !writes.is_empty() {
                crash::point(name)
            }
        };
        point("before a batch is stored");
        let begun = Instant::now();
        while let Err(error) = self.history.commit(&writes).await {
            if !error.is_passing() {
                tracing::error!(%error, "the history cannot be written; the scheduler stops");
                let error = SchedulerError::from(error);
                self.failure = Some(error.clone());
                return Err(error);
            }
            tracing::warn!(%error, ?pause, "the history cannot be written now; trying again");
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(STORE_AGAIN_MAX);
        }
        point("after a batch is stored");
        std::mem::take(&mut self.batch.points).into_iter().for_each(crash::point);
        if !writes.is_empty() {
            self.tally.commits.count += 1;
            self.tally.commits.seconds += begun.elapsed().as_secs_f64();
        }
        if std::mem::take(&mut self.batch.fills_outbox) {
            self.outbox.notify_one();
        }
        let orders = std::mem::take(&mut self.batch.orders);
        let gives = !orders.is_empty();
        for (seat, order) in orders {
            self.push(seat, order);
        }
        if gives {
            crash::point("after orders are given");
        }
        for change in std::mem::take(&mut self.batch.changes) {
            // An error only means that nobody listens.
            let _ = self.changes.send(change);
        }
        self.batch.take_replies().into_iter().for_each(|reply| reply());
        point("after callers are answered");
        Ok(())
    }

    fn push(&mut self, id: SeatId, order: Order) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        if let Err(error) = seat.orders.try_send(order) {
            // It left in this very moment: nothing more is given to it, and what it was given is taken back.
            tracing::warn!(worker = %seat.name, %error, "a worker takes no more orders");
            seat.slots = 0;
            if let TrySendError::Full(Order::Run(lease)) | TrySendError::Closed(Order::Run(lease)) = error {
                self.lose(lease.attempt, "its worker had left", self.clock.now());
            }
        }
    }

    /// A lease of a server that lost its own has run out: what may still run for it on this machine is ended first.
    async fn end_left_over(&mut self, attempt: AttemptId, now: Now) {
        let Some(lease) = self.leases.get_mut(&attempt).filter(|lease| lease.expires <= now) else { return };
        if let Some(process) = lease.left_over.take() {
            kill_left_over(process, lease.epoch).await;
        }
    }

    fn lengthen(&mut self, attempt: AttemptId, now: Now) {
        if let Some(lease) = self.leases.get_mut(&attempt) {
            lease.expires = lease.expires.max(expiry(now, self.options.lease_life));
            self.timers.insert((lease.expires, Timer::Lease(attempt)));
        }
    }

    fn retry_due(&mut self, run: RunId, task: TaskIndex, now: Now) {
        // The task may have been cancelled since, or been tried again for another reason.
        let waiting = self.runs.get(&run).and_then(|run| run.state.task(task)).and_then(|task| task.not_before);
        if waiting.is_some_and(|at| at <= now) {
            self.step_by_itself(run, step::Event::RetryDue { task }, Detail::default(), now);
        }
    }
}

async fn until(clock: &dyn Clock, sleep: Option<Duration>) {
    match sleep {
        Some(sleep) => clock.sleep(sleep).await,
        None => std::future::pending().await,
    }
}
