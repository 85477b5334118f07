//! OVER windows in both modes: frames of rows and of time, functions that look back and ahead.

use crate::property::{Arrival, check_queries};

/// Ordered by event time, over inserts: rows come out once, and only what a frame reaches is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_in_event_time_give_the_same_rows_in_batch_and_stream() {
    check_queries(Arrival::InTime, &[
        "SELECT k, ts, v, sum(v) OVER (PARTITION BY k ORDER BY ts, v ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) FROM events",
        "SELECT k, ts, avg(d) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) FROM events",
        "SELECT k, ts, sum(v) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '10' SECOND PRECEDING AND CURRENT ROW)
           FROM events WHERE ts IS NOT NULL",
        "SELECT ts, count(*) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1' MINUTE PRECEDING AND CURRENT ROW) FROM events
          WHERE ts IS NOT NULL",
        "SELECT k, ts, max(v) OVER w, count(v) OVER w, row_number() OVER w FROM events WINDOW w AS (PARTITION BY k ORDER BY ts)",
        "SELECT k, sum(v) OVER (PARTITION BY k, v % 2 ORDER BY ts ROWS UNBOUNDED PRECEDING) FROM events",
        "SELECT k, v, lag(v) OVER (PARTITION BY k ORDER BY ts), lag(v, 3, -1) OVER (PARTITION BY k ORDER BY ts) FROM events",
        "SELECT k, v, first_value(v) OVER (PARTITION BY k ORDER BY ts, v ROWS 2 PRECEDING) FROM events",
        "SELECT k, v, rank() OVER (PARTITION BY k ORDER BY ts), dense_rank() OVER (PARTITION BY k ORDER BY ts) FROM events",
        "SELECT k, count(*) FILTER (WHERE v > 0) OVER (PARTITION BY upper(k) ORDER BY ts, d, v) FROM events",
    ])
    .await;
}

/// In any other order, over changes, or looking ahead: partitions are computed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_over_changing_rows_give_the_same_rows_in_batch_and_stream() {
    check_queries(Arrival::Random, &[
        "SELECT k, v, sum(v) OVER (PARTITION BY k ORDER BY v, d ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING) FROM events",
        "SELECT k, v, count(*) OVER (PARTITION BY k) FROM events",
        "SELECT k, v, lead(v, 2) OVER (PARTITION BY k ORDER BY ts DESC), ntile(3) OVER (PARTITION BY k ORDER BY v) FROM events",
        "SELECT k, v, percent_rank() OVER (PARTITION BY k ORDER BY v), cume_dist() OVER (PARTITION BY k ORDER BY v) FROM events",
        "SELECT k, max(v) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '5' SECOND PRECEDING AND INTERVAL '5' SECOND FOLLOWING)
           FROM events WHERE ts IS NOT NULL",
        // Nexmark's question 6: the average of the last rows, over rows that are replaced.
        "SELECT w, avg(v) OVER (PARTITION BY w ORDER BY ts, v ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) FROM
           (SELECT v, v % 3 AS w, ts, ROW_NUMBER() OVER (PARTITION BY k, v % 7 ORDER BY d DESC) AS rn FROM events)
          WHERE rn <= 1",
        "SELECT * FROM (SELECT k, v, n, ROW_NUMBER() OVER (PARTITION BY n ORDER BY v) AS rn FROM
           (SELECT k, v, count(*) OVER (PARTITION BY k) AS n FROM events)) WHERE rn <= 2",
        "SELECT k, n, v FROM (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM events) WHERE n % 3 = 1",
        // Rows that go from one partition to another as they change.
        "SELECT k, n, c, sum(n) OVER (PARTITION BY c) FROM (SELECT k, n, count(*) AS c FROM events GROUP BY k, n)",
        // Partitions that lose all their rows.
        "SELECT k, c, first_value(k) OVER (PARTITION BY c ORDER BY k), last_value(k) OVER (PARTITION BY c ORDER BY k DESC) FROM
           (SELECT k, count(*) AS c FROM events GROUP BY k)",
    ])
    .await;
}
