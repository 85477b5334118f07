//! Tasks that wait: they hold no slot, go on after a restart, and may be skipped when their time is over.

use std::time::Duration;

use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use super::fixture::{House, statuses, wait_for};
use crate::Change;

#[tokio::test]
async fn tasks_that_wait_hold_no_slot() {
    // More than the pool and the worker have slots for, all before the task that ends their waiting.
    let waits: String =
        (0..50).map(|n| format!("  w{n:02}: {{wait: {{file: 'done*', poke_every: 20ms}}}}\n")).collect();
    let flow = format!("flow: patient\ntasks:\n{waits}  x: {{shell: touch done.txt}}\n");
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[&flow]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("patient").await;
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(detail.run.status, RunStatus::Succeeded, "{:?}", statuses(&detail));
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_restart_goes_on_waiting() {
    const FLOW: &str = "flow: w\ntasks: {a: {wait: {file: there, poke_every: 20ms}, timeout: 1h}}";
    let folder = tempfile::tempdir().unwrap();
    let mut since = None;
    for attempt in 1..=3 {
        let house = House::open(folder.path(), &[FLOW]).await;
        let mut changes = house.handle.subscribe();
        let run = house.trigger("w").await;
        let row = house.detail(run).await.tasks[0].clone();
        let begun = house
            .detail(run)
            .await
            .attempts
            .last()
            .is_some_and(|last| last.attempt == attempt && last.started_at.is_some());
        if !begun {
            wait_for(&mut changes, |change| {
                matches!(change, Change::Attempt { attempt: number, status: AttemptStatus::Running, .. } if *number == attempt)
            })
            .await;
        }
        let row_now = house.detail(run).await.tasks[0].clone();
        assert!(row_now.since.is_some(), "{row:?}");
        assert_eq!(*since.get_or_insert(row_now.since), row_now.since);
        if attempt == 3 {
            std::fs::write(folder.path().join("there"), "").unwrap();
            let detail = house.ended(run, &mut changes).await;
            assert_eq!((detail.run.status, detail.tasks[0].since), (RunStatus::Succeeded, None));
        }
        house.close(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn what_waited_in_vain_is_skipped_or_fails_as_it_says() {
    const FLOW: &str = "
flow: v
tasks:
  optional: {wait: {file: never, poke_every: 10ms, on_timeout: skip}, timeout: 50ms}
  after: {needs: [optional], shell: 'true'}
  anyway: {needs: [optional], trigger_rule: none_failed, shell: 'true'}
  needed: {wait: {file: never, poke_every: 10ms}, timeout: 50ms}
";
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[FLOW]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("v").await;
    let detail = house.ended(run, &mut changes).await;
    let of = |name: &str| detail.tasks.iter().find(|task| task.name == name).unwrap().clone();
    assert_eq!(of("optional").status, TaskStatus::Skipped);
    assert_eq!(of("optional").note.as_deref(), Some("it did not come within 50ms"));
    assert_eq!(of("after").status, TaskStatus::Skipped);
    assert_eq!(of("anyway").status, TaskStatus::Succeeded);
    assert_eq!(of("needed").status, TaskStatus::Failed);
    let error = detail.attempts.iter().find(|attempt| attempt.task == "needed").unwrap().error.clone().unwrap();
    assert!(error.starts_with("waited 50ms in vain for file never"), "{error}");
    house.close(Duration::ZERO).await;
}
