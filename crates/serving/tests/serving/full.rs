//! What is kept of views that are computed as a whole: their results over a restart, and never those of another definition.

use std::path::PathBuf;

use mulgil_connect::definition::TableName;
use mulgil_serving::run::collect;
use mulgil_serving::status::ViewState;
use mulgil_serving::views::{RefreshInterval, Views, ViewsOptions};

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

/// By day: how many sales, and their sum.
const BY_DAY: &str = "SELECT day, count(*) AS c, sum(euros) AS s FROM sales GROUP BY day";

/// Sales lie in a folder a day.
async fn partitioned(project: &Project, column: &str, query: &str) -> Views {
    let options = ViewsOptions { results_dir: Some(project.dir.path().join("views")), ..ViewsOptions::default() };
    let text = format!(
        "CREATE TABLE sales (euros BIGINT, at TIMESTAMP(3), day DATE, WATERMARK FOR at AS at) PARTITIONED BY (day)
         WITH ('connector' = 'filesystem', 'path' = 'sales', 'format' = 'csv');
         CREATE MATERIALIZED TABLE totals PARTITIONED BY ({column}) REFRESH_MODE = FULL AS {query};"
    );
    let views = Views::new(project.catalog(&text), project.connectors.clone(), options);
    views.start_all().await;
    views
}

fn sell(project: &Project, day: u32, euros: &[u64]) {
    let folder = project.dir.path().join(format!("sales/day=2013-01-{day:02}"));
    std::fs::create_dir_all(&folder).unwrap();
    let hour = |n: usize| format!("2013-01-{day:02}T{:02}:30:00", n % 24);
    let lines: String = euros.iter().enumerate().map(|(n, euros)| format!("{euros},{}\n", hour(n))).collect();
    std::fs::write(folder.join("sales.csv"), format!("euros,at\n{lines}")).unwrap();
}

fn interval(start: &str, end: &str, zone: &str) -> RefreshInterval {
    let timezone = jiff::tz::TimeZone::get(zone).unwrap();
    RefreshInterval { start: start.parse().unwrap(), end: end.parse().unwrap(), timezone }
}

async fn by_day(views: &Views) -> Vec<(u32, u64, u64)> {
    let day = |text: &str| text.rsplit('-').next().unwrap().parse::<u32>().unwrap();
    let rows = rows(views).await;
    rows.iter().map(|row| (day(&row[0]), row[1].parse().unwrap(), row[2].parse().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_is_refreshed_alone_and_the_others_stay_as_they_are() {
    let project = Project::new();
    (1..=3).for_each(|day| sell(&project, day, &[1, 2]));
    let views = partitioned(&project, "day", BY_DAY).await;
    let refresh = async |views: &Views, start: &str, end: &str, zone: &str| {
        views.refresh_part(&totals(), &interval(start, end, zone)).await.unwrap();
        by_day(views).await
    };
    // The first one is of the whole: a view never shows less than its query would give.
    let second = ("2013-01-02T00:00:00Z", "2013-01-03T00:00:00Z");
    assert_eq!(refresh(&views, second.0, second.1, "UTC").await, [(1, 2, 3), (2, 2, 3), (3, 2, 3)]);
    (2..=4).for_each(|day| sell(&project, day, &[10, 20, 30]));
    std::fs::remove_dir_all(project.dir.path().join("sales/day=2013-01-01")).unwrap();
    assert_eq!(refresh(&views, second.0, second.1, "UTC").await, [(1, 2, 3), (2, 3, 60), (3, 2, 3)]);
    // A day of New York has the same name, and other hours.
    sell(&project, 2, &[7]);
    let there = refresh(&views, "2013-01-02T05:00:00Z", "2013-01-03T05:00:00Z", "America/New_York").await;
    assert_eq!(there, [(1, 2, 3), (2, 1, 7), (3, 2, 3)]);

    // It is there after a restart, and goes on: an hour stands for its day, and what is gone goes.
    views.shutdown().await;
    let again = partitioned(&project, "day", BY_DAY).await;
    assert_eq!(by_day(&again).await, there);
    let hour = refresh(&again, "2013-01-03T10:00:00Z", "2013-01-03T11:00:00Z", "UTC").await;
    assert_eq!(hour, [(1, 2, 3), (2, 1, 7), (3, 3, 60)]);
    let whole = refresh(&again, "2012-12-01T00:00:00Z", "2013-01-02T00:00:00Z", "UTC").await;
    assert_eq!(whole, [(2, 1, 7), (3, 3, 60)]);
    let ahead = refresh(&again, "2013-01-04T00:00:00Z", "2013-01-05T00:00:00Z", "UTC").await;
    assert_eq!(ahead, [(2, 1, 7), (3, 3, 60), (4, 3, 60)]);

    // Only what a part needs is read.
    std::fs::write(project.dir.path().join("sales/day=2013-01-03/sales.csv"), "euros,at\nno number\n").unwrap();
    sell(&project, 4, &[5]);
    let without = refresh(&again, "2013-01-04T00:00:00Z", "2013-01-05T00:00:00Z", "UTC").await;
    assert_eq!(without, [(2, 1, 7), (3, 3, 60), (4, 1, 5)]);
    let error = again.refresh_part(&totals(), &interval("2013-01-03T00:00:00Z", "2013-01-04T00:00:00Z", "UTC")).await;
    assert!(error.unwrap_err().to_string().contains("day=2013-01-03/sales.csv:2"));
    assert_eq!(by_day(&again).await, without, "what failed has changed nothing");
    sell(&project, 3, &[8]);
    again.refresh(&totals()).await.unwrap();
    assert_eq!(by_day(&again).await, [(2, 1, 7), (3, 1, 8), (4, 1, 5)]);
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_windows_are_by_the_hour_and_rows_without_a_time_are_of_none() {
    let project = Project::new();
    sell(&project, 1, &[1; 24]);
    let by_hour = "SELECT window_start AS hour, count(*) AS c, sum(euros) AS s \
                   FROM TUMBLE(TABLE sales, DESCRIPTOR(at), INTERVAL '1' HOUR) GROUP BY window_start, window_end \
                   UNION ALL SELECT CAST(NULL AS TIMESTAMP) AS hour, count(*) AS c, sum(euros) AS s FROM sales";
    let views = partitioned(&project, "hour", by_hour).await;
    views.refresh(&totals()).await.unwrap();
    sell(&project, 1, &[100; 24]);
    let part = interval("2013-01-01T10:00:00Z", "2013-01-01T12:00:00Z", "UTC");
    views.refresh_part(&totals(), &part).await.unwrap();
    let sums = "SELECT sum(s) FILTER (WHERE hour IS NOT NULL) AS hours, sum(s) FILTER (WHERE hour IS NULL) AS none, count(*) AS n FROM totals";
    let of = async || text_rows(&collect(views.query(sums).await.unwrap()).await.unwrap().1);
    assert_eq!(of().await, [["222", "24", "25"]]);
    views.refresh(&totals()).await.unwrap();
    assert_eq!(of().await, [["2400", "2400", "25"]]);
    views.shutdown().await;
}
