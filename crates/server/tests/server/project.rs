//! The project's files: broken, mended, read again; the server's own file; the streams at a shutdown.

use mulgil_server::client::Client;
use mulgil_server::events::{Event, EventsQuery};
use mulgil_server::pools::{PoolInfo, PoolsQuery};
use mulgil_server::project::ProblemKind;

use super::fixture::{DAILY, Fixture, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_shows_where_and_stops_only_its_flow() {
    let broken = ("flows/broken.yaml", "flow: broken\ntasks:\n  one:\n    shel: echo\n");
    let fixture = Fixture::start(&[DAILY, broken]).await;
    let flows = fixture.call(|client| client.flows()).await.unwrap();
    let seen: Vec<(&str, bool)> = flows.iter().map(|flow| (flow.name.as_str(), flow.problems.is_empty())).collect();
    assert_eq!(seen, [("broken", false), ("daily", true)]);
    let problems = fixture.call(|client| client.problems()).await.unwrap();
    assert_eq!((problems[0].kind, problems[0].line), (ProblemKind::Flow, Some(4)));
    assert_eq!(problems[0].excerpt.as_deref(), Some("    shel: echo"));
    let shown = fixture.call(|client| client.flow("broken")).await.unwrap();
    assert!(shown.tasks.is_empty() && shown.text.contains("shel"));

    // Mending the file is enough: the server sees it by itself.
    let mended = fixture
        .listen(|event| match event {
            Event::Project(change) if change.problems == 0 => Some(()),
            _ => None,
        })
        .await;
    fixture.write("flows/broken.yaml", "flow: broken\ntasks:\n  one:\n    shell: echo\n");
    mended.await;
    let flow = fixture.call(|client| client.flow("broken")).await.unwrap();
    assert!(flow.summary.problems.is_empty() && flow.tasks.len() == 1);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboards_are_read_and_what_is_wrong_with_them_is_told_with_its_place() {
    let panel = "panels:\n  - title: One\n    view: things\n    sql: SELECT 1 AS one\n";
    let fixture = Fixture::start(&[
        ("dashboards/a.yaml", &format!("dashboard: a\n{panel}")),
        ("dashboards/again.yaml", &format!("dashboard: a\n{panel}")),
        ("dashboards/broken.yaml", "dashboard: broken\npanels: 7\n"),
    ])
    .await;
    let found = fixture.call(|client| client.dashboards()).await.unwrap();
    assert_eq!(found.iter().map(|dashboard| dashboard.file.as_str()).collect::<Vec<_>>(), ["dashboards/a.yaml"]);
    assert_eq!((found[0].title.as_str(), found[0].panels[0].sql.as_str()), ("a", "SELECT 1 AS one"));
    let problems = fixture.call(|client| client.problems()).await.unwrap();
    assert!(problems.iter().all(|problem| problem.kind == ProblemKind::Dashboard), "{problems:?}");
    let told: Vec<(&str, Option<u32>, &str)> =
        problems.iter().map(|problem| (problem.file.as_str(), problem.line, problem.message.as_str())).collect();
    assert_eq!(
        told,
        [
            ("dashboards/a.yaml", Some(4), "there is no view things"),
            ("dashboards/again.yaml", Some(1), "dashboard a is already defined in dashboards/a.yaml"),
            ("dashboards/broken.yaml", Some(2), "expected a list, found 7"),
        ]
    );
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_flow_of_a_new_folder_is_seen() {
    let fixture = Fixture::start(&[]).await;
    let seen = fixture.listen(|event| matches!(event, Event::Project(_)).then_some(())).await;
    fixture.write("flows/new.yaml", "flow: new\ntasks:\n  one:\n    shell: echo\n");
    seen.await;
    assert_eq!(fixture.call(|client| client.flows()).await.unwrap()[0].name, "new");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_answers_with_what_it_found() {
    let fixture = Fixture::start(&[]).await;
    fixture.write("flows/new.yaml", "flow: new\ntasks:\n  one:\n    shell: echo\n");
    let reloaded = fixture.call(|client| client.reload()).await.unwrap();
    assert_eq!((reloaded.flows.as_slice(), reloaded.problems.len()), (&["new".to_owned()][..], 0));
    let (status, _, message) = refusal(fixture.call(|client| client.flow("old")).await);
    assert_eq!((status, message.as_str()), (404, "there is no flow old"));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_server_takes_pools_over_and_keeps_them_while_their_file_is_broken() {
    let fixture = Fixture::start(&[]).await;
    let slots = |pools: Vec<PoolInfo>| -> Vec<(String, u32)> {
        pools.into_iter().map(|pool| (pool.pool, pool.slots)).collect()
    };
    for project in ["name: little\npools: {narrow: 3}\n", "name: little\npools: {narrow: 5, wide: nine}\n"] {
        fixture.write("mulgil.yaml", project);
        fixture.call(|client| client.reload()).await.unwrap();
        let pools = fixture.call(|client| client.pools(&PoolsQuery::default())).await.unwrap();
        assert_eq!(slots(pools), [("default".to_owned(), 8), ("narrow".to_owned(), 3)], "{project}");
    }
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_the_project_s_server_and_no_other() {
    let (one, other) = (Fixture::start(&[]).await, Fixture::start(&[]).await);
    let dir = one.dir.path().to_owned();
    let found = one.call(move |_| Client::for_project(&dir, None).unwrap().project().unwrap()).await;
    assert_eq!((found.name.as_str(), found.timezone.as_str()), ("little", "America/New_York"));
    // The file of a server that was killed may point to where another project's server answers by now.
    let file = ".mulgil/server.json";
    std::fs::copy(other.dir.path().join(file), one.dir.path().join(file)).unwrap();
    let dir = one.dir.path().to_owned();
    let error = one.call(move |_| Client::for_project(&dir, None).unwrap_err()).await;
    assert!(error.to_string().starts_with("no server is running"), "{error}");
    let dir = other.dir.path().to_owned();
    one.stop().await;
    other.stop().await;
    assert!(!dir.join(file).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_do_not_hold_up_a_shutdown() {
    let fixture = Fixture::start(&[]).await;
    let client = fixture.client.clone();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let listening = tokio::task::spawn_blocking(move || {
        let mut events = client.events(&EventsQuery::default()).unwrap();
        assert!(matches!(events.next(), Some(Ok(Event::Hello(_)))));
        ready.send(()).unwrap();
        events.count()
    });
    is_ready.await.unwrap();
    fixture.stop().await;
    listening.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_is_told_what_it_missed() {
    let fixture = Fixture::start(&[DAILY]).await;
    let url = format!("{}/api/v1/events", fixture.url());
    let first_events = move |id: Option<String>| {
        use std::io::BufRead;
        let request = ureq::get(&url);
        let request = match id {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        let lines = std::io::BufReader::new(request.call().unwrap().into_body().into_reader()).lines();
        let mut seen = (Vec::new(), String::new());
        // Two comments or one greeting: the first blank line ends the first event.
        for line in lines.map(Result::unwrap) {
            if let Some(name) = line.strip_prefix("event: ") {
                seen.0.push(name.to_owned());
            } else if let Some(id) = line.strip_prefix("id: ") {
                seen.1 = id.to_owned();
            } else if line.is_empty() && (seen.0.len() == 2 || seen.0 == ["hello"] && seen.1.ends_with("-0")) {
                break;
            }
        }
        seen
    };
    let (names, id) = fixture
        .call({
            let first_events = first_events.clone();
            move |_| first_events(None)
        })
        .await;
    assert_eq!(names, ["hello"]);
    fixture.call(|client| client.pause_flow("daily")).await.unwrap();
    let (names, _) = fixture.call(move |_| first_events(Some(id))).await;
    assert_eq!(names, ["hello", "lagged"]);
    fixture.stop().await;
}
