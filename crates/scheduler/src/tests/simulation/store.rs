//! A history in memory that keeps the contract of [`History`], and fails when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use mulgil_history::asked::Asked;
use mulgil_history::listing::{ListedAttempt, ListedTask, Page, Selection};
use mulgil_history::outbox::NoticeStatus;
use mulgil_history::read::{
    AlertRow, AttemptRow, BackfillRow, EventRow, ExpiredRun, FlowSummary, Grid, LiveLease, Memory, NoticeCount,
    NoticeQuery, NoticeRow, Outbox, RunDetail, RunQuery, RunRow, TaskRow, VersionRow,
};
use mulgil_history::write::{
    BackfillStatus, FlowVersion, NewItems, NewLease, NewRun, RunChange, Trigger, VersionChange, Write,
};
use mulgil_history::written::TableWrite;
use mulgil_history::{History, HistoryError};
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use super::check::Checker;
use super::commit::{Committing, Trouble};

#[derive(Default)]
pub(super) struct MemoryHistory {
    inner: Mutex<Committing>,
}

/// Everything stored.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) versions: BTreeMap<String, Arc<FlowVersion>>,
    pub(super) runs: BTreeMap<RunId, StoredRun>,
    keys: BTreeMap<(String, String), RunId>,
    pub(super) backfills: BTreeMap<BackfillId, BackfillRow>,
    paused: BTreeSet<String>,
    pub(super) writes: BTreeMap<(String, Timestamp, Timestamp), TableWrite>,
    /// What was asked for with keys, by flow and key.
    pub(super) asked: BTreeMap<(String, String), Asked>,
    /// Notices by their keys, in the order of those.
    pub(super) notices: BTreeMap<String, NoticeRow>,
    pub(super) alerts: BTreeMap<(RunId, String), AlertRow>,
}

#[derive(Clone)]
pub(super) struct StoredRun {
    pub(super) row: RunRow,
    pub(super) tasks: Vec<TaskRow>,
    pub(super) attempts: BTreeMap<(TaskIndex, u32), StoredAttempt>,
    /// What its tasks have called, and whether they have started it.
    pub(super) calls: BTreeMap<TaskIndex, (RunId, bool)>,
}

#[derive(Clone)]
pub(super) struct StoredAttempt {
    pub(super) row: AttemptRow,
    pub(super) epoch: i64,
    expires: Timestamp,
}

impl MemoryHistory {
    pub(super) fn trouble(&self, trouble: Trouble) {
        self.inner.lock().unwrap().trouble = trouble;
    }

    /// Looks at what is stored, and at the checker.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Stored, &mut Checker) -> T) -> T {
        let inner = &mut *self.inner.lock().unwrap();
        look(&inner.stored, &mut inner.checker)
    }

    fn read<T>(&self, read: impl FnOnce(&Stored) -> T) -> T {
        read(&self.inner.lock().unwrap().stored)
    }
}

impl StoredRun {
    fn turn(&mut self, change: &RunChange) -> Result<(), HistoryError> {
        let row = &mut self.row;
        if row.status != change.from {
            return Err(conflict(change.run, change.from));
        }
        (row.status, row.timed_out) = (change.to, change.timed_out);
        if change.to == RunStatus::Running {
            row.started_at = Some(change.at);
        }
        row.ended_at = change.to.is_terminal().then_some(change.at);
        Ok(())
    }

    fn follow(&mut self, change: &VersionChange) -> Result<(), HistoryError> {
        if self.row.version != change.from {
            return Err(conflict(change.run, &change.from));
        }
        self.row.version.clone_from(&change.to);
        for (index, name) in &change.tasks {
            if *index as usize != self.tasks.len() {
                return Err(conflict(format!("task {index} of run {}", change.run), "new"));
            }
            self.tasks.push(new_task(*index, name));
        }
        Ok(())
    }
}

pub(super) fn conflict(what: impl ToString, expected: impl ToString) -> HistoryError {
    HistoryError::Conflict { what: what.to_string(), expected: expected.to_string() }
}

fn new_task(index: TaskIndex, name: &str) -> TaskRow {
    TaskRow {
        index,
        name: name.to_owned(),
        status: TaskStatus::Waiting,
        attempts: 0,
        retries_used: 0,
        losses: 0,
        since: None,
        not_before: None,
        result: None,
        note: None,
        item_of: None,
        item: None,
        confirmed: None,
    }
}

impl Stored {
    pub(super) fn run(&mut self, run: RunId) -> Result<&mut StoredRun, HistoryError> {
        self.runs.get_mut(&run).ok_or_else(|| conflict(format!("run {run}"), "there"))
    }

    fn attempt(&mut self, id: AttemptId) -> Result<&mut StoredAttempt, HistoryError> {
        self.run(id.run)?.attempts.get_mut(&(id.task, id.attempt)).ok_or_else(|| conflict(id, "there"))
    }

    pub(super) fn apply(&mut self, write: &Write) -> Result<(), HistoryError> {
        match write {
            Write::FlowVersion(version) => {
                self.versions.entry(version.hash.clone()).or_insert_with(|| Arc::new(version.clone()));
            }
            Write::Run(run) => self.new_run(run)?,
            Write::RunStatus(change) => self.run(change.run)?.turn(change)?,
            Write::RunVersion(change) => self.run(change.run)?.follow(change)?,
            Write::Task(change) => {
                let tasks = &mut self.run(change.run)?.tasks;
                let task = tasks.get_mut(change.task as usize).filter(|task| task.status == change.from);
                let task = task.ok_or_else(|| conflict(format!("task {}", change.task), change.from))?;
                task.status = change.to;
                (task.attempts, task.retries_used) = (change.attempts, change.retries_used);
                (task.losses, task.not_before, task.since) = (change.losses, change.not_before, change.since);
                (task.result, task.note) = (change.result.clone(), change.note.clone());
            }
            Write::Items(new) => self.new_items(new)?,
            Write::Call(change) => self.call(change)?,
            Write::Confirmed(confirmed) => self.confirmed(confirmed)?,
            Write::Lease(lease) => self.new_lease(lease)?,
            Write::Attempt(change) => {
                let attempt = self.attempt(change.attempt)?;
                if attempt.row.status != change.from || change.from.is_terminal() {
                    return Err(conflict(change.attempt, change.from));
                }
                attempt.row.status = change.to;
                attempt.row.error.clone_from(&change.error);
            }
            Write::Usage { attempt, usage } => self.attempt(*attempt)?.row.usage = Some((**usage).clone()),
            Write::Renew { attempt, epoch, expires } => {
                let stored = self.attempt(*attempt)?;
                if stored.epoch != *epoch || stored.row.status.is_terminal() {
                    return Err(conflict(attempt, "live"));
                }
                stored.expires = *expires;
            }
            Write::Backfill(backfill) => self.new_backfill(backfill)?,
            Write::RunBackfill { run, backfill, retries, .. } => {
                let row = &mut self.run(*run)?.row;
                (row.backfill, row.retries) = (Some(*backfill), *retries);
            }
            Write::BackfillStatus { backfill, from, to, .. } => {
                let row = self.backfills.get_mut(backfill).filter(|row| row.status == *from);
                let row = row.ok_or_else(|| conflict(backfill, from.word()))?;
                row.status = *to;
                row.trial = row.trial.filter(|_| *from != BackfillStatus::Paused);
            }
            Write::BackfillPace { backfill, pace, .. } => {
                self.backfills.get_mut(backfill).ok_or_else(|| conflict(backfill, "there"))?.pace = Some(*pace);
            }
            Write::BackfillRound { backfill, round, failed, .. } => {
                let row = self.backfills.get_mut(backfill).ok_or_else(|| conflict(backfill, "there"))?;
                (row.round, row.failed_before) = (*round, *failed);
            }
            Write::Table(write) => {
                self.writes.insert((write.table.clone(), write.start, write.end), write.clone());
            }
            Write::Asked(asked) => {
                let key = (asked.flow.clone(), asked.key.clone());
                if self.asked.insert(key, asked.clone()).is_some() {
                    return Err(conflict(&asked.key, "new"));
                }
            }
            Write::Drop { .. } | Write::DropRest { .. } => {}
            Write::Notice(_) | Write::NoticeStatus(_) | Write::Alert(_) => self.tell(write)?,
            Write::Paused { flow, paused, .. } => {
                let _ = if *paused { self.paused.insert(flow.clone()) } else { self.paused.remove(flow) };
            }
        }
        Ok(())
    }

    fn new_items(&mut self, new: &NewItems) -> Result<(), HistoryError> {
        let tasks = &mut self.run(new.run)?.tasks;
        for (index, name, item) in &new.items {
            if *index as usize == tasks.len() {
                tasks.push(TaskRow { item_of: Some(new.of), ..new_task(*index, name) });
            }
            let task = tasks.get_mut(*index as usize).filter(|task| task.name == *name && task.item_of == Some(new.of));
            task.ok_or_else(|| conflict(name, "an item"))?.item = Some(item.clone());
        }
        Ok(())
    }

    fn new_lease(&mut self, lease: &NewLease) -> Result<(), HistoryError> {
        let task = self.run(lease.attempt.run)?.tasks.get(lease.attempt.task as usize);
        let name = task.map(|task| task.name.clone()).ok_or_else(|| conflict(lease.attempt, "a task"))?;
        let row = AttemptRow {
            task_index: lease.attempt.task,
            task: name,
            attempt: lease.attempt.attempt,
            status: AttemptStatus::Leased,
            owner: lease.owner.clone(),
            leased_at: lease.at,
            started_at: None,
            ended_at: None,
            error: None,
            usage: None,
            log: lease.log.clone(),
        };
        let attempt = StoredAttempt { row, epoch: lease.epoch, expires: lease.expires };
        let place = (lease.attempt.task, lease.attempt.attempt);
        if self.run(lease.attempt.run)?.attempts.insert(place, attempt).is_some() {
            return Err(conflict(lease.attempt, "new"));
        }
        Ok(())
    }

    fn new_run(&mut self, run: &NewRun) -> Result<(), HistoryError> {
        let row = RunRow {
            id: run.id,
            flow: run.flow.clone(),
            key: run.key.clone(),
            name: run.name.clone(),
            status: RunStatus::Queued,
            version: run.version.clone(),
            params: run.params.clone(),
            interval_start: run.interval_start,
            interval_end: run.interval_end,
            trigger: run.trigger,
            backfill: run.backfill,
            retries: run.retries,
            timed_out: false,
            created_at: run.at,
            started_at: None,
            ended_at: None,
        };
        let tasks = run.tasks.iter().enumerate();
        let tasks = tasks.map(|(index, name)| new_task(index as TaskIndex, name)).collect();
        let same = self.keys.insert((run.flow.clone(), run.key.clone()), run.id);
        let stored = StoredRun { row, tasks, attempts: BTreeMap::new(), calls: BTreeMap::new() };
        match (same, self.runs.insert(run.id, stored)) {
            (None, None) => Ok(()),
            _ => Err(conflict(format!("run {} of {}", run.key, run.flow), "new")),
        }
    }

    fn memory(&self) -> Memory {
        let open = self.runs.values().filter(|run| !run.row.status.is_terminal());
        let live = |(id, run): (&RunId, &StoredRun)| -> Vec<LiveLease> {
            let live = run.attempts.iter().filter(|(_, attempt)| !attempt.row.status.is_terminal());
            live.map(|((task, number), attempt)| LiveLease {
                attempt: AttemptId { run: *id, task: *task, attempt: *number },
                status: attempt.row.status,
                epoch: attempt.epoch,
                owner: attempt.row.owner.clone(),
                expires: attempt.expires,
                process: None,
            })
            .collect()
        };
        let epochs = self.runs.values().flat_map(|run| run.attempts.values()).map(|attempt| attempt.epoch);
        let running = self.backfills.values().filter(|backfill| !backfill.status.is_terminal());
        Memory {
            runs: open.map(|run| (run.row.clone(), run.tasks.clone())).collect(),
            leases: self.runs.iter().flat_map(live).collect(),
            calls: self.calls(),
            backfills: running.map(|backfill| self.counted(backfill)).collect(),
            paused: self.paused.iter().cloned().collect(),
            alerts: self.alerts_of_open_runs(),
            notices_waiting: self.notices.values().filter(|row| row.status == NoticeStatus::Waiting).count() as u64,
            last_run: self.runs.keys().next_back().map_or(0, |run| run.0),
            last_backfill: self.backfills.keys().next_back().map_or(0, |backfill| backfill.0),
            last_epoch: epochs.max().unwrap_or(0),
        }
    }
}

/// What the simulation never asks.
fn not_asked<T>() -> Result<T, HistoryError> {
    Err(HistoryError::Damaged("the simulation keeps no such thing".to_owned()))
}

#[async_trait]
impl History for MemoryHistory {
    async fn commit(&self, writes: &[Write]) -> Result<(), HistoryError> {
        self.inner.lock().unwrap().commit(writes)
    }

    async fn memory(&self) -> Result<Memory, HistoryError> {
        let inner = &mut *self.inner.lock().unwrap();
        // Who starts gives no batch again.
        inner.unanswered = 0;
        Ok(inner.stored.memory())
    }

    async fn flow_version(&self, hash: &str) -> Result<Option<FlowVersion>, HistoryError> {
        Ok(self.read(|stored| stored.versions.get(hash).map(|version| FlowVersion::clone(version))))
    }

    async fn flow_versions(&self, _: &str) -> Result<Vec<VersionRow>, HistoryError> {
        not_asked()
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, HistoryError> {
        let wanted =
            |row: &&RunRow| row.backfill == query.backfill && query.status.is_none_or(|status| row.status == status);
        Ok(self.read(|stored| stored.runs.values().rev().map(|run| &run.row).filter(wanted).cloned().collect()))
    }

    async fn run(&self, run: RunId) -> Result<Option<RunDetail>, HistoryError> {
        let detail = |stored: &Stored, found: &StoredRun| RunDetail {
            run: found.row.clone(),
            tasks: found.tasks.clone(),
            alerts: stored.alerts_of(run),
            parent: None,
            children: Vec::new(),
            attempts: found.attempts.values().map(|attempt| attempt.row.clone()).collect(),
        };
        Ok(self.read(|stored| stored.runs.get(&run).map(|found| detail(stored, found))))
    }

    async fn run_named(&self, _: &str) -> Result<Option<RunId>, HistoryError> {
        not_asked()
    }

    async fn runs_by_key(&self, flow: &str, keys: &[String]) -> Result<Vec<RunRow>, HistoryError> {
        Ok(self.read(|stored| {
            let ids = keys.iter().filter_map(|key| stored.keys.get(&(flow.to_owned(), key.clone())));
            ids.filter_map(|id| stored.runs.get(id)).map(|run| run.row.clone()).collect()
        }))
    }

    async fn grid(&self, _: &str, _: u32) -> Result<Grid, HistoryError> {
        not_asked()
    }

    async fn flows(&self) -> Result<Vec<FlowSummary>, HistoryError> {
        not_asked()
    }

    async fn last_scheduled(&self, flow: &str) -> Result<Option<Timestamp>, HistoryError> {
        Ok(self.read(|stored| {
            let of_flow = stored.runs.values().map(|run| &run.row).filter(|row| row.flow == flow);
            of_flow.filter(|row| row.trigger == Trigger::Schedule).filter_map(|row| row.interval_start).max()
        }))
    }

    async fn backfill(&self, backfill: BackfillId) -> Result<Option<BackfillRow>, HistoryError> {
        Ok(self.read(|stored| stored.backfills.get(&backfill).map(|row| stored.counted(row))))
    }

    async fn backfills(&self, _: Option<&str>, _: u32) -> Result<Vec<BackfillRow>, HistoryError> {
        not_asked()
    }

    async fn outbox(&self, now: Timestamp, of_channel: u32) -> Result<Outbox, HistoryError> {
        Ok(self.read(|stored| stored.outbox(now, of_channel)))
    }

    async fn table_writes(
        &self,
        tables: &[String],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<TableWrite>, HistoryError> {
        let wanted = |write: &&TableWrite| tables.contains(&write.table) && write.start < to && write.end > from;
        Ok(self.read(|stored| stored.writes.values().filter(wanted).cloned().collect()))
    }

    async fn asked(&self, flow: &str, key: &str) -> Result<Option<Asked>, HistoryError> {
        Ok(self.read(|stored| stored.asked.get(&(flow.to_owned(), key.to_owned())).cloned()))
    }

    async fn notices(&self, _: &NoticeQuery) -> Result<Vec<NoticeRow>, HistoryError> {
        not_asked()
    }

    async fn notice_counts(&self) -> Result<Vec<NoticeCount>, HistoryError> {
        not_asked()
    }

    async fn expired(&self, _: Timestamp, _: u32) -> Result<Vec<ExpiredRun>, HistoryError> {
        not_asked()
    }

    async fn durations(&self, flow: &str, limit: u32) -> Result<Vec<SignedDuration>, HistoryError> {
        Ok(self.read(|stored| stored.durations(flow, limit)))
    }

    async fn worked(&self, _: u32, _: u32) -> Result<Vec<mulgil_history::worked::WorkedRow>, HistoryError> {
        not_asked()
    }

    async fn listed_runs(&self, _: &Selection, _: Option<RunId>, _: u32) -> Page<RunRow> {
        not_asked()
    }

    async fn listed_tasks(&self, _: &Selection, _: Option<(RunId, TaskIndex)>, _: u32) -> Page<ListedTask> {
        not_asked()
    }

    async fn listed_attempts(&self, _: &Selection, _: Option<AttemptId>, _: u32) -> Page<ListedAttempt> {
        not_asked()
    }

    async fn events(&self, _: i64, _: u32) -> Result<Vec<EventRow>, HistoryError> {
        not_asked()
    }
}
