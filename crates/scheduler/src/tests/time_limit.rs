//! Runs that take longer than their flow allows, and what is not tried again.

use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::{AttemptStatus, RunStatus, TaskStatus};

use super::fixture::{House, PATIENCE, statuses};
use crate::RerunRequest;

const LONG: &str = "
flow: long
run_timeout: 5s
tasks:
  sleep: {shell: 'test -e quick && exit; sleep 1000 & echo $! > grandchild; wait', retries: {limit: 3}}
  after: {needs: [sleep], shell: 'true'}
";

#[tokio::test]
async fn a_run_that_takes_too_long_fails_with_all_that_it_started_and_its_rerun_has_a_new_span() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[LONG]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("long").await;
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&detail), (RunStatus::Failed, vec![TaskStatus::Failed, TaskStatus::Cancelled]));
    assert!(detail.run.timed_out);
    let why = "the run took longer than its `run_timeout` of 5s and was ended; raise it if runs may";
    assert_eq!(detail.attempts.len(), 1, "it is not tried again");
    assert_eq!((detail.attempts[0].status, detail.attempts[0].error.as_deref()), (AttemptStatus::TimedOut, Some(why)));
    assert_eq!(detail.tasks[1].note.as_deref(), Some(why));
    let grandchild = std::fs::read_to_string(folder.path().join("grandchild")).unwrap();
    assert!(!super::cancel::is_alive(grandchild.trim()));

    std::fs::write(folder.path().join("quick"), "").unwrap();
    house.handle.rerun(RerunRequest::of(run, RerunScope::Failed)).await.unwrap();
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&detail), (RunStatus::Succeeded, vec![TaskStatus::Succeeded; 2]));
    assert!(!detail.run.timed_out && detail.tasks[1].note.is_none());
    house.close(PATIENCE).await;
}

const PICKY: &str = "
flow: picky
retries: {limit: 3, delay: 1ms, jitter: 1, never: exit 2}
tasks: {t: {shell: 'echo x >> tries; test $(wc -l < tries) -lt 3 && exit 1; exit 2'}}
";

#[tokio::test]
async fn an_error_that_is_never_tried_again_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[PICKY]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("picky").await;
    let detail = house.ended(run, &mut changes).await;
    let errors: Vec<&str> = detail.attempts.iter().filter_map(|attempt| attempt.error.as_deref()).collect();
    assert_eq!(errors.len(), 3, "one retry would have been left: {errors:?}");
    assert!(!errors[1].contains("not tried again"), "{}", errors[1]);
    assert!(errors[2].ends_with("\nnot tried again: its `retries:` say `never: exit 2`"), "{}", errors[2]);
    house.close(PATIENCE).await;
}
