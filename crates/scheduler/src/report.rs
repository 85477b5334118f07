//! What workers say. A report whose epoch is not the lease's is refused and changes nothing.

use mulgil_flow::{ErrorKind, Fault};
use mulgil_history::write::{ProcessMark, Write};
use mulgil_sched::id::AttemptId;
use mulgil_sched::status::AttemptStatus;
use mulgil_sched::step::{Ending, Event};
use mulgil_worker::dispatcher::{DispatchError, Failure, Outcome};
use mulgil_worker::remote::wire::is_remote;

use super::batch::Now;
use super::event::Report;
use super::runs::{Detail, expiry};
use super::state::{OpenRun, Scheduler, Timer};

impl Scheduler {
    /// Takes a report; the answer goes out once it is stored.
    pub(super) fn hear(&mut self, report: Report, now: Now) {
        match report {
            Report::Attach { joining, reply } => {
                let orders = self.attach(joining, now);
                self.batch.reply(reply, Ok(orders));
            }
            Report::Leave { worker, reply } => {
                self.leave(&worker, now);
                self.batch.reply(reply, Ok(()));
            }
            Report::Log { attempt, epoch, reply } => {
                let log = self.log_of(attempt, epoch);
                self.batch.reply(reply, log);
            }
            Report::Started { attempt, epoch, process, reply } => {
                let answer = self.started(attempt, epoch, process, now);
                self.batch.reply(reply, answer);
            }
            Report::Renew { leases, reply } => {
                let lost = self.renew(&leases, now);
                self.batch.reply(reply, Ok(lost));
            }
            Report::Measured { attempt, epoch, usage, reply } => {
                let answer = self.check_epoch(attempt, epoch);
                if answer.is_ok() {
                    self.batch.record(Write::Usage { attempt, usage }, None);
                }
                self.batch.reply(reply, answer);
            }
            Report::Told { changes, reply } => {
                self.told(changes);
                self.batch.reply(reply, ());
            }
            Report::Finished { attempt, epoch, outcome, reply } => {
                let answer = self.finished(attempt, epoch, outcome, now);
                self.batch.reply(reply, answer);
            }
        }
    }

    pub(super) fn check_epoch(&self, attempt: AttemptId, epoch: i64) -> Result<(), DispatchError> {
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
        self.lengthen_if_old(attempt, epoch, now);
        let task = self.runs.get(&attempt.run).and_then(|run| run.state.task(attempt.task));
        if task.and_then(|task| task.live) == Some(AttemptStatus::Running) {
            // The answer to the first such report was lost.
            return Ok(());
        }
        if let Some(lease) = self.leases.get_mut(&attempt) {
            lease.begun = Some(now);
        }
        let event = Event::Start { task: attempt.task, attempt: attempt.attempt };
        let detail = Detail { process, ..Detail::default() };
        self.apply(attempt.run, event, detail, now).map_err(|_| DispatchError::Fenced { attempt, epoch })
    }

    /// A worker counts its lease from the moment at which it came; it may have been long on the way.
    fn lengthen_if_old(&mut self, attempt: AttemptId, epoch: i64, now: Now) {
        let life = self.options.lease_life;
        let Some(lease) = self.leases.get_mut(&attempt) else { return };
        if now.duration_until(lease.expires) < life * 9 / 10 {
            lease.expires = expiry(now, life);
            self.batch.record(Write::Renew { attempt, epoch, expires: lease.expires }, None);
        }
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
                self.count_pace(attempt, now);
                given = result;
                (Ending::Succeeded, None)
            }
            Outcome::Skipped(reason) => {
                note = Some((attempt.task, reason.clone()));
                (Ending::Skipped, Some(reason))
            }
            Outcome::Failed(Failure { reason, fault }) => {
                (Ending::Failed(fault), Some(self.with_refusal(attempt, &fault, reason)))
            }
            Outcome::TimedOut(reason) => {
                let error = self.with_refusal(attempt, &ErrorKind::Timeout.into(), reason);
                (Ending::TimedOut, Some(error))
            }
            Outcome::Cancelled => {
                let run = self.runs.get(&attempt.run);
                (Ending::Cancelled, run.and_then(OpenRun::time_was_up))
            }
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

    /// Why an attempt failed, and why there is no other although retries are left.
    fn with_refusal(&self, attempt: AttemptId, fault: &Fault, reason: String) -> String {
        let run = self.runs.get(&attempt.run);
        match run.and_then(|run| run.state.refusal_after(attempt.task, fault)) {
            Some(refusal) => format!("{reason}\n{refusal}"),
            None => reason,
        }
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
            let seat = lease.seat;
            self.lose(attempt, "its worker did not renew the lease", now);
            // One that stands still elsewhere would let the next one run out too: it gets nothing more until it joins again.
            let silent = self.seats.get(&seat).map(|seat| seat.name.clone()).filter(|name| is_remote(name));
            if let Some(name) = silent {
                self.leave(&name, now);
            }
        }
    }
}
