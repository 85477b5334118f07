//! Tasks that run another flow: they end as its run does, and find it again after whatever happens.

use std::path::Path;
use std::time::Duration;

use mulgil_history::History;
use mulgil_history::read::{RunDetail, RunQuery};
use mulgil_history::write::Trigger;
use mulgil_sched::id::RunId;
use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::{RunStatus, TaskStatus};

use super::fixture::{House, statuses, task_running, wait_for};
use crate::{Change, RerunRequest, SchedulerError};

const PARENT: &str = "
flow: parent
tasks:
  before: {shell: 'true'}
  sub: {needs: [before], flow: child, params: {n: 7}}
  after: {needs: [sub], shell: 'true'}
";
/// It fails until there is a file.
const CHILD: &str = "
flow: child
params: {n: 1}
tasks:
  first: {shell: 'echo {{ params.n }} >> first'}
  second: {needs: [first], shell: 'test -e there'}
";

async fn child_of(house: &House, parent: &RunDetail) -> RunDetail {
    house.detail(parent.children[0].run).await
}

fn lines(folder: &Path, file: &str) -> Vec<String> {
    std::fs::read_to_string(folder.join(file)).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn note<'a>(detail: &'a RunDetail, task: &str) -> &'a str {
    detail.tasks.iter().find(|row| row.name == task).and_then(|row| row.note.as_deref()).unwrap_or_default()
}

async fn rerun_failed(house: &House, run: RunId) -> RunDetail {
    let mut changes = house.handle.subscribe();
    house.handle.rerun(RerunRequest::of(run, RerunScope::Failed)).await.unwrap();
    house.ended(run, &mut changes).await
}

#[tokio::test]
async fn a_task_ends_as_what_it_called_and_a_rerun_runs_what_failed_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[PARENT, CHILD]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("parent").await;
    let failed = house.ended(run, &mut changes).await;
    use TaskStatus as S;
    assert_eq!(statuses(&failed), (RunStatus::Failed, vec![S::Succeeded, S::Failed, S::UpstreamFailed]));
    let child = child_of(&house, &failed).await;
    assert_eq!(note(&failed, "sub"), format!("its run {} has failed", child.run.name));
    assert_eq!((child.run.trigger, &child.run.params), (Trigger::Flow, &serde_json::json!({"n": 7})));
    let parent = child.parent.unwrap();
    assert_eq!((parent.run, parent.task.as_str()), (run, "sub"));
    assert_eq!(failed.attempts.len(), 1, "a task that calls has no attempt");

    std::fs::write(folder.path().join("there"), "").unwrap();
    let again = rerun_failed(&house, run).await;
    assert_eq!(statuses(&again), (RunStatus::Succeeded, vec![S::Succeeded; 3]));
    assert_eq!(again.children[0].run, child.run.id, "it is the same run");
    assert_eq!(lines(folder.path(), "first"), ["7"], "what had succeeded in it did not run again");

    // Asked for again, it is done already.
    let mut changes = house.handle.subscribe();
    let all = RerunRequest::of(run, RerunScope::All);
    house.handle.rerun(all).await.unwrap();
    let done = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&done), (RunStatus::Succeeded, vec![S::Succeeded; 3]));
    assert_eq!(note(&done, "sub"), format!("its run {} had succeeded before", child.run.name));
    assert_eq!(lines(folder.path(), "first"), ["7"]);
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn what_becomes_of_a_run_that_has_ended_is_a_choice() {
    let caller = |name: &str, rerun_on: &str| {
        format!("flow: {name}\ntasks: {{sub: {{flow: child, params: {{n: 7}}, rerun_on: {rerun_on}}}}}")
    };
    let folder = tempfile::tempdir().unwrap();
    let texts = [caller("none", "none"), caller("failed", "failed"), caller("all", "all")];
    let house = House::open(folder.path(), &[CHILD, &texts[0], &texts[1], &texts[2]]).await;
    let ends = async |flow: &str| {
        let mut changes = house.handle.subscribe();
        let run = house.trigger(flow).await;
        house.ended(run, &mut changes).await
    };
    assert_eq!(ends("none").await.run.status, RunStatus::Failed);
    std::fs::write(folder.path().join("there"), "").unwrap();
    // The run of the first is theirs too. What a failed one leaves as it is says so.
    let second = ends("failed").await;
    assert_eq!((second.run.status, lines(folder.path(), "first").len()), (RunStatus::Succeeded, 1));
    assert_eq!(child_of(&house, &second).await.parent.unwrap().run, second.run.id, "who started it last is its parent");
    assert_eq!((ends("all").await.run.status, lines(folder.path(), "first").len()), (RunStatus::Succeeded, 2));
    std::fs::remove_file(folder.path().join("there")).unwrap();
    let runs = house.history.runs(&RunQuery { limit: 9, ..RunQuery::default() }).await.unwrap();
    let of = |flow: &str| runs.iter().find(|run| run.flow == flow).unwrap().id;
    let mut changes = house.handle.subscribe();
    house.handle.rerun(RerunRequest::of(of("child"), RerunScope::All)).await.unwrap();
    house.ended(of("child"), &mut changes).await;
    let first = rerun_failed(&house, of("none")).await;
    assert_eq!(
        note(&first, "sub"),
        "its run child/manual+".to_owned()
            + &hash(&first)
            + " is failed already, and `rerun_on: none` leaves it as it is"
    );
    house.close(Duration::ZERO).await;
}

fn hash(parent: &RunDetail) -> String {
    note(parent, "sub").split_once('+').unwrap().1.split_once(' ').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_cancel_and_a_timeout_stop_what_was_called_with_all_its_processes() {
    const SLOW: &str = "flow: slow\ntasks: {nap: {shell: sleep 600}}";
    const CALLER: &str = "flow: caller\ntasks: {sub: {flow: slow}}";
    const HASTY: &str = "flow: hasty\ntasks: {sub: {flow: slow, timeout: 100ms}, after: {needs: [sub], shell: 'true'}}";
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[SLOW, CALLER, HASTY]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("caller").await;
    wait_for(&mut changes, task_running("nap")).await;
    let why = house.handle.why_run(run, None).await.unwrap();
    assert_eq!(why.tasks[0].why.sentence, "waits for run slow/manual, which is running");
    house.handle.cancel_run(run).await.unwrap();
    let cancelled = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&cancelled), (RunStatus::Cancelled, vec![TaskStatus::Cancelled]));
    let child = child_of(&house, &cancelled).await;
    assert_eq!(statuses(&child), (RunStatus::Cancelled, vec![TaskStatus::Cancelled]));

    // The same run again, for somebody else, who does not wait long.
    let mut changes = house.handle.subscribe();
    let run = house.trigger("hasty").await;
    let late = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&late), (RunStatus::Failed, vec![TaskStatus::Failed, TaskStatus::UpstreamFailed]));
    assert_eq!(
        note(&late, "sub"),
        "its run slow/manual took longer than 100ms, and was stopped; raise `timeout:` if it may"
    );
    assert_eq!(child_of(&house, &late).await.run.status, RunStatus::Cancelled);

    // Stopped by somebody: a failure of who waits for it.
    let mut changes = house.handle.subscribe();
    house.handle.rerun(RerunRequest::of(cancelled.run.id, RerunScope::Failed)).await.unwrap();
    wait_for(&mut changes, task_running("nap")).await;
    house.handle.cancel_run(child.run.id).await.unwrap();
    let stopped = house.ended(cancelled.run.id, &mut changes).await;
    assert_eq!((stopped.run.status, note(&stopped, "sub")), (RunStatus::Failed, "its run slow/manual was stopped"));
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_that_cannot_be_made_says_why() {
    let cases = [
        ("flow: nowhere", "there is no flow nowhere; the project has: caller, child, circle, dangerous"),
        ("flow: child, params: {m: 1}", "flow child has no parameter m; it has: n"),
        ("flow: child, params: {n: many}", "parameter n of flow child takes a value of type integer, not \"many\""),
        // At load this is refused; at run time an older definition may still say so.
        ("flow: circle", "its run circle/manual waits for this one: each would wait for the other"),
    ];
    for (task, reason) in cases {
        let caller = format!("flow: caller\ntasks: {{sub: {{{task}}}}}");
        let folder = tempfile::tempdir().unwrap();
        let circle = "flow: circle\ntasks: {sub: {flow: caller}}";
        let house = House::open(folder.path(), &[CHILD, &caller, circle, DANGEROUS]).await;
        let mut changes = house.handle.subscribe();
        let run = house.trigger("caller").await;
        let ended = house.ended(run, &mut changes).await;
        assert_eq!(ended.run.status, RunStatus::Failed, "{task}");
        if task == "flow: circle" {
            let child = child_of(&house, &ended).await;
            let reason = reason.replace("circle/manual", "caller/manual");
            assert_eq!((child.run.status, note(&child, "sub")), (RunStatus::Failed, reason.as_str()));
        } else {
            assert_eq!(note(&ended, "sub"), reason);
        }
        house.close(Duration::ZERO).await;
    }
}

const DANGEROUS: &str = "flow: dangerous\ntasks: {publish: {shell: 'test -e there', idempotent: false}}";

#[tokio::test]
async fn items_call_a_run_each_and_hold_no_slot() {
    let each = "flow: each\ntasks: {sub: {for_each: [3, 1, 2], flow: child, params: {n: '{{ item }}'}}}";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("there"), "").unwrap();
    let house = House::open(folder.path(), &[CHILD, each]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("each").await;
    let ended = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&ended), (RunStatus::Succeeded, vec![TaskStatus::Succeeded; 4]));
    let mut said = lines(folder.path(), "first");
    said.sort();
    assert_eq!(said, ["1", "2", "3"]);
    assert_eq!(ended.children.iter().map(|child| child.task).collect::<Vec<_>>(), [1, 2, 3]);
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_restart_finds_what_was_called() {
    const SLOW: &str = "flow: slow\ntasks: {nap: {shell: 'until test -e there; do sleep 0.02; done'}}";
    const CALLER: &str = "flow: caller\ntasks: {sub: {flow: slow}, after: {needs: [sub], shell: 'true'}}";
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[SLOW, CALLER]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("caller").await;
    wait_for(&mut changes, task_running("nap")).await;
    let child = house.detail(run).await.children[0].run;
    house.close(Duration::ZERO).await;

    let house = House::open(folder.path(), &[SLOW, CALLER]).await;
    let mut changes = house.handle.subscribe();
    std::fs::write(folder.path().join("there"), "").unwrap();
    let ended = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&ended), (RunStatus::Succeeded, vec![TaskStatus::Succeeded; 2]));
    assert_eq!(ended.children.iter().map(|row| row.run).collect::<Vec<_>>(), [child]);
    let error = house.handle.cancel_run(child).await.unwrap_err();
    assert!(matches!(error, SchedulerError::Ended { .. }), "{error}");
    house.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_run_under_way_is_joined_and_not_stopped_with_who_only_waits_for_it() {
    const SLOW: &str = "flow: slow\ntasks: {nap: {shell: sleep 600}}";
    const CALLER: &str = "flow: caller\ntasks: {sub: {flow: slow}}";
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[SLOW, CALLER]).await;
    let mut changes = house.handle.subscribe();
    let slow = house.trigger("slow").await;
    wait_for(&mut changes, task_running("nap")).await;
    let run = house.trigger("caller").await;
    let waits =
        |change: &Change| matches!(change, Change::Task { task, status: TaskStatus::Running, .. } if task == "sub");
    wait_for(&mut changes, waits).await;
    house.handle.cancel_run(run).await.unwrap();
    assert_eq!(house.ended(run, &mut changes).await.run.status, RunStatus::Cancelled);
    assert_eq!(house.detail(slow).await.run.status, RunStatus::Running);
    house.close(Duration::ZERO).await;
}
