//! The store on a real file: what was committed is read back, what does not fit is refused as a whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use jiff::{SignedDuration, Timestamp};
use mulgil_sched::id::{AttemptId, BackfillId, RunId};
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use tempfile::TempDir;

use super::SqliteHistory;
use crate::read::RunQuery;
use crate::write::{
    AttemptChange, BackfillStatus, FlowVersion, NewBackfill, NewLease, NewRun, ProcessMark, RunChange, TaskChange,
    Trigger, Write,
};
use crate::{History, HistoryError};

const T0: Timestamp = Timestamp::UNIX_EPOCH;

fn day(number: i64) -> Timestamp {
    T0 + SignedDuration::from_hours(24 * number)
}

fn version() -> Write {
    let (hash, flow, definition) = ("h1".to_owned(), "f".to_owned(), "flow: f".to_owned());
    Write::FlowVersion(FlowVersion { hash, flow, definition, at: T0 })
}

fn new_run(id: i64, trigger: Trigger, backfill: Option<i64>) -> Write {
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

fn run_status(run: i64, from: RunStatus, to: RunStatus) -> Write {
    Write::RunStatus(RunChange { run: RunId(run), from, to, at: day(100) })
}

fn task(run: i64, task: u32, from: TaskStatus, to: TaskStatus, attempts: u32) -> Write {
    let run = RunId(run);
    Write::Task(TaskChange { run, task, from, to, attempts, retries_used: 0, losses: 0, not_before: None, at: T0 })
}

fn id(run: i64, attempt: u32) -> AttemptId {
    AttemptId { run: RunId(run), task: 0, attempt }
}

fn lease(run: i64, attempt: u32, epoch: i64) -> Write {
    let (owner, log) = ("w".to_owned(), "a.log".to_owned());
    Write::Lease(NewLease { attempt: id(run, attempt), epoch, owner, expires: day(1), log, at: T0 })
}

fn attempt(run: i64, from: AttemptStatus, to: AttemptStatus) -> Write {
    let process = (to == AttemptStatus::Running).then_some(ProcessMark { pid: 7, start_ticks: 9 });
    let error = (to == AttemptStatus::Failed).then(|| "no such file".to_owned());
    Write::Attempt(AttemptChange { attempt: id(run, 1), from, to, process, error, at: T0 })
}

async fn open(folder: &TempDir) -> SqliteHistory {
    SqliteHistory::open(&folder.path().join("history.db")).await.unwrap()
}

#[tokio::test]
async fn a_run_is_read_back_after_the_file_was_closed() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    let backfill = NewBackfill {
        id: BackfillId(1),
        flow: "f".to_owned(),
        from: day(1),
        to: day(3),
        concurrency: 8,
        which: "missing".to_owned(),
        newest_first: true,
        planned: 2,
        at: T0,
    };
    let first = [version(), Write::Backfill(backfill), new_run(1, Trigger::Backfill, Some(1))];
    history.commit(&first).await.unwrap();
    use AttemptStatus as A;
    use TaskStatus as S;
    let begin = [
        run_status(1, RunStatus::Queued, RunStatus::Running),
        task(1, 0, S::Waiting, S::Ready, 0),
        task(1, 0, S::Ready, S::Running, 1),
        lease(1, 1, 5),
        attempt(1, A::Leased, A::Running),
    ];
    history.commit(&begin).await.unwrap();
    history.close().await.unwrap();

    let history = open(&folder).await;
    let memory = history.memory().await.unwrap();
    assert_eq!((memory.last_run, memory.last_backfill, memory.last_epoch), (1, 1, 5));
    assert_eq!(memory.leases[0].attempt, id(1, 1));
    assert_eq!(memory.leases[0].process, Some(ProcessMark { pid: 7, start_ticks: 9 }));
    let (run, tasks) = &memory.runs[0];
    assert_eq!(
        (run.status, run.interval_start, run.params.clone()),
        (RunStatus::Running, Some(day(1)), serde_json::json!({"x": 1}))
    );
    assert_eq!(tasks.iter().map(|task| task.status).collect::<Vec<_>>(), [S::Running, S::Waiting]);
    assert_eq!(memory.backfills[0].runs.running, 1);
    assert!(memory.backfills[0].newest_first);

    let end = [
        attempt(1, A::Running, A::Failed),
        task(1, 0, S::Running, S::Failed, 1),
        task(1, 1, S::Waiting, S::UpstreamFailed, 0),
        run_status(1, RunStatus::Running, RunStatus::Failed),
        Write::BackfillStatus {
            backfill: BackfillId(1),
            from: BackfillStatus::Running,
            to: BackfillStatus::Failed,
            at: T0,
        },
    ];
    history.commit(&end).await.unwrap();
    let detail = history.run(RunId(1)).await.unwrap().unwrap();
    assert_eq!(detail.run.ended_at, Some(day(100)));
    assert_eq!(detail.attempts[0].error.as_deref(), Some("no such file"));
    assert_eq!(history.run_named("f/1").await.unwrap(), Some(RunId(1)));
    let events = history.events(0, 100).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "attempt" && event.payload == "running -> failed: no such file"));
    let memory = history.memory().await.unwrap();
    assert!(memory.runs.is_empty() && memory.leases.is_empty() && memory.backfills.is_empty());
}

#[tokio::test]
async fn a_change_from_a_status_that_is_not_stored_undoes_its_whole_batch() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    history.commit(&[version(), new_run(1, Trigger::Manual, None)]).await.unwrap();
    let wrong =
        [run_status(1, RunStatus::Queued, RunStatus::Running), task(1, 0, TaskStatus::Ready, TaskStatus::Running, 1)];
    let error = history.commit(&wrong).await.unwrap_err();
    assert!(matches!(error, HistoryError::Conflict { .. }), "{error}");
    assert_eq!(history.run(RunId(1)).await.unwrap().unwrap().run.status, RunStatus::Queued);
}

#[tokio::test]
async fn a_slot_is_never_doubled_and_an_ended_attempt_never_changes() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    history.commit(&[version(), new_run(1, Trigger::Schedule, None)]).await.unwrap();
    let Write::Run(run) = new_run(1, Trigger::Manual, None) else { unreachable!() };
    let twin = Write::Run(NewRun { id: RunId(2), ..run });
    assert!(history.commit(&[twin]).await.is_err(), "the same key is the same run");
    assert_eq!(history.last_scheduled("f").await.unwrap(), Some(day(1)));

    use AttemptStatus as A;
    history.commit(&[lease(1, 1, 1), attempt(1, A::Leased, A::Lost)]).await.unwrap();
    let error = history.commit(&[attempt(1, A::Lost, A::Succeeded)]).await.unwrap_err();
    assert!(error.to_string().contains("never changes again"), "{error}");
    let renewal = Write::Renew { attempt: id(1, 1), epoch: 1, expires: day(9) };
    assert!(history.commit(&[renewal]).await.is_err(), "a lost lease is not renewed");
}

#[tokio::test]
async fn the_grid_is_packed_and_ten_thousand_runs_are_no_burden() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder).await;
    let mut writes = vec![version()];
    writes.extend((1..=10_000).map(|id| new_run(id, Trigger::Backfill, None)));
    writes.push(task(9_999, 0, TaskStatus::Waiting, TaskStatus::Ready, 0));
    history.commit(&writes).await.unwrap();

    let begun = std::time::Instant::now();
    let grid = history.grid("f", 365).await.unwrap();
    assert_eq!(grid.tasks, ["land", "publish"]);
    assert_eq!(grid.runs.len(), 365);
    assert_eq!(grid.runs[363].cells, "yw");
    assert_eq!(grid.runs[364].name, "f/10000");
    let page = RunQuery { flow: Some("f".to_owned()), before: Some(RunId(5_000)), limit: 3, ..RunQuery::default() };
    let page: Vec<i64> = history.runs(&page).await.unwrap().iter().map(|run| run.id.0).collect();
    assert_eq!(page, [4_999, 4_998, 4_997]);
    let keys: Vec<String> = (1..=365).map(|id| format!("k{id}")).collect();
    assert_eq!(history.runs_by_key("f", &keys).await.unwrap().len(), 365);
    let flows = history.flows().await.unwrap();
    assert_eq!(flows[0].runs.queued, 10_000);
    assert_eq!(flows[0].last_run.as_ref().unwrap().id, RunId(10_000));
    // Without the indices this takes tens of seconds.
    assert!(begun.elapsed().as_secs() < 5, "reads took {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_second_server_is_told_that_the_project_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let _history = open(&folder).await;
    let second = SqliteHistory::open(&folder.path().join("history.db")).await;
    assert!(matches!(second, Err(HistoryError::Taken { .. })));
}
