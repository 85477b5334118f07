//! Topics of Apache Kafka through SQL: written by `INSERT`, read in both modes with the same rows, followed by a view while the
//! broker is killed.

use std::time::Duration;

use mulgil_connect::definition::TableName;
use mulgil_serving::run::{Mode, RunOptions, collect};
use mulgil_serving::views::{ReplayOptions, Views, ViewsOptions};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use crate::broker::Broker;
use crate::fixture::{Project, sorted, text_rows};

/// Long enough for a broker that starts on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);

fn tables(servers: &str) -> String {
    let kafka = format!("'connector' = 'kafka', 'format' = 'json', 'properties.bootstrap.servers' = '{servers}'");
    format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'numbers.csv', 'format' = 'csv');
         CREATE TABLE clicks (
           id BIGINT, page STRING, ts TIMESTAMP(3),
           written TIMESTAMP(3) METADATA FROM 'timestamp', part INT METADATA FROM 'partition' VIRTUAL, offset BIGINT METADATA VIRTUAL,
           WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
         ) WITH ({kafka}, 'topic' = 'clicks', 'key.format' = 'raw', 'key.fields' = 'page');
         CREATE TABLE per_page (page STRING, window_end TIMESTAMP(3), clicks BIGINT)
         WITH ({kafka}, 'topic' = 'per-page', 'sink.delivery-guarantee' = 'exactly-once');
         CREATE MATERIALIZED TABLE pages REFRESH_MODE = CONTINUOUS AS SELECT page, count(*) AS clicks FROM clicks GROUP BY page;"
    )
}

fn insert(range: &str) -> String {
    format!(
        "INSERT INTO clicks SELECT n, 'page ' || (n % 7), to_timestamp_millis(n * 1000), to_timestamp_millis(n * 1000 + 5000)
         FROM numbers WHERE {range}"
    )
}

fn project(rows: std::ops::Range<u32>) -> Project {
    let project = Project::new();
    let numbers: String = rows.map(|n| format!("{n}\n")).collect();
    std::fs::write(project.dir.path().join("numbers.csv"), format!("n\n{numbers}")).unwrap();
    project
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_gives_the_same_rows_in_batch_and_stream() {
    let project = project(0..20_000);
    Broker::shared().topic("clicks", 3);
    Broker::shared().topic("per-page", 2);
    let catalog = project.catalog(&tables(&Broker::shared().servers()));
    // Half is written by a batch, half by streams.
    project.batch(&catalog, &insert("n < 10000")).await;
    project.stream(&catalog, &insert("n >= 10000"), 2).await;
    let queries = [
        "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(id) AS total, count(DISTINCT part) AS parts FROM clicks",
        "SELECT id, page, ts, written FROM clicks WHERE id % 1000 = 3",
        "SELECT part, count(*) AS n, min(offset) AS low, max(offset) AS high FROM clicks GROUP BY part",
        "SELECT page, window_end, count(*) AS clicks, max(written) AS last
         FROM TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' HOUR) GROUP BY page, window_start, window_end",
        "SELECT a.id, b.id FROM clicks AS a JOIN clicks AS b ON a.id = b.id + 1 WHERE a.id < 100",
    ];
    for query in queries {
        let batch = sorted(project.batch(&catalog, query).await);
        assert!(!batch.is_empty(), "{query}");
        for parallelism in [1, 3] {
            assert_eq!(sorted(project.stream(&catalog, query, parallelism).await), batch, "{query}, {parallelism}");
        }
    }
    let whole = project.batch(&catalog, queries[0]).await;
    assert_eq!(whole, [["20000", "20000", "199990000", "3"]]);
    let first = project.batch(&catalog, "SELECT page, ts, written FROM clicks WHERE id = 8").await;
    assert_eq!(first, [["page 1", "1970-01-01T00:00:08", "1970-01-01T00:00:13"]]);

    // What a stream has computed goes back in, as one transaction of each writer.
    let windows =
        "SELECT page, window_end, count(*) AS clicks FROM TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' HOUR)
                   GROUP BY page, window_start, window_end";
    project.stream(&catalog, &format!("INSERT INTO per_page {windows}"), 2).await;
    let expected = sorted(project.batch(&catalog, windows).await);
    let shown = tokio::time::timeout(PATIENCE, async {
        // The broker finishes a commit a moment after it has answered.
        loop {
            let found = sorted(project.batch(&catalog, "SELECT * FROM per_page").await);
            if found.len() >= expected.len() {
                break found;
            }
        }
    });
    assert_eq!(shown.await.unwrap(), expected);
    // What cannot be written, and what is not there, is said.
    let options = RunOptions { mode: Mode::Stream, ..RunOptions::default() };
    let error = project.run(&catalog, "INSERT INTO clicks (id, part) SELECT n, 1 FROM numbers", &options).await;
    assert!(error.unwrap_err().to_string().contains("table clicks has no column part to write"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_from_a_time_on_reads_the_records_that_kafka_says_are_no_older() {
    let project = project(0..1_000);
    Broker::shared().topic("replayed", 3);
    let declared = tables(&Broker::shared().servers()).replace("'topic' = 'clicks'", "'topic' = 'replayed'")
        + "CREATE MATERIALIZED TABLE totals WITH ('checkpoint-interval' = '20 ms') REFRESH_MODE = KAPPA
           AS SELECT count(*) AS c, min(id) AS low, max(id) AS high FROM clicks;";
    let catalog = project.catalog(&declared);
    let options = ViewsOptions {
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    let views = Views::new(catalog.clone(), project.connectors.clone(), options);
    let totals = TableName::parse("totals");
    // Number `n` was written, as its record says, at second `n + 5`.
    project.batch(&catalog, &insert("n < 900")).await;
    views.start(&totals).await.unwrap();
    let until = async |wanted: [&str; 3]| {
        let waiting = async {
            loop {
                let rows = views.query("SELECT c, low, high FROM totals").await.unwrap();
                let rows = text_rows(&collect(rows).await.unwrap().1);
                if rows == [wanted] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("not {wanted:?}: {:#?}", views.status(&totals));
        }
    };
    until(["900", "0", "899"]).await;
    let recent = ReplayOptions { from_ms: Some(805_000), ..ReplayOptions::default() };
    views.replay(&totals, &recent).await.unwrap();
    // In all three partitions it begins with what is no older than that, and it goes on with what comes.
    until(["100", "800", "899"]).await;
    assert_eq!(views.status(&totals).unwrap().generation, 2);
    project.batch(&catalog, &insert("n >= 900")).await;
    until(["200", "800", "999"]).await;
    views.shutdown().await;
}

/// Lets Kafka delete all that a topic has.
async fn delete_all(topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = Broker::shared().client().create().unwrap();
    let mut ends = TopicPartitionList::new();
    (0..partitions).for_each(|partition| ends.add_partition_offset(topic, partition, Offset::End).unwrap());
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let deleted = admin.delete_records(&ends, &options).await.unwrap();
    deleted.elements().iter().for_each(|partition| partition.error().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_reads_from_the_archive_what_kafka_has_deleted() {
    let project = project(0..1_000);
    Broker::shared().topic("deleted", 3);
    let declared = tables(&Broker::shared().servers()).replace("'topic' = 'clicks'", "'topic' = 'deleted'")
        + "CREATE MATERIALIZED TABLE totals WITH ('checkpoint-interval' = '20 ms', 'archive' = 'true') REFRESH_MODE = KAPPA
           AS SELECT count(*) AS c, min(id) AS low, max(id) AS high FROM clicks;";
    let catalog = project.catalog(&declared);
    let options = ViewsOptions {
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    let views = Views::new(catalog.clone(), project.connectors.clone(), options);
    let name = TableName::parse("totals");
    views.start(&name).await.unwrap();
    let until = async |what: &str, generation: u64, wanted: [&str; 3]| {
        let waiting = async {
            loop {
                let rows = views.query("SELECT c, low, high FROM totals").await.unwrap();
                let rows = text_rows(&collect(rows).await.unwrap().1);
                let status = views.status(&name).unwrap();
                let archived = status.archives.first().map_or(0, |archive| archive.rows_in).to_string();
                if rows == [wanted] && status.generation == generation && (generation > 1 || archived == wanted[0]) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{what}: not {wanted:?}: {:#?}", views.status(&name));
        }
    };
    project.batch(&catalog, &insert("n < 900")).await;
    until("archived", 1, ["900", "0", "899"]).await;
    delete_all("deleted", 3).await;
    views.replay(&name, &ReplayOptions::default()).await.unwrap();
    until("replayed from the archive", 2, ["900", "0", "899"]).await;
    project.batch(&catalog, &insert("n >= 900")).await;
    until("the topic behind it", 2, ["1000", "0", "999"]).await;
    let alone = ReplayOptions { from_ms: Some(0), ..ReplayOptions::default() };
    views.replay(&name, &alone).await.unwrap();
    until("the topic alone", 3, ["100", "900", "999"]).await;
    views.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_follows_a_topic_while_the_broker_is_killed() {
    let project = project(0..3_000);
    let broker = Broker::start();
    broker.topic("clicks", 3);
    let catalog = project.catalog(&tables(&broker.servers()));
    let options = ViewsOptions { parallelism: 2, news_interval: Duration::from_millis(10), ..ViewsOptions::default() };
    let views = Views::new(catalog.clone(), project.connectors.clone(), options);
    let mut news = views.subscribe();
    views.start(&TableName::parse("pages")).await.unwrap();
    let mut written = 0;
    for round in 0..3 {
        let range = format!("n >= {} AND n < {}", round * 1000, (round + 1) * 1000);
        if round == 1 {
            // While the broker is away the rows wait, and so does the view.
            broker.kill();
            let waits = async {
                let says = |status: &mulgil_serving::status::ViewStatus| {
                    status.partitions.iter().any(|partition| partition.waits_for.is_some())
                };
                while !says(&views.status(&TableName::parse("pages")).unwrap()) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(PATIENCE, waits).await.expect("it says that it waits");
            let insert = insert(&range);
            tokio::join!(project.batch(&catalog, &insert), async {
                tokio::task::block_in_place(|| broker.start_again());
            });
        } else {
            project.batch(&catalog, &insert(&range)).await;
        }
        written += 1000;
        let total = async {
            loop {
                let rows = collect(views.query("SELECT sum(clicks) AS n, count(*) AS pages FROM pages").await.unwrap());
                let rows = text_rows(&rows.await.unwrap().1);
                if rows == [[written.to_string(), "7".to_owned()]] {
                    return;
                }
                let _ = news.recv().await;
            }
        };
        let status = || views.status(&TableName::parse("pages")).unwrap();
        tokio::time::timeout(PATIENCE, total).await.unwrap_or_else(|_| panic!("{written}: {:#?}", status()));
    }
    views.stop(&TableName::parse("pages")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_reads_partitions_that_come_later_from_their_first_record() {
    let project = project(0..600);
    let servers = Broker::shared().servers();
    Broker::shared().topic("growing", 1);
    let kafka = format!(
        "'connector' = 'kafka', 'format' = 'json', 'properties.bootstrap.servers' = '{servers}', 'topic' = 'growing'"
    );
    let catalog = project.catalog(&format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'numbers.csv', 'format' = 'csv');
         CREATE TABLE written (id BIGINT, page STRING) WITH ({kafka}, 'key.format' = 'raw', 'key.fields' = 'page');
         CREATE TABLE clicks (id BIGINT, part INT METADATA FROM 'partition' VIRTUAL)
         WITH ({kafka}, 'scan.startup.mode' = 'latest-offset', 'scan.topic-partition-discovery.interval' = '100 ms');
         CREATE MATERIALIZED TABLE parts WITH ('checkpoint-interval' = '50 ms') REFRESH_MODE = CONTINUOUS AS
         SELECT part, count(*) AS n, count(DISTINCT id) AS ids FROM clicks GROUP BY part;"
    ));
    let options = ViewsOptions {
        news_interval: Duration::from_millis(10),
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        ..ViewsOptions::default()
    };
    let write = |range: &str| format!("INSERT INTO written SELECT n, 'page ' || (n % 50) FROM numbers WHERE {range}");
    // What was there before is not asked for.
    project.batch(&catalog, &write("n < 100")).await;
    let views = Views::new(catalog.clone(), project.connectors.clone(), options);
    let name = TableName::parse("parts");
    views.start(&name).await.unwrap();
    // Its reader may open the partition after the first rows: they are written until it has some.
    let opened = async {
        loop {
            project.batch(&catalog, &write("n = 100")).await;
            let status = views.status(&name).unwrap();
            if status.rows_in > 0 {
                return status.rows_in;
            }
        }
    };
    let first = tokio::time::timeout(PATIENCE, opened).await.unwrap();
    assert!(first > 0);
    Broker::shared().grow("growing", 3);
    project.batch(&catalog, &write("n > 100")).await;
    // The view counts ids once each but that of the first rows, so only those of the later ones are compared.
    let sql = "SELECT count(*) AS parts FROM parts WHERE part > 0 AND n = ids";
    let grown = async {
        loop {
            let found = text_rows(&collect(views.query(sql).await.unwrap()).await.unwrap().1);
            let total = "SELECT sum(ids) AS ids FROM parts";
            let ids = text_rows(&collect(views.query(total).await.unwrap()).await.unwrap().1);
            if found == [["2"]] && ids == [["500"]] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let status = || views.status(&name).unwrap();
    tokio::time::timeout(PATIENCE, grown).await.unwrap_or_else(|_| panic!("{:#?}", status()));
    assert_eq!(views.status(&name).unwrap().restarts.count, 0, "new partitions are no fault");
    views.shutdown().await;
}
