//! Why is it not running? Over the API, of a run whose tasks wait for different things.

use mulgil_server::events::Event;
use mulgil_server::flows::StartRun;
use mulgil_server::status::{RunStatus, TaskStatus};

use super::fixture::{Fixture, refusal};

const BUSY: &str = "flow: busy
tasks:
  hold: {shell: 'while test ! -e go; do sleep 0.02; done', pool: narrow}
  other: {shell: 'true', pool: narrow}
  after: {shell: 'true', needs: [hold, other]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_says_for_what_and_an_ended_run_says_nothing() {
    let files = [("mulgil.yaml", "pools: {narrow: 1}\n"), ("flows/busy.yaml", BUSY), ("flows/bad.yaml", "flow: bad\n")];
    let fixture = Fixture::start(&files).await;
    let leased = fixture
        .listen(|event| match event {
            Event::Task(task) if task.status == TaskStatus::Running => Some(task.run),
            _ => None,
        })
        .await;
    fixture.call(|client| client.start_run("busy", &StartRun::default())).await.unwrap();
    let id = leased.await;
    let waits = fixture.call(move |client| client.why_run(id, None)).await.unwrap();
    let said: Vec<(&str, &str)> =
        waits.tasks.iter().map(|task| (task.task.as_str(), task.why.sentence.as_str())).collect();
    let pool = format!("waits for a slot of pool narrow: 1 of 1 in use by hold of {}", waits.name);
    assert_eq!(
        (waits.why, said),
        (None, vec![("other", pool.as_str()), ("after", "waits for hold (running) and other (ready)")])
    );

    let one = fixture.call(move |client| client.why_run(id, Some("after"))).await.unwrap();
    assert_eq!((one.tasks.len(), one.tasks[0].why.kind.as_str()), (1, "needs"));
    let (status, _, message) = refusal(fixture.call(move |client| client.why_run(id, Some("nothing"))).await);
    assert_eq!((status, message.contains("hold, other, after")), (404, true), "{message}");

    let flow = fixture.call(|client| client.why_flow("busy")).await.unwrap();
    assert_eq!(flow.kind, "no_schedule");
    let broken = fixture.call(|client| client.why_flow("bad")).await.unwrap();
    assert!(broken.sentence.starts_with("its definition is broken: flows/bad.yaml:1: "), "{}", broken.sentence);
    let (status, ..) = refusal(fixture.call(|client| client.why_flow("none")).await);
    assert_eq!(status, 404);

    fixture.write("go", "");
    let name: &'static str = waits.name.leak();
    fixture.run_with(name, RunStatus::Succeeded).await;
    let ended = fixture.call(move |client| client.why_run(id, None)).await.unwrap();
    assert_eq!((ended.status, ended.why, ended.tasks), (RunStatus::Succeeded, None, vec![]));
    fixture.stop().await;
}
