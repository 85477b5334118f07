//! Who works: workers join, come back with what they hold, and leave; and which tasks wait for a worker that is not there.

use mulgil_sched::demand::Offer;
use mulgil_sched::id::{AttemptId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus};
use mulgil_worker::dispatcher::{DispatchError, Joining, Order};
use mulgil_worker::log::log_path;
use tokio::sync::mpsc;

use super::batch::Now;
use super::dispatch::WAITING_MAX;
use super::runs::task_name;
use super::state::{ELSEWHERE, Scheduler, Seat, SeatId};

/// All workers, and what waits for one that is not there.
#[derive(Clone, Debug, Default)]
pub struct Staff {
    /// The workers that have joined.
    pub workers: Vec<Seated>,
    /// Ready tasks that none of them may run.
    pub unmet: Vec<Unmet>,
}

/// A worker that has joined.
#[derive(Clone, Debug)]
pub struct Seated {
    /// Its name: the owner of its leases.
    pub name: String,
    /// How many attempts it runs at once.
    pub slots: usize,
    /// How many leases it holds.
    pub running: usize,
    /// What it has.
    pub offer: Offer,
}

/// Ready tasks that ask for a worker that is not there.
#[derive(Clone, Debug)]
pub struct Unmet {
    /// What they ask for, as a sentence's end.
    pub demand: String,
    /// How many they are.
    pub tasks: usize,
    /// One of them: flow, run, task.
    pub example: (String, RunId, String),
}

impl Seat {
    /// How many leases more it may get.
    pub(super) fn free(&self) -> usize {
        if self.orders.is_closed() { 0 } else { self.slots.saturating_sub(self.live.len()) }
    }
}

impl Scheduler {
    /// A worker joins. Where it was here before, it takes its own place: what it holds it keeps, the rest is given to others.
    pub(super) fn attach(&mut self, joining: Joining, now: Now) -> mpsc::Receiver<Order> {
        let Joining { name, slots, offer, held } = joining;
        // One order to run and one to stop for each slot: the queue is never full.
        let (orders, queue) = mpsc::channel(2 * (slots.max(held.len()).max(1) + WAITING_MAX));
        self.last_seat += 1;
        let id = self.last_seat;
        let before: Vec<SeatId> = self.seats.iter().filter(|(_, seat)| seat.name == name).map(|(id, _)| *id).collect();
        self.seats
            .insert(id, Seat { name, slots, offer, live: Default::default(), waiting: Default::default(), orders });
        for (attempt, epoch) in held {
            self.take_over(attempt, epoch, id, &before);
        }
        for seat in before {
            let Some(Seat { live, waiting, .. }) = self.seats.remove(&seat) else { continue };
            live.into_iter()
                .chain(waiting)
                .for_each(|attempt| self.lose(attempt, "its worker does not know of it", now));
        }
        queue
    }

    /// A lease that a worker says it holds is its own, if it was so before.
    fn take_over(&mut self, attempt: AttemptId, epoch: i64, to: SeatId, before: &[SeatId]) {
        let Some(lease) = self.leases.get_mut(&attempt).filter(|lease| lease.epoch == epoch) else { return };
        if lease.seat != ELSEWHERE && !before.contains(&lease.seat) {
            return;
        }
        let from = std::mem::replace(&mut lease.seat, to);
        if let Some(seat) = self.seats.get_mut(&from) {
            seat.live.remove(&attempt);
        }
        if let Some(seat) = self.seats.get_mut(&to) {
            seat.live.insert(attempt);
        }
        // That its run is to stop may have been said while it was away.
        if self.runs.get(&attempt.run).is_some_and(|run| run.state.status == RunStatus::Cancelling) {
            self.batch.orders.push((to, Order::Stop(attempt)));
        }
    }

    /// A worker is not heard any more. What it has not begun it may not begin any more; what it runs is its own until its leases run
    /// out.
    pub(super) fn leave(&mut self, worker: &str, now: Now) {
        let gone: Vec<SeatId> = self.seats.iter().filter(|(_, seat)| seat.name == worker).map(|(id, _)| *id).collect();
        for id in gone {
            let Some(seat) = self.seats.remove(&id) else { continue };
            for attempt in seat.live.into_iter().chain(seat.waiting) {
                let run = self.runs.get(&attempt.run);
                let live = run.and_then(|run| run.state.task(attempt.task)).and_then(|task| task.live);
                if live == Some(AttemptStatus::Leased) {
                    self.lose(attempt, "its worker was not heard any more", now);
                } else if let Some(lease) = self.leases.get_mut(&attempt) {
                    lease.seat = ELSEWHERE;
                }
            }
        }
    }

    /// Where the log of an attempt is that this epoch's worker may write.
    pub(super) fn log_of(&self, attempt: AttemptId, epoch: i64) -> Result<String, DispatchError> {
        self.check_epoch(attempt, epoch)?;
        let run = self.runs.get(&attempt.run).ok_or(DispatchError::Fenced { attempt, epoch })?;
        Ok(log_path(&run.flow.name, attempt.run.0, &task_name(run, attempt.task), attempt.attempt))
    }

    /// Who works, and what waits.
    pub(super) fn staff(&self) -> Staff {
        let seated = |seat: &Seat| Seated {
            name: seat.name.clone(),
            slots: seat.slots,
            running: seat.live.len(),
            offer: seat.offer.clone(),
        };
        let workers = self.seats.values().filter(|seat| !seat.orders.is_closed()).map(seated).collect();
        let unmet = self.admission.demands().into_iter().filter(|(demand, _)| {
            !self.seats.values().any(|seat| !seat.orders.is_closed() && seat.slots > 0 && seat.offer.meets(demand))
        });
        let unmet = unmet.filter_map(|(demand, (tasks, run, task))| {
            let open = self.runs.get(&run)?;
            let example = (open.flow.name.clone(), run, task_name(open, task));
            Some(Unmet { demand: demand.to_string(), tasks, example })
        });
        Staff { workers, unmet: unmet.collect() }
    }
}
