//! What is kept of views that are computed as a whole: their results over a restart, and never those of another definition.

use std::path::PathBuf;

use mulgil_connect::definition::TableName;
use mulgil_serving::run::collect;
use mulgil_serving::status::ViewState;
use mulgil_serving::views::{Views, ViewsOptions};

use crate::fixture::{Project, sorted, text_rows};

const TABLE: &str =
    "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');";

fn totals() -> TableName {
    TableName::parse("totals")
}

async fn views(project: &Project, query: &str) -> Views {
    let options = ViewsOptions {
        results_dir: Some(project.dir.path().join("views")),
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        ..ViewsOptions::default()
    };
    let text = format!("{TABLE} CREATE MATERIALIZED TABLE totals REFRESH_MODE = FULL AS {query};");
    let views = Views::new(project.catalog(&text), project.connectors.clone(), options);
    views.start_all().await;
    views
}

async fn insert(project: &Project, values: &str) {
    project.batch(&project.catalog(TABLE), &format!("INSERT INTO numbers VALUES {values}")).await;
}

async fn rows(views: &Views) -> Vec<Vec<String>> {
    sorted(text_rows(&collect(views.query("SELECT * FROM totals").await.unwrap()).await.unwrap().1))
}

fn file(project: &Project) -> PathBuf {
    project.dir.path().join("views/public.totals.parquet")
}

const SUM: &str = "SELECT count(*) AS c, sum(n) AS s FROM numbers";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_is_shown_after_a_restart_and_only_as_that_of_its_own_definition() {
    let project = Project::new();
    insert(&project, "(1), (2), (3)").await;
    let before = views(&project, SUM).await;
    before.refresh(&totals()).await.unwrap();
    before.shutdown().await;
    insert(&project, "(10)").await;

    // What is shown is what was computed, not what would be computed now; and when.
    let after = views(&project, &SUM.replace("AS c", "/* all */ AS c")).await;
    assert_eq!(rows(&after).await, [["3", "6"]]);
    let status = after.status(&totals()).unwrap();
    assert_eq!((status.state, status.rows, status.refreshed_ms.is_some()), (ViewState::Ready, 1, true));
    after.shutdown().await;

    // The same columns, and others' rows: the query answers, until it is refreshed.
    let other = views(&project, "SELECT count(*) AS c, max(n) AS s FROM numbers").await;
    assert_eq!(rows(&other).await, [["4", "10"]]);
    assert_eq!(other.status(&totals()).unwrap().refreshed_ms, None);
    other.shutdown().await;
    // Changed back before that, it is its own again.
    let back = views(&project, SUM).await;
    assert_eq!(rows(&back).await, [["3", "6"]]);
    back.shutdown().await;
    let other = views(&project, "SELECT count(*) AS c, max(n) AS s FROM numbers").await;
    other.refresh(&totals()).await.unwrap();
    other.shutdown().await;
    let back = views(&project, SUM).await;
    assert_eq!(rows(&back).await, [["4", "16"]], "nothing of it is stored any more");
    back.shutdown().await;

    // A table that is read may be changed as well: here its rows are others.
    let before = views(&project, SUM).await;
    before.refresh(&totals()).await.unwrap();
    before.shutdown().await;
    let text = format!("{TABLE} CREATE MATERIALIZED TABLE totals REFRESH_MODE = FULL AS {SUM};");
    let options = ViewsOptions { results_dir: Some(project.dir.path().join("views")), ..ViewsOptions::default() };
    let text = text.replace("'topic' = 'numbers'", "'topic' = 'others'");
    let elsewhere = Views::new(project.catalog(&text), project.connectors.clone(), options);
    elsewhere.start_all().await;
    assert_eq!(rows(&elsewhere).await, [["0", "NULL"]]);
    elsewhere.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_garbled_file_is_told_and_the_query_answers_until_the_next_refresh() {
    let project = Project::new();
    insert(&project, "(1), (2), (3)").await;
    let first = views(&project, SUM).await;
    first.refresh(&totals()).await.unwrap();
    first.shutdown().await;
    let whole = std::fs::read(file(&project)).unwrap();
    insert(&project, "(10)").await;

    let mut flipped = whole.clone();
    let foot = flipped.len() - 20;
    flipped[foot..].reverse();
    for garbled in [&whole[..whole.len() / 2], b"", b"PAR1 and what follows is no such file PAR1", &flipped] {
        std::fs::write(file(&project), garbled).unwrap();
        let views = views(&project, SUM).await;
        let status = views.status(&totals()).unwrap();
        let error = status.error.unwrap_or_default();
        assert_eq!(status.state, ViewState::Failed, "{error}");
        assert!(error.contains("public.totals.parquet") && error.contains("mulgil view refresh totals"), "{error}");
        assert_eq!(rows(&views).await, [["4", "16"]]);
        views.refresh(&totals()).await.unwrap();
        let status = views.status(&totals()).unwrap();
        assert_eq!((status.state, status.error), (ViewState::Ready, None));
        views.shutdown().await;
        let again = self::views(&project, SUM).await;
        assert_eq!(again.status(&totals()).unwrap().state, ViewState::Ready);
        assert_eq!(rows(&again).await, [["4", "16"]]);
        again.shutdown().await;
    }
    // What a killed server has left of a file is nothing to anybody.
    let parts = std::fs::read_dir(project.dir.path().join("views")).unwrap();
    assert_eq!(parts.count(), 1);
}
