//! Tasks that go over items, over HTTP.

use mulgil_server::attempts::LogQuery;
use mulgil_server::flows::StartRun;
use mulgil_server::grid::GridQuery;
use mulgil_server::items::{ItemCounts, ItemsQuery};
use mulgil_server::reruns::{RerunAsk, RerunScope};
use mulgil_server::status::{RunStatus, TaskStatus};

use super::fixture::{Fixture, refusal};

const EACH: &str = "flow: each
timeout: 1h
tasks:
  load: {for_each: [a, b, c], shell: 'echo loading {{ item }}; test ! -e broken-{{ item }}'}
  done: {needs: [load], shell: 'true'}
";

#[tokio::test(flavor = "multi_thread")]
async fn items_are_counted_listed_by_page_and_run_again_by_name() {
    let fixture = Fixture::start(&[("flows/each.yaml", EACH)]).await;
    fixture.write("broken-b", "");
    let id = fixture.call(|client| client.start_run("each", &StartRun::default())).await.unwrap().run.id;
    let run = fixture.run_with("each/manual", RunStatus::Failed).await;
    let shown: Vec<_> = run.tasks.iter().map(|task| (task.name.as_str(), task.status)).collect();
    assert_eq!(shown, [("load", TaskStatus::Failed), ("done", TaskStatus::UpstreamFailed)]);
    let counts = ItemCounts { total: 3, succeeded: 2, failed: 1, ..ItemCounts::default() };
    assert_eq!((run.tasks[0].items, run.tasks[1].items), (Some(counts), None));
    assert_eq!(run.tasks[0].note.as_deref(), Some("1 of 3 items failed"));
    let [worked] = run.tasks[0].worked.as_slice() else { panic!("one stretch of time: {:?}", run.tasks[0].worked) };
    assert!(worked.started_at >= run.summary.started_at.unwrap() && worked.ended_at.is_some());
    assert_eq!(run.tasks[1].worked, [], "it never began");
    let page = |query: ItemsQuery| fixture.call(move |client| client.items(id, "load", &query));
    let first = page(ItemsQuery { limit: Some(2), ..ItemsQuery::default() }).await.unwrap();
    let names: Vec<_> = first.items.iter().map(|item| (item.name.as_str(), item.item.clone())).collect();
    assert_eq!(names, [("load[0]", "a".into()), ("load[1]", "b".into())]);
    let second = page(ItemsQuery { after: first.next_after, ..ItemsQuery::default() }).await.unwrap();
    assert_eq!((second.items[0].number, second.items.len(), second.next_after), (2, 1, None));
    let failed = page(ItemsQuery { status: Some(TaskStatus::Failed), ..ItemsQuery::default() }).await.unwrap();
    assert_eq!((failed.items[0].name.as_str(), failed.items[0].attempts.len()), ("load[1]", 1));
    let log = fixture.call(move |client| client.log(id, "load[1]", 1, &LogQuery::default())).await.unwrap();
    assert!(log.text.contains("loading b"), "{log:?}");
    let (status, ..) = refusal(fixture.call(move |client| client.items(id, "lode", &ItemsQuery::default())).await);
    assert_eq!(status, 404);

    std::fs::remove_file(fixture.dir.path().join("broken-b")).unwrap();
    let from = RerunAsk { scope: RerunScope::From, task: Some("load[1]".to_owned()), ..RerunAsk::default() };
    let preview = fixture.call({
        let from = from.clone();
        move |client| client.preview_rerun(id, &from)
    });
    let names: Vec<String> = preview.await.unwrap().tasks.into_iter().map(|task| task.name).collect();
    assert_eq!(names, ["load", "done", "load[1]"]);
    fixture.call(move |client| client.rerun(id, &from)).await.unwrap();
    let run = fixture.run_with("each/manual", RunStatus::Succeeded).await;
    assert_eq!(run.tasks[0].items.map(|items| items.succeeded), Some(3));
    let grid = fixture.call(|client| client.grid("each", &GridQuery::default())).await.unwrap();
    assert_eq!((grid.tasks.join(","), grid.runs[0].cells.as_str()), ("load,done".to_owned(), "ss"));
    fixture.stop().await;
}
