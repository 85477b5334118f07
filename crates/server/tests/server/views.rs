//! Views: kept up to date while records come, and read over HTTP.

use mulgil_server::events::Event;
use mulgil_server::project::ProblemKind;
use mulgil_server::sql::{SqlAsk, SqlMode};
use mulgil_server::topics::AppendQuery;
use mulgil_server::views::{RefreshMode, RowsQuery, ViewState};
use serde_json::json;

use super::fixture::{Fixture, refusal};

pub(super) const SOURCE: (&str, &str) = (
    "sources/departures.sql",
    "CREATE TABLE departures (origin VARCHAR, scheduled TIMESTAMP(3), WATERMARK FOR scheduled AS scheduled - INTERVAL '1' MINUTE)
     WITH ('connector' = 'log', 'topic' = 'departures', 'format' = 'json');",
);

pub(super) const VIEW: (&str, &str) = (
    "views/per_hour.sql",
    "CREATE MATERIALIZED TABLE per_hour FRESHNESS = INTERVAL '1' SECOND REFRESH_MODE = CONTINUOUS
     AS SELECT origin, window_start, count(*) AS flights
        FROM TUMBLE(TABLE departures, DESCRIPTOR(scheduled), INTERVAL '1' HOUR)
        GROUP BY origin, window_start, window_end;",
);

pub(super) const LINES: &str = "{\"origin\": \"JFK\", \"scheduled\": \"2013-01-01T00:10:00\"}
{\"origin\": \"JFK\", \"scheduled\": \"2013-01-01T00:20:00\"}
{\"origin\": \"LGA\", \"scheduled\": \"2013-01-01T00:30:00\"}
{\"origin\": \"JFK\", \"scheduled\": \"2013-01-01T01:30:00\"}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_view_follows_its_topic() {
    let fixture = Fixture::start(&[SOURCE, VIEW]).await;
    let filled = fixture
        .listen(|event| match event {
            Event::View(view) if view.rows == 2 => Some(view),
            _ => None,
        })
        .await;
    fixture.call(|client| client.append("departures", &AppendQuery::default(), LINES.as_bytes())).await.unwrap();
    let heard = filled.await;
    assert_eq!((heard.name.as_str(), heard.mode, heard.rows_in), ("per_hour", Some(RefreshMode::Continuous), 4));

    let shown = fixture.call(|client| client.view("per_hour")).await.unwrap();
    assert_eq!(shown.summary.state, ViewState::Running);
    assert_eq!(shown.summary.watermark.map(|time| time.to_string()).as_deref(), Some("2013-01-01T01:29:00Z"));
    let columns: Vec<(&str, &str)> =
        shown.columns.iter().map(|column| (column.name.as_str(), column.sql_type.as_str())).collect();
    assert_eq!(columns, [("origin", "VARCHAR"), ("window_start", "TIMESTAMP(3)"), ("flights", "BIGINT")]);
    let held = shown.held_back_by.unwrap();
    assert_eq!((held.source.as_str(), held.watermark), ("departures", shown.summary.watermark));
    assert!(held.since.unwrap() > "2020-01-01T00:00:00Z".parse().unwrap(), "on the machine's clock");
    assert!(shown.latency.unwrap().p50_ms > 0.0);
    let dataflow = shown.dataflow.unwrap();
    assert!(dataflow.subtasks.iter().any(|subtask| subtask.rows_in == 4 && subtask.inputs[0].from == "departures"));
    assert!(dataflow.edges.iter().any(|edge| edge.exchange == "read") && dataflow.sinks[0].rows == 2);
    assert!(shown.definition.contains("TUMBLE") && shown.file == "views/per_hour.sql");

    let page = RowsQuery { order: Some("-flights,origin".to_owned()), ..RowsQuery::default() };
    let rows = fixture.call(move |client| client.view_rows("per_hour", &page)).await.unwrap();
    assert_eq!(json!(rows.rows), json!([["JFK", "2013-01-01T00:00:00", 2], ["LGA", "2013-01-01T00:00:00", 1]]));
    let ask = SqlAsk { sql: "SELECT sum(flights) AS n FROM per_hour".to_owned(), mode: SqlMode::Batch, limit: None };
    let sum = fixture.call(move |client| client.sql(&ask)).await.unwrap();
    assert_eq!(json!(sum.rows), json!([[3]]));

    // By its key, by a part of it, by something else, by nothing that is there.
    for (key, expected) in [
        (r#"{"origin":"JFK","window_start":"2013-01-01T00:00:00"}"#, json!([["JFK", "2013-01-01T00:00:00", 2]])),
        (r#"{"origin":"LGA"}"#, json!([["LGA", "2013-01-01T00:00:00", 1]])),
        (r#"{"flights":2}"#, json!([["JFK", "2013-01-01T00:00:00", 2]])),
        (r#"{"origin":"JFK","window_start":"2013-01-01T05:00:00"}"#, json!([])),
        (r#"{"origin":null,"window_start":"2013-01-01T00:00:00"}"#, json!([])),
    ] {
        let page = RowsQuery { key: Some(key.to_owned()), ..RowsQuery::default() };
        let rows = fixture.call(move |client| client.view_rows("per_hour", &page)).await.unwrap();
        assert_eq!((json!(rows.rows), rows.columns.len(), rows.truncated), (expected, 3, false), "{key}");
    }
    for (key, order) in [
        ("JFK", None),
        ("{}", None),
        (r#"{"city":1}"#, None),
        (r#"{"flights":"many"}"#, None),
        (r#"{"flights":1}"#, Some("origin")),
    ] {
        let page = RowsQuery { key: Some(key.to_owned()), order: order.map(str::to_owned), ..RowsQuery::default() };
        let (status, ..) = refusal(fixture.call(move |client| client.view_rows("per_hour", &page)).await);
        assert_eq!(status, 400, "{key}");
    }

    let wrong = RowsQuery { order: Some("nothing".to_owned()), ..RowsQuery::default() };
    let (status, ..) = refusal(fixture.call(move |client| client.view_rows("per_hour", &wrong)).await);
    assert_eq!(status, 400);
    let (status, ..) = refusal(fixture.call(|client| client.view("nothing")).await);
    assert_eq!(status, 404);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_view_is_shown_with_its_problem_until_it_is_mended() {
    let broken = ("views/per_hour.sql", "CREATE MATERIALIZED TABLE per_hour\nAS SELECT orign FROM departures;");
    let fixture = Fixture::start(&[SOURCE, broken]).await;
    let views = fixture.call(|client| client.views()).await.unwrap();
    assert_eq!((views[0].name.as_str(), views[0].state), ("per_hour", ViewState::Broken));
    let problem = &views[0].problems[0];
    assert_eq!((problem.kind, problem.file.as_str(), problem.line), (ProblemKind::View, "views/per_hour.sql", Some(2)));
    assert_eq!(problem.excerpt.as_deref(), Some("AS SELECT orign FROM departures;"));
    fixture.write(VIEW.0, VIEW.1);
    fixture.call(|client| client.reload()).await.unwrap();
    let view = fixture.call(|client| client.view("per_hour")).await.unwrap();
    assert_eq!((view.summary.state, view.summary.problems.len()), (ViewState::Running, 0));
    fixture.stop().await;
}
