//! Views that are exported by the flows that the server makes for them.

use mulgil_server::flows::StartRun;
use mulgil_server::project::ProblemKind;
use mulgil_server::status::RunStatus;
use mulgil_server::topics::AppendQuery;

use super::fixture::Fixture;

const TABLES: (&str, &str) = (
    "sources/tables.sql",
    "CREATE TABLE sales (shop VARCHAR, euros BIGINT) WITH ('connector' = 'log', 'topic' = 'sales', 'format' = 'json');
     CREATE TABLE mart.shops (shop VARCHAR, euros BIGINT)
     WITH ('connector' = 'filesystem', 'path' = 'marts/shops.csv', 'format' = 'csv');",
);

const VIEW: (&str, &str) = (
    "views/shops.sql",
    "CREATE MATERIALIZED TABLE shops FRESHNESS = INTERVAL '1' HOUR WITH ('export' = 'mart.shops') REFRESH_MODE = KAPPA
     AS SELECT shop, sum(euros) AS euros FROM sales GROUP BY shop;",
);

const WRONG: (&str, &str) = (
    "views/wrong.sql",
    "CREATE MATERIALIZED TABLE wrong WITH ('export' = 'mart.nowhere') REFRESH_MODE = FULL AS SELECT shop FROM sales;",
);

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_exported_by_its_flow_and_a_failure_is_shown_and_tried_again() {
    let fixture = Fixture::start(&[TABLES, VIEW, WRONG]).await;
    let line = "{\"shop\": \"north\", \"euros\": 3}\n";
    let filled = fixture
        .listen(|event| match event {
            mulgil_server::events::Event::View(view) if view.name == "shops" && view.rows == 1 => Some(()),
            _ => None,
        })
        .await;
    fixture.call(move |client| client.append("sales", &AppendQuery::default(), line.as_bytes())).await.unwrap();
    filled.await;
    let problems = fixture.call(|client| client.problems()).await.unwrap();
    assert_eq!((problems.len(), problems[0].kind, problems[0].name.as_deref()), (1, ProblemKind::View, Some("wrong")));
    assert!(problems[0].message.contains("mart.nowhere, and there is no such table"), "{problems:?}");

    let flow = fixture.call(|client| client.flow("view_shops")).await.unwrap();
    assert_eq!(flow.summary.schedule.as_deref(), Some("every 1h"));
    // A file stands where the folder of the mart should be: that is said, and tried again once it is gone.
    fixture.write("marts", "in the way");
    let started = fixture.call(|client| client.start_run("view_shops", &StartRun::default())).await.unwrap();
    let failed = loop {
        let detail = fixture.call(|client| client.view("shops")).await.unwrap();
        if let Some(export) = detail.export {
            break export;
        }
        tokio::task::yield_now().await;
    };
    assert!(failed.error.is_some() && failed.made_at.is_none() && failed.table == "mart.shops", "{failed:?}");
    std::fs::remove_file(fixture.dir.path().join("marts")).unwrap();
    let run = fixture.run_with(started.run.name.leak(), RunStatus::Succeeded).await;
    assert!(run.tasks[0].attempts.len() > 1, "{run:?}");
    let export = fixture.call(|client| client.view("shops")).await.unwrap().export.unwrap();
    assert!(export.rows == 1 && export.error.is_none() && export.made_at.is_some(), "{export:?}");
    assert_eq!(std::fs::read_to_string(fixture.dir.path().join("marts/shops.csv")).unwrap(), "shop,euros\nnorth,3\n");
    fixture.stop().await;
}
