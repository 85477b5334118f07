//! The questions that the history answers.

use std::collections::HashMap;

use jiff::Timestamp;
use mulgil_sched::id::{AttemptId, BackfillId, RunId};
use mulgil_sched::status::TaskStatus;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::row;
use crate::error::HistoryError;
use crate::read::{
    BackfillRow, EventRow, FlowSummary, Grid, GridRun, LiveLease, Memory, RunDetail, RunQuery, RunRow, TaskRow,
};
use crate::write::{FlowVersion, ProcessMark};

type Read<T> = Result<T, HistoryError>;

pub(super) async fn memory(db: &SqlitePool) -> Read<Memory> {
    let mut tasks: HashMap<i64, Vec<TaskRow>> = HashMap::new();
    let open = "SELECT t.* FROM tasks t JOIN runs r ON r.id = t.run \
                WHERE r.status IN ('queued', 'running', 'cancelling') ORDER BY t.run, t.task";
    for found in sqlx::query(open).fetch_all(db).await? {
        tasks.entry(found.try_get("run")?).or_default().push(row::task(&found)?);
    }
    let open = "SELECT * FROM runs WHERE status IN ('queued', 'running', 'cancelling') ORDER BY id";
    let runs: Vec<RunRow> = all(sqlx::query(open).fetch_all(db).await?, row::run)?;
    let live = "SELECT * FROM attempts WHERE status IN ('leased', 'running') ORDER BY epoch";
    let leases = all(sqlx::query(live).fetch_all(db).await?, live_lease)?;
    let paused = sqlx::query_scalar("SELECT flow FROM flows WHERE paused").fetch_all(db).await?;
    let last = "SELECT coalesce((SELECT max(id) FROM runs), 0) AS run, coalesce((SELECT max(id) FROM backfills), 0) AS \
                backfill, coalesce((SELECT max(epoch) FROM attempts), 0) AS epoch";
    let last = sqlx::query(last).fetch_one(db).await?;
    Ok(Memory {
        runs: runs.into_iter().map(|run| (tasks.remove(&run.id.0).unwrap_or_default(), run)).map(swap).collect(),
        leases,
        backfills: open_backfills(db).await?,
        paused,
        last_run: last.try_get("run")?,
        last_backfill: last.try_get("backfill")?,
        last_epoch: last.try_get("epoch")?,
    })
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

fn all<T>(rows: Vec<SqliteRow>, read: impl Fn(&SqliteRow) -> Read<T>) -> Read<Vec<T>> {
    rows.iter().map(read).collect()
}

fn live_lease(found: &SqliteRow) -> Read<LiveLease> {
    let pid: Option<i32> = found.try_get("pid")?;
    let start_ticks: Option<i64> = found.try_get("start_ticks")?;
    Ok(LiveLease {
        attempt: AttemptId {
            run: RunId(found.try_get("run")?),
            task: found.try_get("task")?,
            attempt: found.try_get("attempt")?,
        },
        status: row::attempt_status(found)?,
        epoch: found.try_get("epoch")?,
        owner: found.try_get("owner")?,
        expires: row::time(found, "expires_us")?,
        process: pid.zip(start_ticks).map(|(pid, start_ticks)| ProcessMark { pid, start_ticks }),
    })
}

pub(super) async fn flow_version(db: &SqlitePool, hash: &str) -> Read<Option<FlowVersion>> {
    let found = sqlx::query("SELECT * FROM flow_versions WHERE hash = ?").bind(hash).fetch_optional(db).await?;
    let version = |found: SqliteRow| -> Read<FlowVersion> {
        Ok(FlowVersion {
            hash: found.try_get("hash")?,
            flow: found.try_get("flow")?,
            definition: found.try_get("definition")?,
            at: row::time(&found, "at_us")?,
        })
    };
    found.map(version).transpose()
}

pub(super) async fn runs(db: &SqlitePool, query: &RunQuery) -> Read<Vec<RunRow>> {
    let found = sqlx::query(
        "SELECT * FROM runs WHERE (?1 IS NULL OR flow = ?1) AND (?2 IS NULL OR backfill = ?2) \
         AND (?3 IS NULL OR status = ?3) AND (?4 IS NULL OR id < ?4) ORDER BY id DESC LIMIT ?5",
    )
    .bind(&query.flow)
    .bind(query.backfill.map(|backfill| backfill.0))
    .bind(query.status.map(|status| status.word()))
    .bind(query.before.map(|run| run.0))
    .bind(query.limit)
    .fetch_all(db)
    .await?;
    all(found, row::run)
}

pub(super) async fn run(db: &SqlitePool, run: RunId) -> Read<Option<RunDetail>> {
    // One transaction, so that the three reads see the same state.
    let mut snapshot = db.begin().await?;
    let found = sqlx::query("SELECT * FROM runs WHERE id = ?").bind(run.0).fetch_optional(&mut *snapshot).await?;
    let Some(found) = found else { return Ok(None) };
    let tasks =
        sqlx::query("SELECT * FROM tasks WHERE run = ? ORDER BY task").bind(run.0).fetch_all(&mut *snapshot).await?;
    let attempts = sqlx::query(
        "SELECT a.*, t.name FROM attempts a JOIN tasks t ON t.run = a.run AND t.task = a.task WHERE a.run = ? \
         ORDER BY a.task, a.attempt",
    )
    .bind(run.0)
    .fetch_all(&mut *snapshot)
    .await?;
    Ok(Some(RunDetail {
        run: row::run(&found)?,
        tasks: all(tasks, row::task)?,
        attempts: all(attempts, row::attempt)?,
    }))
}

pub(super) async fn run_named(db: &SqlitePool, name: &str) -> Read<Option<RunId>> {
    let found = sqlx::query_scalar("SELECT max(id) FROM runs WHERE name = ?").bind(name).fetch_one(db).await?;
    Ok(Option::<i64>::map(found, RunId))
}

pub(super) async fn runs_by_key(db: &SqlitePool, flow: &str, keys: &[String]) -> Read<Vec<RunRow>> {
    let keys = serde_json::Value::from(keys.to_vec()).to_string();
    let found = sqlx::query("SELECT r.* FROM json_each(?2) k JOIN runs r ON r.flow = ?1 AND r.key = k.value")
        .bind(flow)
        .bind(keys)
        .fetch_all(db)
        .await?;
    all(found, row::run)
}

/// One query for the whole grid: the cells of a run come as one string.
pub(super) async fn grid(db: &SqlitePool, flow: &str, limit: u32) -> Read<Grid> {
    let found = sqlx::query(
        "SELECT r.*, \
         (SELECT group_concat(t.name, char(10) ORDER BY t.task) FROM tasks t WHERE t.run = r.id) AS names, \
         (SELECT group_concat(t.status, char(10) ORDER BY t.task) FROM tasks t WHERE t.run = r.id) AS cells \
         FROM runs r WHERE r.flow = ? ORDER BY r.order_us DESC, r.id DESC LIMIT ?",
    )
    .bind(flow)
    .bind(limit)
    .fetch_all(db)
    .await?;
    let mut tasks: Vec<String> = Vec::new();
    for found in &found {
        for name in text(found, "names")?.lines() {
            if !tasks.iter().any(|task| task == name) {
                tasks.push(name.to_owned());
            }
        }
    }
    let mut runs = found.iter().map(|found| grid_run(found, &tasks)).collect::<Read<Vec<GridRun>>>()?;
    runs.reverse();
    Ok(Grid { flow: flow.to_owned(), tasks, runs })
}

fn text(found: &SqliteRow, column: &str) -> Read<String> {
    Ok(found.try_get::<Option<String>, _>(column)?.unwrap_or_default())
}

fn grid_run(found: &SqliteRow, tasks: &[String]) -> Read<GridRun> {
    let (names, words) = (text(found, "names")?, text(found, "cells")?);
    let letters = words.lines().map(|word| Ok(TaskStatus::from_word(word)?.letter())).collect::<Read<Vec<char>>>()?;
    let letter_of = |task: &String| {
        let place = names.lines().position(|name| name == task);
        place.and_then(|place| letters.get(place).copied()).unwrap_or('-')
    };
    Ok(GridRun {
        id: RunId(found.try_get("id")?),
        name: found.try_get("name")?,
        status: row::run_status(found)?,
        interval_start: row::maybe_time(found, "interval_start_us")?,
        interval_end: row::maybe_time(found, "interval_end_us")?,
        trigger: row::trigger(found)?,
        started_at: row::maybe_time(found, "started_at_us")?,
        ended_at: row::maybe_time(found, "ended_at_us")?,
        cells: tasks.iter().map(letter_of).collect(),
    })
}

pub(super) async fn flows(db: &SqlitePool) -> Read<Vec<FlowSummary>> {
    let newest = "SELECT * FROM runs WHERE id IN (SELECT max(id) FROM runs GROUP BY flow)";
    let newest: Vec<RunRow> = all(sqlx::query(newest).fetch_all(db).await?, row::run)?;
    let counted = sqlx::query(
        "SELECT n.flow, coalesce(f.paused, 0) AS paused, \
         coalesce(sum(r.status = 'queued'), 0) AS queued, \
         coalesce(sum(r.status IN ('running', 'cancelling')), 0) AS running, \
         coalesce(sum(r.status = 'succeeded'), 0) AS succeeded, \
         coalesce(sum(r.status = 'failed'), 0) AS failed, \
         coalesce(sum(r.status = 'cancelled'), 0) AS cancelled \
         FROM (SELECT flow FROM flows UNION SELECT flow FROM runs) n \
         LEFT JOIN runs r ON r.flow = n.flow LEFT JOIN flows f ON f.flow = n.flow GROUP BY n.flow ORDER BY n.flow",
    )
    .fetch_all(db)
    .await?;
    let summary = |found: &SqliteRow| -> Read<FlowSummary> {
        let flow: String = found.try_get("flow")?;
        Ok(FlowSummary {
            runs: row::counts(found)?,
            last_run: newest.iter().find(|run| run.flow == flow).cloned(),
            paused: found.try_get("paused")?,
            flow,
        })
    };
    all(counted, summary)
}

pub(super) async fn last_scheduled(db: &SqlitePool, flow: &str) -> Read<Option<Timestamp>> {
    let latest = "SELECT max(interval_start_us) AS latest FROM runs WHERE flow = ? AND trigger = 'schedule'";
    row::maybe_time(&sqlx::query(latest).bind(flow).fetch_one(db).await?, "latest")
}

macro_rules! backfills_where {
    ($condition:literal) => {
        concat!(
            "SELECT b.*, coalesce(sum(r.status = 'queued'), 0) AS queued, ",
            "coalesce(sum(r.status IN ('running', 'cancelling')), 0) AS running, ",
            "coalesce(sum(r.status = 'succeeded'), 0) AS succeeded, ",
            "coalesce(sum(r.status = 'failed'), 0) AS failed, ",
            "coalesce(sum(r.status = 'cancelled'), 0) AS cancelled ",
            "FROM backfills b LEFT JOIN runs r ON r.backfill = b.id WHERE ",
            $condition,
            " GROUP BY b.id ORDER BY b.id DESC LIMIT ?"
        )
    };
}

pub(super) async fn backfill(db: &SqlitePool, backfill: BackfillId) -> Read<Option<BackfillRow>> {
    let found = sqlx::query(backfills_where!("b.id = ?")).bind(backfill.0).bind(1).fetch_optional(db).await?;
    found.as_ref().map(row::backfill).transpose()
}

pub(super) async fn backfills(db: &SqlitePool, flow: Option<&str>, limit: u32) -> Read<Vec<BackfillRow>> {
    // sqlx counts `?` apart from `?1`: the two must not be mixed.
    let query = sqlx::query(backfills_where!("(? IS NULL OR b.flow = ?)"));
    all(query.bind(flow).bind(flow).bind(limit).fetch_all(db).await?, row::backfill)
}

async fn open_backfills(db: &SqlitePool) -> Read<Vec<BackfillRow>> {
    all(sqlx::query(backfills_where!("b.status = 'running'")).bind(-1).fetch_all(db).await?, row::backfill)
}

pub(super) async fn events(db: &SqlitePool, after_seq: i64, limit: u32) -> Read<Vec<EventRow>> {
    let found = sqlx::query("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?")
        .bind(after_seq)
        .bind(limit)
        .fetch_all(db)
        .await?;
    let event = |found: &SqliteRow| -> Read<EventRow> {
        Ok(EventRow {
            seq: found.try_get("seq")?,
            at: row::time(found, "at_us")?,
            kind: found.try_get("kind")?,
            run: found.try_get::<Option<i64>, _>("run")?.map(RunId),
            task: found.try_get("task")?,
            attempt: found.try_get("attempt")?,
            payload: found.try_get("payload")?,
        })
    };
    all(found, event)
}
