//! A stream into a real PostgreSQL, exactly once: the database is stopped and killed, and the job is ended and begun again with
//! another parallelism, while rows come.

use std::sync::Arc;
use std::time::Duration;

use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_log::{Record, TopicOptions};
use mulgil_serving::run::{Mode, RunOptions};
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
