//! Rows of SQLite as the shapes of [`crate::read`].

use jiff::Timestamp;
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::HistoryError;
use crate::read::{AttemptRow, BackfillRow, RunCounts, RunRow, TaskRow};
use crate::write::{BackfillStatus, Trigger};

type Read<T> = Result<T, HistoryError>;

/// Microseconds since the epoch.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

fn instant(micros: i64) -> Read<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| HistoryError::Damaged(error.to_string()))
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Read<Timestamp> {
    instant(row.try_get(column)?)
}

pub(super) fn maybe_time(row: &SqliteRow, column: &str) -> Read<Option<Timestamp>> {
    row.try_get::<Option<i64>, _>(column)?.map(instant).transpose()
}

fn word<T>(what: &str, word: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| HistoryError::Damaged(format!("unknown {what} {word:?}")))
}

pub(super) fn trigger(row: &SqliteRow) -> Read<Trigger> {
    let text: String = row.try_get("trigger")?;
    word("trigger", &text, Trigger::from_word(&text))
}

pub(super) fn run_status(row: &SqliteRow) -> Read<RunStatus> {
    Ok(RunStatus::from_word(row.try_get("status")?)?)
}

pub(super) fn run(row: &SqliteRow) -> Read<RunRow> {
    let params: String = row.try_get("params")?;
    Ok(RunRow {
        id: RunId(row.try_get("id")?),
        flow: row.try_get("flow")?,
        key: row.try_get("key")?,
        name: row.try_get("name")?,
        status: run_status(row)?,
        version: row.try_get("version")?,
        params: serde_json::from_str(&params).map_err(|error| HistoryError::Damaged(error.to_string()))?,
        interval_start: maybe_time(row, "interval_start_us")?,
        interval_end: maybe_time(row, "interval_end_us")?,
        trigger: trigger(row)?,
        backfill: row.try_get::<Option<i64>, _>("backfill")?.map(BackfillId),
        retries: row.try_get("retries")?,
        created_at: time(row, "created_at_us")?,
        started_at: maybe_time(row, "started_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
    })
}

pub(super) fn task(row: &SqliteRow) -> Read<TaskRow> {
    Ok(TaskRow {
        index: row.try_get("task")?,
        name: row.try_get("name")?,
        status: TaskStatus::from_word(row.try_get("status")?)?,
        attempts: row.try_get("attempts")?,
        retries_used: row.try_get("retries_used")?,
        losses: row.try_get("losses")?,
        not_before: maybe_time(row, "not_before_us")?,
    })
}

pub(super) fn attempt_status(row: &SqliteRow) -> Read<AttemptStatus> {
    Ok(AttemptStatus::from_word(row.try_get("status")?)?)
}

pub(super) fn attempt(row: &SqliteRow) -> Read<AttemptRow> {
    Ok(AttemptRow {
        task_index: row.try_get("task")?,
        task: row.try_get("name")?,
        attempt: row.try_get("attempt")?,
        status: attempt_status(row)?,
        owner: row.try_get("owner")?,
        leased_at: time(row, "leased_at_us")?,
        started_at: maybe_time(row, "started_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
        error: row.try_get("error")?,
        log: row.try_get("log")?,
    })
}

/// A backfill with its counts in columns `queued`, `running`, `succeeded`, `failed`, `cancelled`.
pub(super) fn backfill(row: &SqliteRow) -> Read<BackfillRow> {
    let status: String = row.try_get("status")?;
    Ok(BackfillRow {
        id: BackfillId(row.try_get("id")?),
        flow: row.try_get("flow")?,
        from: time(row, "from_us")?,
        to: time(row, "to_us")?,
        concurrency: row.try_get("concurrency")?,
        which: row.try_get("which")?,
        newest_first: row.try_get("newest_first")?,
        status: word("backfill status", &status, BackfillStatus::from_word(&status))?,
        planned: row.try_get("planned")?,
        runs: counts(row)?,
        created_at: time(row, "created_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
    })
}

pub(super) fn counts(row: &SqliteRow) -> Read<RunCounts> {
    let count = |column: &str| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
    Ok(RunCounts {
        queued: count("queued")?,
        running: count("running")?,
        succeeded: count("succeeded")?,
        failed: count("failed")?,
        cancelled: count("cancelled")?,
    })
}
