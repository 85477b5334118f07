//! What a re-run will run in the runs that are called, and what of it somebody has to confirm.

use std::path::Path;
use std::time::Duration;

use mulgil_flow::backfill::Which;
use mulgil_history::History;
use mulgil_history::write::BackfillStatus;
use mulgil_sched::id::RunId;
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::RunStatus;

use super::fixture::{House, task_running, wait_for};
use crate::{BackfillRequest, Change, RerunPreview, RerunRequest, RerunTask, SchedulerError};

const TOP: &str = "
flow: top
tasks:
  wait: {shell: 'until test -e go; do sleep 0.02; done'}
  sub: {needs: [wait], flow: middle}
";
const MIDDLE: &str = "
flow: middle
tasks:
  first: {shell: 'true'}
  deeper: {needs: [first], flow: dangerous}
";
/// It fails until there is a file.
const DANGEROUS: &str = "
flow: dangerous
tasks:
  publish: {shell: 'echo x >> published; test -e there', idempotent: false}
  after: {needs: [publish], shell: 'true'}
";
const FLOWS: [&str; 3] = [TOP, MIDDLE, DANGEROUS];

fn published(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("published")).unwrap_or_default().lines().count()
}

fn of(run: RunId, scope: RerunScope, confirmed: bool) -> RerunRequest {
    RerunRequest { confirmed, ..RerunRequest::of(run, scope) }
}

async fn preview(house: &House, run: RunId, scope: RerunScope) -> RerunPreview {
    house.handle.preview_rerun(of(run, scope, false)).await.unwrap().remove(0)
}

fn names(tasks: &[RerunTask]) -> Vec<&str> {
    tasks.iter().map(|task| task.task.as_str()).collect()
}

/// Each run that is called, who calls it, and what runs in it.
fn called(preview: &RerunPreview) -> Vec<(&str, String, Vec<&str>)> {
    let called = preview.called.iter();
    called.map(|run| (run.name.as_str(), format!("{}: {}", run.parent, run.task), names(&run.tasks))).collect()
}

/// Runs the flow to its end, which is a bad one.
async fn failed(house: &House, flow: &str) -> RunId {
    let mut changes = house.handle.subscribe();
    let run = house.trigger(flow).await;
    assert_eq!(house.ended(run, &mut changes).await.run.status, RunStatus::Failed);
    run
}

async fn again(house: &House, request: RerunRequest) -> RunStatus {
    let mut changes = house.handle.subscribe();
    let run = request.runs[0];
    house.handle.rerun(request).await.unwrap();
    house.ended(run, &mut changes).await.run.status
}

/// Whether it is refused, with these words.
async fn is_asked(house: &House, request: RerunRequest) -> bool {
    let error = house.handle.rerun(request).await.unwrap_err();
    matches!(&error, SchedulerError::NeedsConfirmation { tasks } if tasks == "publish of dangerous/manual")
}

#[tokio::test]
async fn a_preview_goes_down_into_what_is_called_and_all_of_it_is_confirmed_or_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    let there = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
    there("go");
    let house = House::open(folder.path(), &FLOWS).await;
    let run = failed(&house, "top").await;
    let foretold = preview(&house, run, RerunScope::Failed).await;
    assert_eq!((names(&foretold.tasks), foretold.needs_confirmation), (vec!["sub"], true));
    let expected = [
        ("middle/manual", "top/manual: sub".to_owned(), vec!["deeper"]),
        ("dangerous/manual", "middle/manual: deeper".to_owned(), vec!["publish", "after"]),
    ];
    assert_eq!(called(&foretold), expected);
    assert!(foretold.called.iter().all(|called| called.run.is_some()), "both are there");

    let failed_again = of(run, RerunScope::Failed, true);
    assert!(is_asked(&house, of(run, RerunScope::Failed, false)).await);
    assert!(is_asked(&house, of(run, RerunScope::All, false)).await);
    assert_eq!((house.detail(run).await.run.status, published(folder.path())), (RunStatus::Failed, 1));
    // Once confirmed is once more.
    assert_eq!((again(&house, failed_again.clone()).await, published(folder.path())), (RunStatus::Failed, 2));
    assert!(is_asked(&house, of(run, RerunScope::Failed, false)).await);
    there("there");
    assert_eq!((again(&house, failed_again).await, published(folder.path())), (RunStatus::Succeeded, 3));
    let foretold = preview(&house, run, RerunScope::All).await;
    assert_eq!((called(&foretold), foretold.needs_confirmation), (vec![], false), "what has succeeded stays as it is");
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn what_was_confirmed_outlives_the_server_and_is_good_for_one_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    std::fs::write(&go, "").unwrap();
    let house = House::open(folder.path(), &FLOWS).await;
    let run = failed(&house, "top").await;
    std::fs::remove_file(&go).unwrap();
    let mut changes = house.handle.subscribe();
    house.handle.rerun(of(run, RerunScope::All, true)).await.unwrap();
    wait_for(&mut changes, task_running("wait")).await;
    house.close(Duration::ZERO).await;

    let house = House::open(folder.path(), &FLOWS).await;
    let mut changes = house.handle.subscribe();
    assert_eq!(published(folder.path()), 1, "it has not been called yet");
    std::fs::write(&go, "").unwrap();
    assert_eq!(house.ended(run, &mut changes).await.run.status, RunStatus::Failed);
    assert_eq!(published(folder.path()), 2);
    let middle = house.detail(run).await.children[0].run;
    for run in [run, middle] {
        assert!(is_asked(&house, of(run, RerunScope::Failed, false)).await, "nobody has confirmed a third");
    }
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_of_nobody_s_asking_runs_nothing_a_second_time() {
    const OTHER: &str = "flow: other\ntasks: {sub: {flow: dangerous}}";
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[DANGEROUS, OTHER]).await;
    failed(&house, "dangerous").await;
    let other = failed(&house, "other").await;
    let note = house.detail(other).await.tasks[0].note.clone().unwrap();
    let expected = "publish of dangerous/manual would run again, and says `idempotent: false`: \
                    check what it did, then re-run this task and confirm";
    assert_eq!((note.as_str(), published(folder.path())), (expected, 1));
    std::fs::write(folder.path().join("there"), "").unwrap();
    let confirmed = of(other, RerunScope::Failed, true);
    assert_eq!((again(&house, confirmed).await, published(folder.path())), (RunStatus::Succeeded, 2));
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_run_that_will_be_made_is_foretold_with_what_it_calls() {
    const EARLY: &str = "
flow: early
tasks:
  find: {shell: 'echo 7 > $MULGIL_RESULT; test -e go'}
  one: {needs: [find], flow: with, params: {n: 1}}
  found: {needs: [find], flow: with, params: {n: '{{ results.find }}'}}
  again: {needs: [find], flow: with, params: {n: 1}}
";
    const WITH: &str = "flow: with\nparams: {n: 0}\ntasks: {a: {shell: 'true'}, b: {flow: leaf}}";
    const LEAF: &str = "flow: leaf\ntasks: {c: {shell: 'true'}}";
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[EARLY, WITH, LEAF]).await;
    let run = failed(&house, "early").await;
    let foretold = preview(&house, run, RerunScope::Failed).await;
    assert_eq!(names(&foretold.tasks), ["find", "one", "found", "again"]);
    // What the result will be nobody knows; the run that two call is told of once.
    let told: Vec<_> = foretold.called.iter().map(|run| (run.run, run.task.as_str(), names(&run.tasks))).collect();
    assert_eq!(told, [(None, "one", vec!["a", "b"]), (None, "b", vec!["c"])]);
    assert!(!foretold.needs_confirmation);
    std::fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(again(&house, of(run, RerunScope::Failed, false)).await, RunStatus::Succeeded);
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn all_of_a_called_run_again_is_foretold_as_that() {
    const CALLER: &str = "flow: caller\ntasks: {sub: {for_each: [1], flow: dangerous, rerun_on: all}}";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("there"), "").unwrap();
    let house = House::open(folder.path(), &[DANGEROUS, CALLER]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("caller").await;
    house.ended(run, &mut changes).await;
    let foretold = preview(&house, run, RerunScope::From("sub[0]".to_owned())).await;
    assert_eq!(called(&foretold), [("dangerous/manual", "caller/manual: sub[0]".to_owned(), vec!["publish", "after"])]);
    assert!(is_asked(&house, of(run, RerunScope::From("sub[0]".to_owned()), false)).await);
    let confirmed = of(run, RerunScope::From("sub[0]".to_owned()), true);
    assert_eq!((again(&house, confirmed).await, published(folder.path())), (RunStatus::Succeeded, 2));
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_backfill_confirms_what_its_runs_call_too() {
    const DAILY: &str = "
flow: daily
schedule: {cron: '0 6 * * *', start: 2013-01-01, end: 2014-01-01, catchup: none}
tasks: {sub: {flow: dangerous}}
";
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[DAILY, DANGEROUS]).await;
    let over = |change: &Change| matches!(change, Change::Backfill { status, .. } if status.is_terminal());
    let request = |confirmed| BackfillRequest {
        flow: "daily".to_owned(),
        from: "2013-01-01".parse().unwrap(),
        to: "2013-01-02".parse().unwrap(),
        concurrency: None,
        which: Which::Failed,
        order: Default::default(),
        params: Default::default(),
        trial: None,
        retries: false,
        rounds: 0,
        confirmed,
    };
    let mut changes = house.handle.subscribe();
    house.handle.start_backfill(BackfillRequest { which: Which::Missing, ..request(false) }).await.unwrap();
    wait_for(&mut changes, over).await;
    assert_eq!(published(folder.path()), 2);
    std::fs::write(folder.path().join("there"), "").unwrap();
    let error = house.handle.start_backfill(request(false)).await.unwrap_err().to_string();
    let both = ["publish of dangerous/2013-01-01", "publish of dangerous/2013-01-02"];
    assert!(both.iter().all(|task| error.contains(task)), "{error}");
    let mut changes = house.handle.subscribe();
    let started = house.handle.start_backfill(request(true)).await.unwrap();
    wait_for(&mut changes, over).await;
    let row = house.history.backfill(started.backfill.unwrap()).await.unwrap().unwrap();
    assert_eq!((row.status, published(folder.path())), (BackfillStatus::Succeeded, 4));
    house.close(Duration::ZERO).await;
}
