//! Writes as the scheduler makes them, in small.

use jiff::{SignedDuration, Timestamp};
use mulgil_history::write::{
    AttemptChange, FlowVersion, NewLease, NewRun, ProcessMark, RunChange, TaskChange, Trigger, Write,
};
use mulgil_sched::id::{AttemptId, BackfillId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

pub(crate) const T0: Timestamp = Timestamp::UNIX_EPOCH;

pub(crate) fn day(number: i64) -> Timestamp {
    T0 + SignedDuration::from_hours(24 * number)
}

pub(crate) fn version() -> Write {
    let (hash, flow, definition) = ("h1".to_owned(), "f".to_owned(), "flow: f".to_owned());
    Write::FlowVersion(FlowVersion { hash, flow, definition, at: T0 })
}

pub(crate) fn new_run(id: i64, trigger: Trigger, backfill: Option<i64>) -> Write {
    Write::Run(NewRun {
        id: RunId(id),
        flow: "f".to_owned(),
        key: format!("k{id}"),
        name: format!("f/{id}"),
        version: "h1".to_owned(),
        params: serde_json::json!({"x": 1}),
        interval_start: Some(day(id)),
        interval_end: Some(day(id + 1)),
        trigger,
        backfill: backfill.map(BackfillId),
        retries: true,
        at: T0,
        tasks: vec!["land".to_owned(), "publish".to_owned()],
    })
}

pub(crate) fn run_status(run: i64, from: RunStatus, to: RunStatus) -> Write {
    Write::RunStatus(RunChange { run: RunId(run), from, to, timed_out: false, at: day(100) })
}

pub(crate) fn task(run: i64, task: u32, from: TaskStatus, to: TaskStatus, attempts: u32) -> Write {
    let run = RunId(run);
    Write::Task(TaskChange {
        run,
        task,
        from,
        to,
        attempts,
        retries_used: 0,
        losses: 0,
        since: None,
        not_before: None,
        result: None,
        note: None,
        at: T0,
    })
}

pub(crate) fn id(run: i64, attempt: u32) -> AttemptId {
    AttemptId { run: RunId(run), task: 0, attempt }
}

pub(crate) fn new_lease(run: i64, attempt: u32, epoch: i64) -> NewLease {
    let (owner, log) = ("w".to_owned(), "a.log".to_owned());
    NewLease { attempt: id(run, attempt), epoch, owner, expires: day(1), log, at: T0 }
}

pub(crate) fn lease(run: i64, attempt: u32, epoch: i64) -> Write {
    Write::Lease(new_lease(run, attempt, epoch))
}

pub(crate) fn attempt(run: i64, from: AttemptStatus, to: AttemptStatus) -> Write {
    let process = (to == AttemptStatus::Running).then_some(ProcessMark { pid: 7, start_ticks: 9 });
    let error = (to == AttemptStatus::Failed).then(|| "no such file".to_owned());
    Write::Attempt(AttemptChange { attempt: id(run, 1), from, to, process, error, at: T0 })
}
