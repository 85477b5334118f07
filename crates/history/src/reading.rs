//! The questions that the history answers, in words that every store understands.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::{SignedDuration, Timestamp};
use mulgil_sched::id::{BackfillId, RunId};
use mulgil_sched::status::TaskStatus;

use crate::call;
use crate::outbox;
use crate::question::{Answers, Columns, Question, Read, TextsOfJson, Value};
use crate::read::{
    AlertRow, BackfillRow, EventRow, FlowSummary, Grid, GridRun, Memory, RunDetail, RunQuery, RunRow, TaskRow,
    VersionRow,
};
use crate::row;
use crate::write::FlowVersion;

/// A statement with the runs `r` of each group counted by status.
macro_rules! counted {
    ($before:literal, $after:expr) => {
        concat!(
            $before,
            "count(*) FILTER (WHERE r.status = 'queued') AS queued, ",
            "count(*) FILTER (WHERE r.status IN ('running', 'cancelling')) AS running, ",
            "count(*) FILTER (WHERE r.status = 'succeeded') AS succeeded, ",
            "count(*) FILTER (WHERE r.status = 'failed') AS failed, ",
            "count(*) FILTER (WHERE r.status = 'cancelled') AS cancelled",
            $after
        )
    };
}

macro_rules! backfills_where {
    ($condition:literal, $limit:literal) => {
        counted!(
            "SELECT b.*, CAST(avg(r.ended_at_us - r.started_at_us) FILTER (WHERE r.status IN ('succeeded', 'failed')) \
             AS bigint) AS mean_run_us, ",
            concat!(
                " FROM backfills b LEFT JOIN runs r ON r.backfill = b.id WHERE ",
                $condition,
                " GROUP BY b.id ORDER BY b.id DESC LIMIT ",
                $limit
            )
        )
    };
}

const OPEN_TASKS: &str = "SELECT t.* FROM tasks t JOIN runs r ON r.id = t.run \
                          WHERE r.status IN ('queued', 'running', 'cancelling') ORDER BY t.run, t.task";
const OPEN_RUNS: &str = "SELECT * FROM runs WHERE status IN ('queued', 'running', 'cancelling') ORDER BY id";
const OPEN_ALERTS: &str = "SELECT a.* FROM alerts a JOIN runs r ON r.id = a.run \
                           WHERE r.status IN ('queued', 'running', 'cancelling') ORDER BY a.run, a.at_us, a.kind";
const LIVE_LEASES: &str = "SELECT * FROM attempts WHERE status IN ('leased', 'running') ORDER BY epoch";
const LAST: &str = "SELECT coalesce((SELECT max(id) FROM runs), 0) AS run, coalesce((SELECT max(id) FROM backfills), 0) AS \
                    backfill, coalesce((SELECT max(epoch) FROM attempts), 0) AS epoch";

pub(crate) async fn memory(db: &impl Answers) -> Read<Memory> {
    let open_backfills = Question {
        sql: backfills_where!("b.status IN ('running', 'paused')", "$1"),
        values: vec![Value::from(i64::MAX)],
    };
    let questions = [
        Question::plain(OPEN_TASKS),
        Question::plain(OPEN_RUNS),
        Question::plain(LIVE_LEASES),
        Question::plain(call::OPEN_CALLS),
        Question::plain("SELECT flow FROM flows WHERE paused"),
        Question::plain(OPEN_ALERTS),
        Question::plain("SELECT count(*) AS waiting FROM notices WHERE status = 'waiting'"),
        Question::plain(LAST),
        open_backfills,
    ];
    let mut answers = db.answer(&questions).await?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let mut tasks: HashMap<i64, Vec<TaskRow>> = HashMap::new();
    for found in next() {
        tasks.entry(row::number(&found, "run")?).or_default().push(row::task(&found)?);
    }
    let runs = all(&next(), row::run)?;
    let leases = all(&next(), row::live_lease)?;
    let calls = all(&next(), call::call)?;
    let paused = all(&next(), |found| row::text(found, "flow"))?;
    let mut alerts: HashMap<RunId, Vec<AlertRow>> = HashMap::new();
    for found in next() {
        alerts.entry(RunId(row::number(&found, "run")?)).or_default().push(outbox::alert(&found)?);
    }
    let waiting = next();
    let last = next();
    let last = |column: &str| last.first().map_or(Ok(0), |found| row::number(found, column));
    Ok(Memory {
        runs: runs.into_iter().map(|run| (tasks.remove(&run.id.0).unwrap_or_default(), run)).map(swap).collect(),
        leases,
        calls,
        backfills: all(&next(), row::backfill)?,
        paused,
        alerts,
        notices_waiting: waiting.first().map_or(Ok(0), |found| row::number(found, "waiting"))?,
        last_run: last("run")?,
        last_backfill: last("backfill")?,
        last_epoch: last("epoch")?,
    })
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

fn all<R, T>(rows: &[R], read: impl Fn(&R) -> Read<T>) -> Read<Vec<T>> {
    rows.iter().map(read).collect()
}

pub(crate) async fn flow_version(db: &impl Answers, hash: &str) -> Read<Option<FlowVersion>> {
    let found = db.row("SELECT * FROM flow_versions WHERE hash = $1", vec![hash.into()]).await?;
    found.as_ref().map(row::version).transpose()
}

pub(crate) async fn flow_versions(db: &impl Answers, flow: &str) -> Read<Vec<VersionRow>> {
    let sql = "SELECT v.hash, v.at_us, \
               (SELECT count(*) FROM runs r WHERE r.flow = v.flow AND r.version = v.hash) AS runs \
               FROM flow_versions v WHERE v.flow = $1 ORDER BY v.at_us DESC, v.hash";
    all(&db.rows(sql, vec![flow.into()]).await?, row::version_row)
}

pub(crate) async fn runs(db: &impl Answers, query: &RunQuery) -> Read<Vec<RunRow>> {
    let sql = "SELECT * FROM runs WHERE ($1 IS NULL OR flow = $1) AND ($2 IS NULL OR backfill = $2) \
               AND ($3 IS NULL OR status = $3) AND ($4 IS NULL OR id < $4) ORDER BY id DESC LIMIT $5";
    let values = vec![
        query.flow.as_deref().into(),
        query.backfill.map(|backfill| backfill.0).into(),
        query.status.map(|status| status.word()).into(),
        query.before.map(|run| run.0).into(),
        query.limit.into(),
    ];
    all(&db.rows(sql, values).await?, row::run)
}

pub(crate) async fn run(db: &impl Answers, run: RunId) -> Read<Option<RunDetail>> {
    let attempts = "SELECT a.*, t.name FROM attempts a JOIN tasks t ON t.run = a.run AND t.task = a.task \
                    WHERE a.run = $1 ORDER BY a.task, a.attempt";
    let of_run = |sql: &'static str| Question { sql, values: vec![run.0.into()] };
    let questions = [
        of_run("SELECT * FROM runs WHERE id = $1"),
        of_run("SELECT * FROM tasks WHERE run = $1 ORDER BY task"),
        of_run("SELECT * FROM alerts WHERE run = $1 ORDER BY at_us, kind"),
        of_run(attempts),
        of_run(call::PARENT),
        of_run(call::CHILDREN),
    ];
    let mut answers = db.answer(&questions).await?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let Some(found) = next().into_iter().next() else { return Ok(None) };
    Ok(Some(RunDetail {
        run: row::run(&found)?,
        tasks: all(&next(), row::task)?,
        alerts: all(&next(), outbox::alert)?,
        attempts: all(&next(), row::attempt)?,
        parent: next().first().map(call::parent).transpose()?,
        children: all(&next(), call::child)?,
    }))
}

pub(crate) async fn run_named(db: &impl Answers, name: &str) -> Read<Option<RunId>> {
    let found = db.row("SELECT max(id) AS id FROM runs WHERE name = $1", vec![name.into()]).await?;
    Ok(found.map(|found| found.number("id")).transpose()?.flatten().map(RunId))
}

pub(crate) async fn runs_by_key<A: Answers>(db: &A, flow: &str, keys: &[String]) -> Read<Vec<RunRow>> {
    let sql = match A::TEXTS_OF_JSON {
        TextsOfJson::Sqlite => "SELECT r.* FROM json_each($2) k JOIN runs r ON r.flow = $1 AND r.key = k.value",
        TextsOfJson::Postgres => {
            "SELECT r.* FROM json_array_elements_text($2::text::json) k (value) \
             JOIN runs r ON r.flow = $1 AND r.key = k.value"
        }
    };
    let keys = serde_json::Value::from(keys.to_vec()).to_string();
    all(&db.rows(sql, vec![flow.into(), keys.as_str().into()]).await?, row::run)
}

/// One query for the whole grid: the cells of a run come as one string. Items are no rows of it: their task stands for them.
pub(crate) async fn grid(db: &impl Answers, flow: &str, limit: u32) -> Read<Grid> {
    let sql = "SELECT r.*, \
               (SELECT string_agg(t.name, '\n' ORDER BY t.task) FROM tasks t WHERE t.run = r.id AND t.item_of IS NULL) AS names, \
               (SELECT string_agg(t.status, '\n' ORDER BY t.task) FROM tasks t WHERE t.run = r.id AND t.item_of IS NULL) AS cells \
               FROM runs r WHERE r.flow = $1 ORDER BY r.order_us DESC, r.id DESC LIMIT $2";
    let found = db.rows(sql, vec![flow.into(), limit.into()]).await?;
    let names =
        found.iter().map(|found| Ok(found.text("names")?.unwrap_or_default())).collect::<Read<Vec<String>>>()?;
    let mut tasks: Vec<String> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for name in names.iter().flat_map(|names| names.lines()) {
        if let Entry::Vacant(new) = places.entry(name) {
            new.insert(tasks.len());
            tasks.push(name.to_owned());
        }
    }
    let columns = found.iter().zip(&names);
    let mut runs = columns.map(|(found, names)| grid_run(found, names, &places)).collect::<Read<Vec<GridRun>>>()?;
    runs.reverse();
    Ok(Grid { flow: flow.to_owned(), tasks, runs })
}

fn grid_run(found: &impl Columns, names: &str, places: &HashMap<&str, usize>) -> Read<GridRun> {
    let words = found.text("cells")?.unwrap_or_default();
    let mut cells = vec!['-'; places.len()];
    for (name, word) in names.lines().zip(words.lines()) {
        if let Some(cell) = places.get(name).and_then(|place| cells.get_mut(*place)) {
            *cell = TaskStatus::from_word(word)?.letter();
        }
    }
    Ok(GridRun {
        id: RunId(row::number(found, "id")?),
        name: row::text(found, "name")?,
        status: row::run_status(found)?,
        interval_start: row::maybe_time(found, "interval_start_us")?,
        interval_end: row::maybe_time(found, "interval_end_us")?,
        trigger: row::trigger(found)?,
        started_at: row::maybe_time(found, "started_at_us")?,
        ended_at: row::maybe_time(found, "ended_at_us")?,
        cells: cells.into_iter().collect(),
    })
}

pub(crate) async fn flows(db: &impl Answers) -> Read<Vec<FlowSummary>> {
    let newest = "SELECT * FROM runs WHERE id IN (SELECT max(id) FROM runs GROUP BY flow)";
    let counted = counted!(
        "SELECT n.flow, f.paused, ",
        " FROM (SELECT flow FROM flows UNION SELECT flow FROM runs) n \
         LEFT JOIN runs r ON r.flow = n.flow LEFT JOIN flows f ON f.flow = n.flow GROUP BY n.flow, f.paused ORDER BY n.flow"
    );
    let mut answers = db.answer(&[Question::plain(newest), Question::plain(counted)]).await?.into_iter();
    let mut next = || answers.next().unwrap_or_default();
    let newest = all(&next(), row::run)?;
    all(&next(), |found| flow_summary(found, &newest))
}

fn flow_summary(found: &impl Columns, newest: &[RunRow]) -> Read<FlowSummary> {
    let flow = row::text(found, "flow")?;
    Ok(FlowSummary {
        runs: row::counts(found)?,
        last_run: newest.iter().find(|run| run.flow == flow).cloned(),
        paused: found.flag("paused")?,
        flow,
    })
}

pub(crate) async fn last_scheduled(db: &impl Answers, flow: &str) -> Read<Option<Timestamp>> {
    let latest = "SELECT max(interval_start_us) AS latest FROM runs WHERE flow = $1 AND trigger = 'schedule'";
    let found = db.row(latest, vec![flow.into()]).await?;
    found.map_or(Ok(None), |found| row::maybe_time(&found, "latest"))
}

pub(crate) async fn backfill(db: &impl Answers, backfill: BackfillId) -> Read<Option<BackfillRow>> {
    let found = db.row(backfills_where!("b.id = $1", "$2"), vec![backfill.0.into(), 1_u32.into()]).await?;
    found.as_ref().map(row::backfill).transpose()
}

pub(crate) async fn backfills(db: &impl Answers, flow: Option<&str>, limit: u32) -> Read<Vec<BackfillRow>> {
    let sql = backfills_where!("($1 IS NULL OR b.flow = $1)", "$2");
    all(&db.rows(sql, vec![flow.into(), limit.into()]).await?, row::backfill)
}

pub(crate) async fn durations(db: &impl Answers, flow: &str, limit: u32) -> Read<Vec<SignedDuration>> {
    let sql = "SELECT ended_at_us - started_at_us AS took FROM runs WHERE flow = $1 AND status = 'succeeded' \
               AND backfill IS NULL AND started_at_us IS NOT NULL ORDER BY id DESC LIMIT $2";
    let took = |found: &_| Ok(SignedDuration::from_micros(row::number(found, "took")?));
    all(&db.rows(sql, vec![flow.into(), limit.into()]).await?, took)
}

pub(crate) async fn events(db: &impl Answers, after_seq: i64, limit: u32) -> Read<Vec<EventRow>> {
    let sql = "SELECT * FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
    all(&db.rows(sql, vec![after_seq.into(), limit.into()]).await?, row::event)
}
