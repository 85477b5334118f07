//! A lake table whose partitions are replaced, as a stream: both modes give what is left, whatever is made of it, also when the stream
//! is stopped in the middle of a version and goes on with another parallelism.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use datafusion::prelude::SessionContext;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_engine::deterministic::{Random, run_cut};
use mulgil_serving::run::{Mode, RunOptions};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::{Session, single_statement};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::changelog::{NAMES, QUERIES, names, script};
use crate::changes::{added_up, difference};
use crate::fixture::{Project, sorted};
use crate::modes::in_batch;

const PATIENCE: Duration = Duration::from_secs(300);

/// `accounts` as a lake table, read from a version on.
fn tables(version: &str) -> String {
    format!(
        "CREATE TABLE accounts (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), day STRING, w AS v % 3,
                                WATERMARK FOR ts AS ts - INTERVAL '1' DAY) PARTITIONED BY (day)
           WITH ('connector' = 'delta', 'path' = 'accounts', 'scan.changelog-mode' = 'all', {version}
                 'source.monitor-interval' = '5 ms');
         CREATE TABLE totals (k STRING, n BIGINT, total BIGINT)
           WITH ('connector' = 'log', 'topic' = 'totals', 'topic.partitions' = '3', 'format' = 'debezium-json');
         CREATE TABLE plain (id BIGINT) WITH ('connector' = 'log', 'topic' = 'plain', 'format' = 'json');
         {NAMES}"
    )
}

/// So many rows of a day, or of all days.
fn rows(random: &mut Random, count: usize, day: Option<&str>) -> String {
    let mut sql = "SELECT id, k, v, to_timestamp(second) AS ts, day FROM (VALUES (0, 'k', 0, 0, 'd')".to_owned();
    for _ in 0..count {
        let v = if random.below(8) == 0 { "NULL".to_owned() } else { random.below(100).to_string() };
        let (id, k, second) = (random.below(30), random.below(4), 1_356_998_400 + random.below(60));
        let day = day.map_or_else(|| format!("d{}", random.below(3)), str::to_owned);
        write!(sql, ", ({id}, 'k{k}', {v}, {second}, '{day}')").unwrap();
    }
    sql + ") AS t (id, k, v, second, day) WHERE second > 0"
}

/// The next version: rows that come, or others in the place of some.
async fn change(project: &Project, catalog: &Catalog, random: &mut Random, rows_max: usize) {
    let writer = project.connectors.writer(&catalog.table(&TableName::parse("accounts")).unwrap().definition).unwrap();
    let day = format!("d{}", random.below(3));
    let kind = random.below(8);
    let count = random.below(rows_max);
    let sql = rows(random, count, (1..6).contains(&kind).then_some(day.as_str()));
    let rows = SessionContext::new().sql(&sql).await.unwrap().execute_stream().await.unwrap();
    match kind {
        0 => writer.replace_table(rows).await,
        1..6 => writer.replace_partition(&[("day".to_owned(), day)], rows).await,
        _ => writer.append(rows).await,
    }
    .unwrap();
}

async fn eventful(random: &mut Random, version: &str) -> (Project, Arc<Catalog>) {
    let project = Project::new();
    let catalog = project.catalog(&tables(version));
    names(&project).await;
    for _ in 0..8 {
        change(&project, &catalog, random, 40).await;
    }
    (project, catalog)
}

const FROM_THE_BEGINNING: &str = "'scan.startup.version' = '0',";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_table_that_is_replaced_is_the_same_in_both_modes() {
    for (seed, version) in [(1, FROM_THE_BEGINNING), (2, "'scan.startup.version' = '4',"), (3, "")] {
        let (project, catalog) = eventful(&mut Random::new(seed), version).await;
        for query in QUERIES {
            let expected = sorted(project.batch(&catalog, query).await);
            for parallelism in [1, 3] {
                let found = sorted(project.stream(&catalog, query, parallelism).await);
                assert!(found == expected, "{seed}: {query}, {parallelism}: {}", difference(&expected, &found));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lake_table_that_is_replaced_is_the_same_over_restarts() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let (project, catalog) = eventful(&mut random, FROM_THE_BEGINNING).await;
        let session = Session::new(Arc::clone(&catalog), Arc::clone(&project.connectors));
        let mut scripts = HashMap::new();
        for table in ["accounts", "names"] {
            scripts.insert(table.to_owned(), script(&project, &catalog, table, &mut random).await);
        }
        for query in QUERIES {
            let expected = in_batch(&session, query).await.unwrap();
            let plan = session.stream_statement(&single_statement(query).unwrap(), 0).unwrap();
            assert!(plan.is_updating || query.contains("TUMBLE"), "{query}");
            let graphs = [1 + random.below(6), 1 + random.below(6), 1].map(|parallelism| {
                plan_with(&plan.graph, PlanOptions { parallelism, rebalance: random.below(2) == 0 }).unwrap()
            });
            let context = format!("seed {seed}: {query}");
            let run = run_cut(&graphs, &scripts, (1 << 20, None), random.next_u64());
            let (mut outcome, _) = run.unwrap_or_else(|error| panic!("{context}: {error}"));
            let found = added_up(&outcome.batches.remove("result").unwrap_or_default());
            let found = sorted(found.unwrap_or_else(|error| panic!("{context}: {error}")));
            assert!(found == expected, "{context}: {}", difference(&expected, &found));
        }
    }
}

/// Versions of many batches, and jobs on real threads that end as suddenly as a process in the middle of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stream_of_changes_that_is_stopped_anywhere_is_exactly_once() {
    let mut random = Random::new(5);
    let project = Arc::new(Project::new());
    let catalog = project.catalog(&tables(FROM_THE_BEGINNING));
    let query = "SELECT k, count(*) AS n, sum(v) AS total FROM accounts GROUP BY k";
    for (round, parallelism) in [2, 1, 3, 2, 1].into_iter().enumerate() {
        let (stop, stopped) = oneshot::channel::<()>();
        let mut checkpoints = CheckpointOptions::new(project.dir.path().join("checkpoints"));
        checkpoints.interval = Duration::from_millis(20);
        let checkpoints = Some(checkpoints);
        let options =
            RunOptions { mode: Mode::Stream, parallelism, follow: true, checkpoints, ..RunOptions::default() };
        let (of_job, catalog_of_job) = (Arc::clone(&project), Arc::clone(&catalog));
        let job = std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let insert = format!("INSERT INTO totals {query}");
                tokio::select! {
                    ended = of_job.run(&catalog_of_job, &insert, &options) => panic!("it ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(PATIENCE);
        });
        for _ in 0..3 {
            change(&project, &catalog, &mut random, 12_000).await;
        }
        // Only now and then it has come to the end when it is stopped.
        let settles = async {
            let expected = sorted(project.batch(&catalog, query).await);
            while sorted(project.batch(&catalog, "SELECT * FROM totals").await) != expected {
                tokio::task::yield_now().await;
            }
        };
        let settled = if round % 2 == 0 { tokio::time::timeout(PATIENCE, settles).await } else { Ok(()) };
        let _ = stop.send(());
        tokio::task::block_in_place(|| job.join().unwrap());
        settled.unwrap_or_else(|_| panic!("round {round}: the totals come to be what the query gives"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_new_rows_only_refuses_a_lake_table_that_is_a_changelog() {
    let (project, catalog) = eventful(&mut Random::new(9), "").await;
    let options = RunOptions { mode: Mode::Stream, ..RunOptions::default() };
    let error = project.run(&catalog, "INSERT INTO plain SELECT id FROM accounts", &options).await.unwrap_err();
    assert!(error.to_string().contains("updat"), "{error}");
}
