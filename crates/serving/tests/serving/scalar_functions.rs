//! Every scalar function that a query can name gives the same in both modes: `scalar_functions.txt` has a call of each, or
//! the reason why not, and what it lacks is found by walking the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use mulgil_dataflow::physical::PlanOptions;
use mulgil_engine::deterministic::Random;
use mulgil_sql::session::single_statement;

use crate::fixture::Project;
use crate::modes::{Rows, as_stream, declaration, in_batch, session_over};

const CALLS: &str = include_str!("scalar_functions.txt");
const COLUMNS: &str =
    "id BIGINT, i BIGINT, j BIGINT, d DOUBLE, t VARCHAR, b BOOLEAN, ts TIMESTAMP(3), day DATE, x DECIMAL(12, 2)";
/// How many calls stand in one query: planning costs more than running.
const CALLS_PER_QUERY: usize = 24;

fn sample() -> RecordBatch {
    let whole = |of: [Option<i64>; 6]| Arc::new(Int64Array::from(of.to_vec())) as ArrayRef;
    let times = [Some(0), Some(-1), Some(1_709_164_740_000), Some(-2_208_988_800_000), None, Some(1)];
    let decimals = [Some(125), Some(-5), Some(0), None, Some(1), Some(99_999)];
    RecordBatch::try_from_iter_with_nullable([
        ("id", whole([0, 1, 2, 3, 4, 5].map(Some)), true),
        ("i", whole([Some(1), Some(-2), Some(3), Some(0), None, Some(7)]), true),
        ("j", whole([Some(3), Some(3), None, Some(5), Some(2), Some(-4)]), true),
        (
            "d",
            Arc::new(Float64Array::from(vec![Some(0.5), Some(-2.25), Some(0.0), None, Some(9.5), Some(3.0)])) as _,
            true,
        ),
        (
            "t",
            Arc::new(StringArray::from(vec![Some("abc"), Some(""), Some("물길"), None, Some("12"), Some("ba b")])) as _,
            true,
        ),
        (
            "b",
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, None, Some(true), Some(true)])) as _,
            true,
        ),
        ("ts", Arc::new(TimestampMillisecondArray::from(times.to_vec())) as _, true),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(0), Some(-1), Some(19_782), None, Some(1), Some(365)])) as _,
            true,
        ),
        ("x", Arc::new(Decimal128Array::from(decimals.to_vec()).with_precision_and_scale(12, 2).unwrap()) as _, true),
    ])
    .unwrap()
}

/// Calls by the name of their function, and the names left out.
fn calls() -> (BTreeMap<&'static str, &'static str>, BTreeSet<&'static str>) {
    let (mut calls, mut left_out) = (BTreeMap::new(), BTreeSet::new());
    for line in CALLS.lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix("- ").and_then(|rest| rest.split_once(": ")) {
            Some((name, reason)) => assert!(!reason.is_empty() && left_out.insert(name), "{name} twice"),
            None => {
                let (name, _) = line.split_once('(').unwrap();
                assert!(calls.insert(name, line).is_none(), "{name} twice");
            }
        }
    }
    (calls, left_out)
}

#[test]
fn every_scalar_function_has_a_call_or_a_reason() {
    let (calls, left_out) = calls();
    let missing: Vec<String> = mulgil_sql::function::scalar_function_names()
        .into_iter()
        .filter(|names| !names.iter().any(|n| calls.contains_key(n.as_str()) || left_out.contains(n.as_str())))
        .map(|names| names.join(" or "))
        .collect();
    assert!(missing.is_empty(), "add to scalar_functions.txt: {}", missing.join(", "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scalar_function_gives_the_same_in_both_modes() {
    let project = Project::new();
    let catalog = project.catalog(&declaration("s", COLUMNS));
    let rows = Rows::from([("s".to_owned(), sample())]);
    let session = session_over(&catalog, &project.connectors, &rows);
    let (calls, _) = calls();
    let calls: Vec<&str> = calls.into_values().collect();
    let mut failures = Vec::new();
    for calls in calls.chunks(CALLS_PER_QUERY) {
        // The names keep equal calls apart, and the columns in their order.
        let items: Vec<String> =
            calls.iter().enumerate().map(|(number, call)| format!("{call} AS c{number}")).collect();
        let sql = format!("SELECT id, {} FROM s", items.join(", "));
        let expected = in_batch(&session, &sql).await;
        let stream = session.stream_statement(&single_statement(&sql).unwrap(), 0).map_err(|error| error.to_string());
        let options = PlanOptions { parallelism: 2, rebalance: false };
        let found = stream.and_then(|plan| as_stream(&plan, &rows, options, false, &mut Random::new(7)));
        match (expected, found) {
            (Ok(expected), Ok(found)) => {
                assert_eq!((expected.len(), found.len()), (6, 6));
                for (column, call) in calls.iter().enumerate() {
                    let cells =
                        |rows: &[Vec<String>]| rows.iter().map(|row| row[column + 1].clone()).collect::<Vec<_>>();
                    let (expected, found) = (cells(&expected), cells(&found));
                    if expected != found {
                        failures.push(format!("{call}: {expected:?} in batch, {found:?} as a stream"));
                    }
                    if expected.iter().all(|cell| cell == "NULL") {
                        failures.push(format!("{call}: null for every row, which shows nothing"));
                    }
                }
            }
            (Err(error), _) => failures.push(format!("batch: {error}: {sql}")),
            (_, Err(error)) => failures.push(format!("stream: {error}: {sql}")),
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
