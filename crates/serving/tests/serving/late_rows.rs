//! Late rows as a side output: what a stream counts and what it puts aside is, together, all that there was.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use mulgil_connect::definition::TableName;
use mulgil_dataflow::batch::take_rows;
use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::deterministic::{Random, run};
use mulgil_sql::session::{Session, single_statement};

use crate::changes::difference;
use crate::events::{Arrival, random_rows, tables};
use crate::fixture::{Project, sorted, text_rows};
use crate::modes::{in_batch, random_script, session_over};
use crate::property::first_seed;

const CASES_PER_QUERY: u64 = 12;

const LATE: &str = "CREATE TABLE late (d DOUBLE, k VARCHAR, ts TIMESTAMP(3), v BIGINT)
WITH ('connector' = 'log', 'topic' = 'late', 'format' = 'json');";

/// A query, and whether its windows are such that a row counts in all of its windows or in none: then the rest of the rows
/// gives the same result in batch.
const QUERIES: [(&str, bool); 6] = [
    (
        "SELECT k, window_start, count(*), sum(v) FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)
          GROUP BY k, window_start, window_end",
        true,
    ),
    (
        "SELECT upper(k), v % 3, max(d) FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '7' SECOND, INTERVAL '3' SECOND)
          GROUP BY upper(k), v % 3, window_end",
        true,
    ),
    ("SELECT window_end, count(*) FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND) GROUP BY window_end", true),
    (
        "SELECT window_start, max(window_end), count(*) FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '4' SECOND)
          GROUP BY window_start, k",
        true,
    ),
    (
        "SELECT k, count(v) FROM HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '6' SECOND)
          GROUP BY k, window_start, window_end",
        false,
    ),
    (
        "SELECT k, sum(d) FROM SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND)
          GROUP BY k, window_start, window_end",
        false,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_late_is_put_aside_and_all_else_counts() {
    let project = Project::new();
    let catalog = project.catalog(&format!("{}{LATE}", tables()));
    let first = first_seed();
    let mut late_count = 0;
    for (query, is_all_or_nothing) in QUERIES {
        for seed in first..first + CASES_PER_QUERY {
            let random = &mut Random::new(seed);
            let mut rows = random_rows(Arrival::Random, random);
            let options = PlanOptions { parallelism: 1 + random.below(4), rebalance: random.below(4) == 0 };
            let context = format!("seed {seed}: {query}, {options:?}");
            let session = Session::new(Arc::clone(&catalog), Arc::clone(&project.connectors));
            let session = session.with_late_rows(Some(TableName::parse("late")));
            let plan = session.stream_statement(&single_statement(query).unwrap(), 0).unwrap();
            assert_eq!(plan.side_sinks, [TableName::parse("late")]);
            let scripts = [("events_source".to_owned(), random_script(&rows["events"], true, random))].into();
            let physical = plan_with(&plan.graph, options).unwrap();
            let mut outcome = run(&physical, &scripts, 1_000, random.next_u64()).unwrap();

            let aside = outcome.batches.remove("late").unwrap_or_default();
            let late = text_rows(&aside.into_iter().map(|batch| batch.rows).collect::<Vec<RecordBatch>>());
            assert_eq!(late.len() as u64, outcome.summary.late_dropped, "{context}");
            late_count += late.len();
            let left = without(&rows["events"], &late);
            if is_all_or_nothing {
                rows.insert("events".to_owned(), left);
                let expected = in_batch(&session_over(&catalog, &project.connectors, &rows), query).await.unwrap();
                let found = outcome.batches.remove("result").unwrap_or_default();
                let found = sorted(text_rows(&found.into_iter().map(|batch| batch.rows).collect::<Vec<RecordBatch>>()));
                assert!(found == expected, "{context}: {}", difference(&expected, &found));
            }
        }
    }
    assert!(late_count > 0, "no row was late");
}

/// The rows that are not among the late ones, each of which must be there.
fn without(rows: &RecordBatch, late: &[Vec<String>]) -> RecordBatch {
    let column = |name: &str| rows.schema().index_of(name).unwrap();
    let as_late = rows.project(&["d", "k", "ts", "v"].map(column)).unwrap();
    let mut left: Vec<(u32, Vec<String>)> = (0..).zip(text_rows(&[as_late])).collect();
    for row in late {
        let at = left.iter().position(|(_, other)| other == row).unwrap_or_else(|| panic!("there was no row {row:?}"));
        left.remove(at);
    }
    take_rows(rows, &UInt32Array::from_iter_values(left.into_iter().map(|(row, _)| row))).unwrap()
}
