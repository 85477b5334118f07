//! The world: what happens when. One thing at a time, from a queue ordered by virtual time.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use mulgil_flow::TaskKind;
use mulgil_history::outbox::NoticeStatus;
use mulgil_sched::id::AttemptId;
use mulgil_worker::dispatcher::{DispatchError, Joining, Order, Outcome};
use tokio::sync::{broadcast, mpsc, oneshot};

use super::again;
use super::check::Tally;
use super::commit::Trouble;
use super::far::{Ask, FARS, Far, Heard, Letter, Session};
use super::flows::{self, BEGINNING};
use super::node::{Answer, Deed, Message, Node};
use super::random::Random;
use super::store::MemoryHistory;
use crate::event::{Event, Report};
use crate::state::Scheduler;
use crate::{Clock, FlowSource, SchedulerError, SchedulerOptions};

pub(super) const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
pub(super) const LEASE: i64 = 60 * SECOND;
/// Until when people and faults are about; the last schedule has ended by then.
const TROUBLED: i64 = 4 * 60 * MINUTE;
/// By when every run has to have ended.
const END: i64 = 80 * 60 * MINUTE;
const NODES: usize = 2;
pub(super) const SLOTS: usize = 3;

/// When every world begins; asked for so often that reading the text each time took a quarter of the simulation.
static BEGAN: LazyLock<Timestamp> = LazyLock::new(|| BEGINNING.parse().unwrap());

/// The scheduler's clock: the world's time, and how wrong it is.
#[derive(Default)]
struct WorldClock {
    micros: AtomicI64,
    error_micros: AtomicI64,
}

#[async_trait]
impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        let micros = self.micros.load(Ordering::Relaxed) + self.error_micros.load(Ordering::Relaxed);
        *BEGAN + SignedDuration::from_micros(micros)
    }

    async fn sleep(&self, _: Duration) {}
}

/// Something that happens. What names a life of the process is void in the next.
pub(super) enum Happening {
    /// A person acts, or something breaks.
    Act,
    /// An order arrives at a worker.
    Ordered { life: u64, node: usize, order: Order },
    /// A message arrives at the scheduler.
    Asked { life: u64, node: usize, message: Message },
    /// An answer, or the end of patience, arrives at a worker.
    Answered { life: u64, node: usize, message: Message, answer: Answer },
    /// The work of an attempt is over.
    Done { place: Place, attempt: AttemptId, epoch: i64, outcome: Outcome },
    /// A worker renews its leases.
    Renew { life: u64, node: usize },
    /// A worker elsewhere joins, or asks for orders.
    FarPolls { far: usize, start: u32 },
    /// Its request arrives at the desk.
    FarAsked { letter: Box<Letter> },
    /// An answer, or the end of patience, arrives at a worker elsewhere.
    FarHeard { letter: Box<Letter>, heard: Heard },
    /// A worker elsewhere may have a lease no longer, by its own clock.
    FarLoses { far: usize, start: u32, attempt: AttemptId, epoch: i64 },
    /// The desk looks whether something was heard of a worker.
    Silent { life: u64, worker: String, session: u64 },
    /// The postman goes round.
    Post { life: u64 },
    /// The scheduler's next timer is due.
    Timer { life: u64 },
    /// The process starts.
    Start,
}

/// Where work is done, in one life of the process, or between two starts of a worker elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Own { life: u64, node: usize },
    Far { far: usize, start: u32 },
}

/// One world.
pub(super) struct World {
    pub(super) random: Random,
    now: i64,
    queue: BTreeMap<(i64, u64), Happening>,
    happened: u64,
    clock: Arc<WorldClock>,
    pub(super) history: Arc<MemoryHistory>,
    pub(super) texts: Vec<String>,
    /// The definitions, in their version of now.
    pub(super) sources: Vec<FlowSource>,
    pub(super) version: u64,
    pub(super) life: u64,
    pub(super) scheduler: Option<Scheduler>,
    events: Option<mpsc::Receiver<Event>>,
    /// When the next timer is due, of those that are planned.
    timer: Option<i64>,
    pub(super) nodes: Vec<Node>,
    /// What the workers of this life are told.
    orders: Vec<mpsc::Receiver<Order>>,
    pub(super) fars: Vec<Far>,
    /// The workers elsewhere that have joined in this life.
    pub(super) desk: BTreeMap<String, Session>,
    /// Whether nothing breaks any more, and nothing is held back.
    pub(super) mended: bool,
    story: String,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let texts = flows::texts(&mut random);
        let fars = (0..random.between(0, FARS as i64)).map(|_| Far::new()).collect();
        let mut world = Self {
            random,
            now: 0,
            queue: BTreeMap::new(),
            happened: 0,
            clock: Arc::default(),
            history: Arc::default(),
            sources: texts.iter().map(|text| flows::source(text, 0)).collect(),
            texts,
            version: 0,
            life: 0,
            scheduler: None,
            events: None,
            timer: None,
            nodes: Vec::new(),
            orders: Vec::new(),
            fars,
            desk: BTreeMap::new(),
            mended: false,
            story: String::new(),
        };
        world.plan(0, Happening::Start);
        world.plan(SECOND, Happening::Act);
        (0..world.fars.len()).for_each(|far| world.plan(far as i64 * MINUTE, Happening::FarPolls { far, start: 0 }));
        world
    }

    /// Lets everything happen.
    pub(super) fn live(&mut self) {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at > END {
                break;
            }
            self.now = at;
            self.clock.micros.store(at, Ordering::Relaxed);
            let looks = matches!(happening, Happening::Post { .. });
            self.happen(happening);
            if looks && self.mended && self.is_over() {
                break;
            }
        }
        let flows = self.sources.iter().map(|source| &source.flow);
        let slots = flows.filter_map(|flow| Some((flow.name.clone(), flow.schedule.as_ref()?.on.is_empty()))).collect();
        self.history.look(|stored, checker| checker.end(stored, &slots));
    }

    /// Whether everything has come to its end.
    fn is_over(&self) -> bool {
        self.scheduler.is_some()
            && self.history.look(|stored, _| {
                stored.runs.values().all(|run| run.row.status.is_terminal())
                    && stored.backfills.values().all(|row| row.status.is_terminal())
                    && stored.notices.values().all(|notice| notice.status != NoticeStatus::Waiting)
            })
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.history.look(|_, checker| checker.violations.clone())
    }

    pub(super) fn tally(&self) -> Tally {
        self.history.look(|_, checker| checker.tally.clone())
    }

    /// What happened, line by line.
    pub(super) fn story(&self) -> String {
        format!("{}\n{}", self.texts.join("\n"), self.story)
    }

    pub(super) fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.story, "{:>12.6} {line}", self.now as f64 / SECOND as f64).unwrap();
    }

    pub(super) fn plan(&mut self, after: i64, happening: Happening) {
        let number = self.next_number();
        self.queue.insert((self.now + after, number), happening);
    }

    /// A number that there was not before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.happened += 1;
        self.happened
    }

    /// The world's time, in microseconds.
    pub(super) fn time(&self) -> i64 {
        self.now
    }

    /// The world's time, by a clock that is right.
    pub(super) fn today(&self) -> Timestamp {
        *BEGAN + SignedDuration::from_micros(self.now)
    }

    /// Whether people and faults are still about.
    pub(super) fn troubled(&self) -> bool {
        self.now < TROUBLED
    }

    /// Sets the clock wrong, or right again.
    pub(super) fn set_clock(&mut self, error_micros: i64) {
        self.clock.error_micros.store(error_micros, Ordering::Relaxed);
    }

    fn happen(&mut self, happening: Happening) {
        let life = self.life;
        match happening {
            Happening::Act => self.act(),
            Happening::Start => self.start(),
            Happening::Timer { life: of } if of == life && self.timer == Some(self.now) => self.turn(None),
            Happening::Post { life: of } if of == life => self.post(),
            Happening::Ordered { life: of, node, order } if of == life => {
                let deed = self.nodes[node].take(order);
                self.do_deed(Place::Own { life, node }, deed);
            }
            Happening::Asked { life: of, node, message } if of == life => self.ask(node, message),
            Happening::Answered { life: of, node, message, answer } if of == life => {
                let fenced = answer == Answer::Fenced || matches!(&answer, Answer::Lost(lost) if !lost.is_empty());
                self.history.look(|_, checker| checker.tally.fenced += u64::from(fenced));
                let deed = self.nodes[node].hear(&message, answer);
                self.do_deed(Place::Own { life, node }, deed);
            }
            Happening::Done { place, attempt, epoch, outcome } => self.done(place, attempt, epoch, outcome),
            Happening::FarPolls { far, start } if self.fars[far].start == start => self.far_polls(far),
            Happening::FarAsked { letter } => self.desk_hears(*letter),
            Happening::FarHeard { letter, heard } => self.far_hears(*letter, heard),
            Happening::FarLoses { far, start, attempt, epoch } if self.fars[far].start == start => {
                self.far_loses(far, start, attempt, epoch);
            }
            Happening::Silent { life: of, worker, session } if of == life => self.desk_looks(worker, session),
            Happening::Renew { life: of, node } if of == life => {
                let leases = self.nodes[node].leases();
                if !leases.is_empty() {
                    self.send(node, Message::Renew { leases });
                }
                self.plan(LEASE / 3, Happening::Renew { life, node });
            }
            // Of a life that is over.
            _ => {}
        }
    }

    /// The worker at a place, if it is still the same.
    fn node(&mut self, place: Place) -> Option<&mut Node> {
        match place {
            Place::Own { life, node } if life == self.life => self.nodes.get_mut(node),
            Place::Far { far, start } => {
                Some(&mut self.fars[far]).filter(|far| far.start == start).map(|far| &mut far.node)
            }
            Place::Own { .. } => None,
        }
    }

    fn done(&mut self, place: Place, attempt: AttemptId, epoch: i64, outcome: Outcome) {
        let succeeded = matches!(outcome, Outcome::Succeeded(_));
        let deed = self.node(place).and_then(|node| node.done(attempt, epoch, outcome));
        if deed.is_some() && succeeded {
            self.history.look(|_, checker| checker.work_ends(epoch));
        }
        self.do_deed(place, deed);
    }

    pub(super) fn do_deed(&mut self, place: Place, deed: Option<Deed>) {
        match (deed, place) {
            (None, _) => {}
            (Some(Deed::Send(message)), Place::Own { node, .. }) => self.send(node, message),
            (Some(Deed::Send(message)), Place::Far { far, .. }) => self.far_asks(far, Ask::Report(message)),
            (Some(Deed::Work { attempt, epoch }), _) => self.work(place, attempt, epoch),
        }
    }

    /// The work of an attempt begins.
    fn work(&mut self, place: Place, attempt: AttemptId, epoch: i64) {
        let twice = self.is_at_work_elsewhere(attempt, epoch);
        let Some(node) = self.node(place) else { return };
        let task = node.jobs[&attempt].lease.task().unwrap();
        let (idempotent, timeout, kind) = (task.idempotent, task.timeout, &task.kind);
        let (waits, is_view) = (matches!(kind, TaskKind::Wait(_)), matches!(kind, TaskKind::View(_)));
        self.history.look(|_, checker| {
            checker.tally.views += u64::from(is_view);
            checker.tally.far_began += u64::from(matches!(place, Place::Far { .. }));
            checker.fault(!twice, || format!("{attempt} began while a worker elsewhere was at work for its task"));
            checker.work_begins(attempt, epoch, idempotent);
        });
        let mut lasts = self.random.between(0, 3 * MINUTE);
        let mut outcome = match self.random.below(10) {
            0 | 1 => again::failure(&mut self.random),
            _ => Outcome::Succeeded(Some((0..self.random.between(0, 3)).collect())),
        };
        if let Some(timeout) = timeout.map(|timeout| timeout.as_micros() as i64).filter(|limit| *limit < lasts) {
            let late = "it took too long".to_owned();
            (lasts, outcome) = (timeout, if waits { Outcome::Skipped(late) } else { Outcome::TimedOut(late) });
        }
        self.plan(lasts, Happening::Done { place, attempt, epoch, outcome });
    }

    /// How long something takes on the network; `None` when it is lost.
    pub(super) fn delay(&mut self, cut_off_until: i64) -> Option<i64> {
        if !self.troubled() {
            return Some(self.random.between(1, 2_000));
        }
        if self.now < cut_off_until || self.random.chance(2) {
            return None;
        }
        Some(if self.random.chance(3) { self.random.between(0, 2 * MINUTE) } else { self.random.between(100, 50_000) })
    }

    fn send(&mut self, node: usize, message: Message) {
        let life = self.life;
        match self.delay(self.nodes[node].cut_off_until) {
            Some(delay) => self.plan(delay, Happening::Asked { life, node, message: message.clone() }),
            None => {
                let (message, answer) = (message.clone(), Answer::Silence);
                self.plan(10 * SECOND, Happening::Answered { life, node, message, answer });
            }
        }
        if self.troubled() && self.random.chance(3) {
            let late = self.random.between(0, 2 * MINUTE);
            self.plan(late, Happening::Asked { life, node, message });
        }
    }

    fn ask(&mut self, node: usize, message: Message) {
        let life = self.life;
        let Some(answer) = self.report(message.clone()) else { return };
        if self.life != life {
            return;
        }
        let (after, answer) = match self.delay(self.nodes[node].cut_off_until) {
            Some(delay) => (delay, answer),
            None => (10 * SECOND, Answer::Silence),
        };
        self.plan(after, Happening::Answered { life, node, message, answer });
    }

    /// Tells the scheduler; the answer, unless the process dies of it.
    pub(super) fn report(&mut self, message: Message) -> Option<Answer> {
        match message {
            Message::Started { attempt, epoch } => {
                let (reply, mut answer) = oneshot::channel();
                self.turn(Some(Event::Report(Report::Started { attempt, epoch, process: None, reply })));
                answer.try_recv().ok().map(taken)
            }
            Message::Finished { attempt, epoch, outcome } => {
                let (reply, mut answer) = oneshot::channel();
                self.turn(Some(Event::Report(Report::Finished { attempt, epoch, outcome, reply })));
                answer.try_recv().ok().map(taken)
            }
            Message::Renew { leases } => {
                let (reply, mut answer) = oneshot::channel();
                self.turn(Some(Event::Report(Report::Renew { leases, reply })));
                answer.try_recv().ok().map(|answer| Answer::Lost(answer.unwrap_or_default()))
            }
        }
    }

    fn start(&mut self) {
        self.life += 1;
        let mut options = SchedulerOptions::new(flows::project().clone(), PathBuf::from("/nowhere"));
        options.lease_life = SignedDuration::from_micros(LEASE);
        let (changes, _) = broadcast::channel(1);
        let mut scheduler = Scheduler::new(self.history.clone(), self.clock.clone(), options, changes);
        let recovered = now(scheduler.recover(self.sources.clone()));
        self.scheduler = Some(scheduler);
        // Nobody sends through it: events are handed over one by one.
        self.events = Some(mpsc::channel(1).1);
        let life = self.life;
        self.tell(format_args!("life {life} begins"));
        if let Err(error) = recovered {
            return self.die(&error.to_string());
        }
        for node in 0..NODES {
            let (reply, mut answer) = oneshot::channel();
            let worker = format!("w{node}");
            self.turn(Some(Event::Report(Report::Attach { joining: Joining::own(&worker, SLOTS), reply })));
            let Ok(Ok(orders)) = answer.try_recv() else { return };
            self.nodes.push(Node::new(false));
            self.orders.push(orders);
            let first = self.random.between(0, LEASE / 3);
            self.plan(first, Happening::Renew { life: self.life, node });
        }
        self.plan(MINUTE, Happening::Post { life: self.life });
    }

    /// The process is gone, with its workers and their work; another comes.
    pub(super) fn die(&mut self, why: &str) {
        // What is dead already does not die again: it would be started twice.
        if self.scheduler.take().is_none() {
            return;
        }
        let life = self.life;
        self.tell(format_args!("life {life} ends: {why}"));
        self.life += 1;
        self.timer = None;
        self.nodes.clear();
        self.orders.clear();
        self.desk.clear();
        self.history.trouble(Trouble::None);
        self.history.look(|_, checker| checker.tally.deaths += 1);
        let after = self.random.between(SECOND / 10, 10 * MINUTE);
        self.plan(after, Happening::Start);
    }

    /// One turn of the loop, as [`Scheduler::run`] takes it.
    pub(super) fn turn(&mut self, event: Option<Event>) {
        let (Some(scheduler), Some(events)) = (&mut self.scheduler, &mut self.events) else { return };
        let turned = now(async {
            if let Some(event) = event {
                scheduler.turn(event, events).await?;
            }
            scheduler.fire_timers().await?;
            scheduler.settle().await
        });
        let next = scheduler.next_due();
        if let Err(error) = turned {
            return self.die(&error.to_string());
        }
        if let Some(next) = next {
            // A clock that is set back makes timers late, one that is set forward early: it is looked at now and then.
            let next = (next.as_micros() as i64).clamp(1, 10 * MINUTE);
            let at = self.now + next;
            // One at a time: were there one for each turn, there would be more of them with each.
            if self.timer.is_none_or(|planned| planned <= self.now || planned > at) {
                self.timer = Some(at);
                self.plan(next, Happening::Timer { life: self.life });
            }
        }
        self.ask_why(self.happened);
        self.deliver();
    }

    /// Puts what has come out of the scheduler on the network.
    fn deliver(&mut self) {
        let life = self.life;
        for node in 0..self.nodes.len() {
            while let Ok(order) = self.orders[node].try_recv() {
                if let Some(delay) = self.delay(self.nodes[node].cut_off_until) {
                    if self.troubled() && self.random.chance(3) {
                        let late = self.random.between(0, 2 * MINUTE);
                        self.plan(late, Happening::Ordered { life, node, order: order.clone() });
                    }
                    self.plan(delay, Happening::Ordered { life, node, order });
                }
            }
        }
    }
}

fn taken(answer: Result<(), DispatchError>) -> Answer {
    match answer {
        Ok(()) => Answer::Taken,
        Err(_) => Answer::Fenced,
    }
}

/// Nothing in the simulation waits: the store answers at once, and time is the world's.
fn now<T>(work: impl Future<Output = Result<T, SchedulerError>>) -> Result<T, SchedulerError> {
    work.now_or_never().expect("nothing in the simulation waits")
}
