//! The leases in a worker's hand, and until when each is surely still its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mulgil_sched::id::AttemptId;

use super::wire::Held;

/// Of a lease's life, what a worker counts on: the rest is for ending what runs.
const SURE: f64 = 0.8;
/// A lease is renewed when this part of its life has gone.
const RENEW_AT: f64 = 0.2;

/// Leases in hand.
#[derive(Debug, Default)]
pub(super) struct Hand(Mutex<HashMap<AttemptId, Grip>>);

#[derive(Clone, Debug)]
pub(super) struct Grip {
    pub(super) epoch: i64,
    pub(super) life: Duration,
    /// When the server was last asked for it, with success.
    pub(super) renewed: Instant,
    /// The log's path.
    pub(super) log: String,
    /// Whether its work is over and only the report is missing: then nothing has to end in time.
    pub(super) is_over: bool,
}

impl Hand {
    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, Grip>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a lease; `false` where it is in hand already: an order that comes twice is one order.
    pub(super) fn take(&self, attempt: AttemptId, grip: Grip) -> bool {
        let mut held = self.lock();
        let is_new = held.get(&attempt).is_none_or(|old| old.epoch < grip.epoch);
        if is_new {
            held.insert(attempt, grip);
        }
        is_new
    }

    pub(super) fn get(&self, attempt: AttemptId, epoch: i64) -> Option<Grip> {
        self.lock().get(&attempt).filter(|grip| grip.epoch == epoch).cloned()
    }

    /// Its work is over; it stays in hand until that is told.
    pub(super) fn finish(&self, held: Held) {
        if let Some(grip) = self.lock().get_mut(&held.attempt).filter(|grip| grip.epoch == held.epoch) {
            grip.is_over = true;
        }
    }

    /// Lets a lease go.
    pub(super) fn drop(&self, held: Held) {
        let mut all = self.lock();
        if all.get(&held.attempt).is_some_and(|grip| grip.epoch == held.epoch) {
            all.remove(&held.attempt);
        }
    }

    pub(super) fn all(&self) -> Vec<Held> {
        self.lock().iter().map(|(attempt, grip)| Held { attempt: *attempt, epoch: grip.epoch }).collect()
    }

    /// The leases whose renewal is due.
    pub(super) fn due(&self, now: Instant) -> Vec<Held> {
        let is_due = |grip: &Grip| now.saturating_duration_since(grip.renewed) >= grip.life.mul_f64(RENEW_AT);
        let held = self.lock();
        held.iter()
            .filter(|(_, grip)| is_due(grip))
            .map(|(id, grip)| Held { attempt: *id, epoch: grip.epoch })
            .collect()
    }

    /// These were renewed, by a request that was sent at this time.
    pub(super) fn renewed(&self, leases: &[Held], sent: Instant) {
        let mut held = self.lock();
        for lease in leases {
            if let Some(grip) = held.get_mut(&lease.attempt).filter(|grip| grip.epoch == lease.epoch) {
                grip.renewed = grip.renewed.max(sent);
            }
        }
    }

    /// Takes out the leases that are not surely this worker's any more.
    pub(super) fn lose(&self, now: Instant) -> Vec<Held> {
        let mut held = self.lock();
        let is_lost =
            |grip: &Grip| !grip.is_over && now.saturating_duration_since(grip.renewed) >= grip.life.mul_f64(SURE);
        let lost: Vec<Held> = held
            .iter()
            .filter(|(_, grip)| is_lost(grip))
            .map(|(id, grip)| Held { attempt: *id, epoch: grip.epoch })
            .collect();
        lost.iter().for_each(|lease| drop(held.remove(&lease.attempt)));
        lost
    }

    /// How long a poll may be held open so that the next one comes in time for every lease.
    pub(super) fn hold_max(&self, usual: Duration) -> Duration {
        self.lock().values().map(|grip| grip.life.mul_f64(RENEW_AT)).min().map_or(usual, |shortest| shortest.min(usual))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use std::time::{Duration, Instant};

    use mulgil_sched::id::{AttemptId, RunId};

    use super::{Grip, Hand, Held};

    #[test]
    fn a_lease_is_renewed_in_time_or_lost_before_the_server_gives_it_away() {
        let (hand, begun) = (Hand::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let attempt = AttemptId { run: RunId(1), task: 0, attempt: 1 };
        let grip =
            |epoch| Grip { epoch, life: Duration::from_secs(30), renewed: begun, log: String::new(), is_over: false };
        assert!(hand.take(attempt, grip(7)));
        assert!(!hand.take(attempt, grip(7)), "an order that comes twice is one order");
        let held = Held { attempt, epoch: 7 };
        assert_eq!((hand.due(at(5)), hand.due(at(6))), (vec![], vec![held]));
        hand.renewed(&[Held { attempt, epoch: 6 }], at(6));
        assert_eq!(hand.due(at(6)), [held], "another epoch is another lease");
        hand.renewed(&[held], at(6));
        assert_eq!(hand.due(at(11)), []);
        assert_eq!((hand.lose(at(29)), hand.lose(at(30)), hand.lose(at(31))), (vec![], vec![held], vec![]));
        assert!(hand.take(attempt, grip(8)), "a new lease of the same attempt");
        hand.finish(Held { attempt, epoch: 8 });
        assert_eq!(hand.lose(at(100)), [], "what is over waits until it is told");
        hand.drop(held);
        assert_eq!(hand.all().len(), 1);
        assert_eq!(hand.hold_max(Duration::from_secs(10)), Duration::from_secs(6));
    }
}
