//! What fails in a world, and that it is tried again only after errors of which its retries speak, after a pause that they allow;
//! runs that have no more time; and rounds of backfills.

use mulgil_flow::{ErrorKind, Fault};
use mulgil_history::write::{RunChange, TaskChange, Write};
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::status::RunStatus;
use mulgil_worker::dispatcher::{Failure, Outcome};

use super::check::Checker;
use super::random::Random;
use super::store::{Stored, StoredRun};

const FAULTS: [Fault; 3] = [
    Fault { kind: ErrorKind::Connection, exit: None, status: None },
    Fault { kind: ErrorKind::Other, exit: Some(2), status: None },
    Fault { kind: ErrorKind::Other, exit: None, status: None },
];
const TIMED_OUT: Fault = Fault { kind: ErrorKind::Timeout, exit: None, status: None };

/// A failure whose words tell which fault it is.
pub(super) fn failure(random: &mut Random) -> Outcome {
    let fault = random.one_of(&FAULTS).copied().unwrap_or_default();
    Outcome::Failed(Failure { reason: reason(&fault), fault })
}

fn reason(fault: &Fault) -> String {
    format!("it went wrong: {fault}")
}

/// What a flow says of retries.
pub(super) fn retries(random: &mut Random) -> String {
    let jitter = ["", ", jitter: 0.5", ", jitter: 1, delay_max: 200s"][random.below(3) as usize];
    let kinds = ["", ", on: [connection, timeout]", ", never: exit 2"][random.below(3) as usize];
    let (limit, delay) = (random.between(1, 3), random.between(1, 200));
    format!("retries: {{limit: {limit}, delay: {delay}s{jitter}{kinds}}}")
}

impl Checker {
    /// A run stops for want of time only when it has had its time, and then it has failed.
    pub(super) fn overdue(&mut self, stored: &Stored, run: &StoredRun, change: &RunChange) {
        if !change.timed_out {
            return;
        }
        let limit = self.flow_of(stored, run).and_then(|flow| flow.run_timeout);
        let took = run.row.started_at.map(|begun| begun.duration_until(change.at));
        let (id, to) = (change.run, change.to);
        match to {
            RunStatus::Cancelling => {
                self.tally.overdue += 1;
                let over = took.zip(limit).is_some_and(|(took, limit)| took >= limit);
                self.fault(over, || format!("run {id} was stopped after {took:?}, it has {limit:?}"));
            }
            to => self.fault(to == RunStatus::Failed, || format!("the time of run {id} was up, and it is {to}")),
        }
    }

    /// What failed in a backfill runs again: nothing else of it is under way, it may have the round, and the one before it has
    /// mended something.
    pub(super) fn round(&mut self, stored: &Stored, writes: &[Write], id: BackfillId, round: u32, failed: u64) {
        self.tally.rounds += 1;
        let Some(row) = stored.backfills.get(&id) else { return };
        let before = self.rounds.entry(id).or_default();
        let is_next = before.len() + 1 == round as usize && round <= row.rounds;
        let mended = before.last().is_none_or(|before| failed < *before);
        before.push(failed);
        self.fault(is_next && mended, || {
            format!("backfill {id} of {} rounds has round {round}, {failed} failed", row.rounds)
        });
        // What runs again may have begun in the same commit.
        let again = |run: &RunId| {
            writes.iter().any(|write| matches!(write, Write::RunStatus(RunChange { run: id, to: RunStatus::Queued, .. }) if id == run))
        };
        let mut active =
            stored.runs.iter().filter(|(_, run)| run.row.backfill == Some(id) && run.row.status.is_active());
        let other = active.find(|(run, _)| !again(run)).map(|(run, _)| *run);
        self.fault(other.is_none(), || format!("round {round} of backfill {id} began beside run {other:?}"));
    }

    /// A task is to be tried again.
    pub(super) fn retried(&mut self, stored: &Stored, change: &TaskChange) {
        self.tally.retried += 1;
        let Some(run) = stored.runs.get(&change.run) else { return };
        let Some(flow) = self.flow_of(stored, run) else { return };
        let row = run.tasks.get(change.task as usize);
        let of = row.and_then(|row| run.tasks.get(row.item_of? as usize)).or(row);
        let error = run.attempts.get(&(change.task, change.attempts)).and_then(|attempt| attempt.row.error.as_deref());
        let place = format!("task {} of run {}, {error:?}", change.task, change.run);
        let Some(task) = of.and_then(|of| flow.task(&of.name)) else { return };
        let fault = FAULTS.into_iter().find(|fault| error == Some(&reason(fault))).unwrap_or(TIMED_OUT);
        let follows = task.retries.follow(&fault);
        self.fault(follows, || format!("{place} is tried again, although its retries say {:?}", task.retries));
        let pause = change.not_before.map(|at| change.at.duration_until(at));
        let longest = task.retries.delay_before(change.retries_used, 0.0);
        let shortest = task.retries.delay_before(change.retries_used, 1.0);
        let fits = pause.is_some_and(|pause| (shortest..=longest).contains(&pause));
        self.fault(fits, || format!("{place} is tried again after {pause:?}, and not {shortest} to {longest}"));
    }
}
