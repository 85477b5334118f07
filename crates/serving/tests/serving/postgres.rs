//! A stream into a real PostgreSQL, exactly once: the database is stopped and killed, and the job is ended and begun again with
//! another parallelism, while rows come.

use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_log::{Record, TopicOptions};
use mulgil_serving::run::{Mode, RunOptions};
use mulgil_serving::status::{ViewState, ViewStatus};
use mulgil_serving::views::{Views, ViewsOptions};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::fixture::{Project, sorted};

/// Long enough for a database that starts on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Rows of a round.
const ROUND: u64 = 2_000;

fn tables(url: &str) -> String {
    let postgres = format!("'connector' = 'postgres', 'url' = '{url}'");
    format!(
        "CREATE TABLE clicks (id BIGINT, page STRING) WITH ('connector' = 'log', 'topic' = 'clicks', 'format' = 'json');
         CREATE TABLE names (page STRING, category BIGINT) WITH ('connector' = 'log', 'topic' = 'names', 'format' = 'json');
         CREATE TABLE all_clicks (id BIGINT, page STRING) WITH ({postgres});
         CREATE TABLE per_page (page STRING, clicks BIGINT, last BIGINT, PRIMARY KEY (page) NOT ENFORCED) WITH ({postgres});
         CREATE TABLE busy (last BIGINT, clicks BIGINT, PRIMARY KEY (last) NOT ENFORCED) WITH ({postgres});"
    )
}

const INSERTS: [(&str, &str); 3] = [
    ("all_clicks", "SELECT id, page FROM clicks"),
    ("per_page", "SELECT page, count(*) AS clicks, max(id) AS last FROM clicks GROUP BY page"),
    // Rows come, change and go, and the key is not that of the groups.
    (
        "busy",
        "SELECT last, clicks FROM (SELECT page, count(*) AS clicks, max(id) AS last FROM clicks GROUP BY page) WHERE clicks % 3 <> 0",
    ),
];

async fn append(project: &Project, round: u64) {
    let options = TopicOptions { partitions: 3, ..TopicOptions::default() };
    let topic = project.log.topic_or_create("clicks", options).unwrap();
    for partition in 0..3 {
        let ids = (round * ROUND..(round + 1) * ROUND).filter(|id| id % 3 == u64::from(partition));
        let value = |id: u64| format!("{{\"id\": {id}, \"page\": \"page {}\"}}", id * 7919 % 101).into();
        let records: Vec<Record> = ids.map(|id| Record { timestamp_ms: 0, key: None, value: value(id) }).collect();
        topic.append(partition, &records).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stream_into_a_database_that_goes_away_is_exactly_once() {
    let project = Arc::new(Project::new());
    let cluster = Cluster::start();
    cluster.run(
        "CREATE TABLE all_clicks (id int8, page text); CREATE TABLE per_page (page text PRIMARY KEY, clicks int8, last int8);
         CREATE TABLE busy (last int8 PRIMARY KEY, clicks int8)",
    );
    append(&project, 0).await;
    let catalog = project.catalog(&tables(&cluster.url()));
    let away = [("stop", "go"), ("kill", "start"), ("kill", "start")];
    for (number, parallelism) in [2, 1, 3].into_iter().enumerate() {
        // The runtimes of the jobs go down with them: their end is as sudden as that of a process.
        let (stop, _) = watch::channel(false);
        let jobs = INSERTS.map(|(table, query)| {
            let mut checkpoints = CheckpointOptions::new(project.dir.path().join("checkpoints"));
            checkpoints.interval = Duration::from_millis(100);
            let checkpoints = Some(checkpoints);
            let options =
                RunOptions { mode: Mode::Stream, parallelism, follow: true, checkpoints, ..RunOptions::default() };
            let (project, catalog, mut stop) = (Arc::clone(&project), Arc::clone(&catalog), stop.subscribe());
            let insert = format!("INSERT INTO {table} {query}");
            std::thread::spawn(move || {
                let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::select! {
                        ended = project.run(&catalog, &insert, &options) => panic!("{insert} ended: {ended:?}"),
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                });
                runtime.shutdown_timeout(PATIENCE);
            })
        });
        let rounds = async {
            for step in 0..2 {
                let round = number as u64 * 2 + step;
                if round > 0 {
                    append(&project, round).await;
                }
                if step == 1 {
                    let (down, up) = away[number];
                    tokio::task::block_in_place(|| cluster.order(down));
                    append(&project, 100 + round).await;
                    tokio::task::block_in_place(|| cluster.order(up));
                }
                for (table, query) in INSERTS {
                    let expected = sorted(project.batch(&catalog, query).await);
                    loop {
                        let found = sorted(project.batch(&catalog, &format!("SELECT * FROM {table}")).await);
                        if found == expected {
                            break;
                        }
                        assert!(found.len() <= ROUND as usize * 20, "{table} has {} rows", found.len());
                        tokio::task::yield_now().await;
                    }
                }
            }
        };
        let done = tokio::time::timeout(PATIENCE, rounds).await;
        stop.send_replace(true);
        tokio::task::block_in_place(|| jobs.map(|job| job.join().unwrap()));
        done.expect("the tables come to hold what the queries give");
    }
    // Nothing is written behind it: what is there once stays.
    let rows = project.batch(&catalog, "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM all_clicks").await;
    let total = (6 + 3) * ROUND;
    assert_eq!(rows, [[total.to_string(), total.to_string()]]);
}

/// Waits until a view is as wanted.
async fn until(views: &Views, view: &str, what: &str, wanted: impl Fn(&ViewStatus) -> bool) -> ViewStatus {
    let (view, mut news) = (TableName::parse(view), views.subscribe());
    let waiting = async {
        loop {
            let status = views.status(&view).unwrap();
            if wanted(&status) {
                return status;
            }
            let _ = tokio::time::timeout(Duration::from_millis(50), news.recv()).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("no {what}: {:#?}", views.status(&view)))
}

/// A view whose late rows go into a database, and one that has nothing to do with it.
fn with_late_rows(url: &str) -> String {
    format!(
        "CREATE TABLE events (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
         WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
         CREATE TABLE late (k STRING, ts TIMESTAMP(3)) WITH ('connector' = 'postgres', 'url' = '{url}');
         CREATE MATERIALIZED TABLE per_second WITH ('late-rows' = 'late', 'checkpoint-interval' = '20 ms')
         REFRESH_MODE = CONTINUOUS AS SELECT k, window_start, count(*) AS n
         FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND) GROUP BY k, window_start, window_end;
         CREATE MATERIALIZED TABLE keys REFRESH_MODE = CONTINUOUS AS SELECT k, count(*) AS n FROM events GROUP BY k;"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_says_that_it_waits_for_the_database_it_writes_to() {
    let project = Project::new();
    let cluster = Cluster::start();
    cluster.run("CREATE TABLE late (k text, ts timestamp)");
    let catalog = project.catalog(&with_late_rows(&cluster.url()));
    let append = async |second: i64, key: &str| {
        let value = format!("{{\"k\": \"{key}\", \"ts\": \"1970-01-01T00:00:{second:02}\"}}").into_bytes().into();
        let topic = project.log.topic_or_create("events", TopicOptions::default()).unwrap();
        topic.append(0, &[Record { timestamp_ms: 0, key: None, value }]).await.unwrap();
    };
    let append_late = async |views: &Views, number: i64| {
        let second = 10 + number;
        append(second, "in time").await;
        until(views, "per_second", "time", |status| status.watermark_ms >= Some(second * 1000)).await;
        append(0, &format!("late {number}")).await;
    };
    let order = |order: &str| tokio::task::block_in_place(|| cluster.order(order));
    let written = async |keys: &[&str]| {
        let done = async {
            loop {
                let found = sorted(project.batch(&catalog, "SELECT k FROM late").await);
                if found.len() >= keys.len() {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, done).await.expect("late rows come into the database");
        assert_eq!(found.concat(), keys);
    };
    let options = ViewsOptions {
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(5),
        ..ViewsOptions::default()
    };
    // Away when the views are started: one waits and says so, the other does not mind.
    append(9, "in time").await;
    order("kill");
    let views = Views::new(catalog.clone(), project.connectors.clone(), options);
    views.start_all().await;
    let status = until(&views, "per_second", "wait", |status| !status.waits.is_empty()).await;
    assert_eq!(status.state, ViewState::Starting);
    let wait = &status.waits[0];
    assert_eq!((wait.table.as_str(), wait.is_source), ("late", false));
    assert!(wait.what.contains("/postgres: ") && !wait.what.contains("h0rse"), "{wait:?}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert!((1..=now).contains(&wait.since_ms), "{wait:?}");
    until(&views, "keys", "rows", |status| status.state == ViewState::Running && status.rows == 1).await;
    // Whoever stops it is not held up, and neither is who starts it again.
    let name = TableName::parse("per_second");
    tokio::time::timeout(PATIENCE, views.stop(&name)).await.unwrap().unwrap();
    let status = views.status(&name).unwrap();
    assert_eq!((status.state, status.waits), (ViewState::Stopped, vec![]));
    tokio::time::timeout(PATIENCE, views.start(&name)).await.unwrap().unwrap();
    order("start");
    until(&views, "per_second", "start", |status| status.state == ViewState::Running && status.waits.is_empty()).await;
    append_late(&views, 0).await;
    written(&["late 0"]).await;
    // In the middle: killed, and then only silent.
    for (number, down, up) in [(1, "kill", "start"), (2, "stop", "go")] {
        order(down);
        append_late(&views, number).await;
        let status = until(&views, "per_second", "wait", |status| !status.waits.is_empty()).await;
        assert_eq!((status.state, status.waits[0].table.as_str()), (ViewState::Running, "late"), "{down}");
        let job = views.job_status(&name).unwrap().unwrap();
        assert_eq!(job.waits.len(), 1, "{job:#?}");
        order(up);
        until(&views, "per_second", "end of the wait", |status| status.waits.is_empty()).await;
        written(&["late 0", "late 1", "late 2"][..=number as usize]).await;
    }
    assert_eq!(views.status(&name).unwrap().restarts.count, 0);
    tokio::time::timeout(PATIENCE, views.shutdown()).await.unwrap();
}
