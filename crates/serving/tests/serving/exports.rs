//! Views that are exported: readers of a mart see the old rows or the new ones, and a mart that cannot be replaced is as it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_serving::run::collect;
use mulgil_serving::views::{ViewError, Views, ViewsOptions};
use mulgil_sql::catalog::Catalog;

use crate::cluster::Cluster;
use crate::fixture::{Project, text_rows};

const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of a generation: several batches, so that half of one could be seen.
const ROWS: usize = 20_000;

fn daily() -> TableName {
    TableName::parse("daily")
}

/// What the view is computed from: rows that all say which generation they are of.
fn write(project: &Project, generation: usize) {
    let lines: String = (0..ROWS).map(|n| format!("{generation},{n}\n")).collect();
    std::fs::write(project.dir.path().join("lines.csv"), format!("g,n\n{lines}")).unwrap();
}

fn catalog(project: &Project, mart: &str) -> Arc<Catalog> {
    project.catalog(&format!(
        "CREATE TABLE lines (g BIGINT, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'lines.csv', 'format' = 'csv');
         CREATE TABLE mart.daily (n BIGINT, g BIGINT) WITH ({mart});
         CREATE MATERIALIZED TABLE daily WITH ('export' = 'mart.daily') REFRESH_MODE = FULL AS SELECT g, n FROM lines;"
    ))
}

fn views(project: &Project, catalog: &Arc<Catalog>) -> Views {
    let options = ViewsOptions { news_interval: Duration::from_millis(10), ..ViewsOptions::default() };
    Views::new(Arc::clone(catalog), project.connectors.clone(), options)
}

/// Refreshes the view again and again while somebody reads its mart, as how many rows of which generations: whole ones, none older
/// than the one before.
async fn hammer<R>(project: &Project, views: &Views, read: impl Fn() -> R + Send + 'static)
where
    R: Future<Output = Vec<(usize, usize)>> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    let reads = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let (mut before, mut answers) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                let seen = read().await;
                let [(generation, ROWS)] = seen.as_slice() else { panic!("after generation {before}: {seen:?}") };
                assert!(*generation >= before, "{before}, and then {generation}");
                (before, answers) = (*generation, answers + 1);
                tokio::task::yield_now().await;
            }
            answers
        }
    });
    for generation in 2..=6 {
        write(project, generation);
        let status = views.refresh(&daily()).await.unwrap();
        let export = status.export.unwrap();
        assert_eq!((export.table.as_str(), export.rows, export.error), ("mart.daily", ROWS as u64, None));
    }
    stop.store(true, Ordering::SeqCst);
    assert!(tokio::time::timeout(PATIENCE, reads).await.unwrap().unwrap() > 0, "nobody has read anything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_of_a_mart_in_postgresql_see_old_rows_or_new_and_a_failure_is_shown_and_tried_again() {
    let cluster = Cluster::shared();
    cluster.run("CREATE TABLE daily_mart (g int8, n int8)");
    let project = Project::new();
    let catalog = catalog(
        &project,
        &format!("'connector' = 'postgres', 'url' = '{}', 'table-name' = 'daily_mart'", cluster.url()),
    );
    let views = views(&project, &catalog);
    // What has no result yet is not exported.
    let early = views.export(&daily()).await.unwrap_err().to_string();
    assert!(early.contains("no result yet") && early.contains("mart.daily"), "{early}");
    write(&project, 1);
    views.refresh(&daily()).await.unwrap();
    let reader = views.clone();
    hammer(&project, &views, move || {
        let views = reader.clone();
        async move {
            let rows = views.query("SELECT g, count(DISTINCT n) FROM mart.daily GROUP BY g").await.unwrap();
            let rows = text_rows(&collect(rows).await.unwrap().1);
            rows.iter().map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap())).collect()
        }
    })
    .await;

    // The mart goes away: the view is refreshed all the same, and says what is wrong.
    cluster.run("ALTER TABLE daily_mart RENAME TO elsewhere");
    write(&project, 7);
    let failed = views.refresh(&daily()).await.unwrap_err();
    assert!(matches!(failed, ViewError::Export { .. }), "{failed}");
    let status = views.status(&daily()).unwrap();
    let export = status.export.unwrap();
    assert!(export.error.as_ref().unwrap().contains("daily_mart") && export.rows == ROWS as u64, "{export:?}");
    let rows = collect(views.query("SELECT min(g), count(*) FROM daily").await.unwrap()).await.unwrap().1;
    assert_eq!(text_rows(&rows), [["7", "20000"]]);
    cluster.run("ALTER TABLE elsewhere RENAME TO daily_mart");
    let sql = "SELECT min(g), max(g), count(*) FROM mart.daily";
    assert_eq!(project.batch(&catalog, sql).await, [["6", "6", "20000"]], "it is as it was");
    assert_eq!(views.export(&daily()).await.unwrap(), ROWS as u64);
    assert_eq!(project.batch(&catalog, sql).await, [["7", "7", "20000"]]);
    assert_eq!(views.status(&daily()).unwrap().export.unwrap().error, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_of_a_mart_in_a_file_see_old_rows_or_new() {
    let project = Project::new();
    let catalog = catalog(&project, "'connector' = 'filesystem', 'path' = 'mart.csv', 'format' = 'csv'");
    let views = views(&project, &catalog);
    write(&project, 1);
    views.refresh(&daily()).await.unwrap();
    let file = project.dir.path().join("mart.csv");
    hammer(&project, &views, move || {
        let mut generations = BTreeMap::new();
        for line in std::fs::read_to_string(&file).unwrap().lines().skip(1) {
            let generation: usize = line.split_once(',').expect("two columns").1.parse().unwrap();
            *generations.entry(generation).or_insert(0) += 1;
        }
        std::future::ready(generations.into_iter().collect())
    })
    .await;
    // A row that the mart cannot take leaves it as it was.
    std::fs::write(project.dir.path().join("lines.csv"), "g,n\n8,1\n9,x\n").unwrap();
    views.refresh(&daily()).await.unwrap_err();
    let sql = "SELECT min(g), max(g), count(*) FROM mart.daily";
    assert_eq!(project.batch(&catalog, sql).await, [["6", "6", "20000"]]);
}

#[test]
fn an_export_that_cannot_be_is_refused_with_the_place() {
    let project = Project::new();
    let problem = |view: &str| {
        let text = format!(
            "CREATE TABLE t (a INT) WITH ('connector' = 'log', 'topic' = 't', 'format' = 'json');\nCREATE MATERIALIZED TABLE v\n{view}"
        );
        let (_, problems) = Catalog::load_checked(&[("p.sql".into(), text)], &project.connectors);
        assert_eq!((problems.len(), problems[0].line), (1, 3), "{problems:?}");
        problems[0].message.clone()
    };
    let stream = problem("WITH ('export' = 'mart') REFRESH_MODE = CONTINUOUS AS SELECT a FROM t;");
    assert_eq!(stream, "nothing says how often the view is exported");
    let circle = problem("WITH ('export' = 't') REFRESH_MODE = FULL AS SELECT a FROM t;");
    assert!(circle.contains("reads") && circle.contains("would replace it"), "{circle}");
    assert_eq!(problem("WITH ('export' = ' ') REFRESH_MODE = FULL AS SELECT a FROM t;"), "'export' names no table");
}
