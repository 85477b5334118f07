//! Runs: started, watched, failed, run again.

use mulgil_server::attempts::LogQuery;
use mulgil_server::events::Event;
use mulgil_server::flows::StartRun;
use mulgil_server::grid::GridQuery;
use mulgil_server::reruns::{RerunAsk, RerunScope};
use mulgil_server::runs::RunsQuery;
use mulgil_server::status::{AttemptStatus, RunStatus, TaskStatus};

use super::fixture::{DAILY, Fixture, refusal};

fn on(date: &str) -> StartRun {
    StartRun { date: Some(date.parse().unwrap()), ..StartRun::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_watched_and_read() {
    let fixture = Fixture::start(&[DAILY]).await;
    let started = fixture.call(|client| client.start_run("daily", &on("2013-01-02"))).await.unwrap();
    assert!(started.created);
    assert_eq!((started.run.name.as_str(), started.run.label.as_str()), ("daily/2013-01-02", "2013-01-02"));
    let run = fixture.run_with("daily/2013-01-02", RunStatus::Succeeded).await;
    let tasks: Vec<(&str, TaskStatus)> = run.tasks.iter().map(|task| (task.name.as_str(), task.status)).collect();
    assert_eq!(
        tasks,
        [("land", TaskStatus::Succeeded), ("check", TaskStatus::Succeeded), ("publish", TaskStatus::Succeeded)]
    );
    assert_eq!((run.tasks[1].kind.as_str(), run.tasks[1].needs.as_slice()), ("shell", &["land".to_owned()][..]));
    assert_eq!(run.tasks[0].attempts[0].status, AttemptStatus::Succeeded);
    assert!(run.tasks[0].attempts[0].has_log);
    let id = run.summary.id;
    let log = fixture.call(move |client| client.log(id, "land", 1, &LogQuery::default())).await.unwrap();
    assert!(log.complete && log.text.contains("landing 2013-01-02"), "{log:?}");
    let followed: String = fixture
        .call(move |client| {
            let pieces = client.follow_log(id, "land", 1, &LogQuery::default()).unwrap();
            pieces.map(|piece| piece.unwrap().text).collect()
        })
        .await;
    assert_eq!(followed, log.text);

    let again = fixture.call(|client| client.start_run("daily", &on("2013-01-02"))).await.unwrap();
    assert!(!again.created && again.run.id == id, "the same parameters are the same run");
    let grid = fixture.call(|client| client.grid("daily", &GridQuery::default())).await.unwrap();
    assert_eq!((grid.tasks.join(","), grid.runs[0].cells.as_str()), ("land,check,publish".to_owned(), "sss"));
    let flow = fixture.call(|client| client.flow("daily")).await.unwrap();
    assert_eq!((flow.summary.counts.succeeded, flow.summary.recent_runs[0].id), (1, id));
    assert_eq!(flow.edges.len(), 2);
    assert_eq!(flow.summary.timezone, "America/New_York");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_with_the_same_key_is_told_of_the_same_run() {
    let flow = "flow: f\nparams: {n: 0}\ntasks: {t: {shell: 'true'}}\n";
    let fixture = Fixture::start(&[("flows/f.yaml", flow)]).await;
    let url = format!("{}/api/v1/flows/f/runs", fixture.client.url());
    let post = |key: &'static str, body: &'static str| {
        let url = url.clone();
        async move {
            let sent = tokio::task::spawn_blocking(move || {
                let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
                let mut answer = agent
                    .post(&url)
                    .header("idempotency-key", key)
                    .content_type("application/json")
                    .send(body)
                    .unwrap();
                (answer.status().as_u16(), answer.body_mut().read_json::<serde_json::Value>().unwrap())
            });
            sent.await.unwrap()
        }
    };
    let (status, first) = post("one", r#"{"params": {"n": 1}}"#).await;
    assert_eq!((status, &first["created"]), (200, &true.into()));
    let (status, again) = post("one", r#"{"params": {"n": 1}, "key": "one"}"#).await;
    assert_eq!((status, &again["created"], &again["run"]["id"]), (200, &false.into(), &first["run"]["id"]));
    let (status, other) = post("one", r#"{"params": {"n": 2}}"#).await;
    assert_eq!((status, &other["code"]), (409, &"conflict".into()), "{other}");
    let (status, both) = post("one", r#"{"key": "two"}"#).await;
    assert_eq!((status, &both["code"]), (400, &"invalid".into()), "{both}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_and_what_depends_on_it_runs_again() {
    let fixture = Fixture::start(&[DAILY]).await;
    fixture.write("broken-2013-01-03", "");
    fixture.call(|client| client.start_run("daily", &on("2013-01-03"))).await.unwrap();
    let run = fixture.run_with("daily/2013-01-03", RunStatus::Failed).await;
    let id = run.summary.id;
    assert_eq!(run.tasks[1].status, TaskStatus::Failed);
    assert_eq!(run.tasks[2].status, TaskStatus::UpstreamFailed);
    assert!(run.tasks[1].attempts[0].error.is_some());
    let preview = fixture.call(move |client| client.preview_rerun(id, &RerunAsk::default())).await.unwrap();
    let names: Vec<&str> = preview.tasks.iter().map(|task| task.name.as_str()).collect();
    assert_eq!((names.as_slice(), preview.needs_confirmation), (&["check", "publish"][..], false));

    std::fs::remove_file(fixture.dir.path().join("broken-2013-01-03")).unwrap();
    fixture.call(move |client| client.rerun(id, &RerunAsk::default())).await.unwrap();
    let run = fixture.run_with("daily/2013-01-03", RunStatus::Succeeded).await;
    let attempts: Vec<usize> = run.tasks.iter().map(|task| task.attempts.len()).collect();
    assert_eq!(attempts, [1, 2, 1], "what had succeeded did not run again");

    let from = RerunAsk { scope: RerunScope::From, ..RerunAsk::default() };
    let (status, code, _) = refusal(fixture.call(move |client| client.rerun(id, &from)).await);
    assert_eq!((status, code.as_str()), (400, "invalid"));
    let (status, _, message) = refusal(fixture.call(move |client| client.rerun(id, &RerunAsk::default())).await);
    assert_eq!(status, 409, "{message}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_idempotent_asks_before_it_runs_again() {
    let flow = "flow: once\ntasks:\n  send:\n    shell: test -e mended\n    idempotent: false\n";
    let fixture = Fixture::start(&[("flows/once.yaml", flow)]).await;
    let started = fixture.call(|client| client.start_run("once", &StartRun::default())).await.unwrap();
    let name: &'static str = started.run.name.clone().leak();
    let id = fixture.run_with(name, RunStatus::Failed).await.summary.id;
    let preview = fixture.call(move |client| client.preview_rerun(id, &RerunAsk::default())).await.unwrap();
    assert!(preview.needs_confirmation);
    let (status, code, _) = refusal(fixture.call(move |client| client.rerun(id, &RerunAsk::default())).await);
    assert_eq!((status, code.as_str()), (409, "needs_confirmation"));
    fixture.write("mended", "");
    let ask = RerunAsk { confirm: true, ..RerunAsk::default() };
    fixture.call(move |client| client.rerun(id, &ask)).await.unwrap();
    fixture.run_with(name, RunStatus::Succeeded).await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_while_it_grows_and_a_run_is_cancelled() {
    let flow = "flow: long\ntasks:\n  wait:\n    shell: echo began; while test ! -e go; do sleep 0.05; done; echo ended; sleep 600\n";
    let fixture = Fixture::start(&[("flows/long.yaml", flow)]).await;
    let running = fixture
        .listen(|event| match event {
            Event::Attempt(attempt) if attempt.status == AttemptStatus::Running => Some(attempt.run),
            _ => None,
        })
        .await;
    let started = fixture.call(|client| client.start_run("long", &StartRun::default())).await.unwrap();
    let id = running.await;
    assert_eq!(id, started.run.id);
    let go = fixture.dir.path().join("go");
    let followed: String = fixture
        .call(move |client| {
            let (mut text, mut cancelled) = (String::new(), false);
            for piece in client.follow_log(id, "wait", 1, &LogQuery::default()).unwrap() {
                text.push_str(&piece.unwrap().text);
                if text.contains("began") && !go.exists() {
                    std::fs::write(&go, "").unwrap();
                }
                if text.contains("ended") && !cancelled {
                    client.cancel_run(id).unwrap();
                    cancelled = true;
                }
            }
            text
        })
        .await;
    assert!(followed.contains("began") && followed.contains("ended"), "{followed}");
    let name: &'static str = started.run.name.leak();
    let run = fixture.run_with(name, RunStatus::Cancelled).await;
    assert_eq!(run.tasks[0].attempts[0].status, AttemptStatus::Cancelled);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_the_grid_come_in_pages() {
    let fixture = Fixture::start(&[DAILY]).await;
    for day in 1..=5 {
        fixture.call(move |client| client.start_run("daily", &on(&format!("2013-01-0{day}")))).await.unwrap();
    }
    for name in ["daily/2013-01-01", "daily/2013-01-02", "daily/2013-01-03", "daily/2013-01-04", "daily/2013-01-05"] {
        fixture.run_with(name, RunStatus::Succeeded).await;
    }
    let page = |before| RunsQuery { limit: Some(2), before, ..RunsQuery::default() };
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let found = fixture.call(move |client| client.runs(&page(before))).await.unwrap();
        seen.extend(found.runs.into_iter().map(|run| run.label));
        before = found.next_before;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["2013-01-05", "2013-01-04", "2013-01-03", "2013-01-02", "2013-01-01"]);

    let newest =
        fixture.call(|client| client.grid("daily", &GridQuery { limit: Some(2), before: None })).await.unwrap();
    let labels = |runs: &[mulgil_server::grid::GridRun]| runs.iter().map(|run| run.label.clone()).collect::<Vec<_>>();
    assert_eq!(labels(&newest.runs), ["2013-01-04", "2013-01-05"]);
    let before = newest.next_before;
    let older = fixture.call(move |client| client.grid("daily", &GridQuery { limit: Some(3), before })).await.unwrap();
    assert_eq!(labels(&older.runs), ["2013-01-01", "2013-01-02", "2013-01-03"]);
    assert_eq!(older.next_before, None);
    let (status, ..) = refusal(fixture.call(|client| client.grid("nothing", &GridQuery::default())).await);
    assert_eq!(status, 404);
    fixture.stop().await;
}
