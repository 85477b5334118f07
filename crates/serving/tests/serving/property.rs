//! Batch and stream give the same rows: random rows, arrival orders, batch splits, partitions, parallelism and
//! schedules, over the SQL of window aggregates.
//!
//! Batch reads the rows as the stored result of a view; the stream is run by the engine's deterministic executor, in an
//! order that the seed chooses. A seed is printed with every failure.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::deterministic::{Random, Script, Step, run};
use mulgil_serving::result::ResultTable;
use mulgil_serving::run::collect;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::{Session, ViewSnapshots, single_statement};

use crate::fixture::{Project, sorted, text_rows};

const CASES: u64 = 300;
/// For each query of a list.
const CASES_PER_QUERY: u64 = 6;

const TABLES: &str = "
CREATE TABLE source (k VARCHAR, v BIGINT, d DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
WITH ('connector' = 'log', 'topic' = 'source', 'format' = 'json');
CREATE MATERIALIZED TABLE events REFRESH_MODE = CONTINUOUS AS SELECT * FROM source;
";

type Row = (Option<String>, Option<i64>, Option<f64>, Option<i64>);

/// The stored result of the view `events`.
struct Rows(Arc<dyn TableProvider>);

impl ViewSnapshots for Rows {
    fn snapshot(&self, view: &TableName) -> Option<Arc<dyn TableProvider>> {
        (view.name == "events").then(|| Arc::clone(&self.0))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("v", DataType::Int64, true),
        Field::new("d", DataType::Float64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: StringArray = rows.iter().map(|row| row.0.clone()).collect();
    let values: Int64Array = rows.iter().map(|row| row.1).collect();
    let doubles: Float64Array = rows.iter().map(|row| row.2).collect();
    let times: TimestampMillisecondArray = rows.iter().map(|row| row.3).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(values), Arc::new(doubles), Arc::new(times)]).unwrap()
}

fn signed(random: &mut Random, bound: usize) -> i64 {
    i64::try_from(random.below(bound)).unwrap()
}

/// Rows in order of arrival. Event times go up on the whole, from before 1970, with rows out of order by any distance.
fn random_rows(random: &mut Random) -> Vec<Row> {
    let count = random.below(120);
    let base_ms = [-100_000, 0, 1_356_998_400_000, -2_208_988_800_000][random.below(4)];
    (0..count)
        .map(|arrival| {
            let disorder_ms = [0, 5_000, 50_000, 100_000][random.below(4)];
            let time =
                base_ms + signed(random, 3) + 1_000 * i64::try_from(arrival).unwrap() - signed(random, disorder_ms + 1);
            (
                (random.below(8) > 0).then(|| format!("k{}", random.below(4))),
                (random.below(8) > 0).then(|| signed(random, 2_000) - 1_000),
                // Halves add up exactly, in any order.
                (random.below(8) > 0).then(|| (signed(random, 2_000) - 1_000) as f64 / 2.0),
                (random.below(20) > 0).then_some(time),
            )
        })
        .collect()
}

/// Cuts the rows into partitions, and those into batches, with pauses between.
fn random_script(rows: &[Row], projection: &[usize], arrival: Arrival, random: &mut Random) -> Script {
    let mut partitions = vec![Vec::new(); 1 + random.below(4)];
    for row in rows {
        let partition = random.below(partitions.len());
        partitions[partition].push(row.clone());
    }
    let cut = |rows: Vec<Row>| {
        let mut steps = Vec::new();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + random.below(rest.len().min(40)));
            steps.push(Step::Rows(batch(now).project(projection).unwrap()));
            // Rows of a partition that was idle may be late.
            if arrival == Arrival::Random && random.below(5) == 0 {
                steps.push(Step::Idle);
            }
            rest = later;
        }
        steps
    };
    partitions.into_iter().map(cut).collect()
}

fn random_query(random: &mut Random) -> String {
    let (keys, select) = [
        ("k, ", "k, window_start, count(*), count(v), sum(v), avg(d), min(d), max(v)"),
        ("", "window_start, window_end, count(*), avg(v), min(k), max(k)"),
        ("upper(k), v % 3, ", "upper(k), v % 3, window_end, count(d), sum(d)"),
        ("k, ", "count(*), count(DISTINCT v), median(v), k"),
        ("k, window_time, ", "k, window_time, sum(v) FILTER (WHERE d > 0), bool_or(v > 100), max(window_end)"),
        ("k, ", "k, window_start, var_pop(v) > 1000, sum(v) * 2 + count(*), stddev_pop(d) IS NULL"),
    ][random.below(6)];
    let condition =
        ["", "WHERE v > 0", "WHERE k <> 'k1' AND d < 300", "WHERE window_end > TIMESTAMP '1970-01-01 00:00:10'"]
            [random.below(4)];
    let having = ["", "HAVING count(*) > 2", "HAVING max(v) < 900"][random.below(3)];
    let seconds = |n: usize| format!("INTERVAL '{n}' SECOND");
    let size = [1, 10, 60, 3_600][random.below(4)];
    let (function, sizes) = match random.below(4) {
        0 => ("HOP", format!("{}, {}", seconds([5, 20, 60][random.below(3)]), seconds([5, 60, 90][random.below(3)]))),
        1 => ("CUMULATE", format!("{}, {}", seconds([4, 20][random.below(2)]), seconds([20, 60][random.below(2)]))),
        _ => ("TUMBLE", seconds(size)),
    };
    let offset = ["", ", INTERVAL '7' SECOND", ", INTERVAL '-3' SECOND"][random.below(3)];
    if keys == "k, " && random.below(4) == 0 {
        // Conditions would need the sessions' rows one by one.
        return format!(
            "SELECT {select} FROM SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), {}) \
             GROUP BY k, window_start, window_end {having}",
            seconds([1, 3, 10][random.below(3)])
        );
    }
    format!(
        "SELECT {select} FROM {function}(TABLE events, DESCRIPTOR(ts), {sizes}{offset}) {condition} \
         GROUP BY {keys}window_start, window_end {having}"
    )
}

/// Runs a query over rows in both modes, and compares.
async fn check_query(
    project: &Project,
    catalog: &Arc<Catalog>,
    (seed, random): (u64, &mut Random),
    (arrival, rows): (Arrival, &[Row]),
    query: &str,
) {
    let options = PlanOptions { parallelism: 1 + random.below(8), rebalance: random.below(4) == 0 };
    let context = format!("seed {seed}: {query}, {options:?}");

    let stored = MemTable::try_new(schema(), vec![vec![batch(rows)]]).unwrap();
    let session = Session::new(Arc::clone(catalog), Arc::clone(&project.connectors))
        .with_view_snapshots(Arc::new(Rows(Arc::new(stored))));
    let expected = session.query(query).await.unwrap_or_else(|error| panic!("{context}: {error}"));
    let expected = sorted(text_rows(&collect(expected).await.unwrap().1));

    // All that is out of order by more than the watermark's patience is within the allowed lateness.
    let plan = session.stream_statement(&single_statement(query).unwrap(), 1_000_000_000);
    let plan = plan.unwrap_or_else(|error| panic!("{context}: {error}"));
    let physical = plan_with(&plan.graph, options).unwrap();
    let LogicalOperator::Source { projection, .. } = &plan.graph.nodes[0].operator else { panic!("{context}") };
    let scripts = HashMap::from([("source".to_owned(), random_script(rows, projection, arrival, random))]);
    let queue_bytes_max = [1, 500, 1 << 20][random.below(3)];
    let mut outcome = run(&physical, &scripts, queue_bytes_max, random.next_u64()).unwrap();
    let table = ResultTable::new(plan.schema, plan.key, plan.is_updating, usize::MAX).unwrap();
    let batches = outcome.batches.remove("result").unwrap_or_default();
    // Handed over in pieces of random size.
    let mut rest = batches.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(1 + random.below(rest.len()));
        table.apply(now).unwrap_or_else(|error| panic!("{context}: {error}"));
        rest = later;
    }
    let found = sorted(text_rows(&table.snapshot().unwrap().batches));
    assert_eq!(found, expected, "{context}");
}

/// How rows arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// In any order.
    Random,
    /// No row is later than the table's watermark.
    InTime,
}

/// Runs each query over random rows, some times with other rows, batches and schedules.
pub(crate) async fn check_queries(arrival: Arrival, queries: &[&str]) {
    let project = Project::new();
    let catalog = project.catalog(TABLES);
    let first = first_seed();
    for (number, query) in queries.iter().enumerate() {
        for seed in first..first + CASES_PER_QUERY {
            let mut random = Random::new(seed + 1_000_000 * u64::try_from(number).unwrap());
            let mut rows = random_rows(&mut random);
            if arrival == Arrival::InTime {
                rows.sort_by_cached_key(|row| row.3.map(|time| time + signed(&mut random, 20_000)));
            }
            check_query(&project, &catalog, (seed, &mut random), (arrival, &rows), query).await;
        }
    }
}

fn first_seed() -> u64 {
    let first = match std::env::var("MULGIL_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()) * 1_000,
    };
    println!("first seed {first}");
    first
}

/// Checks as many random queries as there are cases.
pub(crate) async fn check_all(cases: u64, make_query: impl Fn(&mut Random) -> String) {
    let project = Project::new();
    let catalog = project.catalog(TABLES);
    let first = first_seed();
    for seed in first..first + cases {
        let mut random = Random::new(seed);
        let rows = random_rows(&mut random);
        let query = make_query(&mut random);
        check_query(&project, &catalog, (seed, &mut random), (Arrival::Random, &rows), &query).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_and_stream_give_the_same_rows() {
    check_all(CASES, random_query).await;
}
