//! Runs that call runs: what is stored of them, and what must hold.

use mulgil_history::HistoryError;
use mulgil_history::call::{CallChange, CallRow, Confirmation};
use mulgil_history::write::{TaskChange, Write};
use mulgil_sched::id::RunId;
use mulgil_sched::status::{RunStatus, TaskStatus};

use super::check::Checker;
use super::store::{Stored, conflict};

impl Stored {
    pub(super) fn call(&mut self, change: &CallChange) -> Result<(), HistoryError> {
        let calls = &mut self.run(change.run)?.calls;
        match change.child {
            Some(child) => calls.insert(change.task, (child, change.starts)),
            None => calls.remove(&change.task),
        };
        Ok(())
    }

    pub(super) fn confirmed(&mut self, confirmed: &Confirmation) -> Result<(), HistoryError> {
        let task = self.run(confirmed.run)?.tasks.get_mut(confirmed.task as usize);
        task.ok_or_else(|| conflict(confirmed.task, "there"))?.confirmed = Some(confirmed.attempts);
        Ok(())
    }

    /// The calls of open runs.
    pub(super) fn calls(&self) -> Vec<CallRow> {
        let open = self.runs.iter().filter(|(_, run)| !run.row.status.is_terminal());
        let calls = open.flat_map(|(id, run)| run.calls.iter().map(move |(task, child)| (*id, run, *task, *child)));
        let calls = calls.filter(|(_, run, task, _)| run.tasks[*task as usize].status == TaskStatus::Running);
        calls
            .map(|(run, _, task, (child, starts))| {
                let called = &self.runs[&child];
                let (name, status) = (called.row.name.clone(), called.row.status);
                CallRow { run, task, child, name, status, starts }
            })
            .collect()
    }
}

impl Checker {
    /// A task calls a run.
    pub(super) fn called(&mut self, stored: &Stored, change: &CallChange) {
        let Some(child) = change.child else { return };
        let is_new = stored.runs[&child].attempts.is_empty();
        match (change.starts, is_new) {
            (true, true) => self.tally.calls += 1,
            (true, false) => self.tally.called_again += 1,
            (false, _) => self.tally.joined += 1,
        }
    }

    /// Somebody has confirmed that a task of a run that will be called may begin once more. Twice for the same attempts is once.
    pub(super) fn confirmed(&mut self, stored: &Stored, confirmed: &Confirmation) {
        let Confirmation { run, task, attempts, .. } = *confirmed;
        let row = &stored.runs[&run].tasks[task as usize];
        self.fault(row.attempts == attempts && row.status.is_terminal(), || {
            format!("task {task} of run {run} was confirmed after {attempts} attempts: {row:?}")
        });
        if self.confirmed.insert((run, task, attempts)) {
            self.tally.confirmed += 1;
            self.may_begin_again(run, task);
        }
    }

    /// A task that calls ends as what it called, and what it has started ends first.
    pub(super) fn call_ended(&mut self, stored: &Stored, writes: &[Write], change: &TaskChange) {
        let run = &stored.runs[&change.run];
        let called = run.calls.get(&change.task).filter(|_| change.from == TaskStatus::Running);
        let Some((child, starts)) = called else { return };
        let called = &stored.runs[child];
        // Somebody else may have asked for it again in this very commit.
        let again = |id: RunId| {
            let ended = |from: RunStatus| from.is_terminal();
            writes.iter().any(|write| matches!(write, Write::RunStatus(to) if to.run == id && ended(to.from)))
        };
        if again(*child) {
            return;
        }
        let (status, task) = (called.row.status, &run.tasks[change.task as usize].name);
        let right = !starts || status.is_terminal();
        self.fault(right, || format!("{task} of run {} is {}, run {child} is {status}", change.run, change.to));
        let right = change.to != TaskStatus::Succeeded || status == RunStatus::Succeeded;
        self.fault(right, || format!("{task} of run {} has succeeded, run {child} is {status}", change.run));
    }
}
