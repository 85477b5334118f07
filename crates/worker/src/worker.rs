//! The worker: takes orders, runs each attempt in a task of its own, renews leases, ends what has to stop.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use mulgil_sched::demand::Offer;
use mulgil_sched::id::AttemptId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::attempt::{self, Bench, Control};
use crate::data::DataTasks;
use crate::dispatcher::{DispatchError, Dispatcher, Joining, Lease, Order, Outcome};
use crate::guard::Guard;
use crate::memory::MemoryKeeper;
use crate::sampler::Sampler;
use crate::secret::SecretStore;
use crate::view::ViewTasks;

/// How a worker is set up.
pub struct WorkerOptions {
    /// Its name, for people.
    pub name: String,
    /// How many attempts it runs at once.
    pub slots: usize,
    /// Which tasks it may be given.
    pub offer: Offer,
    /// The project's folder: shell tasks run in it.
    pub project_dir: PathBuf,
    /// The folder that the paths of logs are relative to: the project's, unless its logs are not to be touched.
    pub logs_dir: PathBuf,
    /// How SQL and transfer tasks are done.
    pub data: Arc<dyn DataTasks>,
    /// How view tasks are done.
    pub views: Arc<dyn ViewTasks>,
    /// The project's Python interpreter, for python tasks that name none: a command, or a path.
    pub python: String,
    /// Where the project's secrets are.
    pub secrets: SecretStore,
    /// Ends what it runs should it be killed.
    pub guard: Option<Guard>,
    /// What every shell task finds in its environment, beside what the server's process has in its own.
    pub environment: BTreeMap<String, String>,
}

/// Stops a worker.
pub struct WorkerHandle {
    stop: oneshot::Sender<Duration>,
    ended: task::JoinHandle<()>,
}

impl WorkerHandle {
    /// Returns when it has ended by itself: the dispatcher wants no more of it. What it ran has been ended.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.ended).await {
            tracing::error!(%error, "the worker ended badly");
        }
    }

    /// Takes no more orders, waits so long for what is running, ends the rest, and reports it as lost, so that it runs
    /// again later.
    pub async fn shutdown(self, patience: Duration) {
        if self.stop.send(patience).is_err() {
            tracing::debug!("the worker has ended already");
        }
        if let Err(error) = self.ended.await {
            tracing::error!(%error, "the worker ended badly");
        }
    }
}

/// Joins the dispatcher and runs what it orders, in a task of its own, until told to stop.
pub async fn start<D: Dispatcher>(dispatcher: D, options: WorkerOptions) -> Result<WorkerHandle, DispatchError> {
    let joining = Joining { name: options.name, slots: options.slots, offer: options.offer, held: Vec::new() };
    let orders = dispatcher.attach(joining).await?;
    let bench = Arc::new(Bench {
        dispatcher,
        sampler: Sampler::new(options.project_dir.clone()),
        project_dir: options.project_dir,
        logs_dir: options.logs_dir,
        data: options.data,
        views: options.views,
        environment: options.environment,
        secrets: options.secrets,
        http: Default::default(),
        guard: options.guard,
        python: options.python,
        memory: MemoryKeeper::find(),
    });
    let worker =
        Worker { bench, running: HashMap::new(), attempts: JoinSet::new(), ids: HashMap::new(), renewal: None };
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(worker.run(orders, stopped));
    Ok(WorkerHandle { stop, ended })
}

struct Worker<D> {
    bench: Arc<Bench<D>>,
    running: HashMap<AttemptId, Attempt>,
    attempts: JoinSet<()>,
    /// Which attempt each of those is.
    ids: HashMap<task::Id, AttemptId>,
    /// When the leases are to be renewed next, and how often: a third of their life.
    renewal: Option<(Instant, Duration)>,
}

struct Attempt {
    epoch: i64,
    control: watch::Sender<Control>,
}

impl<D: Dispatcher> Worker<D> {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut stop: oneshot::Receiver<Duration>) {
        loop {
            let renew_at = self.renewal.map(|(at, _)| at);
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.take(order),
                    // The scheduler is gone, and with it every lease.
                    None => return self.end_all(Control::Fenced, &mut orders).await,
                },
                Some(ended) = self.attempts.join_next_with_id() => self.forget(ended).await,
                () = sleep_until(renew_at.unwrap_or_else(Instant::now)), if renew_at.is_some() => self.renew().await,
                patience = &mut stop => {
                    // A handle that was dropped without a word leaves no time.
                    return self.wind_down(patience.unwrap_or_default(), &mut orders).await;
                }
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Run(lease) => self.begin(*lease),
            Order::Stop(attempt) => {
                if let Some(running) = self.running.get(&attempt) {
                    running.control.send_replace(Control::Cancel);
                }
            }
            Order::Drop(attempt) => {
                if let Some(running) = self.running.get(&attempt) {
                    running.control.send_replace(Control::Fenced);
                }
            }
        }
    }

    fn begin(&mut self, lease: Lease) {
        let (control, told) = watch::channel(Control::Run);
        let (id, epoch) = (lease.attempt, lease.epoch);
        let third = third_of(lease.life);
        self.renewal.get_or_insert_with(|| (Instant::now() + third, third));
        self.running.insert(id, Attempt { epoch, control });
        let bench = self.bench.clone();
        let task = self.attempts.spawn(attempt::run(bench, lease, told));
        self.ids.insert(task.id(), id);
    }

    async fn forget(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let (task, error) = match ended {
            Ok((task, ())) => (task, None),
            Err(error) => (error.id(), Some(error)),
        };
        let Some(id) = self.ids.remove(&task) else { return };
        let attempt = self.running.remove(&id);
        if let (Some(attempt), Some(error)) = (attempt, error) {
            tracing::error!(attempt = %id, %error, "an attempt broke down");
            let outcome =
                Outcome::failed(format!("the worker broke down over it, which is a mistake in Mulgil: {error}"));
            if let Err(error) = self.bench.dispatcher.finished(id, attempt.epoch, outcome).await {
                tracing::warn!(attempt = %id, %error, "the end of the attempt was not taken");
            }
        }
        if self.running.is_empty() {
            self.renewal = None;
        }
    }

    async fn renew(&mut self) {
        let leases: Vec<(AttemptId, i64)> = self.running.iter().map(|(id, attempt)| (*id, attempt.epoch)).collect();
        match self.bench.dispatcher.renew(&leases).await {
            Ok(lost) => {
                for id in lost {
                    if let Some(attempt) = self.running.get(&id) {
                        attempt.control.send_replace(Control::Fenced);
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot renew the leases"),
        }
        self.renewal = self.renewal.map(|(_, third)| (Instant::now() + third, third));
    }

    async fn wind_down(&mut self, patience: Duration, orders: &mut mpsc::Receiver<Order>) {
        let until = Instant::now() + patience;
        while !self.running.is_empty() {
            tokio::select! {
                () = sleep_until(until) => break,
                Some(ended) = self.attempts.join_next_with_id() => self.forget(ended).await,
                Some(order) = orders.recv() => self.take(order),
            }
        }
        self.end_all(Control::Shutdown, orders).await;
    }

    async fn end_all(&mut self, how: Control, orders: &mut mpsc::Receiver<Order>) {
        orders.close();
        // What was ordered but not begun is begun and ended at once: so each lease gets its report.
        while let Ok(order) = orders.try_recv() {
            self.take(order);
        }
        for attempt in self.running.values() {
            attempt.control.send_replace(how);
        }
        while let Some(ended) = self.attempts.join_next_with_id().await {
            self.forget(ended).await;
        }
    }
}

fn third_of(life: SignedDuration) -> Duration {
    // A life that is not positive cannot be renewed in time anyway.
    (life.unsigned_abs() / 3).max(Duration::from_millis(1))
}
