//! The server's end: what workers on other machines have joined, and the orders that they have not acknowledged yet.
//!
//! Nothing here is authoritative: leases are the scheduler's, and a server that starts anew has an empty desk, to which its workers
//! come again with the leases that they hold.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use mulgil_sched::demand::Offer;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::wire::{Finished, Held, Join, Joined, PROTOCOL, Poll, Polled, Started, WireOrder, owner};
use crate::dispatcher::{DispatchError, Dispatcher, Joining, Order};

/// A worker from which nothing was heard for so long gets no more work. What it runs is its own until its leases run out.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often silence is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// More slots than this are a mistake in writing.
const SLOTS_MAX: usize = 10_000;
const NAME_CHARS_MAX: usize = 64;

/// Why a worker is not answered as it wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// It has to join first, or again.
    #[error("no worker {0} has joined")]
    Unknown(String),
    /// It asks for what cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The scheduler does not take it.
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
}

/// A worker that has joined, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The owner of its leases.
    pub owner: String,
    /// Its program's version.
    pub version: String,
    /// When it joined.
    pub joined: Timestamp,
    /// When it was last heard.
    pub heard: Timestamp,
}

/// The workers that have joined from elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct Desk<D> {
    dispatcher: D,
    sessions: Arc<Mutex<BTreeMap<String, Arc<Session>>>>,
    // One joins after the other, so that the later one is the one that counts.
    joining: Arc<tokio::sync::Mutex<()>>,
    last: Arc<AtomicU64>,
}

struct Session {
    number: u64,
    /// Which of the worker's joinings it is; 0 where the worker does not count them.
    joining: u64,
    version: String,
    joined: Timestamp,
    // One poll at a time: a second one waits for the first, which ends when its worker is gone.
    orders: tokio::sync::Mutex<Orders>,
    heard: Mutex<Heard>,
}

struct Orders {
    queue: mpsc::Receiver<Order>,
    /// Given, but not known to have come.
    given: VecDeque<(u64, WireOrder)>,
    last: u64,
}

struct Heard {
    at: Timestamp,
    since: Instant,
    /// Polls that are held open: their worker is there.
    polls: usize,
}

impl Session {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self) {
        let mut heard = self.heard();
        (heard.at, heard.since) = (Timestamp::now(), Instant::now());
    }
}

/// A poll that is held open. Dropped with it, however it ends.
struct Open<'a>(&'a Session);

impl<'a> Open<'a> {
    fn new(session: &'a Session) -> Self {
        session.hear();
        session.heard().polls += 1;
        Self(session)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.hear();
        self.0.heard().polls -= 1;
    }
}

impl<D: Dispatcher + Clone> Desk<D> {
    /// A desk at which nobody has joined.
    pub fn new(dispatcher: D) -> Self {
        // Numbers of joinings are told from those of the server before by the time.
        let first = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
        Self { dispatcher, sessions: Arc::default(), joining: Arc::default(), last: Arc::new(AtomicU64::new(first)) }
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self, worker: &str) -> Result<Arc<Session>, DeskError> {
        self.sessions().get(worker).cloned().ok_or_else(|| DeskError::Unknown(worker.to_owned()))
    }

    /// A worker joins, or joins again.
    pub async fn join(&self, join: Join) -> Result<Joined, DeskError> {
        check(&join)?;
        let name = owner(&join.name, &join.instance);
        let _alone = self.joining.lock().await;
        let before = self.session(&name).ok();
        // A request that was long on the way, or came twice, says what was held then: the leases since would count as lost.
        if before.as_ref().is_some_and(|before| join.joining > 0 && before.joining >= join.joining) {
            return Err(DeskError::Unknown(name));
        }
        let offer = Offer { tags: join.tags, untagged: join.untagged, project: join.project, own: false, any: false };
        let held = join.held.iter().map(|held| (held.attempt, held.epoch)).collect();
        let joining = Joining { name: name.clone(), slots: join.slots, offer, held };
        let queue = self.dispatcher.attach(joining).await?;
        let (now, number) = (Timestamp::now(), self.last.fetch_add(1, Ordering::SeqCst) + 1);
        let heard = Heard { at: now, since: Instant::now(), polls: 0 };
        let orders = Orders { queue, given: VecDeque::new(), last: 0 };
        let session = Session {
            number,
            joining: join.joining,
            version: join.version,
            joined: before.map_or(now, |before| before.joined),
            orders: tokio::sync::Mutex::new(orders),
            heard: Mutex::new(heard),
        };
        self.sessions().insert(name.clone(), Arc::new(session));
        Ok(Joined { worker: name, session: number })
    }

    /// Renews what is to be renewed, and waits so long for orders.
    pub async fn poll(&self, worker: &str, poll: Poll, hold: Duration) -> Result<Polled, DeskError> {
        let session = self.session(worker)?;
        if session.number != poll.session {
            return Err(DeskError::Unknown(worker.to_owned()));
        }
        let _open = Open::new(&session);
        let lost = self.renew(&poll.renew).await?;
        let mut orders = session.orders.lock().await;
        orders.given.retain(|(number, _)| *number > poll.after);
        if orders.given.is_empty() && lost.is_empty() {
            match timeout(hold, orders.queue.recv()).await {
                Ok(Some(order)) => orders.give(order),
                // It has joined again meanwhile, or the scheduler has stopped.
                Ok(None) => return Err(DeskError::Unknown(worker.to_owned())),
                Err(_) => {}
            }
        }
        while let Ok(order) = orders.queue.try_recv() {
            orders.give(order);
        }
        Ok(Polled { orders: orders.given.iter().cloned().collect(), lost })
    }

    async fn renew(&self, leases: &[Held]) -> Result<Vec<Held>, DeskError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let asked: Vec<_> = leases.iter().map(|held| (held.attempt, held.epoch)).collect();
        let lost = self.dispatcher.renew(&asked).await?;
        Ok(leases.iter().filter(|held| lost.contains(&held.attempt)).copied().collect())
    }

    /// An attempt is about to begin.
    pub async fn started(&self, worker: &str, started: &Started) -> Result<(), DeskError> {
        self.session(worker)?.hear();
        let Held { attempt, epoch } = started.held;
        Ok(self.dispatcher.started(attempt, epoch, started.process).await?)
    }

    /// An attempt is over.
    pub async fn finished(&self, worker: &str, finished: Finished) -> Result<(), DeskError> {
        self.session(worker)?.hear();
        let Held { attempt, epoch } = finished.held;
        if let Some(usage) = finished.usage {
            // Nothing depends on it, and what is wrong with the lease is told in a moment.
            let _ = self.dispatcher.measured(attempt, epoch, *usage).await;
        }
        Ok(self.dispatcher.finished(attempt, epoch, finished.outcome).await?)
    }

    /// Whether this worker has joined.
    pub fn knows(&self, worker: &str) -> Result<(), DeskError> {
        self.session(worker).map(|session| session.hear())
    }

    /// Who has joined.
    pub fn guests(&self) -> Vec<Guest> {
        let guest = |(name, session): (&String, &Arc<Session>)| {
            let heard = session.heard();
            let at = if heard.polls > 0 { Timestamp::now() } else { heard.at };
            Guest { owner: name.clone(), version: session.version.clone(), joined: session.joined, heard: at }
        };
        self.sessions().iter().map(guest).collect()
    }

    /// Lets workers go from which nothing is heard, for as long as the server lives. Their queues are closed: the scheduler gives
    /// them nothing more, and takes back what they have not begun.
    pub async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut silent = Vec::new();
            self.sessions().retain(|name, session| {
                let heard = session.heard();
                let is_there = heard.polls > 0 || heard.since.elapsed() < SILENCE_MAX;
                if !is_there {
                    silent.push(name.clone());
                }
                is_there
            });
            for worker in silent {
                tracing::warn!(worker, "nothing is heard of a worker: it gets no more work");
                if let Err(error) = self.dispatcher.leave(&worker).await {
                    tracing::debug!(%error, "the scheduler has stopped");
                }
            }
        }
    }
}

impl Orders {
    fn give(&mut self, order: Order) {
        if let Some(order) = WireOrder::of(order) {
            self.last += 1;
            self.given.push_back((self.last, order));
        }
    }
}

fn check(join: &Join) -> Result<(), DeskError> {
    let is_name = |text: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.chars().all(fits)
    };
    let invalid = |message: String| Err(DeskError::Invalid(message));
    if join.protocol != PROTOCOL {
        let Join { version, protocol, .. } = join;
        return invalid(format!(
            "this worker (version {version}) speaks protocol {protocol}, the server {PROTOCOL}: install the same version on both"
        ));
    }
    if !is_name(&join.name) || !is_name(&join.instance) {
        return invalid(format!(
            "{:?} cannot be a worker's name: letters, digits, - _ and ., at most {NAME_CHARS_MAX}",
            join.name
        ));
    }
    if join.slots > SLOTS_MAX {
        return invalid(format!("{} slots are more than {SLOTS_MAX}", join.slots));
    }
    Ok(())
}
