//! The life of views: started, read while they run, failing alone, restarted, refreshed.

use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_log::Record;
use mulgil_serving::run::collect;
use mulgil_serving::status::{ViewState, ViewStatus};
use mulgil_serving::views::{ReplayOptions, Views, ViewsOptions};

use crate::fixture::{Project, sorted, text_rows};

const PROJECT: &str = "
CREATE TABLE events (k VARCHAR, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR)
WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
CREATE TABLE other (n INT) WITH ('connector' = 'log', 'topic' = 'other', 'format' = 'json');
CREATE MATERIALIZED TABLE per_hour WITH ('allowed-lateness' = '1 d') REFRESH_MODE = CONTINUOUS AS
SELECT k, window_start, count(*) AS c, sum(n) AS s FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' HOUR)
GROUP BY k, window_start, window_end;
CREATE MATERIALIZED TABLE numbers REFRESH_MODE = CONTINUOUS AS SELECT n FROM other WHERE n > 0;
CREATE MATERIALIZED TABLE small WITH ('rows-max' = '2') REFRESH_MODE = CONTINUOUS AS SELECT n FROM other;
CREATE MATERIALIZED TABLE total REFRESH_MODE = FULL AS SELECT k, sum(s) AS s FROM per_hour GROUP BY k;
";

/// Long enough for a slow machine; a view that is right is there in milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(text: &str) -> TableName {
    TableName::parse(text)
}

fn views(project: &Project) -> Views {
    let options = ViewsOptions {
        parallelism: 2,
        results_dir: Some(project.dir.path().join("views")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    Views::new(project.catalog(PROJECT), project.connectors.clone(), options)
}

/// Views that keep checkpoints, and make one as often as they can.
fn lasting(project: &Project, query: &str) -> Views {
    let declared = format!(
        "CREATE TABLE events (k VARCHAR, n INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' HOUR)
         WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
         CREATE MATERIALIZED TABLE kept WITH ('checkpoint-interval' = '1 ms') REFRESH_MODE = CONTINUOUS AS {query};"
    );
    let options = ViewsOptions {
        parallelism: 2,
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    Views::new(project.catalog(&declared), project.connectors.clone(), options)
}

async fn until_checkpoint(views: &Views, rows: u64) {
    until(views, "kept", |_| {
        let job = views.job_status(&name("kept")).unwrap().unwrap();
        job.rows_in >= rows && job.checkpoints.is_some_and(|made| made.covered_rows >= rows)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_goes_on_from_its_last_checkpoint() {
    let project = Project::new();
    let query = "SELECT k, count(*) AS c, sum(n) AS s FROM events GROUP BY k";
    let mut sums = (0, 0);
    for start in 0..3 {
        let views = lasting(&project, query);
        views.start_all().await;
        // What was there before is there at once.
        let before = rows(&views, "SELECT c, s FROM kept").await;
        assert_eq!(before, if start == 0 { vec![] } else { vec![[sums.0.to_string(), sums.1.to_string()]] });
        for n in 1..=3 {
            insert(&project, &format!("events VALUES ('a', {n}, TIMESTAMP '2013-01-01 09:00:00')")).await;
        }
        sums = (sums.0 + 3, sums.1 + 6);
        until_checkpoint(&views, 3).await;
        assert_eq!(views.status(&name("kept")).unwrap().rows_in, 3, "only what is new is read");
        until_rows(&views, "SELECT c, s FROM kept", &[&[&sums.0.to_string(), &sums.1.to_string()]]).await;
        views.shutdown().await;
    }

    // Another query does not take this state; a replay forgets it.
    let changed = lasting(&project, "SELECT k, max(n) AS m FROM events GROUP BY k");
    changed.start_all().await;
    let status = changed.status(&name("kept")).unwrap();
    assert_eq!(status.state, ViewState::Failed);
    let error = status.error.unwrap();
    assert!(error.contains("aggregate count(1)") && error.contains("mulgil view replay kept"), "{error}");
    changed.replay(&name("kept"), &ReplayOptions::default()).await.unwrap();
    until_rows(&changed, "SELECT m FROM kept", &[&["3"]]).await;
    assert_eq!(changed.status(&name("kept")).unwrap().rows_in, 9);
    changed.shutdown().await;
}

/// Waits for news until the view is as wanted.
async fn until(views: &Views, view: &str, wanted: impl Fn(&ViewStatus) -> bool) -> ViewStatus {
    let mut news = views.subscribe();
    let waiting = async {
        loop {
            let status = views.status(&name(view)).unwrap();
            if wanted(&status) {
                return status;
            }
            // Missed news is news all the same.
            let _ = news.recv().await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(status) => status,
        Err(_) => panic!("{:#?}", views.status(&name(view))),
    }
}

async fn rows(views: &Views, sql: &str) -> Vec<Vec<String>> {
    sorted(text_rows(&collect(views.query(sql).await.unwrap()).await.unwrap().1))
}

async fn insert(project: &Project, values: &str) {
    project.batch(&project.catalog(PROJECT), &format!("INSERT INTO {values}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_follows_its_log_and_corrects_itself() {
    let project = Project::new();
    let views = views(&project);
    views.start_all().await;
    insert(
        &project,
        "events VALUES ('a', 1, TIMESTAMP '2013-01-01 09:00:00'), ('a', 2, TIMESTAMP '2013-01-01 12:00:00')",
    )
    .await;
    // The watermark is at 11:00: nine o'clock is complete, twelve o'clock is not.
    let status = until(&views, "per_hour", |status| status.rows == 1).await;
    assert_eq!(status.state, ViewState::Running);
    assert_eq!(rows(&views, "SELECT * FROM per_hour").await, [["a", "2013-01-01T09:00:00", "1", "1"]]);
    let status = until(&views, "per_hour", |status| status.watermark_ms.is_some() && status.rows_in == 2).await;
    assert_eq!(status.watermark_ms, Some(1_357_038_000_000));
    assert_eq!(status.partitions.len(), 1);

    insert(&project, "events VALUES ('a', 5, TIMESTAMP '2013-01-01 09:30:00')").await;
    until(&views, "per_hour", |status| status.late_updated == 1 && status.version >= 2).await;
    let corrected = until_rows(&views, "SELECT c, s FROM per_hour", &[&["2", "6"]]).await;
    assert_eq!(corrected, [["2", "6"]]);

    // A FULL view reads the other's result when it is refreshed.
    let total = views.refresh(&name("total")).await.unwrap();
    assert_eq!((total.state, total.rows), (ViewState::Ready, 1));
    assert_eq!(rows(&views, "SELECT * FROM total").await, [["a", "6"]]);

    // Stopped, the result stays; started again, it comes to the same rows.
    views.stop(&name("per_hour")).await.unwrap();
    assert_eq!(views.status(&name("per_hour")).unwrap().state, ViewState::Stopped);
    assert_eq!(rows(&views, "SELECT c, s FROM per_hour").await, [["2", "6"]]);
    views.start(&name("per_hour")).await.unwrap();
    until_rows(&views, "SELECT c, s FROM per_hour", &[&["2", "6"]]).await;
    views.shutdown().await;
    assert!(views.start(&name("per_hour")).await.is_err());
}

/// Waits for news until a query gives these rows.
async fn until_rows(views: &Views, sql: &str, wanted: &[&[&str]]) -> Vec<Vec<String>> {
    let mut news = views.subscribe();
    let waiting = async {
        loop {
            let found = rows(views, sql).await;
            if found == wanted {
                return found;
            }
            let _ = news.recv().await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("{:?}", rows(views, sql).await),
    }
}

/// What is too late for its window goes to a table, from which it can be selected while the view runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rows_can_be_selected_from() {
    const STRICT: &str = "
        CREATE TABLE too_late (n BIGINT, ts TIMESTAMP(3), k VARCHAR)
        WITH ('connector' = 'log', 'topic' = 'too_late', 'format' = 'json');
        CREATE MATERIALIZED TABLE strict WITH ('late-rows' = 'too_late') REFRESH_MODE = CONTINUOUS AS
        SELECT upper(k) AS k, count(*) AS c FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' HOUR)
        GROUP BY upper(k), window_start, window_end;";
    let events = PROJECT.split(';').next().unwrap();
    let project = Project::new();
    let options = ViewsOptions { parallelism: 2, news_interval: Duration::from_millis(10), ..ViewsOptions::default() };
    let views = Views::new(project.catalog(&format!("{events};{STRICT}")), project.connectors.clone(), options);
    views.start_all().await;
    let hours = |from: &str, to: &str| {
        format!("events VALUES ('a', 1, TIMESTAMP '2013-01-01 {from}'), ('b', 2, TIMESTAMP '2013-01-01 {to}')")
    };
    insert(&project, &hours("09:00:00", "12:00:00")).await;
    until(&views, "strict", |status| status.rows == 1).await;
    insert(&project, &hours("09:30:00", "12:30:00")).await;
    until(&views, "strict", |status| status.late_dropped == 1).await;
    until_rows(&views, "SELECT k, n, ts FROM too_late", &[&["a", "1", "2013-01-01T09:30:00"]]).await;
    assert_eq!(rows(&views, "SELECT * FROM strict").await, [["A", "1"]]);
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_yields_the_same_rows() {
    let project = Project::new();
    let values: Vec<String> = (0..500)
        .map(|n| format!("('k{}', {n}, TIMESTAMP '2013-01-01 {:02}:{:02}:00')", n % 7, (n * 37) % 24, n % 60))
        .collect();
    insert(&project, &format!("events VALUES {}", values.join(", "))).await;
    let mut results = Vec::new();
    for _ in 0..2 {
        let views = views(&project);
        views.start_all().await;
        until(&views, "per_hour", |status| status.rows_in == 500 && status.rows > 0).await;
        // Everything before the watermark, at 22:00, is there, late rows included.
        let sql = "SELECT * FROM per_hour WHERE window_start < TIMESTAMP '2013-01-01 21:00:00'";
        let expected = sorted(project.batch(views.catalog(), sql).await);
        let expected: Vec<Vec<&str>> = expected.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        let expected: Vec<&[&str]> = expected.iter().map(Vec::as_slice).collect();
        results.push(until_rows(&views, sql, &expected).await);
        views.shutdown().await;
    }
    assert_eq!(results[0], results[1]);
    assert!(!results[0].is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisonous_row_fails_its_view_and_no_other() {
    let project = Project::new();
    let views = views(&project);
    views.start_all().await;
    insert(&project, "other VALUES (1), (-1)").await;
    until_rows(&views, "SELECT * FROM numbers", &[&["1"]]).await;
    let topic = project.log.topic("events").unwrap();
    let poison = Record { timestamp_ms: 0, key: None, value: "{\"k\": \"a\", \"n\": \"many\"}".into() };
    topic.append(0, &[poison]).await.unwrap();
    let status = until(&views, "per_hour", |status| status.state == ViewState::Failed).await;
    let error = status.error.unwrap();
    assert!(error.contains("topic events, partition 0, offset 0"), "{error}");
    assert!(error.contains("some row cannot be taken") && error.contains("mulgil view resume per_hour"), "{error}");
    assert_eq!((status.restarts.count, status.restarts.next_try_ms), (3, None));
    // Resumed, it is tried anew; the row is still there.
    views.resume(&name("per_hour")).await.unwrap();
    until(&views, "per_hour", |status| status.state == ViewState::Restarting && status.restarts.tries > 0).await;

    insert(&project, "other VALUES (2), (3)").await;
    until_rows(&views, "SELECT * FROM numbers", &[&["1"], &["2"], &["3"]]).await;
    // A result that outgrows its bound fails too, and says what to do.
    let status = until(&views, "small", |status| status.state == ViewState::Failed).await;
    assert!(status.error.unwrap().contains("more than 2 rows; aggregate more, or raise the option 'rows-max'"));
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_view_survives_a_restart() {
    let project = Project::new();
    insert(
        &project,
        "events VALUES ('a', 1, TIMESTAMP '2013-01-01 09:00:00'), ('b', 2, TIMESTAMP '2013-01-01 12:00:00')",
    )
    .await;
    let before = views(&project);
    before.refresh(&name("total")).await.unwrap();
    before.shutdown().await;
    insert(&project, "events VALUES ('a', 10, TIMESTAMP '2013-01-01 09:00:00')").await;

    let after = views(&project);
    after.start_all().await;
    assert_eq!(rows(&after, "SELECT * FROM total").await, [["a", "1"], ["b", "2"]]);
    let status = after.status(&name("total")).unwrap();
    assert_eq!((status.state, status.rows), (ViewState::Ready, 2));
    assert!(status.refreshed_ms.is_some());
    after.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_told() {
    let project = Project::new();
    let views = views(&project);
    let unknown = views.status(&name("per_houre")).unwrap_err().to_string();
    assert_eq!(unknown, "unknown view per_houre; views: numbers, per_hour, small, total");
    let wrong = views.refresh(&name("per_hour")).await.unwrap_err().to_string();
    assert!(wrong.starts_with("view per_hour is CONTINUOUS: it is kept up to date by itself"), "{wrong}");
    let wrong = views.start(&name("total")).await.unwrap_err().to_string();
    assert_eq!(wrong, "view total is FULL: refresh it instead of starting it");
    let wrong = views.query("SELECT x FROM per_hour").await.err().unwrap().to_string();
    assert_eq!(wrong, "query:1:8: unknown column x; columns here: k, window_start, c, s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_goes_back_to_a_savepoint_also_with_a_changed_query() {
    let project = Project::new();
    let query = "SELECT k, count(*) AS c, sum(n) AS s FROM events GROUP BY k";
    let views = lasting(&project, query);
    views.start_all().await;
    let kept = name("kept");
    insert(&project, "events VALUES ('a', 1, TIMESTAMP '2013-01-01 09:00:00')").await;
    until_rows(&views, "SELECT c, s FROM kept", &[&["1", "1"]]).await;
    let made = views.savepoint(&kept, "one").await.unwrap();
    assert_eq!(views.savepoints(&kept).await.unwrap(), [made]);
    insert(&project, "events VALUES ('a', 2, TIMESTAMP '2013-01-01 09:00:00')").await;
    until_rows(&views, "SELECT c, s FROM kept", &[&["2", "3"]]).await;
    // What came after it is read again, once.
    views.restore(&kept, "one").await.unwrap();
    until_rows(&views, "SELECT c, s FROM kept", &[&["2", "3"]]).await;
    assert_eq!(views.status(&kept).unwrap().rows_in, 1);
    let unknown = views.restore(&kept, "two").await.unwrap_err().to_string();
    assert!(unknown.contains("there are: one"), "{unknown}");
    assert_eq!(views.status(&kept).unwrap().state, ViewState::Running);
    views.shutdown().await;

    let other = lasting(&project, "SELECT k, max(n) AS m FROM events GROUP BY k");
    let refused = other.restore(&kept, "one").await.unwrap_err().to_string();
    assert!(refused.contains("aggregate count(1)") && refused.contains("mulgil view replay kept"), "{refused}");
    other.shutdown().await;
}
