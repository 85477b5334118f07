//! Backfills: so many at a time, only what is missing, progress, cancel.

use mulgil_flow::backfill::Which;
use mulgil_history::History;
use mulgil_history::read::RunQuery;
use mulgil_history::write::BackfillStatus;
use mulgil_sched::status::RunStatus;

use super::fixture::{House, PATIENCE, wait_for};
use crate::{BackfillRequest, Change, RerunRequest, SchedulerError};

const DAILY: &str = "
flow: daily
schedule: {cron: '0 6 * * *', timezone: America/New_York, start: 2013-01-01, end: 2014-01-01, catchup: none}
tasks:
  work: {shell: 'echo {{ ds }} >> done; test {{ ds }} != 2013-01-05 || test -e mended'}
";

fn request(from: &str, to: &str) -> BackfillRequest {
    BackfillRequest {
        flow: "daily".to_owned(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        concurrency: Some(2),
        which: Which::Missing,
        order: Default::default(),
        params: Default::default(),
        trial: None,
        retries: false,
        rounds: 0,
        confirmed: false,
    }
}

fn backfill_ended(change: &Change) -> bool {
    matches!(change, Change::Backfill { status, .. } if *status != BackfillStatus::Running)
}

#[tokio::test]
async fn a_backfill_runs_what_is_missing_and_its_failure_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[DAILY]).await;
    let mut changes = house.handle.subscribe();
    let plan = house.handle.plan_backfill(request("2013-01-01", "2013-01-10")).await.unwrap();
    assert_eq!(plan.starts(), 10);
    let started = house.handle.start_backfill(request("2013-01-01", "2013-01-10")).await.unwrap();
    assert_eq!((started.new, started.again, started.skipped), (10, 0, 0));
    let backfill = started.backfill.unwrap();

    let (mut active, mut most) = (std::collections::BTreeSet::new(), 0);
    wait_for(&mut changes, backfill_ended).await;
    // The order of events in the history says how many were active at once.
    for event in house.history.events(0, 10_000).await.unwrap().iter().filter(|event| event.kind == "run") {
        if event.payload.ends_with("-> running") {
            active.insert(event.run);
        } else if event.payload.starts_with("running ->") {
            active.remove(&event.run);
        }
        most = most.max(active.len());
    }
    assert_eq!(most, 2, "two at a time");

    let row = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((row.status, row.runs.succeeded, row.runs.failed), (BackfillStatus::Failed, 9, 1));
    let again = house.handle.start_backfill(request("2013-01-01", "2013-01-12")).await.unwrap();
    assert_eq!((again.new, again.again, again.skipped), (2, 0, 10));
    wait_for(&mut changes, backfill_ended).await;

    std::fs::write(folder.path().join("mended"), "").unwrap();
    let failed = house.history.run_named("daily/2013-01-05").await.unwrap().unwrap();
    let request = RerunRequest::of(failed, mulgil_sched::rerun::RerunScope::Failed);
    house.handle.rerun(request).await.unwrap();
    house.ended(failed, &mut changes).await;
    let row = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((row.status, row.runs.succeeded), (BackfillStatus::Succeeded, 10));
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn only_failed_runs_run_again_when_only_those_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[DAILY]).await;
    let mut changes = house.handle.subscribe();
    house.handle.start_backfill(request("2013-01-04", "2013-01-06")).await.unwrap();
    wait_for(&mut changes, backfill_ended).await;
    std::fs::write(folder.path().join("mended"), "").unwrap();
    let failed = BackfillRequest { which: Which::Failed, ..request("2013-01-04", "2013-01-08") };
    let started = house.handle.start_backfill(failed).await.unwrap();
    assert_eq!((started.new, started.again), (0, 1));
    wait_for(&mut changes, backfill_ended).await;
    let done = std::fs::read_to_string(folder.path().join("done")).unwrap();
    assert_eq!(done.lines().filter(|day| *day == "2013-01-05").count(), 2, "{done}");
    assert_eq!(done.lines().count(), 4, "{done}");
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn a_cancelled_backfill_leaves_no_run_open() {
    let folder = tempfile::tempdir().unwrap();
    let slow = DAILY.replace("echo {{ ds }} >> done", "sleep 1000");
    let house = House::open(folder.path(), &[&slow]).await;
    let mut changes = house.handle.subscribe();
    let started = house.handle.start_backfill(request("2013-01-01", "2013-01-30")).await.unwrap();
    let backfill = started.backfill.unwrap();
    wait_for(&mut changes, super::fixture::task_running("work")).await;
    house.handle.cancel_backfill(backfill).await.unwrap();
    let row = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!(row.status, BackfillStatus::Cancelled);
    assert_eq!(row.runs.queued, 0);
    loop {
        let row = house.history.backfill(backfill).await.unwrap().unwrap();
        if row.runs.cancelled == 30 {
            break;
        }
        let ended = |change: &Change| matches!(change, Change::Run { status: RunStatus::Cancelled, .. });
        wait_for(&mut changes, ended).await;
    }
    assert!(house.handle.cancel_backfill(backfill).await.is_err(), "it has ended");
    house.close(PATIENCE).await;
}

/// A trial pauses its backfill, errors halve its pace, both survive a restart; one run may run again meanwhile, and
/// resuming does the rest.
#[tokio::test]
async fn after_its_trial_a_backfill_waits_to_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[DAILY]).await;
    let mut changes = house.handle.subscribe();
    let trial = BackfillRequest { trial: Some(2), concurrency: Some(4), ..request("2013-01-04", "2013-01-10") };
    let backfill = house.handle.start_backfill(trial).await.unwrap().backfill.unwrap();
    wait_for(&mut changes, backfill_ended).await;
    house.close(PATIENCE).await;

    let house = House::open(folder.path(), &[DAILY]).await;
    let mut changes = house.handle.subscribe();
    let paused = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((paused.status, paused.pace), (BackfillStatus::Paused, Some(2)));
    assert_eq!((paused.runs.succeeded, paused.runs.failed, paused.runs.queued), (1, 1, 5));
    let of_backfill =
        RunQuery { backfill: Some(backfill), status: Some(RunStatus::Failed), limit: 9, ..RunQuery::default() };
    let failed = house.history.runs(&of_backfill).await.unwrap()[0].id;
    std::fs::write(folder.path().join("mended"), "").unwrap();
    let again = RerunRequest::of(failed, mulgil_sched::rerun::RerunScope::Failed);
    house.handle.rerun(again).await.unwrap();
    house.ended(failed, &mut changes).await;
    let still = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((still.status, still.runs.succeeded, still.runs.queued), (BackfillStatus::Paused, 2, 5));

    house.handle.pause_backfill(backfill, false).await.unwrap();
    house.handle.pause_backfill(backfill, false).await.unwrap();
    let is_over = |change: &Change| matches!(change, Change::Backfill { status, .. } if status.is_terminal());
    wait_for(&mut changes, is_over).await;
    let done = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((done.status, done.runs.succeeded, done.pace), (BackfillStatus::Succeeded, 7, Some(4)));
    let refused = house.handle.pause_backfill(backfill, true).await.unwrap_err();
    assert_eq!(refused.to_string(), SchedulerError::BackfillEnded(backfill).to_string());
    house.close(PATIENCE).await;
}

const PATCHY: &str = "
flow: daily
schedule: {cron: '0 6 * * *', start: 2013-01-01, end: 2014-01-01, catchup: none}
tasks:
  once: {shell: 'echo {{ ds }} >> began', idempotent: false}
  work:
    needs: [once]
    shell: |
      echo {{ ds }} >> tries
      case {{ ds }} in
        2013-01-02) test $(grep -c {{ ds }} tries) -gt 1 ;;
        2013-01-03) test $(grep -c {{ ds }} tries) -gt 2 ;;
        2013-01-04) exit 1 ;;
      esac
  careful: {shell: 'test {{ ds }} != 2013-01-05', idempotent: false}
";

/// One day is mended by the first round and one by the second; one is never mended, and one may not run again by itself.
#[tokio::test]
async fn what_failed_runs_again_at_the_end_as_long_as_that_mends_something() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[PATCHY]).await;
    let mut changes = house.handle.subscribe();
    let request = BackfillRequest { rounds: 9, ..request("2013-01-01", "2013-01-06") };
    let backfill = house.handle.start_backfill(request).await.unwrap().backfill.unwrap();
    wait_for(&mut changes, backfill_ended).await;
    let row = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((row.status, row.runs.succeeded, row.runs.failed), (BackfillStatus::Failed, 4, 2));
    assert_eq!((row.rounds, row.round, row.failed_before), (9, 3, 2), "the third round mended nothing");
    let lines = |file: &str, day: &str| {
        let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
        text.lines().filter(|line| *line == day).count()
    };
    let days = ["2013-01-01", "2013-01-02", "2013-01-03", "2013-01-04", "2013-01-05", "2013-01-06"];
    assert_eq!(days.map(|day| lines("tries", day)), [1, 2, 3, 4, 1, 1]);
    assert_eq!(days.map(|day| lines("began", day)), [1; 6], "what had succeeded is left alone");
    house.close(PATIENCE).await;
}

/// A backfill that is paused when its last run ends goes into its round when it is resumed, also after a restart.
#[tokio::test]
async fn a_round_waits_while_its_backfill_is_paused() {
    let folder = tempfile::tempdir().unwrap();
    let slow = DAILY.replace("test {{ ds }}", "while test ! -e go; do sleep 0.02; done; test {{ ds }}");
    let house = House::open(folder.path(), &[&slow]).await;
    let mut changes = house.handle.subscribe();
    let request = BackfillRequest { rounds: 1, ..request("2013-01-05", "2013-01-05") };
    let backfill = house.handle.start_backfill(request).await.unwrap().backfill.unwrap();
    wait_for(&mut changes, super::fixture::task_running("work")).await;
    house.handle.pause_backfill(backfill, true).await.unwrap();
    let run = house.history.run_named("daily/2013-01-05").await.unwrap().unwrap();
    std::fs::write(folder.path().join("go"), "").unwrap();
    house.ended(run, &mut changes).await;
    house.close(PATIENCE).await;

    let house = House::open(folder.path(), &[&slow]).await;
    let mut changes = house.handle.subscribe();
    let row = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((row.status, row.runs.failed, row.round), (BackfillStatus::Paused, 1, 0));
    std::fs::write(folder.path().join("mended"), "").unwrap();
    house.handle.pause_backfill(backfill, false).await.unwrap();
    let is_over = |change: &Change| matches!(change, Change::Backfill { status, .. } if status.is_terminal());
    wait_for(&mut changes, is_over).await;
    let row = house.history.backfill(backfill).await.unwrap().unwrap();
    assert_eq!((row.status, row.runs.succeeded, row.round), (BackfillStatus::Succeeded, 1, 1));
    house.close(PATIENCE).await;
}
