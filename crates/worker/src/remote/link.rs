//! The worker's end: a dispatcher that asks a server over HTTP.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mulgil_history::write::ProcessMark;
use mulgil_sched::id::AttemptId;
use mulgil_sched::usage::Usage;
use reqwest::{Client, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::hold::{Grip, Hand};
use super::ship::Shipments;
use super::wire::{Finished, Held, Join, Joined, LogStored, PROTOCOL, Poll, Polled, Started, WireOrder};
use crate::dispatcher::{DispatchError, Dispatcher, Joining, Order, Outcome};

/// How long a poll is held open, at most.
pub const HOLD_MAX: Duration = Duration::from_secs(8);
/// How long any other answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Between tries to reach the server: at first, and at most.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// How often leases are looked at: those that could not be renewed are dropped.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The answer's header by which the server is told how long it may hold a poll, in milliseconds.
pub const HOLD_HEADER: &str = "x-mulgil-hold-ms";

/// Which worker this is.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// The servers: those that share a history, whichever answers.
    pub servers: Vec<String>,
    /// The token that they want.
    pub token: Option<String>,
    /// The worker's name.
    pub name: String,
    /// What tells this start of it from every other.
    pub instance: String,
    /// The program's version.
    pub version: String,
    /// The folder that the paths of logs are relative to, on this machine.
    pub logs_dir: PathBuf,
}

/// A dispatcher on another machine. Cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

pub(super) struct Inner {
    http: Client,
    options: LinkOptions,
    server: AtomicUsize,
    pub(super) hand: Hand,
    /// What it is called, and with what it joined.
    seat: Mutex<Option<(String, Join)>>,
    /// Which joining it is that orders are counted from.
    session: AtomicU64,
    /// How often it has joined, or tried to.
    joinings: AtomicU64,
    shipments: Shipments,
    /// What attempts used that are about to end: told with their end.
    used: Mutex<HashMap<Held, Box<Usage>>>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// It may be answered when it is made again.
    Passing(String),
    /// The server does not know this worker: it has to join again.
    Unknown,
    /// The lease is another's.
    Fenced,
    /// It will not be answered.
    Refused(String),
}

impl Link {
    /// # Errors
    /// The token is no header's value, or TLS cannot be set up.
    pub fn new(options: LinkOptions) -> Result<Self, String> {
        let mut headers = header::HeaderMap::new();
        if let Some(token) = &options.token {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| "the token has characters that no header may have".to_owned())?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let http =
            Client::builder().default_headers(headers).connect_timeout(CONNECT_MAX).timeout(ANSWER_MAX).no_proxy();
        let http = http.build().map_err(|error| error.to_string())?;
        Ok(Self(Arc::new(Inner {
            http,
            options,
            server: AtomicUsize::new(0),
            hand: Hand::default(),
            seat: Mutex::new(None),
            session: AtomicU64::new(0),
            joinings: AtomicU64::new(0),
            shipments: Shipments::default(),
            used: Mutex::default(),
        })))
    }

    /// Takes no more work from now on. What was ordered but has not come is given to others at once.
    pub async fn leave(&self) {
        let inner = &self.0;
        if let Some((_, join)) = inner.lock().as_mut() {
            join.slots = 0;
        }
        if let Err(silence) = inner.join().await {
            tracing::warn!(?silence, "the server does not hear that this worker leaves: its leases run out");
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(String, Join)>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log_path(&self, log: &str) -> PathBuf {
        self.options.logs_dir.join(log)
    }

    /// Joins, again where it had joined before.
    async fn join(&self) -> Result<(), Silence> {
        let Some((_, mut join)) = self.lock().clone() else { return Err(Silence::Unknown) };
        // The number first: what a later one says is held is what was held later.
        join.joining = self.joinings.fetch_add(1, Ordering::SeqCst) + 1;
        join.held = self.hand.all();
        let joined: Joined = self.ask("/workers", &join, ANSWER_MAX).await?;
        if let Some((name, _)) = self.lock().as_mut() {
            *name = joined.worker;
        }
        self.session.store(joined.session, Ordering::SeqCst);
        Ok(())
    }

    /// One request to the server that answered last; one that does not answer makes room for the next.
    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, Silence> {
        let body = serde_json::to_vec(body).map_err(|error| Silence::Refused(error.to_string()))?;
        self.send(path, "application/json", body, patience).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        kind: &str,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<T, Silence> {
        let number = self.server.load(Ordering::Relaxed);
        let servers = &self.options.servers;
        let Some(server) = servers.get(number % servers.len().max(1)) else {
            return Err(Silence::Refused("no server was named".to_owned()));
        };
        let hold = self.hand.hold_max(HOLD_MAX).as_millis().to_string();
        let request = self.http.post(format!("{}/api/v1{path}", server.trim_end_matches('/')));
        let request = request.timeout(patience).header(header::CONTENT_TYPE, kind).header(HOLD_HEADER, hold).body(body);
        let answered = async {
            let response = request.send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        let passing = |reason: String| {
            // Others may have moved on already.
            let _ = self.server.compare_exchange(number, number + 1, Ordering::Relaxed, Ordering::Relaxed);
            Silence::Passing(reason)
        };
        let (status, body) = answered.await.map_err(|error| passing(chain(&error)))?;
        let said = || {
            let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            let said = said.get("message").and_then(|message| message.as_str()).map(str::to_owned);
            said.unwrap_or_else(|| status.to_string())
        };
        match status {
            StatusCode::OK => serde_json::from_slice(&body).map_err(|error| Silence::Refused(error.to_string())),
            StatusCode::NOT_FOUND => Err(Silence::Unknown),
            StatusCode::GONE => Err(Silence::Fenced),
            status if status.is_server_error() => Err(passing(said())),
            _ => Err(Silence::Refused(said())),
        }
    }

    /// A request of this worker, made until it is answered or the server will not.
    async fn insist<T: DeserializeOwned>(&self, what: &str, body: &impl Serialize) -> Result<T, Silence> {
        let mut pause = AGAIN_FIRST;
        loop {
            let Some((name, _)) = self.lock().clone() else { return Err(Silence::Unknown) };
            let silence = match self.ask(&format!("/workers/{name}/{what}"), body, ANSWER_MAX).await {
                Ok(answer) => return Ok(answer),
                Err(silence) => silence,
            };
            let silence = match silence {
                Silence::Unknown => self.join().await.err().unwrap_or(Silence::Passing("joined again".to_owned())),
                silence => silence,
            };
            match silence {
                Silence::Passing(reason) => tracing::debug!(what, reason, "the server does not answer; trying again"),
                Silence::Unknown => {}
                silence => return Err(silence),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// A piece of a log; says how much of it the server has.
    pub(super) async fn log(&self, held: Held, offset: u64, piece: Vec<u8>) -> Result<u64, Silence> {
        let Some((name, _)) = self.lock().clone() else { return Err(Silence::Unknown) };
        let Held { attempt: id, epoch } = held;
        let place = format!("run={}&task={}&attempt={}&epoch={epoch}&offset={offset}", id.run.0, id.task, id.attempt);
        let path = format!("/workers/{name}/log?{place}");
        let stored: LogStored = self.send(&path, "application/octet-stream", piece, ANSWER_MAX).await?;
        Ok(stored.length)
    }

    /// Brings orders until the worker has gone, or the server will not have it.
    async fn poll(self: Arc<Self>, orders: mpsc::Sender<Order>) {
        let (mut session, mut after, mut pause) = (0, 0, AGAIN_FIRST);
        while !orders.is_closed() {
            let Some((name, _)) = self.lock().clone() else { return };
            let sent = Instant::now();
            let now = self.session.load(Ordering::SeqCst);
            if now != session {
                (session, after) = (now, 0);
            }
            let poll = Poll { session, after, renew: self.hand.due(sent) };
            let polled = self.ask::<Polled>(&format!("/workers/{name}/poll"), &poll, ANSWER_MAX).await;
            match polled {
                Ok(polled) => {
                    pause = AGAIN_FIRST;
                    self.hand.renewed(&poll.renew, sent);
                    for lost in polled.lost {
                        self.give_up(lost);
                        let _ = orders.send(Order::Drop(lost.attempt)).await;
                    }
                    for (number, order) in polled.orders {
                        if number > after {
                            after = number;
                            self.take(order, &orders).await;
                        }
                    }
                }
                Err(Silence::Unknown) => match self.join().await {
                    Ok(()) => {}
                    Err(Silence::Refused(reason)) => return tracing::error!(reason, "the server refuses this worker"),
                    Err(silence) => {
                        tracing::warn!(?silence, "cannot join again; trying again");
                        wait(&mut pause).await;
                    }
                },
                Err(Silence::Refused(reason)) => return tracing::error!(reason, "the server refuses this worker"),
                Err(silence) => {
                    tracing::warn!(?silence, "the server does not answer; trying again");
                    wait(&mut pause).await;
                }
            }
        }
    }

    async fn take(&self, order: WireOrder, orders: &mpsc::Sender<Order>) {
        if let WireOrder::Run(lease) = &order {
            let (epoch, log) = (lease.held.epoch, lease.log.clone());
            let grip = Grip { epoch, life: lease.life.unsigned_abs(), renewed: Instant::now(), log, is_over: false };
            if !self.hand.take(lease.held.attempt, grip) {
                return;
            }
        }
        // An error means that the worker has gone: nobody runs it.
        let _ = orders.send(order.order()).await;
    }

    fn take_used(&self, held: Held) -> Option<Box<Usage>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&held)
    }

    /// A lease is not this worker's any more.
    fn give_up(&self, lost: Held) {
        self.hand.drop(lost);
        self.shipments.abandon(lost);
        self.take_used(lost);
    }

    /// Drops leases that could not be renewed in time.
    async fn watch(self: Arc<Self>, orders: mpsc::Sender<Order>) {
        while !orders.is_closed() {
            tokio::time::sleep(LOOK_EVERY).await;
            for lost in self.hand.lose(Instant::now()) {
                self.give_up(lost);
                tracing::warn!(attempt = %lost.attempt, "a lease could not be renewed in time: ending what runs for it");
                let _ = orders.send(Order::Drop(lost.attempt)).await;
            }
        }
    }
}

async fn wait(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(AGAIN_MAX);
}

/// An error with what is behind it; without the URL, which the caller knows.
fn chain(error: &reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        said.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    said
}

#[async_trait]
impl Dispatcher for Link {
    async fn attach(&self, joining: Joining) -> Result<mpsc::Receiver<Order>, DispatchError> {
        let LinkOptions { name, instance, version, .. } = self.0.options.clone();
        let tags: BTreeSet<String> = joining.offer.tags;
        let join = Join {
            protocol: PROTOCOL,
            version,
            name: name.clone(),
            instance,
            slots: joining.slots,
            tags,
            untagged: joining.offer.untagged,
            project: joining.offer.project,
            held: Vec::new(),
            joining: 0,
        };
        *self.0.lock() = Some((name, join));
        let mut pause = AGAIN_FIRST;
        while let Err(silence) = self.0.join().await {
            match silence {
                Silence::Refused(reason) => return Err(DispatchError::Refused(reason)),
                Silence::Unknown => {
                    let reason = "nothing answers there as a Mulgil server of this version does".to_owned();
                    return Err(DispatchError::Refused(reason));
                }
                silence => tracing::warn!(?silence, "the server does not answer; trying again"),
            }
            wait(&mut pause).await;
        }
        // One to run, one to stop and one to drop for each slot.
        let (orders, queue) = mpsc::channel(3 * joining.slots.max(1));
        tokio::spawn(Arc::clone(&self.0).poll(orders.clone()));
        tokio::spawn(Arc::clone(&self.0).watch(orders));
        Ok(queue)
    }

    async fn started(&self, attempt: AttemptId, epoch: i64, process: Option<ProcessMark>) -> Result<(), DispatchError> {
        let fenced = DispatchError::Fenced { attempt, epoch };
        let Some(grip) = self.0.hand.get(attempt, epoch) else { return Err(fenced) };
        let (held, sent) = (Held { attempt, epoch }, Instant::now());
        let body = Started { held, process };
        let answered = tokio::time::timeout(grip.life, self.0.insist::<()>("started", &body)).await;
        match answered {
            Ok(Ok(())) => {
                self.0.hand.renewed(&[held], sent);
                self.0.shipments.begin(&self.0, held, &grip.log);
                Ok(())
            }
            Ok(Err(Silence::Refused(reason))) => Err(DispatchError::Refused(reason)),
            _ => {
                self.0.hand.drop(held);
                Err(fenced)
            }
        }
    }

    /// The polls renew.
    async fn renew(&self, _leases: &[(AttemptId, i64)]) -> Result<Vec<AttemptId>, DispatchError> {
        Ok(Vec::new())
    }

    /// Kept, and told with the end.
    async fn measured(&self, attempt: AttemptId, epoch: i64, usage: Usage) -> Result<(), DispatchError> {
        let mut used = self.0.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(Held { attempt, epoch }, Box::new(usage));
        Ok(())
    }

    async fn finished(&self, attempt: AttemptId, epoch: i64, outcome: Outcome) -> Result<(), DispatchError> {
        let held = Held { attempt, epoch };
        let usage = self.0.take_used(held);
        self.0.hand.finish(held);
        self.0.shipments.end(&self.0, held).await;
        let answered = self.0.insist::<()>("finished", &Finished { held, outcome, usage }).await;
        self.0.hand.drop(held);
        match answered {
            Ok(()) => Ok(()),
            Err(Silence::Refused(reason)) => Err(DispatchError::Refused(reason)),
            Err(_) => Err(DispatchError::Fenced { attempt, epoch }),
        }
    }
}
