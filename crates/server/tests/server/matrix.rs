//! Tables × intervals: what is done, stale, failed, missing and under way, page by page.

use mulgil_server::flows::StartRun;
use mulgil_server::matrix::{FlowMatrix, MatrixQuery, TableCell};
use mulgil_server::reruns::{RerunAsk, RerunScope};
use mulgil_server::status::RunStatus;

use super::fixture::{Fixture, refusal};

const TABLES: (&str, &str) = (
    "flows/tables.yaml",
    "flow: tables
schedule: {cron: \"0 6 * * *\", start: 2013-01-01, end: 2013-01-08, catchup: none}
tasks:
  land: {sql: \"SELECT 1 AS n, DATE '{{ ds }}' AS day\", to: raw.numbers}
  check: {needs: [land], shell: 'while test -e held-{{ ds }}; do sleep 0.02; done; test ! -e broken-{{ ds }}'}
  sum: {needs: [check], sql: \"SELECT 2 AS n, DATE '{{ ds }}' AS day\", to: mart.sums}
",
);

const LAKE: (&str, &str) = (
    "sources/lake.sql",
    "CREATE TABLE raw.numbers (n BIGINT, day DATE) PARTITIONED BY (day) WITH ('connector' = 'delta');
CREATE TABLE mart.sums (n BIGINT, day DATE) PARTITIONED BY (day) WITH ('connector' = 'delta');
",
);

/// One letter a cell, row by row.
fn letters(matrix: &FlowMatrix) -> Vec<(&str, String)> {
    let letter = |cell: &TableCell| match cell {
        TableCell::Done => '#',
        TableCell::Stale => '~',
        TableCell::Failed => 'x',
        TableCell::Running => '>',
        TableCell::Missing => '.',
    };
    matrix.rows.iter().map(|row| (row.table.as_str(), row.cells.iter().map(letter).collect())).collect()
}

async fn shown(fixture: &Fixture, ask: MatrixQuery) -> FlowMatrix {
    let mut matrices = fixture.call(move |client| client.matrix(&ask)).await.unwrap();
    assert_eq!(matrices.len(), 1, "{matrices:?}");
    matrices.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_under_way_is_yet_to_write_is_under_way() {
    let fixture = Fixture::start(&[LAKE, TABLES]).await;
    fixture.write("held-2013-01-05", "");
    let ask = StartRun { date: Some("2013-01-05".parse().unwrap()), ..StartRun::default() };
    fixture.call(move |client| client.start_run("tables", &ask)).await.unwrap();
    fixture.run_with("tables/2013-01-05", RunStatus::Running).await;
    assert_eq!(letters(&shown(&fixture, MatrixQuery::default()).await)[1].1, "....>..");
    std::fs::remove_file(fixture.dir.path().join("held-2013-01-05")).unwrap();
    fixture.run_with("tables/2013-01-05", RunStatus::Succeeded).await;
    assert_eq!(letters(&shown(&fixture, MatrixQuery::default()).await)[1].1, "....#..");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_says_what_is_done_stale_failed_and_missing_and_its_pages_are_turned() {
    let fixture = Fixture::start(&[LAKE, TABLES]).await;
    fixture.write("broken-2013-01-04", "");
    for (date, name, status) in [
        ("2013-01-03", "tables/2013-01-03", RunStatus::Succeeded),
        ("2013-01-04", "tables/2013-01-04", RunStatus::Failed),
    ] {
        let ask = StartRun { date: Some(date.parse().unwrap()), ..StartRun::default() };
        fixture.call(move |client| client.start_run("tables", &ask)).await.unwrap();
        fixture.run_with(name, status).await;
    }
    let whole = shown(&fixture, MatrixQuery::default()).await;
    assert_eq!(whole.intervals.len(), 7, "as many as there are");
    assert_eq!(letters(&whole), [("raw.numbers", "..##...".to_owned()), ("mart.sums", "..#x...".to_owned())]);
    let runs: Vec<bool> = whole.intervals.iter().map(|column| column.run.is_some()).collect();
    assert_eq!(runs, [false, false, true, true, false, false, false]);

    // What it is made from is written again, and it is not.
    fixture.write("broken-2013-01-03", "");
    let third = whole.intervals[2].run.unwrap();
    let all = RerunAsk { scope: RerunScope::All, ..RerunAsk::default() };
    fixture.call(move |client| client.rerun(third, &all)).await.unwrap();
    fixture.run_with("tables/2013-01-03", RunStatus::Failed).await;
    assert_eq!(letters(&shown(&fixture, MatrixQuery::default()).await)[1].1, "..~x...");

    let page = |until: Option<jiff::Timestamp>| MatrixQuery { count: Some(3), until, flow: Some("tables".to_owned()) };
    let mut until = None;
    let mut pages = Vec::new();
    loop {
        let matrix = shown(&fixture, page(until)).await;
        let Some(first) = matrix.intervals.first() else { break };
        until = Some(first.interval.start);
        pages.push((first.label.clone(), letters(&matrix).remove(1).1));
    }
    let days = |label: &str, cells: &str| (label.to_owned(), cells.to_owned());
    assert_eq!(pages, [days("2013-01-05", "..."), days("2013-01-02", ".~x"), days("2013-01-01", ".")]);

    let unknown = MatrixQuery { flow: Some("lend".to_owned()), ..MatrixQuery::default() };
    assert_eq!(refusal(fixture.call(move |client| client.matrix(&unknown)).await).0, 404);
    fixture.stop().await;
}
