//! Who goes next: runs whose turn has come begin, ready tasks go to workers with a free slot.

use mulgil_sched::demand::Demand;
use mulgil_sched::id::{RunId, TaskIndex};
use mulgil_sched::step::Event;

use super::batch::Now;
use super::runs::Detail;
use super::state::{Scheduler, Seat, SeatId};

/// Attempts of one worker that only wait: each is a few hundred bytes and a timer there.
pub(super) const WAITING_MAX: usize = 20_000;

impl Scheduler {
    /// Lets runs begin and gives out leases, as far as limits, pools and workers allow.
    pub(super) fn give_out(&mut self, now: Now) {
        if self.draining {
            return;
        }
        // A run without tasks ends as it begins, and makes room for the next.
        loop {
            let admitted = self.admission.admit_runs();
            if admitted.is_empty() {
                break;
            }
            admitted.into_iter().for_each(|run| self.step_by_itself(run, Event::Admit, Detail::default(), now));
        }
        self.seats.retain(|_, seat| !(seat.orders.is_closed() && seat.live.is_empty() && seat.waiting.is_empty()));
        while let Some(seat) = self.seat_to_wait() {
            let Some((run, task)) = self.admission.next_free() else { break };
            let detail = Detail { seat: Some(seat), ..Detail::default() };
            self.step_by_itself(run, Event::Lease { task }, detail, now);
        }
        loop {
            let free: Vec<&Seat> = self.seats.values().filter(|seat| seat.free() > 0).collect();
            let can_be_met = |demand: &Demand| free.iter().any(|seat| seat.offer.meets(demand));
            let Some((run, task)) = self.admission.next_task(can_be_met) else { break };
            let Some(seat) = self.free_seat(run, task) else { break };
            let detail = Detail { seat: Some(seat), ..Detail::default() };
            self.step_by_itself(run, Event::Lease { task }, detail, now);
        }
    }

    /// The worker with the most free slots among those that may run the task.
    fn free_seat(&self, run: RunId, task: TaskIndex) -> Option<SeatId> {
        let demand = &self.runs.get(&run)?.state.graph.task(task)?.demand;
        let fitting = self.seats.iter().filter(|(_, seat)| seat.free() > 0 && seat.offer.meets(demand));
        fitting.max_by_key(|(_, seat)| seat.free()).map(|(id, _)| *id)
    }

    /// The worker with the fewest attempts that only wait: they need no slot, but somebody who looks.
    fn seat_to_wait(&self) -> Option<SeatId> {
        let open = self.seats.iter().filter(|(_, seat)| !seat.orders.is_closed() && seat.slots > 0 && seat.offer.own);
        let (id, seat) = open.min_by_key(|(_, seat)| seat.waiting.len())?;
        (seat.waiting.len() < WAITING_MAX).then_some(*id)
    }

    /// Takes a step that nobody waits for. It cannot fail unless memory and life cycle disagree.
    pub(super) fn step_by_itself(&mut self, run: RunId, event: Event, detail: Detail, now: Now) {
        if let Err(error) = self.apply(run, event, detail, now) {
            tracing::error!(%run, %error, "the scheduler's memory disagrees with the life cycle");
        }
    }
}
