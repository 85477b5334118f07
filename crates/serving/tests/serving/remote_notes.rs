//! The notes of generations and of layers in S3-compatible storage: a server on another machine, without the folder of the one
//! before, goes on with the same generation and the same boundary.

use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_log::{Record, TopicOptions};
use mulgil_serving::run::collect;
use mulgil_serving::status::ViewStatus;
use mulgil_serving::views::{Views, ViewsOptions};

use crate::bucket::Storage;
use crate::fixture::{Project, text_rows};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that keeps its checkpoints in the storage, and has its own disk.
async fn on_machine(project: &Project, machine: &str, folder: &str, mode: &str, query: &str) -> Views {
    let declared = format!(
        "CREATE TABLE numbers (n BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
         WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');
         CREATE MATERIALIZED TABLE told WITH ('checkpoint-interval' = '20 ms') REFRESH_MODE = {mode} AS {query};"
    );
    let options = ViewsOptions {
        checkpoints_dir: Some(project.dir.path().join(machine)),
        checkpoints_remote: Some(Storage::shared().folder(folder)),
        results_dir: Some(project.dir.path().join("views")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    let views = Views::new(project.catalog(&declared), Arc::clone(&project.connectors), options);
    views.start_all().await;
    views
}

async fn append(project: &Project, numbers: std::ops::Range<u64>) {
    let topic = project.log.topic_or_create("numbers", TopicOptions::default()).unwrap();
    let record = |n: u64| Record {
        timestamp_ms: 0,
        key: None,
        value: format!("{{\"n\": {n}, \"ts\": \"1970-01-01T{:02}:{:02}:{:02}\"}}", n / 3_600, n / 60 % 60, n % 60)
            .into(),
    };
    topic.append(0, &numbers.map(record).collect::<Vec<Record>>()).await.unwrap();
}

fn told() -> TableName {
    TableName::parse("told")
}

async fn until(views: &Views, what: &str, wanted: impl Fn(&ViewStatus) -> bool) -> ViewStatus {
    let waiting = async {
        loop {
            let status = views.status(&told()).unwrap();
            if wanted(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(status) => status,
        Err(_) => panic!("not {what}: {:#?}", views.status(&told())),
    }
}

async fn rows(views: &Views) -> Vec<Vec<String>> {
    text_rows(&collect(views.query("SELECT * FROM told ORDER BY 1").await.unwrap()).await.unwrap().1)
}

async fn until_rows(views: &Views, wanted: &[Vec<String>]) {
    let waiting = async {
        while rows(views).await != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
        panic!("{:?}, not {wanted:?}: {:#?}", rows(views).await, views.status(&told()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_goes_on_with_the_generations_that_the_storage_notes() {
    const WRONG: &str = "SELECT count(*) AS c, sum(n + 1) AS s FROM numbers";
    const RIGHT: &str = "SELECT count(*) AS c, sum(n) AS s FROM numbers";
    let answer = |c: u64, s: u64| vec![vec![c.to_string(), s.to_string()]];
    let project = Project::new();
    append(&project, 0..1_000).await;
    let first = on_machine(&project, "a", "kappa", "KAPPA", WRONG).await;
    until_rows(&first, &answer(1_000, 500_500)).await;
    first.shutdown().await;
    let note = Storage::shared().on_disk("kappa").join("public.told.generations");
    assert!(note.is_file(), "the note is in the storage");
    assert!(!project.dir.path().join("a/public.told.generations").exists(), "and nowhere else");

    // The mended text takes over on another machine, from the generation that the note names.
    let second = on_machine(&project, "b", "kappa", "KAPPA", RIGHT).await;
    let status = until(&second, "mended", |status| status.generation == 2 && status.building.is_none()).await;
    assert_eq!(status.former.map(|former| former.number), Some(1));
    append(&project, 1_000..1_010).await;
    until_rows(&second, &answer(1_010, 509_545)).await;
    second.shutdown().await;

    // A third one goes on with it, and can be rolled back to the checkpoints that the first one had made.
    let third = on_machine(&project, "c", "kappa", "KAPPA", RIGHT).await;
    let status = third.status(&told()).unwrap();
    assert_eq!((status.generation, status.building.is_none()), (2, true));
    assert_eq!(rows(&third).await, answer(1_010, 509_545), "it answers at once");
    third.roll_back(&told()).await.unwrap();
    let status = until(&third, "rolled back", |status| status.generation == 1 && status.building.is_none()).await;
    assert!(status.rows_in <= 10, "it has read {} numbers again", status.rows_in);
    until_rows(&third, &answer(1_010, 510_555)).await;
    third.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_goes_on_with_the_boundary_that_the_storage_notes() {
    const SUMS: &str = "SELECT window_start, count(*) AS c, sum(n) AS s \
                        FROM TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end";
    let project = Project::new();
    append(&project, 0..1_000).await;
    let first = on_machine(&project, "a", "lambda", "LAMBDA", SUMS).await;
    let is_read = |status: &ViewStatus| {
        let archived = status.layers.iter().flat_map(|layers| &layers.archives).map(|archive| archive.watermark_ms);
        archived.chain([status.watermark_ms]).all(|watermark| watermark.is_some_and(|ms| ms >= 994_000))
    };
    until(&first, "read", is_read).await;
    let layers = first.refresh(&told()).await.unwrap().layers.unwrap();
    let (boundary_ms, before) = (layers.boundary_ms, rows(&first).await);
    assert_eq!((boundary_ms, before.len()), (Some(990_000), 99));
    first.shutdown().await;
    assert!(Storage::shared().on_disk("lambda").join("public.told.layers").is_file(), "the note is in the storage");
    assert!(!project.dir.path().join("a/public.told.layers").exists(), "and nowhere else");

    let second = on_machine(&project, "b", "lambda", "LAMBDA", SUMS).await;
    let layers = second.status(&told()).unwrap().layers.unwrap();
    assert_eq!((layers.boundary_ms, layers.batch_version), (boundary_ms, 1));
    assert_eq!(rows(&second).await, before, "it answers at once, with no window twice and none missing");
    append(&project, 1_000..1_100).await;
    until(&second, "read on", |status| status.watermark_ms.is_some_and(|ms| ms >= 1_094_000)).await;
    let waiting = async {
        while rows(&second).await.len() != 109 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the stream goes on behind the boundary");
    second.shutdown().await;
}
