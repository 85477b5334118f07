//! How each [`Write`] is stored: a compare-and-set of the status.

use jiff::Timestamp;
use mulgil_sched::id::AttemptId;
use mulgil_sched::status::{AttemptStatus, RunStatus};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteQueryResult;

use super::{asked, backfilling, calling, dropping, telling, written};
use crate::error::HistoryError;
use crate::event::{events_of, storable};
use crate::row::{items_of, json_of, micros};
use crate::write::{
    AttemptChange, FlowVersion, NewItems, NewLease, NewRun, RunChange, TaskChange, VersionChange, Write,
};

pub(super) type Done = Result<(), HistoryError>;

/// Stores a batch: first what changes, then the events of it all at once.
pub(super) async fn write_all(db: &mut SqliteConnection, writes: &[Write]) -> Done {
    for one in writes {
        write(db, one).await?;
    }
    match events_of(writes) {
        Some(events) => store_events(db, events).await,
        None => Ok(()),
    }
}

async fn write(db: &mut SqliteConnection, write: &Write) -> Done {
    match write {
        Write::FlowVersion(version) => flow_version(db, version).await,
        Write::Run(run) => new_run(db, run).await,
        Write::RunStatus(change) => run_status(db, change).await,
        Write::RunVersion(change) => run_version(db, change).await,
        Write::Task(change) => task(db, change).await,
        Write::Items(new) => new_items(db, new).await,
        Write::Call(change) => calling::call(db, change).await,
        Write::Confirmed(confirmed) => calling::confirmed(db, confirmed).await,
        Write::Lease(lease) => new_lease(db, lease).await,
        Write::Attempt(change) => attempt(db, change).await,
        Write::Usage { attempt, usage } => {
            sqlx::query("UPDATE attempts SET usage = ? WHERE run = ? AND task = ? AND attempt = ?")
                .bind(json_of(usage))
                .bind(attempt.run.0)
                .bind(attempt.task)
                .bind(attempt.attempt)
                .execute(&mut *db)
                .await?;
            Ok(())
        }
        Write::Renew { attempt, epoch, expires } => renew(db, *attempt, *epoch, *expires).await,
        Write::Backfill(backfill) => backfilling::new(db, backfill).await,
        Write::RunBackfill { run, backfill, retries, .. } => backfilling::join(db, *run, *backfill, *retries).await,
        Write::BackfillStatus { backfill, from, to, at } => backfilling::status(db, *backfill, *from, *to, *at).await,
        Write::BackfillPace { backfill, pace, .. } => backfilling::pace(db, *backfill, *pace).await,
        Write::BackfillRound { backfill, round, failed, .. } => {
            backfilling::round(db, *backfill, *round, *failed).await
        }
        Write::Asked(asked) => asked::write(db, asked).await,
        Write::Table(write) => written::write(db, write).await,
        Write::Notice(notice) => telling::notice(db, notice).await,
        Write::NoticeStatus(change) => telling::status(db, change).await,
        Write::Drop { runs } => dropping::runs(db, runs).await,
        Write::DropRest { runs, notices } => dropping::rest(db, *runs, *notices).await,
        Write::Alert(alert) => telling::alert(db, alert).await,
        Write::Paused { flow, paused, .. } => {
            sqlx::query("INSERT INTO flows (flow, paused) VALUES (?, ?) ON CONFLICT (flow) DO UPDATE SET paused = excluded.paused")
                .bind(flow)
                .bind(paused)
                .execute(&mut *db)
                .await?;
            Ok(())
        }
    }
}

pub(super) fn changed(result: SqliteQueryResult, what: impl FnOnce() -> String, expected: &str) -> Done {
    match result.rows_affected() {
        1 => Ok(()),
        _ => Err(HistoryError::Conflict { what: what(), expected: expected.to_owned() }),
    }
}

/// One statement for all events of a batch, however many.
async fn store_events(db: &mut SqliteConnection, events: String) -> Done {
    sqlx::query(
        "INSERT INTO events (at_us, kind, run, task, attempt, payload) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?) ORDER BY key",
    )
    .bind(events)
    .execute(db)
    .await?;
    Ok(())
}

async fn flow_version(db: &mut SqliteConnection, version: &FlowVersion) -> Done {
    sqlx::query("INSERT INTO flow_versions (hash, flow, definition, at_us) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(&version.hash)
        .bind(&version.flow)
        .bind(&version.definition)
        .bind(micros(version.at))
        .execute(db)
        .await?;
    Ok(())
}

async fn new_run(db: &mut SqliteConnection, run: &NewRun) -> Done {
    sqlx::query(
        "INSERT INTO runs (id, flow, key, name, version, params, interval_start_us, interval_end_us, trigger, backfill, \
         retries, status, order_us, created_at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(run.id.0)
    .bind(&run.flow)
    .bind(&run.key)
    .bind(&run.name)
    .bind(&run.version)
    .bind(run.params.to_string())
    .bind(run.interval_start.map(micros))
    .bind(run.interval_end.map(micros))
    .bind(run.trigger.word())
    .bind(run.backfill.map(|backfill| backfill.0))
    .bind(run.retries)
    .bind(RunStatus::Queued.word())
    .bind(micros(run.interval_start.unwrap_or(run.at)))
    .bind(micros(run.at))
    .execute(&mut *db)
    .await?;
    let names = serde_json::Value::from(run.tasks.clone()).to_string();
    sqlx::query(
        "INSERT INTO tasks (run, task, name, status, attempts, retries_used, losses) \
         SELECT ?, key, value, 'waiting', 0, 0, 0 FROM json_each(?)",
    )
    .bind(run.id.0)
    .bind(names)
    .execute(&mut *db)
    .await?;
    Ok(())
}

async fn run_status(db: &mut SqliteConnection, change: &RunChange) -> Done {
    let result = sqlx::query(
        "UPDATE runs SET status = ?1, timed_out = ?6, \
         started_at_us = CASE WHEN ?1 = 'running' THEN ?2 ELSE started_at_us END, \
         ended_at_us = CASE WHEN ?3 THEN ?2 WHEN ?1 = 'queued' THEN NULL ELSE ended_at_us END \
         WHERE id = ?4 AND status = ?5",
    )
    .bind(change.to.word())
    .bind(micros(change.at))
    .bind(change.to.is_terminal())
    .bind(change.run.0)
    .bind(change.from.word())
    .bind(change.timed_out)
    .execute(&mut *db)
    .await?;
    changed(result, || format!("run {}", change.run), change.from.word())?;
    Ok(())
}

async fn run_version(db: &mut SqliteConnection, change: &VersionChange) -> Done {
    let result = sqlx::query("UPDATE runs SET version = ? WHERE id = ? AND version = ?")
        .bind(&change.to)
        .bind(change.run.0)
        .bind(&change.from)
        .execute(&mut *db)
        .await?;
    changed(result, || format!("the version of run {}", change.run), &change.from)?;
    let tasks: Vec<_> = change.tasks.iter().map(|(task, name)| serde_json::json!([task, name])).collect();
    sqlx::query(
        "INSERT INTO tasks (run, task, name, status, attempts, retries_used, losses) \
         SELECT ?, value ->> 0, value ->> 1, 'waiting', 0, 0, 0 FROM json_each(?)",
    )
    .bind(change.run.0)
    .bind(serde_json::Value::from(tasks).to_string())
    .execute(&mut *db)
    .await?;
    Ok(())
}

async fn task(db: &mut SqliteConnection, change: &TaskChange) -> Done {
    let result = sqlx::query(
        "UPDATE tasks SET status = ?1, attempts = ?2, retries_used = ?3, losses = ?4, not_before_us = ?5, note = ?6, \
         result = ?7, since_us = ?11 \
         WHERE run = ?8 AND task = ?9 AND status = ?10",
    )
    .bind(change.to.word())
    .bind(change.attempts)
    .bind(change.retries_used)
    .bind(change.losses)
    .bind(change.not_before.map(micros))
    .bind(change.note.as_deref().map(storable))
    .bind(change.result.as_ref().map(ToString::to_string))
    .bind(change.run.0)
    .bind(change.task)
    .bind(change.from.word())
    .bind(change.since.map(micros))
    .execute(&mut *db)
    .await?;
    changed(result, || format!("task {} of run {}", change.task, change.run), change.from.word())?;
    Ok(())
}

/// One statement for all items of a task, however many.
async fn new_items(db: &mut SqliteConnection, new: &NewItems) -> Done {
    sqlx::query(
        "INSERT INTO tasks (run, task, name, status, attempts, retries_used, losses, item_of, item) \
         SELECT ?1, value ->> 0, value ->> 1, 'waiting', 0, 0, 0, ?2, value ->> 2 FROM json_each(?3) WHERE true \
         ON CONFLICT (run, task) DO UPDATE SET item = excluded.item",
    )
    .bind(new.run.0)
    .bind(new.of)
    .bind(items_of(new))
    .execute(&mut *db)
    .await?;
    Ok(())
}

async fn new_lease(db: &mut SqliteConnection, lease: &NewLease) -> Done {
    sqlx::query(
        "INSERT INTO attempts (run, task, attempt, status, owner, epoch, expires_us, leased_at_us, log) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(lease.attempt.run.0)
    .bind(lease.attempt.task)
    .bind(lease.attempt.attempt)
    .bind(AttemptStatus::Leased.word())
    .bind(&lease.owner)
    .bind(lease.epoch)
    .bind(micros(lease.expires))
    .bind(micros(lease.at))
    .bind(&lease.log)
    .execute(&mut *db)
    .await?;
    Ok(())
}

async fn attempt(db: &mut SqliteConnection, change: &AttemptChange) -> Done {
    let AttemptId { run, task, attempt } = change.attempt;
    let result = sqlx::query(
        "UPDATE attempts SET status = ?1, \
         started_at_us = CASE WHEN ?1 = 'running' THEN ?2 ELSE started_at_us END, \
         ended_at_us = CASE WHEN ?3 THEN ?2 ELSE NULL END, \
         pid = coalesce(?4, pid), start_ticks = coalesce(?5, start_ticks), error = ?6 \
         WHERE run = ?7 AND task = ?8 AND attempt = ?9 AND status = ?10",
    )
    .bind(change.to.word())
    .bind(micros(change.at))
    .bind(change.to.is_terminal())
    .bind(change.process.map(|process| process.pid))
    .bind(change.process.map(|process| process.start_ticks))
    .bind(&change.error)
    .bind(run.0)
    .bind(task)
    .bind(attempt)
    .bind(change.from.word())
    .execute(&mut *db)
    .await?;
    changed(result, || change.attempt.to_string(), change.from.word())?;
    Ok(())
}

/// A renewal is no change of status, so it leaves no event.
async fn renew(db: &mut SqliteConnection, id: AttemptId, epoch: i64, expires: Timestamp) -> Done {
    let result = sqlx::query(
        "UPDATE attempts SET expires_us = ? WHERE run = ? AND task = ? AND attempt = ? AND epoch = ? \
         AND status IN ('leased', 'running')",
    )
    .bind(micros(expires))
    .bind(id.run.0)
    .bind(id.task)
    .bind(id.attempt)
    .bind(epoch)
    .execute(db)
    .await?;
    changed(result, || id.to_string(), "live")?;
    Ok(())
}
