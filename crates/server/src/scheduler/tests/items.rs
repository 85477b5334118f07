//! Tasks that go over items, with everything real.

use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::{RunStatus, TaskStatus};

use super::fixture::{House, PATIENCE, statuses};
use crate::scheduler::RerunRequest;

const CITIES: &str = r#"
flow: cities
tasks:
  find:  {shell: 'cat cities > $MULGIL_RESULT'}
  load:
    needs: [find]
    for_each: "{{ results.find }}"
    shell: 'echo {{ item.name }} >> loaded; test ! -e broken-{{ item.name }} && echo {{ item.size }} > $MULGIL_RESULT'
  all:   {needs: [load], shell: 'echo {{ results.load }} > all'}
  none:  {for_each: [], shell: 'touch never'}
  after: {needs: [none], shell: 'echo {{ results.none }} > after'}
"#;

#[tokio::test]
async fn each_item_is_a_task_with_its_own_result_and_runs_again_alone() {
    use TaskStatus as S;
    let folder = tempfile::tempdir().unwrap();
    let text = CITIES;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    write("cities", r#"[{"name": "seoul", "size": 3}, {"name": "it's", "size": 1}, {"name": "busan", "size": 2}]"#);
    write("broken-it's", "");
    let house = House::open(folder.path(), &[text]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("cities").await;
    let detail = house.ended(run, &mut changes).await;
    let of = |detail: &mulgil_history::read::RunDetail, name: &str| {
        detail.tasks.iter().find(|task| task.name == name).unwrap().clone()
    };
    assert_eq!(detail.run.status, RunStatus::Failed);
    let expected = [("load", S::Failed), ("load[0]", S::Succeeded), ("load[1]", S::Failed), ("all", S::UpstreamFailed)];
    expected.into_iter().for_each(|(task, status)| assert_eq!(of(&detail, task).status, status, "{task}"));
    assert_eq!(of(&detail, "load").note.as_deref(), Some("1 of 3 items failed"));
    assert_eq!(of(&detail, "load[2]").item, Some(serde_json::json!({"name": "busan", "size": 2})));
    assert_eq!((of(&detail, "none").status, read("after").as_str()), (S::Succeeded, "[]\n"));
    assert!(!folder.path().join("never").exists());
    house.close(PATIENCE).await;

    // What failed, by another server: only that item, and what is behind it.
    std::fs::remove_file(folder.path().join("broken-it's")).unwrap();
    let house = House::open(folder.path(), &[text]).await;
    let mut changes = house.handle.subscribe();
    house.handle.rerun(RerunRequest::of(run, RerunScope::Failed)).await.unwrap();
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(detail.run.status, RunStatus::Succeeded);
    assert_eq!(read("all"), "[3,1,2]\n");
    let attempts: Vec<u32> =
        detail.tasks.iter().filter(|task| task.item_of.is_some()).map(|task| task.attempts).collect();
    assert_eq!(attempts, [1, 2, 1]);
    assert_eq!(read("loaded").lines().filter(|line| *line == "it's").count(), 2);

    // From the task that finds them: there are fewer now.
    write("cities", r#"[{"name": "jeju", "size": 9}]"#);
    house.handle.rerun(RerunRequest::of(run, RerunScope::From("find".to_owned()))).await.unwrap();
    let detail = house.ended(run, &mut changes).await;
    assert_eq!((detail.run.status, read("all").as_str()), (RunStatus::Succeeded, "[9]\n"));
    assert_eq!((of(&detail, "load[0]").attempts, of(&detail, "load[1]").status), (2, S::Skipped));
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn what_is_no_list_or_too_long_a_one_fails_the_task_with_a_sentence() {
    let flow = "flow: f
tasks:
  find: {shell: 'cat found > $MULGIL_RESULT'}
  each: {needs: [find], for_each: {items: '{{ results.find }}', max_items: 2}, shell: 'true'}
  more: {needs: [each], shell: 'true'}";
    let cases = [
        ("[1, 2, 3]", "`for_each:` has 3 items, and at most 2 are allowed"),
        ("{\"a\": 1}", "`for_each:` needs a list, and was given a map"),
        ("\"[1, 2\"", "was given a text"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    std::fs::write(folder.path().join("found"), "[1, 2]").unwrap();
    let run = house.trigger("f").await;
    assert_eq!(house.ended(run, &mut changes).await.run.status, RunStatus::Succeeded);
    for (found, expected) in cases {
        std::fs::write(folder.path().join("found"), found).unwrap();
        house.handle.rerun(RerunRequest::of(run, RerunScope::All)).await.unwrap();
        let detail = house.ended(run, &mut changes).await;
        assert_eq!(statuses(&detail).1[1..3], [TaskStatus::Failed, TaskStatus::UpstreamFailed]);
        let note = detail.tasks[1].note.as_deref().unwrap();
        assert!(note.contains(expected), "{note}");
    }
    house.close(PATIENCE).await;
}
