//! State that is ten times what memory it may take: a keyed aggregation and an updating join end all the same, with the rows
//! of the batch query, within their budget, and leave no file behind.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mulgil_connect::definition::TableName;
use mulgil_dataflow::spill::StateBudget;
use mulgil_engine::deterministic::Random;
use mulgil_engine::state_files::StateOptions;
use mulgil_serving::run::{Mode, RunOptions, collect};
use mulgil_serving::views::{Views, ViewsOptions};

use crate::fixture::{Project, sorted, text_rows};

const TABLES: &str = "
CREATE TABLE l (id INT, name VARCHAR, v INT) WITH ('connector' = 'filesystem', 'path' = 'l.csv', 'format' = 'csv');
CREATE TABLE r (id INT, name VARCHAR, v INT) WITH ('connector' = 'filesystem', 'path' = 'r.csv', 'format' = 'csv');
CREATE TABLE result (part INT, n BIGINT, a BIGINT, b BIGINT) WITH ('connector' = 'blackhole');
";

/// By name: what has much state, summed up in a few rows.
const QUERIES: [(&str, &str); 2] = [
    (
        "aggregation",
        "SELECT length(name) % 7 AS part, count(*) AS n, sum(length(longest)) AS a, sum(c) AS b FROM
         (SELECT name, max(name || 'x') AS longest, count(*) AS c FROM l GROUP BY name) GROUP BY length(name) % 7",
    ),
    (
        "join",
        "SELECT id % 7 AS part, count(*) AS n, sum(length(ln)) AS a, sum(length(rn) + v) AS b FROM
         (SELECT l.id, l.name AS ln, r.name AS rn, r.v FROM l LEFT JOIN r ON l.id = r.id) GROUP BY id % 7",
    ),
];

/// What a batch of these rows adds to the state at most: 8192 rows, with room to grow.
const BATCH_BYTES: usize = 4 << 20;

/// How many rows each table has: `MULGIL_BEYOND_ROWS` takes more, by hand.
fn row_count() -> usize {
    std::env::var("MULGIL_BEYOND_ROWS").map_or(50_000, |rows| rows.parse().unwrap())
}

fn write_tables(folder: &Path, row_count: usize, random: &mut Random) {
    for table in ["l", "r"] {
        let mut text = String::from("id,name,v\n");
        for _ in 0..row_count {
            let id = random.below(row_count);
            let name = format!("{:016x}", random.next_u64()).repeat(10 + random.below(8));
            let _ = writeln!(text, "{id},{name},{}", random.below(1_000));
        }
        std::fs::write(folder.join(format!("{table}.csv")), text).unwrap();
    }
}

fn streamed(folder: &Path, limit_bytes: usize, parallelism: usize) -> RunOptions {
    let state = StateOptions { budget: StateBudget::new(limit_bytes), folder: folder.join("state") };
    RunOptions { mode: Mode::Stream, parallelism, state: Some(state), ..RunOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_times_more_state_than_memory_gives_the_same_rows() {
    let project = Project::new();
    let catalog = project.catalog(TABLES);
    let folder = project.dir.path();
    write_tables(folder, row_count(), &mut Random::new(1));
    for (name, query) in QUERIES {
        let expected = sorted(project.batch(&catalog, query).await);
        assert!(expected.len() > 3);
        for parallelism in [1, 2] {
            let all = streamed(folder, usize::MAX, parallelism);
            let began = Instant::now();
            assert_eq!(sorted(project.run(&catalog, query, &all).await.unwrap()), expected, "{name}");
            let (took, peak_bytes) = (began.elapsed(), all.state.unwrap().budget.peak_bytes());

            let limit_bytes = peak_bytes / 10;
            let within = streamed(folder, limit_bytes, parallelism);
            let began = Instant::now();
            assert_eq!(sorted(project.run(&catalog, query, &within).await.unwrap()), expected, "{name}");
            let budget = within.state.unwrap().budget;
            println!(
                "{name}, {parallelism} subtasks: {peak_bytes} bytes of state {took:?}; within {limit_bytes} {:?}, most held {}",
                began.elapsed(),
                budget.peak_bytes()
            );
            // Each subtask looks at it after a batch, and the slice that is awake comes on top.
            let bound = 2 * limit_bytes + parallelism * BATCH_BYTES;
            assert!(budget.peak_bytes() < bound, "{name}: {} bytes were held of {limit_bytes}", budget.peak_bytes());
            assert_eq!(budget.held_bytes(), 0, "{name}: all is given back");
            assert!(!folder.join("state").join("result").exists(), "{name}: no file is left");
        }
    }
}

const QUERY: &str = "
SELECT a.id, a.c, b.c AS d FROM (SELECT id, count(*) AS c FROM events GROUP BY id) a
LEFT JOIN (SELECT id, count(DISTINCT name) AS c FROM events WHERE name <> 'n1' GROUP BY id) b ON a.id = b.id";

/// A view that holds next to nothing in memory, and makes checkpoints as often as it can.
fn lasting(project: &Project, parallelism: usize) -> Views {
    let declared = format!(
        "CREATE TABLE events (id INT, name VARCHAR) WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
         CREATE MATERIALIZED TABLE kept WITH ('checkpoint-interval' = '1 ms', 'state-memory' = '1 kB',
         'parallelism' = '{parallelism}') REFRESH_MODE = CONTINUOUS AS {QUERY};"
    );
    let options = ViewsOptions {
        checkpoints_dir: Some(project.dir.path().join("checkpoints")),
        state: Some(StateOptions { budget: StateBudget::new(usize::MAX), folder: project.dir.path().join("state") }),
        news_interval: Duration::from_millis(10),
        ..ViewsOptions::default()
    };
    Views::new(project.catalog(&declared), project.connectors.clone(), options)
}

/// Waits until a checkpoint of all rows stands; gives the largest number of bytes that were seen in files.
async fn until_checkpoint(views: &Views, rows: u64) -> u64 {
    let view = TableName::parse("kept");
    let mut news = views.subscribe();
    let mut stored = 0;
    let made = async {
        loop {
            let status = views.status(&view).unwrap();
            assert_eq!(status.error, None);
            let job = views.job_status(&view).unwrap().unwrap();
            stored = stored.max(job.subtasks.iter().map(|subtask| subtask.stored_bytes).sum());
            if job.rows_in >= rows && job.checkpoints.is_some_and(|made| made.covered_rows >= rows) {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(100), news.recv()).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), made).await.expect("a checkpoint of all rows");
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_whose_state_is_in_files_goes_on_from_its_checkpoint() {
    let project = Project::new();
    let mut random = Random::new(3);
    let view = TableName::parse("kept");
    let files = project.dir.path().join("state").join(format!("{}.{}", view.namespace, view.name));
    for parallelism in [2, 1, 3] {
        // A killed process has left something.
        let left = files.join("1-1/00000001.arrow");
        std::fs::create_dir_all(left.parent().unwrap()).unwrap();
        std::fs::write(&left, "left").unwrap();
        let views = lasting(&project, parallelism);
        views.start_all().await;
        assert!(!left.exists(), "what was left is gone");
        let row = |_| format!("({}, 'n{}')", random.below(300), random.below(20));
        let rows: Vec<String> = (0..400).map(row).collect();
        project.batch(views.catalog(), &format!("INSERT INTO events VALUES {}", rows.join(", "))).await;
        // The table is read twice.
        let stored = until_checkpoint(&views, 2 * 400).await;
        assert!(stored > 0, "its state is in files");
        let expected = project.batch(views.catalog(), QUERY).await;
        let found = views.query("SELECT id, c, d FROM kept").await.unwrap();
        let found = sorted(text_rows(&collect(found).await.unwrap().1));
        assert!(found.len() > 200 && found == sorted(expected), "{parallelism} subtasks: {} rows", found.len());
        views.shutdown().await;
        assert!(!files.exists(), "no file is left");
    }
}
