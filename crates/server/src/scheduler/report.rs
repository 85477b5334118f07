//! What workers say. A report whose epoch is not the lease's is refused and changes nothing.

use mulgil_history::write::{ProcessMark, Write};
use mulgil_sched::id::AttemptId;
use mulgil_sched::status::AttemptStatus;
use mulgil_sched::step::{Ending, Event};
use mulgil_worker::dispatcher::{DispatchError, Order, Outcome};
use tokio::sync::mpsc;

use super::batch::Now;
use super::dispatch::WAITING_MAX;
use super::event::Report;
use super::runs::{Detail, expiry};
use super::state::{Scheduler, Seat, Timer};

impl Scheduler {
    /// Takes a report; the answer goes out once it is stored.
    pub(super) fn hear(&mut self, report: Report, now: Now) {
        match report {
            Report::Attach { worker, slots, reply } => {
                let orders = self.attach(worker, slots);
                self.batch.reply(reply, Ok(orders));
            }
            Report::Started { attempt, epoch, process, reply } => {
                let answer = self.started(attempt, epoch, process, now);
                self.batch.reply(reply, answer);
            }
            Report::Renew { leases, reply } => {
                let lost = self.renew(&leases, now);
                self.batch.reply(reply, Ok(lost));
            }
            Report::Finished { attempt, epoch, outcome, reply } => {
                let answer = self.finished(attempt, epoch, outcome, now);
                self.batch.reply(reply, answer);
            }
        }
    }

    fn attach(&mut self, name: String, slots: usize) -> mpsc::Receiver<Order> {
        // One order to run and one to stop for each attempt: the queue is never full.
        let (orders, queue) = mpsc::channel(2 * (slots.max(1) + WAITING_MAX));
        self.last_seat += 1;
        self.seats.insert(
            self.last_seat,
            Seat { name, slots, live: Default::default(), waiting: Default::default(), orders },
        );
        queue
    }

    fn check_epoch(&self, attempt: AttemptId, epoch: i64) -> Result<(), DispatchError> {
        match self.leases.get(&attempt) {
            Some(lease) if lease.epoch == epoch => Ok(()),
            _ => Err(DispatchError::Fenced { attempt, epoch }),
        }
    }

    fn started(
        &mut self,
        attempt: AttemptId,
        epoch: i64,
        process: Option<ProcessMark>,
        now: Now,
    ) -> Result<(), DispatchError> {
        self.check_epoch(attempt, epoch)?;
        let event = Event::Start { task: attempt.task, attempt: attempt.attempt };
        let detail = Detail { process, ..Detail::default() };
        self.apply(attempt.run, event, detail, now).map_err(|_| DispatchError::Fenced { attempt, epoch })
    }

    fn renew(&mut self, leases: &[(AttemptId, i64)], now: Now) -> Vec<AttemptId> {
        let expires = expiry(now, self.options.lease_life);
        let mut lost = Vec::new();
        for &(attempt, epoch) in leases {
            match self.leases.get_mut(&attempt) {
                Some(lease) if lease.epoch == epoch => {
                    lease.expires = expires;
                    self.batch.record(Write::Renew { attempt, epoch, expires }, None);
                }
                _ => lost.push(attempt),
            }
        }
        lost
    }

    fn finished(&mut self, attempt: AttemptId, epoch: i64, outcome: Outcome, now: Now) -> Result<(), DispatchError> {
        self.check_epoch(attempt, epoch)?;
        let (mut given, mut note) = (None, None);
        let (ending, error) = match self.within_limits(attempt, outcome) {
            Outcome::Succeeded(result) => {
                given = result;
                (Ending::Succeeded, None)
            }
            Outcome::Skipped(reason) => {
                note = Some((attempt.task, reason.clone()));
                (Ending::Skipped, Some(reason))
            }
            Outcome::Failed(error) => (Ending::Failed, Some(error)),
            Outcome::TimedOut(error) => (Ending::TimedOut, Some(error)),
            Outcome::Cancelled => (Ending::Cancelled, None),
            Outcome::Lost => {
                // Only a worker that leaves gives work back: it gets no more.
                if let Some(seat) = self.leases.get(&attempt).and_then(|lease| self.seats.get_mut(&lease.seat)) {
                    seat.slots = 0;
                }
                self.lose(attempt, "its worker was shut down", now);
                return Ok(());
            }
        };
        let event = Event::Finish { task: attempt.task, attempt: attempt.attempt, ending };
        let detail = Detail { error, result: given, note, ..Detail::default() };
        self.apply(attempt.run, event, detail, now).map_err(|_| DispatchError::Fenced { attempt, epoch })
    }

    /// Counts an attempt as lost.
    pub(super) fn lose(&mut self, attempt: AttemptId, why: &str, now: Now) {
        let run = self.runs.get(&attempt.run);
        let begun = run.and_then(|run| run.state.task(attempt.task)?.live) == Some(AttemptStatus::Running);
        let idempotent = run.and_then(|run| run.state.graph.task(attempt.task)).is_none_or(|task| task.idempotent);
        let sentence = match begun && !idempotent {
            false => why.to_owned(),
            true => format!(
                "{why} while it was at work, and the task says `idempotent: false`, so it is not started again by itself: \
                 check what it did, then re-run it"
            ),
        };
        let event = Event::Lose { task: attempt.task, attempt: attempt.attempt };
        let detail = Detail { error: Some(sentence), ..Detail::default() };
        self.step_by_itself(attempt.run, event, detail, now);
    }

    /// A lease's time has come: unless it was renewed, its attempt is lost.
    pub(super) fn lease_due(&mut self, attempt: AttemptId, now: Now) {
        let Some(lease) = self.leases.get(&attempt) else { return };
        if lease.expires > now {
            self.timers.insert((lease.expires, Timer::Lease(attempt)));
        } else {
            self.lose(attempt, "its worker did not renew the lease", now);
        }
    }
}
