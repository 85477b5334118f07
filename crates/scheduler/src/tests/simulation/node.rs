//! A worker of the simulation: what the real one does with orders and answers, with virtual work.

use std::collections::BTreeMap;

use mulgil_sched::id::AttemptId;
use mulgil_worker::dispatcher::{Lease, Order, Outcome};

/// What a worker tells the scheduler.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Started { attempt: AttemptId, epoch: i64 },
    Finished { attempt: AttemptId, epoch: i64, outcome: Outcome },
    Renew { leases: Vec<(AttemptId, i64)> },
}

/// What it hears back; [`Answer::Silence`] when nothing came in time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Taken,
    Fenced,
    Lost(Vec<AttemptId>),
    Silence,
}

/// What it does about that.
#[derive(Debug, PartialEq)]
pub(super) enum Deed {
    Send(Message),
    /// The work begins now.
    Work {
        attempt: AttemptId,
        epoch: i64,
    },
}

/// A worker.
pub(super) struct Node {
    pub(super) jobs: BTreeMap<AttemptId, Job>,
    /// Until when nothing goes in or out.
    pub(super) cut_off_until: i64,
    /// Whether it tells everything until it is answered, as those on other machines do.
    insists: bool,
}

/// An attempt that it has in hand.
pub(super) struct Job {
    pub(super) lease: Box<Lease>,
    pub(super) phase: Phase,
    /// Whether its run is to stop.
    stop: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// It has said that it begins, and waits for the answer.
    Starting,
    Working,
    /// Its end is told, for so many more times at most.
    Telling(Outcome, u32),
}

/// How often an end is told again when no answer comes.
const TELL_AGAIN: u32 = 3;

impl Node {
    pub(super) fn new(insists: bool) -> Self {
        Self { jobs: BTreeMap::new(), cut_off_until: i64::MIN, insists }
    }

    /// A lease is its own no more: what runs for it is ended, and nothing is said.
    pub(super) fn drop(&mut self, attempt: AttemptId, epoch: i64) {
        if self.jobs.get(&attempt).is_some_and(|job| job.lease.epoch == epoch) {
            self.jobs.remove(&attempt);
        }
    }

    /// Leases in hand, for a renewal.
    pub(super) fn leases(&self) -> Vec<(AttemptId, i64)> {
        self.jobs.iter().map(|(attempt, job)| (*attempt, job.lease.epoch)).collect()
    }

    pub(super) fn take(&mut self, order: Order) -> Option<Deed> {
        match order {
            Order::Run(lease) => {
                let (attempt, epoch) = (lease.attempt, lease.epoch);
                // An order that comes twice is one order.
                if self.jobs.contains_key(&attempt) {
                    return None;
                }
                self.jobs.insert(attempt, Job { lease, phase: Phase::Starting, stop: false });
                Some(Deed::Send(Message::Started { attempt, epoch }))
            }
            // Only said by links to servers elsewhere.
            Order::Drop(_) => None,
            Order::Stop(attempt) => {
                let job = self.jobs.get_mut(&attempt)?;
                job.stop = true;
                (job.phase == Phase::Working).then(|| tell(attempt, job, Outcome::Cancelled))
            }
        }
    }

    /// The work of an attempt is over.
    pub(super) fn done(&mut self, attempt: AttemptId, epoch: i64, outcome: Outcome) -> Option<Deed> {
        let job = self.jobs.get_mut(&attempt).filter(|job| job.lease.epoch == epoch && job.phase == Phase::Working)?;
        Some(tell(attempt, job, outcome))
    }

    pub(super) fn hear(&mut self, message: &Message, answer: Answer) -> Option<Deed> {
        match (message, answer) {
            (Message::Renew { .. }, Answer::Lost(lost)) => {
                lost.iter().for_each(|attempt| drop(self.jobs.remove(attempt)));
                None
            }
            (Message::Renew { .. }, _) => None,
            (Message::Started { attempt, epoch }, answer) => self.heard_of_start(*attempt, *epoch, &answer),
            (Message::Finished { attempt, epoch, .. }, answer) => {
                let job = self.jobs.get_mut(attempt).filter(|job| job.lease.epoch == *epoch)?;
                match (&mut job.phase, answer) {
                    (Phase::Telling(outcome, left), Answer::Silence) if self.insists || *left > 0 => {
                        *left = left.saturating_sub(1);
                        let (attempt, epoch, outcome) = (*attempt, *epoch, outcome.clone());
                        Some(Deed::Send(Message::Finished { attempt, epoch, outcome }))
                    }
                    _ => {
                        self.jobs.remove(attempt);
                        None
                    }
                }
            }
        }
    }

    fn heard_of_start(&mut self, attempt: AttemptId, epoch: i64, answer: &Answer) -> Option<Deed> {
        let job = self.jobs.get_mut(&attempt).filter(|job| job.lease.epoch == epoch)?;
        match answer {
            Answer::Taken if job.phase == Phase::Starting => {
                job.phase = Phase::Working;
                if job.stop {
                    return Some(tell(attempt, job, Outcome::Cancelled));
                }
                Some(Deed::Work { attempt, epoch })
            }
            // A doubled message was taken once and refused once: the second answer changes nothing.
            _ if job.phase != Phase::Starting => None,
            Answer::Silence if self.insists => Some(Deed::Send(Message::Started { attempt, epoch })),
            _ => {
                self.jobs.remove(&attempt);
                None
            }
        }
    }
}

fn tell(attempt: AttemptId, job: &mut Job, outcome: Outcome) -> Deed {
    job.phase = Phase::Telling(outcome.clone(), TELL_AGAIN);
    Deed::Send(Message::Finished { attempt, epoch: job.lease.epoch, outcome })
}
