//! Tables as what flows wait for: a task that succeeds has written its table for the interval of its run; a flow whose
//! schedule says `on:` runs for an interval once every table that it waits for has been written for all of it.
//!
//! The write, and the runs that it starts, are stored in the transaction of the success. What a pause hid, or a flow that is
//! new, is looked at when the flow is: an interval's run is one run, so deciding twice makes nothing twice.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use mulgil_flow::{DataInterval, Fire, Schedule, TaskKind};
use mulgil_history::write::Write;
use mulgil_history::written::TableWrite;
use mulgil_sched::id::{RunId, TaskIndex};

use super::batch::Now;
use super::error::SchedulerError;
use super::request::FlowSource;
use super::state::{Scheduler, Timer};

/// As many intervals are looked at when a flow that waits for tables is looked at as a whole.
const INTERVALS_MAX: usize = 1_000;
/// Between tries to look up which tables are written, while the history cannot be read: at first, and at most.
const LOOK_AGAIN_FIRST: SignedDuration = SignedDuration::from_millis(500);
const LOOK_AGAIN_MAX: SignedDuration = SignedDuration::from_secs(60);

impl Scheduler {
    /// A task has succeeded: puts down what it has written.
    pub(super) fn table_written(&mut self, id: RunId, task: TaskIndex, now: Now) {
        let Some(run) = self.runs.get(&id) else { return };
        let name = run.state.graph.task(task).map(|node| node.name.to_string()).unwrap_or_default();
        let Some(interval) = run.interval else { return };
        let Some(table) = run.flow.task(&name).and_then(|task| written_by(&task.kind)) else { return };
        let (table, flow) = (table.to_owned(), run.flow.name.clone());
        let DataInterval { start, end } = interval;
        self.written.push((table.clone(), interval));
        self.batch.record(Write::Table(TableWrite { table, start, end, flow, run: id, task: name, at: now }), None);
    }

    /// Makes the runs that the tables written in this turn were waited for. Where the history cannot be read just now they are made
    /// later: what was written is in it, so that a server that starts meanwhile makes them too.
    pub(super) async fn start_on_tables(&mut self, now: Now) -> Result<(), SchedulerError> {
        if self.written.is_empty() || self.tables_again.is_some_and(|(at, _)| at > now) {
            return Ok(());
        }
        let written = std::mem::take(&mut self.written);
        if !self.options.schedules {
            return Ok(());
        }
        match self.start_on(&written, now).await {
            Err(SchedulerError::History(error)) => {
                let before = self.tables_again.map_or(LOOK_AGAIN_FIRST, |(_, pause)| pause * 2);
                let pause = before.min(LOOK_AGAIN_MAX);
                let at = now.saturating_add(pause).unwrap_or(Now::MAX);
                tracing::warn!(%error, ?pause, "cannot look up which tables are written; flows that wait for them start later");
                self.written.extend(written);
                self.tables_again = Some((at, pause));
                self.timers.insert((at, Timer::Tables));
                Ok(())
            }
            done => {
                self.tables_again = None;
                done
            }
        }
    }

    async fn start_on(&mut self, written: &[(String, DataInterval)], now: Now) -> Result<(), SchedulerError> {
        let waits =
            |source: &&FlowSource| source.flow.schedule.as_ref().is_some_and(|schedule| !schedule.on.is_empty());
        let waiting: Vec<String> = self.flows.values().filter(waits).map(|source| source.flow.name.clone()).collect();
        for name in waiting {
            let Some((source, schedule)) = self.scheduled(&name) else { continue };
            let mut due = BTreeSet::new();
            for (_, interval) in written.iter().filter(|(table, _)| schedule.on.contains(table)) {
                let fires = schedule.fires(interval.start).skip_while(|fire| fire.interval.end <= interval.start);
                due.extend(
                    fires.take_while(|fire| fire.interval.start < interval.end).map(|fire| (fire.interval, fire.at)),
                );
            }
            if due.is_empty() || self.paused.contains(&name) {
                continue;
            }
            let fires: Vec<Fire> = due.into_iter().map(|(interval, at)| Fire { at, interval }).collect();
            let fires = self.whole(&schedule, fires).await?;
            self.create_scheduled(&source, &fires, now).await?;
        }
        Ok(())
    }

    /// The intervals for which all tables have been written, as far as the catch-up policy lets them run: those too that have not ended
    /// yet, and those that are earlier than `since`, when the schedule's latest run was due, because tables are not always written in order. Not those that are
    /// older than runs are kept: they would run again for ever.
    pub(super) async fn missed_on_tables(
        &mut self,
        schedule: &Schedule,
        since: Now,
        now: Now,
    ) -> Result<Vec<Fire>, SchedulerError> {
        if since == now {
            // It has no beginning and never ran: it has missed nothing.
            return Ok(Vec::new());
        }
        let ended = schedule.latest(now, INTERVALS_MAX);
        // A table may be written ahead of time: who waits for it does not wait for the end of the interval.
        let ahead = self.history.table_writes(&schedule.on, now, Now::MAX).await?;
        let until = ahead.iter().map(|write| write.end).max().unwrap_or(now);
        let later = schedule.fires(now).map(|fire| fire.interval).filter(|interval| interval.end > now);
        let later = later.take_while(|interval| interval.start < until);
        // The runs of older ones may be there no longer: that they are missing says nothing.
        let retention = self.options.project.retention.runs;
        let kept_since = retention.and_then(|age| now.checked_sub(age).ok()).unwrap_or(Now::MIN);
        let fires = ended
            .into_iter()
            .chain(later.take(INTERVALS_MAX))
            .filter(|interval| interval.end >= kept_since)
            .map(|interval| Fire { at: interval.end, interval })
            .collect();
        let fires = self.whole(schedule, fires).await?;
        Ok(schedule.kept(fires))
    }

    /// Those of these fires for whose whole interval every table that is waited for has been written.
    async fn whole(&mut self, schedule: &Schedule, fires: Vec<Fire>) -> Result<Vec<Fire>, SchedulerError> {
        let (Some(first), Some(last)) = (fires.first(), fires.last()) else { return Ok(Vec::new()) };
        let (from, to) = (first.interval.start, last.interval.end);
        let mut writes = self.history.table_writes(&schedule.on, from, to).await?;
        // What this turn has written is not stored yet, and is to be stored together with what it starts.
        writes.extend(self.batch.writes.iter().filter_map(|write| match write {
            Write::Table(write) => Some(write.clone()),
            _ => None,
        }));
        writes.sort_by_key(|write| (write.start, write.end));
        let is_whole = |fire: &Fire| schedule.on.iter().all(|table| covers(&writes, table, fire.interval));
        Ok(fires.into_iter().filter(is_whole).collect())
    }
}

/// The table that a task writes.
pub fn written_by(kind: &TaskKind) -> Option<&str> {
    match kind {
        TaskKind::Sql { target: Some(target), .. } | TaskKind::Transfer { target, .. } => Some(&target.table),
        _ => None,
    }
}

/// Whether the writes of a table, which are in the order of their intervals, leave no gap in an interval.
pub(crate) fn covers(writes: &[TableWrite], table: &str, interval: DataInterval) -> bool {
    let mut reached = interval.start;
    for write in writes.iter().filter(|write| write.table == table) {
        if write.start <= reached {
            reached = reached.max(write.end);
        }
    }
    reached >= interval.end
}
