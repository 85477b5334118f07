//! Rows of a store as the shapes of [`crate::read`].

use jiff::Timestamp;
use mulgil_sched::id::{AttemptId, BackfillId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use mulgil_sched::usage::Usage;

use crate::error::HistoryError;
use crate::event::storable;
use crate::question::{Columns, Read};
use crate::read::{AttemptRow, BackfillRow, EventRow, LiveLease, RunCounts, RunRow, TaskRow, VersionRow};
use crate::write::{BackfillStatus, FlowVersion, NewItems, ProcessMark, Trigger};

/// Microseconds since the epoch.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// Items as an array of `[place, name, item]`, the item as a text of its own.
pub(crate) fn items_of(new: &NewItems) -> String {
    let item = |(place, name, item): &(TaskIndex, String, serde_json::Value)| {
        serde_json::json!([place, storable(name), storable(&item.to_string())])
    };
    serde_json::Value::from(new.items.iter().map(item).collect::<Vec<_>>()).to_string()
}

fn instant(micros: i64) -> Read<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| HistoryError::Damaged(error.to_string()))
}

fn missing(column: &str) -> HistoryError {
    HistoryError::Damaged(format!("{column} is missing"))
}

/// A number that is there, of the width that it should have.
pub(crate) fn number<T: TryFrom<i64>>(row: &impl Columns, column: &str) -> Read<T> {
    let wide = row.number(column)?.ok_or_else(|| missing(column))?;
    T::try_from(wide).map_err(|_| HistoryError::Damaged(format!("{column} is {wide}")))
}

pub(crate) fn maybe_number<T: TryFrom<i64>>(row: &impl Columns, column: &str) -> Read<Option<T>> {
    row.number(column)?.map(|_| number(row, column)).transpose()
}

/// A text that is there.
pub(crate) fn text(row: &impl Columns, column: &str) -> Read<String> {
    row.text(column)?.ok_or_else(|| missing(column))
}

pub(crate) fn time(row: &impl Columns, column: &str) -> Read<Timestamp> {
    instant(number(row, column)?)
}

pub(crate) fn maybe_time(row: &impl Columns, column: &str) -> Read<Option<Timestamp>> {
    row.number(column)?.map(instant).transpose()
}

/// JSON as it was stored.
pub(crate) fn json(text: &str) -> Read<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| HistoryError::Damaged(error.to_string()))
}

/// A word that stands for something.
pub(crate) fn usage(text: &str) -> Read<Usage> {
    serde_json::from_str(text).map_err(|error| HistoryError::Damaged(error.to_string()))
}

/// What an attempt used, as it is stored.
pub(crate) fn json_of(usage: &Usage) -> String {
    serde_json::to_string(usage).unwrap_or_else(|_| "{}".to_owned())
}

pub(crate) fn word<T>(what: &str, word: &str, value: Option<T>) -> Read<T> {
    value.ok_or_else(|| HistoryError::Damaged(format!("unknown {what} {word:?}")))
}

pub(crate) fn trigger(row: &impl Columns) -> Read<Trigger> {
    let text = text(row, "trigger")?;
    word("trigger", &text, Trigger::from_word(&text))
}

pub(crate) fn run_status(row: &impl Columns) -> Read<RunStatus> {
    Ok(RunStatus::from_word(&text(row, "status")?)?)
}

pub(crate) fn version(row: &impl Columns) -> Read<FlowVersion> {
    Ok(FlowVersion {
        hash: text(row, "hash")?,
        flow: text(row, "flow")?,
        definition: text(row, "definition")?,
        at: time(row, "at_us")?,
    })
}

pub(crate) fn version_row(row: &impl Columns) -> Read<VersionRow> {
    Ok(VersionRow { hash: text(row, "hash")?, at: time(row, "at_us")?, runs: number(row, "runs")? })
}

pub(crate) fn run(row: &impl Columns) -> Read<RunRow> {
    let params = text(row, "params")?;
    Ok(RunRow {
        id: RunId(number(row, "id")?),
        flow: text(row, "flow")?,
        key: text(row, "key")?,
        name: text(row, "name")?,
        status: run_status(row)?,
        version: text(row, "version")?,
        params: json(&params)?,
        interval_start: maybe_time(row, "interval_start_us")?,
        interval_end: maybe_time(row, "interval_end_us")?,
        trigger: trigger(row)?,
        backfill: row.number("backfill")?.map(BackfillId),
        retries: row.flag("retries")?,
        timed_out: row.flag("timed_out")?,
        created_at: time(row, "created_at_us")?,
        started_at: maybe_time(row, "started_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
    })
}

pub(crate) fn task(row: &impl Columns) -> Read<TaskRow> {
    Ok(TaskRow {
        index: number(row, "task")?,
        name: text(row, "name")?,
        status: TaskStatus::from_word(&text(row, "status")?)?,
        attempts: number(row, "attempts")?,
        retries_used: number(row, "retries_used")?,
        losses: number(row, "losses")?,
        since: maybe_time(row, "since_us")?,
        not_before: maybe_time(row, "not_before_us")?,
        result: row.text("result")?.as_deref().map(json).transpose()?,
        note: row.text("note")?,
        item_of: maybe_number(row, "item_of")?,
        item: row.text("item")?.as_deref().map(json).transpose()?,
        confirmed: maybe_number(row, "confirmed")?,
    })
}

fn attempt_status(row: &impl Columns) -> Read<AttemptStatus> {
    Ok(AttemptStatus::from_word(&text(row, "status")?)?)
}

pub(crate) fn attempt(row: &impl Columns) -> Read<AttemptRow> {
    Ok(AttemptRow {
        task_index: number(row, "task")?,
        task: text(row, "name")?,
        attempt: number(row, "attempt")?,
        status: attempt_status(row)?,
        owner: text(row, "owner")?,
        leased_at: time(row, "leased_at_us")?,
        started_at: maybe_time(row, "started_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
        error: row.text("error")?,
        usage: row.text("usage")?.map(|text| usage(&text)).transpose()?,
        log: text(row, "log")?,
    })
}

pub(crate) fn live_lease(row: &impl Columns) -> Read<LiveLease> {
    let pid: Option<i32> = maybe_number(row, "pid")?;
    let start_ticks = row.number("start_ticks")?;
    Ok(LiveLease {
        attempt: AttemptId {
            run: RunId(number(row, "run")?),
            task: number(row, "task")?,
            attempt: number(row, "attempt")?,
        },
        status: attempt_status(row)?,
        epoch: number(row, "epoch")?,
        owner: text(row, "owner")?,
        expires: time(row, "expires_us")?,
        process: pid.zip(start_ticks).map(|(pid, start_ticks)| ProcessMark { pid, start_ticks }),
    })
}

/// A backfill with its counts in columns `queued`, `running`, `succeeded`, `failed`, `cancelled`.
pub(crate) fn backfill(row: &impl Columns) -> Read<BackfillRow> {
    let status = text(row, "status")?;
    Ok(BackfillRow {
        id: BackfillId(number(row, "id")?),
        flow: text(row, "flow")?,
        from: time(row, "from_us")?,
        to: time(row, "to_us")?,
        concurrency: number(row, "concurrency")?,
        which: text(row, "which")?,
        newest_first: row.flag("newest_first")?,
        status: word("backfill status", &status, BackfillStatus::from_word(&status))?,
        planned: number(row, "planned")?,
        trial: maybe_number(row, "trial")?,
        rounds: number(row, "rounds")?,
        round: number(row, "round")?,
        failed_before: number(row, "failed_before")?,
        pace: maybe_number(row, "pace")?,
        mean_run_us: row.number("mean_run_us")?,
        runs: counts(row)?,
        created_at: time(row, "created_at_us")?,
        ended_at: maybe_time(row, "ended_at_us")?,
    })
}

pub(crate) fn counts(row: &impl Columns) -> Read<RunCounts> {
    Ok(RunCounts {
        queued: number(row, "queued")?,
        running: number(row, "running")?,
        succeeded: number(row, "succeeded")?,
        failed: number(row, "failed")?,
        cancelled: number(row, "cancelled")?,
    })
}

pub(crate) fn event(row: &impl Columns) -> Read<EventRow> {
    Ok(EventRow {
        seq: number(row, "seq")?,
        at: time(row, "at_us")?,
        kind: text(row, "kind")?,
        run: row.number("run")?.map(RunId),
        task: maybe_number(row, "task")?,
        attempt: maybe_number(row, "attempt")?,
        payload: text(row, "payload")?,
    })
}
