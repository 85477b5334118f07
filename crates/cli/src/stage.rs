//! Standing by, leading, and losing the lead.
//!
//! A server whose history is its own leads from the start. One that shares its history asks for the lease, and stands by while another
//! one has it. Leading means: the scheduler decides, the worker works, the views run. The lease is renewed at a third of its life; a
//! server that could not renew it by its end (measured from before it asked, on its own steady clock) ends all that it runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mulgil_history::postgres::leading::{Leader, Standing};
use mulgil_outbox::{OutboxOptions, Postman};
use mulgil_server::scheduler::{
    self, Inbox, Predecessors, SchedulerError, SchedulerHandle, SchedulerOptions, SystemClock,
    landing::{self, Landing},
    retention,
};
use mulgil_server::server::ServerHandle;
use mulgil_worker::worker::{self, WorkerHandle, WorkerOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::history_place::{HistoryPlace, Shared, is_gone};

/// A server that stands by looks so often whether the lease is free, in its life.
const LOOKS_PER_LIFE: u32 = 15;

/// What is due is tried once more for so long when the server stops.
const LAST_ROUND: Duration = Duration::from_secs(3);

/// Another server may lead by now: what this one ran has been ended.
#[derive(Debug, thiserror::Error)]
#[error("the lease on the history is lost: another server leads, or the database could not be reached for too long")]
pub(crate) struct LeaseLost;

/// What is needed to lead.
pub(crate) struct Crew {
    pub(crate) history: HistoryPlace,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) server: Arc<ServerHandle>,
    pub(crate) scheduler_options: SchedulerOptions,
    pub(crate) worker_options: WorkerOptions,
    pub(crate) outbox: OutboxOptions,
}

/// A server's part in what is decided.
pub(crate) struct Stage {
    leave: oneshot::Sender<Duration>,
    /// Ends with the reason where nobody told it to.
    playing: JoinHandle<Result<()>>,
}

impl Stage {
    /// Leads if it can, and returns when that is known. Else it stands by, and leads when it can.
    ///
    /// # Errors
    /// The history cannot be read.
    pub(crate) async fn enter(crew: Crew, inbox: Inbox) -> Result<Self> {
        let (leave, told) = oneshot::channel();
        let playing = match crew.ask().await? {
            Some(asked) => tokio::spawn(crew.lead(asked, inbox).await?.play(told)),
            None => tokio::spawn(crew.stand_by(inbox, told)),
        };
        Ok(Self { leave, playing })
    }

    /// Returns when it has ended by itself.
    pub(crate) async fn failure(&mut self) -> anyhow::Error {
        match (&mut self.playing).await {
            Ok(Ok(())) => anyhow::anyhow!("the scheduler has stopped"),
            Ok(Err(error)) => error,
            Err(error) => anyhow::Error::new(error).context("the scheduler ended badly"),
        }
    }

    /// Ends in order: no more work, then running attempts, which get so long, then the scheduler; then the lease is given back.
    pub(crate) async fn leave(self, patience: Duration) {
        // An error means that it has ended already.
        if self.leave.send(patience).is_ok()
            && let Err(error) = self.playing.await
        {
            tracing::error!(%error, "the scheduler ended badly");
        }
    }
}

/// When a lease was asked for, and whom it was taken over from.
struct Asked {
    at: Instant,
    before: Option<Leader>,
}

impl Crew {
    /// Asks to lead, once.
    async fn ask(&self) -> Result<Option<Asked>> {
        let at = Instant::now();
        match &self.history {
            HistoryPlace::File(_) => Ok(Some(Asked { at, before: None })),
            HistoryPlace::Shared(shared) => {
                let candidate = shared.candidate(self.server.url())?;
                match shared.history.campaign(&candidate, shared.life).await {
                    Ok(Standing::Leads(before)) => Ok(Some(Asked { at, before })),
                    Ok(Standing::Follows(leader)) => {
                        tracing::debug!(leader = leader.name, "standing by");
                        Ok(None)
                    }
                    Err(error) if error.is_passing() => {
                        tracing::warn!(%error, "cannot ask for the lease on the history; trying again");
                        Ok(None)
                    }
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    async fn stand_by(self, mut inbox: Inbox, mut told: oneshot::Receiver<Duration>) -> Result<()> {
        let HistoryPlace::Shared(shared) = self.history.clone() else { return Ok(()) };
        tracing::info!(leader = shared.history.leader().map(|leader| leader.url), "standing by");
        loop {
            tokio::select! {
                _ = &mut told => return Ok(()),
                () = inbox.stand_by(|| shared.history.leader().map(|leader| leader.url)) => {}
                () = tokio::time::sleep(shared.life / LOOKS_PER_LIFE) => {}
            }
            if let Some(asked) = self.ask().await? {
                return self.lead(asked, inbox).await?.play(told).await;
            }
        }
    }

    /// Begins to decide, to work and to run views.
    async fn lead(self, asked: Asked, inbox: Inbox) -> Result<Lead> {
        let Self { history, scheduler, server, mut scheduler_options, worker_options, mut outbox } = self;
        if let HistoryPlace::Shared(shared) = &history {
            let gone = asked.before.filter(is_gone).map(|leader| leader.name);
            tracing::info!(?gone, "this server leads");
            scheduler_options.predecessors = Predecessors::PerhapsAlive { gone };
            scheduler_options.lease_life = jiff::SignedDuration::try_from(shared.life * 2)?;
        }
        if let Some(life) = task_lease()? {
            scheduler_options.lease_life = life;
        }
        // The files as they are now: they may have changed while it stood by.
        let flows = server.flows();
        let clock = Arc::new(SystemClock);
        let scheduling = scheduler::start_with(inbox, history.store(), clock, scheduler_options, flows).await?;
        let worker = worker::start(scheduler.clone(), worker_options).await?;
        if outbox.url.is_empty() {
            outbox.url = server.url().to_owned();
        }
        let kept = outbox.project.retention;
        let retention = retention::keep(history.store(), scheduler.clone(), kept, outbox.project_dir.clone());
        let landing = Landing::new(history.store(), scheduler.clone(), outbox.project_dir.clone(), kept.runs);
        let of_files = Arc::clone(&server);
        let landing = landing::keep(landing, files_every()?, move || of_files.flows_of_files());
        let postman = mulgil_outbox::start(history.store(), Arc::new(scheduler.clone()), outbox);
        server.lead().await;
        Ok(Lead {
            history,
            scheduler,
            scheduling,
            worker,
            postman,
            _beside: [retention, landing].map(OnlyHere),
            renewed: asked.at,
        })
    }
}

/// A task that ends with whoever holds it.
struct OnlyHere(JoinHandle<()>);

impl Drop for OnlyHere {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long the lease on a task lives, where somebody says it: `MULGIL_TASK_LEASE`, in seconds.
fn task_lease() -> Result<Option<jiff::SignedDuration>> {
    let Some(said) = std::env::var("MULGIL_TASK_LEASE").ok().filter(|said| !said.is_empty()) else { return Ok(None) };
    let seconds = said.parse().ok().filter(|seconds| *seconds >= 1.0);
    let life = seconds.and_then(|seconds| jiff::SignedDuration::try_from_secs_f64(seconds).ok());
    Ok(Some(life.context("MULGIL_TASK_LEASE is no number of seconds, 1 or more")?))
}

/// The pause between two looks for files that have come, where somebody says it: `MULGIL_FILES_EVERY`, in seconds.
fn files_every() -> Result<Duration> {
    let Some(said) = std::env::var("MULGIL_FILES_EVERY").ok().filter(|said| !said.is_empty()) else {
        return Ok(landing::EVERY);
    };
    let seconds = said.parse().ok().filter(|seconds| *seconds >= 0.1);
    let every = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    every.context("MULGIL_FILES_EVERY is no number of seconds, 0.1 or more")
}

/// A server that leads.
struct Lead {
    history: HistoryPlace,
    scheduler: SchedulerHandle,
    scheduling: JoinHandle<Result<(), SchedulerError>>,
    worker: WorkerHandle,
    /// Ends with this, whatever ends it.
    postman: Postman,
    /// The same: what drops old runs, and what looks for files.
    _beside: [OnlyHere; 2],
    /// From before the lease was last asked for.
    renewed: Instant,
}

impl Lead {
    /// Leads until told to leave, or until it cannot any more.
    async fn play(mut self, mut told: oneshot::Receiver<Duration>) -> Result<()> {
        let history = self.history.clone();
        let renewed = self.renewed;
        let mut lost = std::pin::pin!(keep(&history, renewed));
        let patience = tokio::select! {
            told = &mut told => told.unwrap_or_default(),
            ended = &mut self.scheduling => {
                let why = match ended {
                    Ok(Ok(())) => anyhow::anyhow!("the scheduler has stopped"),
                    Ok(Err(error)) if error.is_fenced() => LeaseLost.into(),
                    Ok(Err(error)) => anyhow::Error::new(error).context("the scheduler has stopped"),
                    Err(error) => anyhow::Error::new(error).context("the scheduler ended badly"),
                };
                self.worker.shutdown(Duration::ZERO).await;
                return Err(why);
            }
            () = &mut lost => {
                // It waits for the database, perhaps for long; the worker hears that it is gone, and ends what it runs.
                self.scheduling.abort();
                self.worker.shutdown(Duration::ZERO).await;
                return Err(LeaseLost.into());
            }
        };
        let leaving = async {
            self.scheduler.drain().await;
            self.worker.shutdown(patience).await;
            self.postman.shutdown(LAST_ROUND).await;
            self.scheduler.shutdown().await;
        };
        tokio::select! {
            () = leaving => {}
            () = &mut lost => return Err(LeaseLost.into()),
        }
        if let HistoryPlace::Shared(shared) = &history
            && let Err(error) = shared.history.give_back().await
        {
            tracing::warn!(%error, "the lease could not be given back: it runs out by itself");
        }
        Ok(())
    }
}

/// Renews the lease; returns when it is lost.
async fn keep(history: &HistoryPlace, mut renewed: Instant) {
    let HistoryPlace::Shared(Shared { history, life, .. }) = history else { return std::future::pending().await };
    let third = *life / 3;
    loop {
        tokio::time::sleep(third.saturating_sub(renewed.elapsed())).await;
        let asked = Instant::now();
        let left = life.saturating_sub(renewed.elapsed());
        match tokio::time::timeout(left.min(third), history.renew(*life)).await {
            Ok(Ok(true)) => renewed = asked,
            Ok(Ok(false)) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the lease on the history cannot be renewed now; trying again");
                tokio::time::sleep(third / 10).await;
            }
            Err(_) => tracing::warn!("the database does not answer; trying again to renew the lease on the history"),
        }
        if renewed.elapsed() >= *life {
            return;
        }
    }
}
