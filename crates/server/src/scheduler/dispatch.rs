//! Who goes next: runs whose turn has come begin, ready tasks go to workers with a free slot.

use mulgil_sched::id::RunId;
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
        while let Some(seat) = self.seat_to_wait() {
            let Some((run, task)) = self.admission.next_free() else { break };
            let detail = Detail { seat: Some(seat), ..Detail::default() };
            self.step_by_itself(run, Event::Lease { task }, detail, now);
        }
        while let Some(seat) = self.free_seat() {
            let Some((run, task)) = self.admission.next_task() else { break };
            let detail = Detail { seat: Some(seat), ..Detail::default() };
            self.step_by_itself(run, Event::Lease { task }, detail, now);
        }
    }

    /// The worker with the most free slots.
    fn free_seat(&self) -> Option<SeatId> {
        let free = |seat: &Seat| if seat.orders.is_closed() { 0 } else { seat.slots.saturating_sub(seat.live.len()) };
        let (id, seat) = self.seats.iter().max_by_key(|(_, seat)| free(seat))?;
        (free(seat) > 0).then_some(*id)
    }

    /// The worker with the fewest attempts that only wait: they need no slot, but somebody who looks.
    fn seat_to_wait(&self) -> Option<SeatId> {
        let open = self.seats.iter().filter(|(_, seat)| !seat.orders.is_closed() && seat.slots > 0);
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
