//! Batch and stream give the same rows: random rows, arrival orders, batch splits, partitions, parallelism and
//! schedules, over the SQL of window aggregates; and how lists of queries are checked so. A seed is printed with every
//! failure.

use std::sync::Arc;

use mulgil_dataflow::physical::PlanOptions;
use mulgil_dataflow::trigger::EarlyFire;
use mulgil_engine::deterministic::Random;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::single_statement;
use mulgil_sql::stream::StreamPlan;

use crate::changes::difference;
pub(crate) use crate::events::Arrival;
use crate::events::{random_rows, tables};
use crate::fixture::Project;
use crate::modes::{as_stream, in_batch, session_over};

const CASES: u64 = 100;
/// For each query of a list.
const CASES_PER_QUERY: u64 = 6;

/// Early results in every second case.
fn random_early(random: &mut Random) -> Option<EarlyFire> {
    let interval_ms = [1, 3_000, 20_000][random.below(3)];
    match random.below(4) {
        0 => Some(EarlyFire::EventTime(interval_ms)),
        1 => Some(EarlyFire::ProcessingTime(interval_ms)),
        _ => None,
    }
}

/// Runs a query over random rows in both modes, and compares; gives the plan and how many rows there were.
async fn check_query(
    project: &Project,
    catalog: &Arc<Catalog>,
    (seed, random): (u64, &mut Random),
    arrival: Arrival,
    query: &str,
) -> (StreamPlan, usize) {
    let options = PlanOptions { parallelism: 1 + random.below(8), rebalance: random.below(4) == 0 };
    let context = format!("seed {seed}: {query}, {options:?}");
    let rows = random_rows(arrival, random);
    let session = session_over(catalog, &project.connectors, &rows);
    let expected = in_batch(&session, query).await.unwrap_or_else(|error| panic!("{context}: {error}"));
    let may_pause = arrival == Arrival::Random;
    // All that is out of order by more than the watermark's patience is within the allowed lateness.
    let lateness_ms = if may_pause { 1_000_000_000 } else { 0 };
    let early = random_early(random).filter(|_| may_pause);
    let context = format!("{context}, early {early:?}");
    let session = session.with_early_fire(early);
    let plan = session.stream_statement(&single_statement(query).unwrap(), lateness_ms);
    let plan = plan.unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = as_stream(&plan, &rows, options, may_pause, random);
    let found = found.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(found == expected, "{context}: {}", difference(&expected, &found));
    (plan, expected.len())
}

/// Runs each query over random rows, some times with other rows, batches and schedules; `look` sees each query's plan.
pub(crate) async fn check_plans<'a>(arrival: Arrival, queries: &[&'a str], look: impl Fn(&'a str, &StreamPlan)) {
    let project = Project::new();
    let catalog = project.catalog(&tables());
    let first = first_seed();
    for (number, query) in queries.iter().enumerate() {
        let mut row_count = 0;
        for seed in first..first + CASES_PER_QUERY {
            let mut random = Random::new(seed + 1_000_000 * u64::try_from(number).unwrap());
            let (plan, rows) = check_query(&project, &catalog, (seed, &mut random), arrival, query).await;
            row_count += rows;
            look(query, &plan);
        }
        assert!(row_count > 0, "no rows to compare, from seed {first}: {query}");
    }
}

/// Runs each query over random rows, some times with other rows, batches and schedules.
pub(crate) async fn check_queries(arrival: Arrival, queries: &[&str]) {
    check_plans(arrival, queries, |_, _| {}).await;
}

/// The seed from which random cases go on: always the same, so that a change is judged by what it changes; `MULGIL_SEED`
/// looks at others.
pub(crate) fn first_seed() -> u64 {
    let first = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("first seed {first}");
    first
}

/// Checks as many random queries as there are cases.
pub(crate) async fn check_all(cases: u64, make_query: impl Fn(&mut Random) -> String) {
    let project = Project::new();
    let catalog = project.catalog(&tables());
    let first = first_seed();
    for seed in first..first + cases {
        let mut random = Random::new(seed);
        let query = make_query(&mut random);
        check_query(&project, &catalog, (seed, &mut random), Arrival::Random, &query).await;
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_and_stream_give_the_same_rows() {
    check_all(CASES, random_query).await;
}
