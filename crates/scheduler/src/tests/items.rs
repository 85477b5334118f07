//! Tasks that go over items, with everything real.

use mulgil_sched::rerun::RerunScope;
use mulgil_sched::status::{RunStatus, TaskStatus};

use super::fixture::{House, PATIENCE, statuses};
use crate::RerunRequest;

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

#[tokio::test]
async fn a_group_does_its_items_one_after_the_other_in_one_task() {
    let flow = r#"flow: f
tasks:
  load:
    for_each: {items: [a, "it's", {"x": 1}, d, e], group: 2}
    env: {TWICE: "{{ item }}{{ item }}"}
    shell: |
      echo {{ item }} "$TWICE" >> loaded # the last line may end in a comment
      test ! -e broken || test {{ item }} != d || exit 3
      test {{ item }} = e || echo '"'$(wc -l < loaded)'"' > $MULGIL_RESULT; exit 0
  last: {needs: [load], shell: 'echo {{ results.load }} > all'}
"#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken"), "").unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let house = House::open(folder.path(), &[&flow.replace("group: 2", "group: 2, max_parallel: 1")]).await;
    let mut changes = house.handle.subscribe();
    let run = house.trigger("f").await;
    let detail = house.ended(run, &mut changes).await;
    use TaskStatus as S;
    let expected = [S::Failed, S::UpstreamFailed, S::Succeeded, S::Failed, S::Succeeded];
    assert_eq!(statuses(&detail).1, expected);
    let error = detail.attempts.iter().find_map(|attempt| attempt.error.clone()).unwrap();
    assert!(error.starts_with("the command ended with exit code 3") && error.contains("item 2 of 2: d"), "{error}");
    assert_eq!(read("loaded"), "a aa\nit's it'sit's\n{\"x\":1} {\"x\":1}{\"x\":1}\nd dd\ne ee\n");
    std::fs::remove_file(folder.path().join("broken")).unwrap();
    house.handle.rerun(RerunRequest::of(run, RerunScope::Failed)).await.unwrap();
    let detail = house.ended(run, &mut changes).await;
    assert_eq!(detail.run.status, RunStatus::Succeeded);
    assert_eq!(read("all"), "[\"1\",\"2\",\"6\",\"7\",null]\n", "the whole group ran again, from its first item");
    assert_eq!(detail.tasks[4].item, Some(serde_json::json!(["e"])));
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn groups_take_about_as_long_as_they_should_by_what_items_took_before() {
    let flow = "flow: f
params: {n: 0}
tasks:
  each: {for_each: {items: '{{ range(250) | list }}', group: auto}, shell: 'true'}";
    let folder = tempfile::tempdir().unwrap();
    let started = |params: i64| crate::TriggerRequest {
        flow: "f".to_owned(),
        params: [("n".to_owned(), params.into())].into(),
        ..Default::default()
    };
    let groups = |detail: &mulgil_history::read::RunDetail| -> Vec<usize> {
        let items = detail.tasks.iter().filter_map(|task| task.item.as_ref()?.as_array());
        items.map(Vec::len).collect()
    };
    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    let run = house.handle.trigger(started(1)).await.unwrap().run;
    // Nobody knows how long they take.
    assert_eq!(groups(&house.ended(run, &mut changes).await).len(), 84);
    house.close(PATIENCE).await;
    // Another server has read it: some milliseconds, so that all go into one.
    let house = House::open(folder.path(), &[flow]).await;
    let mut changes = house.handle.subscribe();
    let run = house.handle.trigger(started(2)).await.unwrap().run;
    assert_eq!(groups(&house.ended(run, &mut changes).await), [250]);
    house.close(PATIENCE).await;
}

#[tokio::test]
async fn the_rows_of_a_query_are_items_and_too_many_or_none_are_told() {
    const FLOW: &str = r#"
flow: asked
tasks:
  first: {shell: 'cat rows > $MULGIL_RESULT'}
  each:
    needs: [first]
    for_each: {sql: 'ROWS {{ results.first }}', max_items: 2}
    shell: echo {{ item.n }} >> said
  after: {needs: [each], shell: 'true'}
"#;
    let cases = [
        (r#"[{"n": 1}, {"n": 2}]"#, RunStatus::Succeeded, None),
        ("[]", RunStatus::Succeeded, None),
        ("[1, 2, 3]", RunStatus::Failed, Some("`for_each:` has 3 items, and at most 2 are allowed")),
    ];
    for (rows, status, note) in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rows"), rows).unwrap();
        let house = House::open(folder.path(), &[FLOW]).await;
        let mut changes = house.handle.subscribe();
        let run = house.trigger("asked").await;
        let detail = house.ended(run, &mut changes).await;
        assert_eq!(detail.run.status, status, "{rows}: {:?}", detail.tasks);
        let each = detail.tasks.iter().find(|task| task.name == "each").unwrap();
        assert_eq!(each.attempts, 1, "the query is an attempt of its own");
        assert!(each.note.as_deref().unwrap_or_default().starts_with(note.unwrap_or_default()), "{:?}", each.note);
        let said = std::fs::read_to_string(folder.path().join("said")).unwrap_or_default();
        assert_eq!(said.lines().count(), if rows.contains("\"n\"") { 2 } else { 0 }, "{rows}");
        house.close(PATIENCE).await;
    }
}
