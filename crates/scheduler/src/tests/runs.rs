//! Single runs: in order, with retries, re-runs, time-outs; and what a report from a lost lease gets.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};
use mulgil_worker::dispatcher::{DispatchError, Dispatcher, Joining, Order, Outcome};

use super::fixture::{House, PATIENCE, statuses, task_running};
use crate::{RerunRequest, SchedulerError, SystemClock, TriggerRequest};

const DIAMOND: &str = "
flow: diamond
tasks:
  a: {shell: 'echo a >> order; echo to the log; echo from the other stream >&2'}
  b: {needs: [a], shell: 'echo b >> order'}
  c: {needs: [a], shell: 'echo c >> order'}
  d: {needs: [b, c], shell: 'echo d >> order; pwd; echo $MULGIL_RUN_ID'}
";

#[tokio::test]
async fn tasks_run_in_the_order_of_their_needs_and_leave_logs() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[DIAMOND]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("diamond").await;
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&detail), (RunStatus::Succeeded, vec![TaskStatus::Succeeded; 4]));
    let order = std::fs::read_to_string(folder.path().join("order")).unwrap();
    assert!(order == "a\nb\nc\nd\n" || order == "a\nc\nb\nd\n", "{order}");
    let log = std::fs::read_to_string(folder.path().join(&detail.attempts[0].log)).unwrap();
    assert!(log.contains("Z to the log\n") && log.contains("Z from the other stream\n"), "{log}");
    let log = std::fs::read_to_string(folder.path().join(&detail.attempts[3].log)).unwrap();
    assert!(log.contains(&format!("Z {}\n", detail.run.name)), "{log}");
    assert!(log.contains(&folder.path().canonicalize().unwrap().display().to_string()), "{log}");
    // The same flow with the same parameters is the same run.
    let again = house.handle.trigger(TriggerRequest { flow: "diamond".to_owned(), ..TriggerRequest::default() }).await;
    assert!(!again.unwrap().created);
    house.close(PATIENCE).await;
}

const FLAKY: &str = "
flow: flaky
retries: {limit: 1, delay: 1ms}
tasks:
  first: {shell: 'echo x >> first'}
  broken: {needs: [first], shell: 'echo looking for mended; test -e mended'}
  last: {needs: [broken], shell: 'echo x >> last', idempotent: false}
";

#[tokio::test]
async fn after_the_cause_is_mended_a_rerun_runs_only_what_failed_and_what_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[FLAKY]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("flaky").await;
    let detail = house.ended(run, &mut changes).await;
    use TaskStatus as S;
    assert_eq!(statuses(&detail), (RunStatus::Failed, vec![S::Succeeded, S::Failed, S::UpstreamFailed]));
    let broken: Vec<_> = detail.attempts.iter().filter(|attempt| attempt.task == "broken").collect();
    assert_eq!(broken.len(), 2, "one retry by itself");
    let error = broken[1].error.as_deref().unwrap();
    assert_eq!(error, "the command ended with exit code 1; its last lines:\nlooking for mended");

    std::fs::write(folder.path().join("mended"), "").unwrap();
    let preview = house.handle.preview_rerun(RerunRequest::of(run, RerunScope::Failed)).await.unwrap().remove(0);
    assert_eq!(preview.tasks.iter().map(|task| task.task.as_str()).collect::<Vec<_>>(), ["broken", "last"]);
    assert!(!preview.needs_confirmation, "the task that is not idempotent never ran");
    let request = RerunRequest::of(run, RerunScope::Failed);
    house.handle.rerun(request.clone()).await.unwrap();
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&detail), (RunStatus::Succeeded, vec![S::Succeeded; 3]));
    assert_eq!(std::fs::read_to_string(folder.path().join("first")).unwrap(), "x\n");
    assert_eq!(detail.tasks.iter().map(|task| task.attempts).collect::<Vec<_>>(), [1, 3, 1]);

    assert!(matches!(house.handle.rerun(request).await, Err(SchedulerError::Rerun(_))), "nothing failed");
    let from_last = RerunRequest::of(run, RerunScope::From("last".to_owned()));
    let asked = house.handle.rerun(from_last.clone()).await;
    assert!(matches!(asked, Err(SchedulerError::NeedsConfirmation { .. })), "{asked:?}");
    house.handle.rerun(RerunRequest { confirmed: true, ..from_last }).await.unwrap();
    house.ended(run, &mut changes).await;
    assert_eq!(std::fs::read_to_string(folder.path().join("last")).unwrap(), "x\nx\n");
    house.close(PATIENCE).await;
}

const SLOW: &str = "
flow: slow
tasks:
  sleep: {shell: 'sleep 1000 & echo $! > grandchild; wait', timeout: 5s}
";

#[tokio::test]
async fn a_task_that_takes_too_long_is_ended_with_everything_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[SLOW]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("slow").await;
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(detail.attempts[0].status, AttemptStatus::TimedOut);
    assert!(detail.attempts[0].error.as_deref().unwrap().contains("timeout of 5s"));
    let grandchild = std::fs::read_to_string(folder.path().join("grandchild")).unwrap();
    assert!(!super::cancel::is_alive(grandchild.trim()));
    house.close(PATIENCE).await;
}

const ONE: &str = "flow: one\ntasks: {t: {shell: 'true'}}";

#[tokio::test]
async fn a_report_from_a_lost_lease_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Long enough to say something within, whatever else the machine does.
    let life = SignedDuration::from_secs(5);
    let house = House::open_at(folder.path(), &[ONE], Arc::new(SystemClock), life).await;
    // The real worker leaves; this test is the worker now, and never renews.
    house.worker.shutdown(Duration::ZERO).await;
    let mut orders = house.handle.attach(Joining::own("silent", 1)).await.unwrap();
    house.handle.trigger(TriggerRequest { flow: "one".to_owned(), ..TriggerRequest::default() }).await.unwrap();
    let Some(Order::Run(first)) = orders.recv().await else { panic!("no order") };
    house.handle.started(first.attempt, first.epoch, None).await.unwrap();
    let Some(Order::Run(second)) = orders.recv().await else { panic!("the lease never ran out") };
    assert_eq!(second.attempt.attempt, 2);
    let late = house.handle.finished(first.attempt, first.epoch, Outcome::Succeeded(None)).await;
    assert!(matches!(late, Err(DispatchError::Fenced { .. })));
    let forged = house.handle.finished(second.attempt, first.epoch, Outcome::Succeeded(None)).await;
    assert!(matches!(forged, Err(DispatchError::Fenced { .. })));
    house.handle.finished(second.attempt, second.epoch, Outcome::Succeeded(None)).await.unwrap();
    let detail = mulgil_history::History::run(&*house.history, second.attempt.run).await.unwrap().unwrap();
    assert_eq!(detail.attempts[0].status, AttemptStatus::Lost);
    assert_eq!(detail.run.status, RunStatus::Succeeded);
}

#[tokio::test]
async fn a_clean_end_gives_work_back_and_the_next_start_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let flow = "flow: slow\ntasks: {t: {shell: 'test -e go || sleep 1000'}}";
    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("slow").await;
    super::fixture::wait_for(&mut changes, task_running("t")).await;
    house.close(Duration::ZERO).await;

    std::fs::write(folder.path().join("go"), "").unwrap();
    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    if !house.detail(run).await.run.status.is_terminal() {
        house.ended(run, &mut changes).await;
    }
    let detail = house.detail(run).await;
    assert_eq!(statuses(&detail), (RunStatus::Succeeded, vec![TaskStatus::Succeeded]));
    let attempts: Vec<_> = detail.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(attempts, [AttemptStatus::Lost, AttemptStatus::Succeeded]);
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn what_cannot_be_done_is_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[ONE]).await;
    let unknown = TriggerRequest { flow: "two".to_owned(), ..TriggerRequest::default() };
    let error = house.handle.trigger(unknown).await.unwrap_err().to_string();
    assert_eq!(error, "there is no flow two; the project has: one");
    let error = house.handle.cancel_run(mulgil_sched::id::RunId(9)).await.unwrap_err().to_string();
    assert_eq!(error, "there is no run 9");
    house.close(PATIENCE).await;
}
