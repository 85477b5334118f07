//! Views that are refreshed by tasks, and lists that are asked of tables: over real tables.

use mulgil_server::events::Event;
use mulgil_server::flows::StartRun;
use mulgil_server::generations::ReplayAsk;
use mulgil_server::status::RunStatus;
use mulgil_server::topics::AppendQuery;
use mulgil_server::views::{RowsQuery, ViewState};
use serde_json::json;

use super::fixture::{Fixture, PATIENCE};
use super::views::{LINES, SOURCE};

const TOTALS: (&str, &str) = (
    "views/totals.sql",
    "CREATE MATERIALIZED TABLE totals FRESHNESS = INTERVAL '1' DAY REFRESH_MODE = FULL
     AS SELECT origin, count(*) AS flights FROM departures GROUP BY origin;",
);

const FLOW: (&str, &str) = (
    "flows/nightly.yaml",
    "flow: nightly
tasks:
  totals: {view: {refresh: totals}, timeout: 1m}
  each:
    needs: [totals]
    for_each: {sql: 'SELECT origin, count(*) AS n FROM departures GROUP BY origin ORDER BY origin', max_parallel: 1}
    shell: echo {{ item.origin }} {{ item.n }} >> said
  tell: {needs: [each], shell: 'echo {{ results.totals.rows }} >> said'}
",
);

const KEPT: (&str, &str) = (
    "views/kept.sql",
    "CREATE MATERIALIZED TABLE kept REFRESH_MODE = KAPPA AS SELECT origin, count(*) AS flights FROM departures GROUP BY origin;",
);

const AGAIN: (&str, &str) = (
    "flows/again.yaml",
    "flow: again\ntasks: {kept: {view: {replay: kept}, timeout: 1m}, totals: {view: {replay: totals}}}",
);

const WRONG: (&str, &str) = ("flows/wrong.yaml", "flow: wrong\ntasks: {a: {view: {refresh: sums}}}");

#[tokio::test(flavor = "multi_thread")]
async fn a_task_refreshes_a_view_and_another_goes_over_the_rows_of_a_query() {
    let fixture = Fixture::start(&[SOURCE, TOTALS, FLOW, WRONG]).await;
    fixture.call(|client| client.append("departures", &AppendQuery::default(), LINES.as_bytes())).await.unwrap();
    fixture.call(|client| client.start_run("nightly", &StartRun::default())).await.unwrap();
    let run = fixture.run_with("nightly/manual", RunStatus::Succeeded).await;
    assert_eq!(run.tasks[0].result, Some(json!({"rows": 2})));
    let said = std::fs::read_to_string(fixture.dir.path().join("said")).unwrap();
    assert_eq!(said, "JFK 3\nLGA 1\n2\n");
    let view = fixture.call(|client| client.view("totals")).await.unwrap();
    assert_eq!((view.summary.state, view.summary.rows), (ViewState::Ready, 2));

    // The flow that nobody has written.
    let flow = fixture.call(|client| client.flow("view_totals")).await.unwrap();
    assert_eq!(flow.summary.schedule.as_deref(), Some("every 24h"));
    let more = "{\"origin\": \"EWR\", \"scheduled\": \"2013-01-01T02:10:00\"}\n";
    fixture.call(move |client| client.append("departures", &AppendQuery::default(), more.as_bytes())).await.unwrap();
    let started = fixture.call(|client| client.start_run("view_totals", &StartRun::default())).await.unwrap();
    let name: &'static str = started.run.name.leak();
    fixture.run_with(name, RunStatus::Succeeded).await;
    let rows = fixture.call(|client| client.view_rows("totals", &RowsQuery::default())).await.unwrap();
    assert_eq!(rows.rows.len(), 3);

    // A view that is not there: told before anything runs, and when it runs.
    let problems = fixture.call(|client| client.problems()).await.unwrap();
    let said: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(said, ["task a: there is no view sums"]);
    fixture.call(|client| client.start_run("wrong", &StartRun::default())).await.unwrap();
    let run = fixture.run_with("wrong/manual", RunStatus::Failed).await;
    let error = run.tasks[0].attempts[0].error.as_ref().unwrap();
    assert!(error.message.contains("sums") && error.message.contains("totals"), "{error:?}");
    fixture.stop().await;
}

/// Appends the lines, and waits until the view has two rows.
async fn filled(fixture: &Fixture, lines: String) {
    let filled = fixture
        .listen(|event| match event {
            Event::View(view) if view.name == "kept" && view.rows == 2 => Some(()),
            _ => None,
        })
        .await;
    fixture.call(move |client| client.append("departures", &AppendQuery::default(), lines.as_bytes())).await.unwrap();
    filled.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_replays_a_view_until_the_new_generation_answers() {
    let fixture = Fixture::start(&[SOURCE, TOTALS, KEPT, AGAIN]).await;
    filled(&fixture, LINES.to_owned()).await;
    fixture.call(|client| client.start_run("again", &StartRun::default())).await.unwrap();
    // The other task asks for a replay of a view that keeps no state: that is told before it runs, too.
    let run = fixture.run_with("again/manual", RunStatus::Failed).await;
    assert_eq!(run.tasks[0].result, Some(json!({"generation": 2})));
    let error = run.tasks[1].attempts[0].error.as_ref().unwrap();
    assert!(error.message.contains("refresh it"), "{error:?}");
    let problems = fixture.call(|client| client.problems()).await.unwrap();
    assert!(problems[0].message.contains("keeps no state that could be replayed"), "{problems:?}");
    let view = fixture.call(|client| client.view("kept")).await.unwrap();
    assert_eq!(view.generation, 2);
    let rows = fixture.call(|client| client.view_rows("kept", &RowsQuery::default())).await.unwrap();
    assert_eq!(rows.rows.len(), 2);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_waits_for_what_is_being_built_already_and_gives_it_up_with_itself() {
    let hurried = ("flows/hurried.yaml", "flow: hurried\ntasks: {kept: {view: {replay: kept}, timeout: 1s}}");
    let fixture = Fixture::start(&[SOURCE, KEPT, hurried]).await;
    // At a row a second this takes a day.
    filled(&fixture, LINES.repeat(25_000)).await;
    let slowly = ReplayAsk { rows_per_second_max: Some(1), ..ReplayAsk::default() };
    let begun = fixture.call(move |client| client.replay_view("kept", &slowly)).await.unwrap();
    assert_eq!(begun.building.map(|build| build.number), Some(2));
    fixture.call(|client| client.start_run("hurried", &StartRun::default())).await.unwrap();
    let run = fixture.run_with("hurried/manual", RunStatus::Failed).await;
    let error = run.tasks[0].attempts[0].error.as_ref().unwrap();
    assert!(error.message.contains("1s"), "{error:?}");
    let waiting = async { while fixture.call(|client| client.view("kept")).await.unwrap().building.is_some() {} };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the build is given up");
    let view = fixture.call(|client| client.view("kept")).await.unwrap();
    assert_eq!((view.generation, view.summary.rows), (1, 2));
    fixture.stop().await;
}
