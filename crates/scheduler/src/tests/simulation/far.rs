//! Workers on other machines: the *link*, which outlives the server, and the *desk*, which dies with it. They do what the real ones do
//! (`mulgil_worker::remote`): polls bring orders, which are given again until acknowledged, and renew leases; reports are made again
//! until answered. Each request and each answer may be lost, doubled or late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mulgil_sched::demand::Offer;
use mulgil_sched::id::AttemptId;
use mulgil_worker::dispatcher::{Joining, Order};
use mulgil_worker::remote::wire::{Held, Poll, WireOrder, owner};
use tokio::sync::{mpsc, oneshot};

use super::node::{Answer, Message, Node, Phase};
use super::world::{Happening, LEASE, Place, SECOND, SLOTS, World};
use crate::event::{Event, Report};

/// How many there are.
pub(super) const FARS: usize = 2;
/// How long the desk hears nothing from a worker until it lets it go.
const SILENCE_MAX: i64 = 10 * SECOND;
/// How long a worker waits for an answer.
const PATIENCE: i64 = 10 * SECOND;
/// Of a lease's life, what a worker counts on, and when it renews it.
const SURE: i64 = LEASE * 8 / 10;
const RENEW_AT: i64 = LEASE * 2 / 10;

/// A worker elsewhere.
pub(super) struct Far {
    pub(super) node: Node,
    /// How often it was started: each start is another owner of leases.
    pub(super) start: u32,
    /// How often it has joined, or tried to.
    joinings: u64,
    /// By which the desk knows it; 0 before it has joined.
    session: u64,
    /// The last order that came.
    after: u64,
    /// When the desk was last asked for each lease, with success.
    renewed: BTreeMap<AttemptId, i64>,
    /// The requests whose answers are waited for.
    awaited: BTreeSet<u64>,
}

/// A request of a worker.
#[derive(Clone)]
pub(super) enum Ask {
    Join { joining: u64, held: Vec<Held> },
    Poll(Poll),
    Report(Message),
}

/// What comes back.
#[derive(Clone)]
pub(super) enum Heard {
    Joined(u64),
    Polled {
        orders: Vec<(u64, WireOrder)>,
        lost: Vec<Held>,
    },
    Said(Answer),
    /// The desk does not know the worker.
    Unknown,
    Silence,
}

/// A request on its way, or its answer.
#[derive(Clone)]
pub(super) struct Letter {
    far: usize,
    start: u32,
    number: u64,
    sent: i64,
    ask: Ask,
}

/// A worker that has joined, as the desk knows it.
pub(super) struct Session {
    number: u64,
    /// Which of the worker's joinings it is.
    joining: u64,
    queue: mpsc::Receiver<Order>,
    given: VecDeque<(u64, WireOrder)>,
    last: u64,
    heard: i64,
}

impl Far {
    pub(super) fn new() -> Self {
        let (node, renewed, awaited) = (Node::new(true), BTreeMap::new(), BTreeSet::new());
        Self { node, start: 0, joinings: 0, session: 0, after: 0, renewed, awaited }
    }

    fn held(&self, fits: impl Fn(&AttemptId) -> bool) -> Vec<Held> {
        let leases = self.node.leases().into_iter().filter(|(attempt, _)| fits(attempt));
        leases.map(|(attempt, epoch)| Held { attempt, epoch }).collect()
    }

    fn keep(&mut self, attempt: AttemptId, since: i64) {
        let renewed = self.renewed.entry(attempt).or_insert(since);
        *renewed = since.max(*renewed);
    }
}

/// The worker's end.
impl World {
    /// It joins, or asks for orders.
    pub(super) fn far_polls(&mut self, number: usize) {
        let now = self.time();
        let far = &mut self.fars[number];
        let ask = match far.session {
            0 => {
                far.joinings += 1;
                Ask::Join { joining: far.joinings, held: far.held(|_| true) }
            }
            session => {
                let is_due = |attempt: &AttemptId| far.renewed.get(attempt).is_none_or(|at| now - at >= RENEW_AT);
                Ask::Poll(Poll { session, after: far.after, renew: far.held(is_due) })
            }
        };
        self.far_asks(number, ask);
    }

    /// Sends a request.
    pub(super) fn far_asks(&mut self, far: usize, ask: Ask) {
        let number = self.next_number();
        self.fars[far].awaited.insert(number);
        let letter = Letter { far, start: self.fars[far].start, number, sent: self.time(), ask };
        match self.delay(self.fars[far].node.cut_off_until) {
            Some(delay) => self.plan(delay, Happening::FarAsked { letter: Box::new(letter.clone()) }),
            None => {
                self.plan(PATIENCE, Happening::FarHeard { letter: Box::new(letter.clone()), heard: Heard::Silence })
            }
        }
        if self.troubled() && self.random.chance(3) {
            let late = self.random.between(0, 120 * SECOND);
            self.plan(late, Happening::FarAsked { letter: Box::new(letter) });
        }
    }

    /// An answer has come, or nothing in time.
    pub(super) fn far_hears(&mut self, letter: Letter, heard: Heard) {
        let Letter { far: number, start, sent, .. } = letter;
        let far = &mut self.fars[number];
        if far.start != start || !far.awaited.remove(&letter.number) {
            return;
        }
        let place = Place::Far { far: number, start };
        match (letter.ask, heard) {
            (Ask::Join { .. }, Heard::Joined(session)) => (far.session, far.after) = (session, 0),
            (Ask::Poll(poll), Heard::Polled { orders, lost }) if poll.session == far.session => {
                let kept = poll.renew.iter().filter(|held| !lost.contains(held));
                kept.for_each(|held| far.keep(held.attempt, sent));
                lost.iter().for_each(|held| far.node.drop(held.attempt, held.epoch));
                for (number, order) in orders {
                    self.far_takes(place, number, order);
                }
            }
            (Ask::Poll(_), Heard::Unknown) => far.session = 0,
            (Ask::Report(message), heard) => {
                let answer = if let Heard::Said(answer) = heard { answer } else { Answer::Silence };
                if let (Message::Started { attempt, .. }, Answer::Taken) = (&message, &answer) {
                    far.keep(*attempt, sent);
                }
                let deed = far.node.hear(&message, answer);
                return self.do_deed(place, deed);
            }
            _ => {}
        }
        let pause = self.random.between(SECOND / 10, 5 * SECOND);
        self.plan(pause, Happening::FarPolls { far: number, start });
    }

    fn far_takes(&mut self, place: Place, number: u64, order: WireOrder) {
        let Place::Far { far, start } = place else { return };
        if number <= self.fars[far].after {
            return;
        }
        self.fars[far].after = number;
        if let WireOrder::Run(lease) = &order {
            let Held { attempt, epoch } = lease.held;
            let now = self.time();
            self.fars[far].renewed.insert(attempt, now);
            self.plan(SURE, Happening::FarLoses { far, start, attempt, epoch });
        }
        let deed = self.fars[far].node.take(order.order());
        self.do_deed(place, deed);
    }

    /// A lease may not be the worker's any more, by its own clock: it ends what runs for it.
    pub(super) fn far_loses(&mut self, far: usize, start: u32, attempt: AttemptId, epoch: i64) {
        let now = self.time();
        let Far { node, renewed, .. } = &mut self.fars[far];
        let job = node.jobs.get(&attempt).filter(|job| job.lease.epoch == epoch);
        // What is over waits until it is told.
        if job.is_none_or(|job| matches!(job.phase, Phase::Telling(..))) {
            return;
        }
        let sure = renewed.get(&attempt).copied().unwrap_or(0) + SURE;
        match sure <= now {
            true => node.drop(attempt, epoch),
            false => self.plan(sure - now, Happening::FarLoses { far, start, attempt, epoch }),
        }
    }

    /// It is killed, with all that it runs, and started again.
    pub(super) fn far_dies(&mut self, number: usize) {
        let far = &mut self.fars[number];
        let (start, cut_off_until) = (far.start + 1, far.node.cut_off_until);
        *far = Far { start, ..Far::new() };
        far.node.cut_off_until = cut_off_until;
        self.tell(format_args!("worker {number} elsewhere is killed"));
        let after = self.random.between(SECOND, 300 * SECOND);
        self.plan(after, Happening::FarPolls { far: number, start });
    }

    /// Whether a worker elsewhere is at work for this task, under another lease than this.
    pub(super) fn is_at_work_elsewhere(&self, attempt: AttemptId, epoch: i64) -> bool {
        let mut jobs = self.fars.iter().flat_map(|far| &far.node.jobs);
        jobs.any(|(other, job)| {
            (other.run, other.task) == (attempt.run, attempt.task)
                && job.lease.epoch != epoch
                && job.phase == Phase::Working
        })
    }
}

/// The server's end.
impl World {
    /// A request arrives.
    pub(super) fn desk_hears(&mut self, letter: Letter) {
        let heard = self.desk_answers(&letter);
        let delay = self.delay(self.fars[letter.far].node.cut_off_until);
        let is_report = matches!(letter.ask, Ask::Report(_));
        let (after, heard) = match (delay, heard) {
            // The worker asks again, after a while.
            (None, _) | (_, Heard::Silence) => (PATIENCE, Heard::Silence),
            (Some(_), Heard::Unknown) if is_report => (PATIENCE, Heard::Unknown),
            (Some(delay), heard) => (delay, heard),
        };
        self.plan(after, Happening::FarHeard { letter: Box::new(letter), heard });
    }

    fn desk_answers(&mut self, letter: &Letter) -> Heard {
        if self.scheduler.is_none() {
            return Heard::Silence;
        }
        let name = owner(&format!("far{}", letter.far), &letter.start.to_string());
        match &letter.ask {
            Ask::Join { joining, held } => self.desk_joins(letter.far, name, *joining, held),
            Ask::Poll(poll) => self.desk_polled(&name, poll),
            Ask::Report(message) => {
                let now = self.time();
                let Some(session) = self.desk.get_mut(&name) else { return Heard::Unknown };
                session.heard = now;
                self.report(message.clone()).map_or(Heard::Silence, Heard::Said)
            }
        }
    }

    fn desk_joins(&mut self, far: usize, name: String, joining: u64, held: &[Held]) -> Heard {
        // One that comes late, or twice, says what was held then: it is not listened to.
        if self.desk.get(&name).is_some_and(|session| session.joining >= joining) {
            return Heard::Unknown;
        }
        let offer = Offer { tags: BTreeSet::new(), untagged: true, project: far == 0, own: false, any: false };
        let held: Vec<(AttemptId, i64)> = held.iter().map(|held| (held.attempt, held.epoch)).collect();
        self.history.look(|_, checker| checker.tally.far_came_back += u64::from(!held.is_empty()));
        let life = self.life;
        let (reply, mut answer) = oneshot::channel();
        let attach = Report::Attach { joining: Joining { name: name.clone(), slots: SLOTS, offer, held }, reply };
        self.turn(Some(Event::Report(attach)));
        let Some(queue) = answer.try_recv().ok().and_then(Result::ok).filter(|_| self.life == life) else {
            return Heard::Silence;
        };
        let (number, heard) = (self.next_number(), self.time());
        let session = Session { number, joining, queue, given: VecDeque::new(), last: 0, heard };
        self.desk.insert(name.clone(), session);
        self.plan(SILENCE_MAX, Happening::Silent { life: self.life, worker: name, session: number });
        Heard::Joined(number)
    }

    fn desk_polled(&mut self, name: &str, poll: &Poll) -> Heard {
        let now = self.time();
        let Some(session) = self.desk.get_mut(name).filter(|session| session.number == poll.session) else {
            return Heard::Unknown;
        };
        session.heard = now;
        let mut lost = Vec::new();
        if !poll.renew.is_empty() {
            let leases = poll.renew.iter().map(|held| (held.attempt, held.epoch)).collect();
            let Some(answer) = self.report(Message::Renew { leases }) else { return Heard::Silence };
            if let Answer::Lost(attempts) = answer {
                lost = poll.renew.iter().filter(|held| attempts.contains(&held.attempt)).copied().collect();
            }
        }
        let Some(session) = self.desk.get_mut(name) else { return Heard::Unknown };
        session.given.retain(|(number, _)| *number > poll.after);
        let again = session.given.len() as u64;
        while let Ok(order) = session.queue.try_recv() {
            if let Some(order) = WireOrder::of(order) {
                session.last += 1;
                session.given.push_back((session.last, order));
            }
        }
        let orders = session.given.iter().cloned().collect();
        self.history.look(|_, checker| checker.tally.orders_again += again);
        Heard::Polled { orders, lost }
    }

    /// Nothing was heard of a worker for a while: it is let go.
    pub(super) fn desk_looks(&mut self, worker: String, session: u64) {
        let now = self.time();
        let Some(of) = self.desk.get(&worker).filter(|of| of.number == session) else { return };
        if of.heard + SILENCE_MAX > now {
            let again = of.heard + SILENCE_MAX - now;
            return self.plan(again, Happening::Silent { life: self.life, worker, session });
        }
        self.tell(format_args!("nothing is heard of {worker}"));
        self.desk.remove(&worker);
        self.history.look(|_, checker| checker.tally.far_silent += 1);
        let (reply, _) = oneshot::channel();
        self.turn(Some(Event::Report(Report::Leave { worker, reply })));
    }
}
