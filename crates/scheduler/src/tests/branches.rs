//! Rules, conditions and results, with everything real.

use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::{RunStatus, TaskStatus};

use super::fixture::{House, PATIENCE, statuses};
use crate::RerunRequest;

const BRANCHES: &str = r#"
flow: branches
tasks:
  check:  {shell: 'echo ''{"rows": 3, "name": "a b; $(id)"}'' > $MULGIL_RESULT'}
  many:   {needs: [check], when: results.check.rows > 2, shell: 'echo {{ results.check.name }} > many'}
  few:    {needs: [check], when: "{{ results.check.rows <= 2 }}", shell: 'touch few'}
  after:  {needs: [few], shell: 'touch after'}
  joined: {needs: [many, few], trigger_rule: none_failed, shell: 'touch joined'}
  broken: {needs: [check], when: results.check.columns > 2, shell: 'touch broken'}
  alarm:  {needs: [broken], trigger_rule: one_failed, shell: 'touch alarm'}
  never:  {needs: [broken], shell: 'touch never'}
"#;

#[tokio::test]
async fn a_result_decides_which_branch_runs_and_is_read_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[BRANCHES]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("branches").await;
    let detail = house.ended(run, &mut changes).await;
    use TaskStatus as S;
    let of = |name: &str| detail.tasks.iter().find(|task| task.name == name).unwrap();
    let expected = [
        ("check", S::Succeeded),
        ("many", S::Succeeded),
        ("few", S::Skipped),
        ("after", S::Skipped),
        ("joined", S::Succeeded),
        ("broken", S::Failed),
        ("alarm", S::Succeeded),
        ("never", S::UpstreamFailed),
    ];
    for (task, status) in expected {
        let touched = folder.path().join(task).exists();
        assert_eq!((of(task).status, touched), (status, status == S::Succeeded && task != "check"), "{task}");
    }
    assert_eq!(detail.run.status, RunStatus::Failed);
    assert_eq!(of("check").result, Some(serde_json::json!({"rows": 3, "name": "a b; $(id)"})));
    assert_eq!(std::fs::read_to_string(folder.path().join("many")).unwrap(), "a b; $(id)\n");
    assert_eq!(of("few").note.as_deref(), Some("its condition `when:` is false"));
    let note = of("broken").note.as_deref().unwrap();
    assert!(note.starts_with("in `when:`, template line 1") && note.contains("results.check.columns"), "{note}");
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn results_outlive_a_restart_and_are_replaced_by_a_rerun() {
    let folder = tempfile::tempdir().unwrap();
    let flow = "flow: f
tasks:
  count: {shell: 'cat count > $MULGIL_RESULT'}
  use: {needs: [count], shell: 'test -e go && echo {{ results.count }} > used'}";
    std::fs::write(folder.path().join("count"), "1").unwrap();
    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("f").await;
    assert_eq!(house.ended(run, &mut changes).await.run.status, RunStatus::Failed);
    house.close(PATIENCE).await;

    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    std::fs::write(folder.path().join("go"), "").unwrap();
    house.handle.rerun(RerunRequest::of(run, RerunScope::Failed)).await.unwrap();
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&detail), (RunStatus::Succeeded, vec![TaskStatus::Succeeded; 2]));
    assert_eq!(std::fs::read_to_string(folder.path().join("used")).unwrap(), "1\n");
    std::fs::write(folder.path().join("count"), "[2, \"x\"]").unwrap();
    house.handle.rerun(RerunRequest::of(run, RerunScope::All)).await.unwrap();
    house.ended(run, &mut changes).await;
    assert_eq!(std::fs::read_to_string(folder.path().join("used")).unwrap(), "[2,\"x\"]\n");
    // What is no JSON fails the task, with a sentence.
    std::fs::write(folder.path().join("count"), "two").unwrap();
    house.handle.rerun(RerunRequest::of(run, RerunScope::All)).await.unwrap();
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(statuses(&detail).1, [TaskStatus::Failed, TaskStatus::UpstreamFailed]);
    assert!(
        detail
            .attempts
            .iter()
            .any(|attempt| attempt.error.as_deref().is_some_and(|error| error.contains("is no JSON")))
    );
    house.close(PATIENCE).await;
}
