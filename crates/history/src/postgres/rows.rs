//! The statements that store, and each [`Write`] as a row for its statement. Numbered rows (`n`) tell which of them were found in
//! the status in which they had to be.

use mulgil_sched::id::{AttemptId, RunId, TaskIndex};
use mulgil_sched::status::{AttemptStatus, RunStatus};
use serde_json::{Value, json};

use super::plan::Change;
use crate::event::storable;
use crate::row::{items_of, json_of, micros};
use crate::write::Write;

pub(super) const FLOW_VERSIONS: &str = "INSERT INTO flow_versions (hash, flow, definition, at_us) \
    SELECT hash, flow, definition, at_us FROM json_to_recordset($1::text::json) \
    AS c (hash text, flow text, definition text, at_us bigint) ON CONFLICT DO NOTHING";

pub(super) const BACKFILLS: &str = "INSERT INTO backfills \
    (id, flow, from_us, to_us, concurrency, which, newest_first, planned, trial, rounds, status, created_at_us) \
    SELECT id, flow, from_us, to_us, concurrency, which, newest_first, planned, trial, rounds, 'running', at_us \
    FROM json_to_recordset($1::text::json) AS c (id bigint, flow text, from_us bigint, to_us bigint, concurrency bigint, \
    which text, newest_first boolean, planned bigint, trial bigint, rounds bigint, at_us bigint)";

pub(super) const RUNS: &str = "INSERT INTO runs (id, flow, key, name, version, params, interval_start_us, interval_end_us, \
    trigger, backfill, retries, status, order_us, created_at_us) \
    SELECT id, flow, key, name, version, params, interval_start_us, interval_end_us, trigger, backfill, retries, 'queued', \
    coalesce(interval_start_us, at_us), at_us FROM json_to_recordset($1::text::json) \
    AS c (id bigint, flow text, key text, name text, version text, params text, interval_start_us bigint, \
    interval_end_us bigint, trigger text, backfill bigint, retries boolean, at_us bigint)";

pub(super) const TASKS_OF_RUNS: &str = "INSERT INTO tasks (run, task, name, status, attempts, retries_used, losses) \
    SELECT c.id, t.place - 1, t.name, 'waiting', 0, 0, 0 FROM json_to_recordset($1::text::json) AS c (id bigint, tasks json), \
    json_array_elements_text(c.tasks) WITH ORDINALITY AS t (name, place)";

pub(super) const RUN_BACKFILLS: &str = "UPDATE runs r SET backfill = c.backfill, retries = c.retries \
    FROM json_to_recordset($1::text::json) AS c (run bigint, backfill bigint, retries boolean) WHERE r.id = c.run \
    RETURNING 0::bigint";

pub(super) const RUN_VERSIONS: &str = "UPDATE runs r SET version = c.to_status \
    FROM json_to_recordset($1::text::json) AS c (n bigint, run bigint, from_status text, to_status text) \
    WHERE r.id = c.run AND r.version = c.from_status RETURNING c.n";

pub(super) const TASKS_OF_VERSIONS: &str = "INSERT INTO tasks (run, task, name, status, attempts, retries_used, losses) \
    SELECT c.run, (t ->> 0)::bigint, t ->> 1, 'waiting', 0, 0, 0 \
    FROM json_to_recordset($1::text::json) AS c (run bigint, tasks json), json_array_elements(c.tasks) AS x (t)";

pub(super) const RUN_STATUS: &str = "UPDATE runs r SET status = c.to_status, timed_out = c.timed_out, \
    started_at_us = coalesce(c.started_us, r.started_at_us), \
    ended_at_us = CASE WHEN c.sets_end THEN c.ended_us ELSE r.ended_at_us END \
    FROM json_to_recordset($1::text::json) AS c (n bigint, run bigint, from_status text, to_status text, started_us bigint, \
    sets_end boolean, ended_us bigint, timed_out boolean) WHERE r.id = c.run AND r.status = c.from_status RETURNING c.n";

pub(super) const TASKS: &str = "UPDATE tasks t SET status = c.to_status, attempts = c.attempts, \
    retries_used = c.retries_used, losses = c.losses, not_before_us = c.not_before_us, \
    note = c.note, result = c.result, since_us = c.since_us \
    FROM json_to_recordset($1::text::json) AS c (n bigint, run bigint, task bigint, from_status text, to_status text, \
    attempts bigint, retries_used bigint, losses bigint, not_before_us bigint, note text, result text, \
    since_us bigint) WHERE t.run = c.run AND t.task = c.task AND t.status = c.from_status RETURNING c.n";

pub(super) const ITEMS: &str = "INSERT INTO tasks \
    (run, task, name, status, attempts, retries_used, losses, item_of, item) \
    SELECT c.run, (i ->> 0)::bigint, i ->> 1, 'waiting', 0, 0, 0, c.item_of, i ->> 2 \
    FROM json_to_recordset($1::text::json) AS c (run bigint, item_of bigint, items json), json_array_elements(c.items) AS x (i) \
    ON CONFLICT (run, task) DO UPDATE SET item = excluded.item";

pub(super) const LEASES: &str = "INSERT INTO attempts \
    (run, task, attempt, status, owner, epoch, expires_us, leased_at_us, log) \
    SELECT run, task, attempt, 'leased', owner, epoch, expires_us, at_us, log FROM json_to_recordset($1::text::json) \
    AS c (run bigint, task bigint, attempt bigint, owner text, epoch bigint, expires_us bigint, at_us bigint, log text)";

pub(super) const USAGES: &str = "UPDATE attempts a SET usage = c.usage \
    FROM json_to_recordset($1::text::json) AS c (run bigint, task bigint, attempt bigint, usage text) \
    WHERE a.run = c.run AND a.task = c.task AND a.attempt = c.attempt";

pub(super) const RENEWALS: &str = "UPDATE attempts a SET expires_us = c.expires_us \
    FROM json_to_recordset($1::text::json) \
    AS c (n bigint, run bigint, task bigint, attempt bigint, epoch bigint, expires_us bigint) \
    WHERE a.run = c.run AND a.task = c.task AND a.attempt = c.attempt AND a.epoch = c.epoch \
    AND a.status IN ('leased', 'running') RETURNING c.n";

pub(super) const ATTEMPTS: &str = "UPDATE attempts a SET status = c.to_status, \
    started_at_us = coalesce(c.started_us, a.started_at_us), ended_at_us = c.ended_us, pid = coalesce(c.pid, a.pid), \
    start_ticks = coalesce(c.start_ticks, a.start_ticks), error = c.error \
    FROM json_to_recordset($1::text::json) AS c (n bigint, run bigint, task bigint, attempt bigint, from_status text, \
    to_status text, started_us bigint, ended_us bigint, pid bigint, start_ticks bigint, error text) \
    WHERE a.run = c.run AND a.task = c.task AND a.attempt = c.attempt AND a.status = c.from_status RETURNING c.n";

pub(super) const BACKFILL_STATUS: &str = "UPDATE backfills b SET status = c.to_status, ended_at_us = c.ended_us, \
    trial = CASE WHEN b.status = 'paused' THEN NULL ELSE b.trial END \
    FROM json_to_recordset($1::text::json) AS c (n bigint, backfill bigint, from_status text, to_status text, ended_us bigint) \
    WHERE b.id = c.backfill AND b.status = c.from_status RETURNING c.n";

pub(super) const BACKFILL_PACE: &str = "UPDATE backfills b SET pace = c.pace \
    FROM json_to_recordset($1::text::json) AS c (backfill bigint, pace bigint) WHERE b.id = c.backfill RETURNING 0::bigint";

pub(super) const BACKFILL_ROUND: &str = "UPDATE backfills b SET round = c.round, failed_before = c.failed \
    FROM json_to_recordset($1::text::json) AS c (backfill bigint, round bigint, failed bigint) WHERE b.id = c.backfill \
    RETURNING 0::bigint";

pub(super) const PAUSED: &str = "INSERT INTO flows (flow, paused) SELECT flow, paused \
    FROM json_to_recordset($1::text::json) AS c (flow text, paused boolean) \
    ON CONFLICT (flow) DO UPDATE SET paused = excluded.paused";

pub(super) const EVENTS: &str = "INSERT INTO events (at_us, kind, run, task, attempt, payload) \
    SELECT (e ->> 0)::bigint, e ->> 1, (e ->> 2)::bigint, (e ->> 3)::bigint, (e ->> 4)::bigint, e ->> 5 \
    FROM json_array_elements($1::text::json) WITH ORDINALITY AS x (e, place) ORDER BY place";

pub(super) fn flow_version(write: &Write) -> Option<Value> {
    let Write::FlowVersion(version) = write else { return None };
    Some(json!({
        "hash": version.hash,
        "flow": storable(&version.flow),
        "definition": storable(&version.definition),
        "at_us": micros(version.at),
    }))
}

pub(super) fn new_backfill(write: &Write) -> Option<Value> {
    let Write::Backfill(backfill) = write else { return None };
    Some(json!({
        "id": backfill.id.0,
        "flow": backfill.flow,
        "from_us": micros(backfill.from),
        "to_us": micros(backfill.to),
        "concurrency": backfill.concurrency,
        "which": backfill.which,
        "newest_first": backfill.newest_first,
        "planned": backfill.planned,
        "trial": backfill.trial,
        "rounds": backfill.rounds,
        "at_us": micros(backfill.at),
    }))
}

pub(super) fn new_run(write: &Write) -> Option<Value> {
    let Write::Run(run) = write else { return None };
    Some(json!({
        "id": run.id.0,
        "flow": run.flow,
        "key": storable(&run.key),
        "name": storable(&run.name),
        "version": run.version,
        // A text in which what is no text is written out.
        "params": run.params.to_string(),
        "interval_start_us": run.interval_start.map(micros),
        "interval_end_us": run.interval_end.map(micros),
        "trigger": run.trigger.word(),
        "backfill": run.backfill.map(|backfill| backfill.0),
        "retries": run.retries,
        "at_us": micros(run.at),
        "tasks": run.tasks,
    }))
}

pub(super) fn run_backfill(write: &Write) -> Option<(RunId, Value)> {
    let Write::RunBackfill { run, backfill, retries, .. } = write else { return None };
    Some((*run, json!({"run": run.0, "backfill": backfill.0, "retries": retries})))
}

pub(super) fn run_version(write: &Write) -> Option<(RunId, Change)> {
    let Write::RunVersion(change) = write else { return None };
    let (from, to) = (change.from.clone().into(), change.to.clone().into());
    let what = format!("the version of run {}", change.run);
    // Each re-run is a batch of its own, and no other write names a version.
    Some((change.run, Change { what, from, to, is_last: true, columns: json!({"run": change.run.0}) }))
}

pub(super) fn tasks_of_version(write: &Write) -> Option<Value> {
    let Write::RunVersion(change) = write else { return None };
    Some(json!({"run": change.run.0, "tasks": change.tasks}))
}

pub(super) fn run_status(write: &Write) -> Option<(RunId, Change)> {
    let Write::RunStatus(change) = write else { return None };
    let mut columns = json!({"run": change.run.0, "timed_out": change.timed_out});
    let at = micros(change.at);
    match change.to {
        RunStatus::Running => set(&mut columns, [("started_us", at.into())]),
        RunStatus::Queued => set(&mut columns, [("sets_end", true.into()), ("ended_us", Value::Null)]),
        to if to.is_terminal() => set(&mut columns, [("sets_end", true.into()), ("ended_us", at.into())]),
        _ => {}
    }
    let what = format!("run {}", change.run);
    // A run that has ended may be run again.
    Some((
        change.run,
        Change { what, from: change.from.word().into(), to: change.to.word().into(), is_last: false, columns },
    ))
}

pub(super) fn task(write: &Write) -> Option<((RunId, TaskIndex), Change)> {
    let Write::Task(change) = write else { return None };
    let columns = json!({
        "run": change.run.0,
        "task": change.task,
        "attempts": change.attempts,
        "retries_used": change.retries_used,
        "losses": change.losses,
        "since_us": change.since.map(micros),
        "not_before_us": change.not_before.map(micros),
        "note": change.note.as_deref().map(storable),
        "result": change.result.as_ref().map(|result| storable(&result.to_string())),
    });
    let what = format!("task {} of run {}", change.task, change.run);
    let change_of =
        Change { what, from: change.from.word().into(), to: change.to.word().into(), is_last: false, columns };
    Some(((change.run, change.task), change_of))
}

pub(super) fn new_items(write: &Write) -> Option<Value> {
    let Write::Items(new) = write else { return None };
    let items: Value = serde_json::from_str(&items_of(new)).unwrap_or_default();
    Some(json!({"run": new.run.0, "item_of": new.of, "items": items}))
}

fn id(attempt: AttemptId) -> Value {
    json!({"run": attempt.run.0, "task": attempt.task, "attempt": attempt.attempt})
}

fn set<const N: usize>(columns: &mut Value, more: [(&str, Value); N]) {
    if let Some(columns) = columns.as_object_mut() {
        columns.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

pub(super) fn new_lease(write: &Write) -> Option<Value> {
    let Write::Lease(lease) = write else { return None };
    let mut row = id(lease.attempt);
    let more = [
        ("owner", lease.owner.as_str().into()),
        ("epoch", lease.epoch.into()),
        ("expires_us", micros(lease.expires).into()),
        ("at_us", micros(lease.at).into()),
        ("log", storable(&lease.log).into()),
    ];
    set(&mut row, more);
    Some(row)
}

pub(super) fn usage(write: &Write) -> Option<(AttemptId, Value)> {
    let Write::Usage { attempt, usage } = write else { return None };
    let mut columns = id(*attempt);
    set(&mut columns, [("usage", json_of(usage).into())]);
    Some((*attempt, columns))
}

/// What is renewed again in a batch is renewed once, until the later time.
pub(super) fn renewal(write: &Write) -> Option<((AttemptId, i64), Change)> {
    let Write::Renew { attempt, epoch, expires } = write else { return None };
    let mut columns = id(*attempt);
    set(&mut columns, [("epoch", (*epoch).into()), ("expires_us", micros(*expires).into())]);
    let what = attempt.to_string();
    Some(((*attempt, *epoch), Change { what, from: "live".into(), to: "live".into(), is_last: false, columns }))
}

pub(super) fn attempt(write: &Write) -> Option<(AttemptId, Change)> {
    let Write::Attempt(change) = write else { return None };
    let mut columns = id(change.attempt);
    set(&mut columns, [("error", change.error.as_deref().map(storable).into())]);
    let at = micros(change.at);
    if change.to == AttemptStatus::Running {
        set(&mut columns, [("started_us", at.into())]);
    }
    if change.to.is_terminal() {
        set(&mut columns, [("ended_us", at.into())]);
    }
    if let Some(process) = change.process {
        set(&mut columns, [("pid", process.pid.into()), ("start_ticks", process.start_ticks.into())]);
    }
    let (from, to, is_last) = (change.from.word().into(), change.to.word().into(), change.to.is_terminal());
    Some((change.attempt, Change { what: change.attempt.to_string(), from, to, is_last, columns }))
}

pub(super) fn backfill_status(write: &Write) -> Option<(i64, Change)> {
    let Write::BackfillStatus { backfill, from, to, at } = write else { return None };
    let ended = to.is_terminal().then(|| micros(*at));
    let columns = json!({"backfill": backfill.0, "ended_us": ended});
    let what = format!("backfill {backfill}");
    Some((backfill.0, Change { what, from: from.word().into(), to: to.word().into(), is_last: false, columns }))
}

pub(super) fn backfill_pace(write: &Write) -> Option<(i64, Value)> {
    let Write::BackfillPace { backfill, pace, .. } = write else { return None };
    Some((backfill.0, json!({"backfill": backfill.0, "pace": pace})))
}

pub(super) fn backfill_round(write: &Write) -> Option<(i64, Value)> {
    let Write::BackfillRound { backfill, round, failed, .. } = write else { return None };
    Some((backfill.0, json!({"backfill": backfill.0, "round": round, "failed": failed})))
}

pub(super) fn paused(write: &Write) -> Option<(&str, Value)> {
    let Write::Paused { flow, paused, .. } = write else { return None };
    Some((flow, json!({"flow": flow, "paused": paused})))
}
