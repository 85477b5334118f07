//! Late rows as a side output: what a stream counts and what it puts aside is, together, all that there was.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use mulgil_connect::definition::TableName;
use mulgil_dataflow::batch::take_rows;
use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::deterministic::{Random, run};
use mulgil_sql::session::{Session, single_statement};

use crate::changes::{added_up, difference};
use crate::events::{Arrival, random_rows, tables};
use crate::fixture::{Project, sorted, text_rows};
use crate::modes::{in_batch, random_script, session_over};
use crate::property::first_seed;

const CASES_PER_QUERY: u64 = 12;

const LATE: &str = "
CREATE TABLE late (d DOUBLE, k VARCHAR, ts TIMESTAMP(3), v BIGINT)
WITH ('connector' = 'log', 'topic' = 'late', 'format' = 'json');
CREATE TABLE late_r (rts TIMESTAMP(3), rv BIGINT, rk VARCHAR, rd DOUBLE)
WITH ('connector' = 'log', 'topic' = 'late_r', 'format' = 'json');
CREATE MATERIALIZED TABLE renamed REFRESH_MODE = CONTINUOUS AS SELECT k AS rk, ts AS rts, v AS rv, d AS rd FROM r;";

/// The tables for late rows, the views whose rows they get, and the columns of these by the tables' order.
const ASIDE: [(&str, &str, [&str; 4]); 2] =
    [("late_r", "r", ["ts", "v", "k", "d"]), ("late", "events", ["d", "k", "ts", "v"])];

/// A query, and whether a row counts wholly or not at all: then the rest of the rows gives the same result in batch.
const QUERIES: [(&str, bool); 18] = [
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
    // OVER windows.
    (
        "SELECT upper(k), sum(v) OVER (PARTITION BY upper(k) ORDER BY ts RANGE BETWEEN INTERVAL '5' SECOND PRECEDING
           AND CURRENT ROW) FROM events",
        true,
    ),
    ("SELECT k, max(v) OVER (ORDER BY ts) FROM events", true),
    ("SELECT n FROM (SELECT n, sum(v) OVER (PARTITION BY k, n ORDER BY ts) AS s FROM events WHERE v > -2000) WHERE s > 0", true),
    // Count windows.
    (
        "SELECT k, window_number, count(*), sum(v) FROM COUNT_TUMBLE(TABLE events PARTITION BY k, DESCRIPTOR(ts), 3)
          GROUP BY k, window_number",
        true,
    ),
    (
        "SELECT window_number, max(v) FROM COUNT_HOP(TABLE events, DESCRIPTOR(ts), 2, 5) GROUP BY window_number",
        true,
    ),
    // Joins that time bounds, of both sides.
    (
        "SELECT v, rv FROM events JOIN renamed ON k = rk AND ts BETWEEN rts - INTERVAL '4' SECOND AND rts + INTERVAL '2' SECOND",
        true,
    ),
    (
        "SELECT n, rk FROM events FULL JOIN renamed ON upper(k) = upper(rk) AND v > rv
           AND rts BETWEEN ts AND ts + INTERVAL '9' SECOND",
        true,
    ),
    (
        "SELECT k, n FROM events AS e WHERE NOT EXISTS (SELECT * FROM renamed WHERE rk = e.k
           AND rts > e.ts - INTERVAL '3' SECOND AND rts < e.ts + INTERVAL '3' SECOND)",
        true,
    ),
    (
        "SELECT count(*), sum(rd) FROM events, renamed WHERE rk = k AND rts <= ts AND rts >= ts - INTERVAL '20' SECOND",
        true,
    ),
    (
        "SELECT a.n, b.rv FROM (SELECT * FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND)) AS a
           JOIN (SELECT * FROM TUMBLE(TABLE renamed, DESCRIPTOR(rts), INTERVAL '5' SECOND)) AS b
           ON a.k = b.rk AND a.window_start = b.window_start AND a.window_end = b.window_end",
        true,
    ),
    // A late version still holds for rows that wait.
    ("SELECT n, rv FROM events LEFT JOIN renamed FOR SYSTEM_TIME AS OF events.ts ON k = rk", false),
    // The first rows of windows.
    (
        "SELECT n, place FROM (SELECT n, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, k ORDER BY n) AS place
           FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE place <= 2",
        true,
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_late_is_put_aside_and_all_else_counts() {
    let project = Project::new();
    let catalog = project.catalog(&format!("{}{LATE}", tables()));
    let names: Vec<TableName> = ASIDE.iter().map(|(table, ..)| TableName::parse(table)).collect();
    let first = first_seed();
    for (query, is_all_or_nothing) in QUERIES {
        let mut late_counts = [0; 2];
        for seed in first..first + CASES_PER_QUERY {
            let random = &mut Random::new(seed);
            let mut rows = random_rows(Arrival::Random, random);
            let options = PlanOptions { parallelism: 1 + random.below(4), rebalance: random.below(4) == 0 };
            let context = format!("seed {seed}: {query}, {options:?}");
            let session = Session::new(Arc::clone(&catalog), Arc::clone(&project.connectors));
            let session = session.with_late_rows(names.clone());
            let plan = session.stream_statement(&single_statement(query).unwrap(), 0).unwrap();
            let scripts = ["events", "r"].map(|view| {
                let script = random_script(&rows[view], true, random);
                (format!("{view}_source"), script)
            });
            let physical = plan_with(&plan.graph, options).unwrap();
            let mut outcome = run(&physical, &scripts.into(), 1_000, random.next_u64()).unwrap();

            let mut dropped = 0;
            for ((table, view, columns), count) in ASIDE.iter().zip(&mut late_counts) {
                let aside = outcome.batches.remove(*table).unwrap_or_default();
                let late = text_rows(&aside.into_iter().map(|batch| batch.rows).collect::<Vec<RecordBatch>>());
                dropped += late.len();
                *count += late.len();
                let left = without(&rows[*view], columns, &late);
                rows.insert((*view).to_owned(), left);
            }
            assert!(dropped as u64 <= outcome.summary.late_dropped, "{context}");
            if is_all_or_nothing {
                assert_eq!(dropped as u64, outcome.summary.late_dropped, "{context}");
                let expected = in_batch(&session_over(&catalog, &project.connectors, &rows), query).await.unwrap();
                let found = sorted(added_up(&outcome.batches.remove("result").unwrap_or_default()).unwrap());
                assert!(found == expected, "{context}: {}", difference(&expected, &found));
            }
        }
        let has_right = query.contains("renamed");
        assert_eq!(late_counts.map(|count| count > 0), [has_right && is_all_or_nothing, true], "late rows of {query}");
    }
}

/// A view's operators put nothing into the table of the statement that reads the view.
#[test]
fn a_view_that_is_read_sees_to_its_late_rows_itself() {
    let project = Project::new();
    let near = "CREATE MATERIALIZED TABLE near REFRESH_MODE = CONTINUOUS AS SELECT k, n, rv, ts FROM events
        JOIN renamed ON k = rk AND ts BETWEEN rts AND rts + INTERVAL '5' SECOND;
        CREATE TABLE wrong (other INT) WITH ('connector' = 'log', 'topic' = 'wrong', 'format' = 'json');";
    let catalog = project.catalog(&format!("{}{LATE}{near}", tables()));
    let sides = |tables: &[&str], query: &str| {
        let names = tables.iter().map(|table| TableName::parse(table)).collect();
        let session = Session::new(Arc::clone(&catalog), Arc::clone(&project.connectors)).with_late_rows(names);
        let plan = session.stream_statement(&single_statement(query).unwrap(), 0);
        plan.map(|plan| plan.side_sinks).map_err(|error| error.to_string())
    };
    assert_eq!(sides(&["wrong"], "SELECT n, count(*) FROM near GROUP BY n"), Ok(Vec::new()));
    let over = "SELECT n, max(v) OVER (PARTITION BY n ORDER BY ts) FROM events WHERE n IN (SELECT n FROM near)";
    let mistake = "query:1:1: table wrong for late rows has columns that these rows lack: other; declare it with columns of \
                   k, n, v, d, ts, or give the rows these columns";
    assert_eq!(sides(&["wrong"], &over.replace(" WHERE n IN (SELECT n FROM near)", "")).unwrap_err(), mistake);
    // What comes out of a join that changes has no time of its own: the function's result is a changelog.
    assert_eq!(sides(&["wrong"], over), Ok(Vec::new()));
    let join = "SELECT rv FROM events JOIN renamed ON k = rk AND ts BETWEEN rts AND rts + INTERVAL '5' SECOND";
    assert_eq!(sides(&["late", "late_r"], join), Ok(["late", "late_r"].map(TableName::parse).to_vec()));
    let lacking = sides(&["late"], join).unwrap_err();
    assert!(lacking.contains("lack: d, k, ts, v; declare it with columns of rk, rts, rv, rd"), "{lacking}");
}

/// The rows that are not among the late ones, each of which must be there.
fn without(rows: &RecordBatch, columns: &[&str; 4], late: &[Vec<String>]) -> RecordBatch {
    let as_late = rows.project(&columns.map(|name| rows.schema().index_of(name).unwrap())).unwrap();
    let mut left: Vec<(u32, Vec<String>)> = (0..).zip(text_rows(&[as_late])).collect();
    for row in late {
        let at = left.iter().position(|(_, other)| other == row).unwrap_or_else(|| panic!("there was no row {row:?}"));
        left.remove(at);
    }
    take_rows(rows, &UInt32Array::from_iter_values(left.into_iter().map(|(row, _)| row))).unwrap()
}
