//! Early results as a changelog: what a view says step by step, before the watermark closes its windows.
//!
//! The deterministic executor works off all rows before it lets the clock go on; so what comes between two ticks, and how
//! far event time has come by then, is written down in the script.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use mulgil_connect::definition::TableName;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::physical::plan;
use mulgil_engine::deterministic::{Step, run};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::Session;

use crate::fixture::{Project, text_rows};

const TABLE: &str = "CREATE TABLE events (k VARCHAR, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json')";

/// The result, kept up to date by every change that the view tells of.
const PER_WINDOW: &str = "SELECT k, window_start, count(*) AS n, sum(v) AS s
FROM WINDOWS GROUP BY k, window_start, window_end";

/// Key, value and second of the event time.
type Row = (&'static str, i64, i64);

fn rows(rows: &[Row]) -> Step {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)))),
        ("v", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)))),
        ("ts", Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.2 * 1_000)))),
    ];
    Step::Rows(RecordBatch::try_from_iter(columns).unwrap())
}

/// All changes, each as text behind its kind.
fn changes(batches: &[Batch]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in batches {
        let texts = text_rows(std::slice::from_ref(&batch.rows));
        let kinds = batch.kinds.as_ref().map(|kinds| kinds.values().to_vec());
        for (row, text) in texts.into_iter().enumerate() {
            let kind = kinds.as_ref().map_or("+I", |kinds| ["+I", "-U", "+U", "-D"][usize::from(kinds[row])]);
            lines.push(format!("{kind} {}", text.join(" ").replace("1970-01-01T00:", "")));
        }
    }
    lines
}

fn catalog(project: &Project, windows: &str, options: &str) -> Arc<Catalog> {
    let query = PER_WINDOW.replace("WINDOWS", windows);
    project.catalog(&format!(
        "{TABLE}; CREATE MATERIALIZED TABLE result WITH ({options}) REFRESH_MODE = CONTINUOUS AS {query}"
    ))
}

/// Runs batches of rows, the clock a second further after each, and gives the changes.
fn run_steps(catalog: Arc<Catalog>, project: &Project, batches: &[&[Row]], parallelism: usize) -> Vec<String> {
    let session = Session::new(catalog, Arc::clone(&project.connectors));
    let stream = session.stream_view(&TableName::parse("result")).unwrap();
    assert!(stream.is_updating);
    let physical = plan(&stream.graph, parallelism).unwrap();
    let ticks = (1_i64..).map(|second| Step::Clock(second * 1_000));
    let steps = batches.iter().zip(ticks).flat_map(|(batch, tick)| [rows(batch), tick]).collect();
    let outcome = run(&physical, &HashMap::from([("events".to_owned(), vec![steps])]), 1_000, 7).unwrap();
    assert_eq!(outcome.summary.late_dropped, 0);
    changes(&outcome.batches["result"])
}

const TUMBLE: &str = "TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)";
const BY_CLOCK: &str = "'early-fire' = '2 s'";
const BY_EVENT: &str = "'early-fire' = '2 s', 'early-fire-clock' = 'event'";

/// Windows, options, and the changes.
const CASES: [(&str, &str, &[&str]); 4] = [
    // The clock stands at 1, 2, 3, 4 s: it has passed a multiple of two seconds at first, and then at 2 and 4.
    (
        TUMBLE,
        BY_CLOCK,
        &["+I a 00:00 1 1", "+I b 00:00 1 2", "-U a 00:00 1 1", "+U a 00:00 2 5", "+I a 00:10 1 0", "+I b 00:10 1 8"],
    ),
    // The watermark stands at 2, 3, 12, 13 s.
    (
        TUMBLE,
        BY_EVENT,
        &["+I a 00:00 1 1", "+I b 00:00 1 2", "-U a 00:00 1 1", "+U a 00:00 2 5", "+I a 00:10 1 0", "+I b 00:10 1 8"],
    ),
    (
        "CUMULATE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)",
        BY_EVENT,
        &[
            "+I a 00:00 1 1",
            "+I b 00:00 1 2",
            "+I a 00:00 1 1",
            "+I b 00:00 1 2",
            "-U a 00:00 1 1",
            "+U a 00:00 2 5",
            "-U a 00:00 1 1",
            "+U a 00:00 3 5",
            "-U b 00:00 1 2",
            "+U b 00:00 2 10",
        ],
    ),
    (
        "SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '10' SECOND)",
        BY_CLOCK,
        &[
            "+I a 00:01 1 1",
            "+I b 00:02 1 2",
            "-D a 00:01 1 1",
            "+I a 00:01 2 5",
            "-D a 00:01 2 5",
            "+I a 00:01 3 5",
            "+I b 00:13 1 8",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_results_are_replaced_until_the_watermark_closes_their_window() {
    let project = Project::new();
    let batches: [&[Row]; 4] = [&[("a", 1, 1), ("b", 2, 2)], &[("a", 4, 3)], &[("a", 0, 12)], &[("b", 8, 13)]];
    for (windows, options, expected) in CASES {
        let found = run_steps(catalog(&project, windows, options), &project, &batches, 1);
        assert_eq!(found, expected, "{windows} with {options}");
        let mut sorted = expected.to_vec();
        sorted.sort_unstable();
        for parallelism in [2, 3] {
            let mut found = run_steps(catalog(&project, windows, options), &project, &batches, parallelism);
            found.sort_unstable();
            assert_eq!(found, sorted, "{windows} with {options}, parallelism {parallelism}");
        }
    }
}
