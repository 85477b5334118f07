//! Windows of rows, sessions row by row, and windows of several kinds in one query, in both modes.

use crate::property::{Arrival, check_queries};

/// Rows of one time are told apart by their columns, in both modes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn count_windows_give_the_same_rows_in_batch_and_stream() {
    check_queries(Arrival::InTime, &[
        "SELECT k, window_number, count(*), sum(v), min(ts), max(ts) FROM COUNT_TUMBLE(TABLE events PARTITION BY k, DESCRIPTOR(ts), 3)
          GROUP BY k, window_number",
        "SELECT window_number, avg(d), count(DISTINCT k) FROM TABLE(COUNT_TUMBLE(TABLE events, DESCRIPTOR(ts), 7)) GROUP BY window_number",
        "SELECT upper(k), v % 2, sum(v) FILTER (WHERE d > 0), median(v)
           FROM COUNT_HOP(TABLE events PARTITION BY upper(k), v % 2, DESCRIPTOR(ts), 2, 5) GROUP BY v % 2, window_number, upper(k)",
        "SELECT d, count(*) FROM COUNT_HOP(TABLE events PARTITION BY d, DESCRIPTOR(ts), 3, 2) GROUP BY d, window_number",
        "SELECT k, sum(v) FROM COUNT_TUMBLE(TABLE events PARTITION BY k, DESCRIPTOR(ts), 4) GROUP BY k, window_number HAVING count(*) = 4",
        // Not the windows themselves: rows with a number.
        "SELECT k, v, ts, window_number FROM COUNT_TUMBLE(TABLE events PARTITION BY k, DESCRIPTOR(ts), 2)",
        "SELECT * FROM COUNT_HOP((SELECT k, v, ts FROM events WHERE v > 0) PARTITION BY k, DESCRIPTOR(ts), 1, 3)",
        "SELECT k, window_number, count(*) FROM COUNT_TUMBLE(TABLE events PARTITION BY k, DESCRIPTOR(ts), 5) WHERE v > 0 GROUP BY k, window_number",
        "SELECT window_number % 2, count(*) FROM COUNT_HOP(TABLE events PARTITION BY k, DESCRIPTOR(ts), 2, 4) GROUP BY window_number % 2",
        "SELECT window_number, count(*) FROM COUNT_TUMBLE(TABLE events PARTITION BY k, DESCRIPTOR(ts), 2) GROUP BY window_number",
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_row_by_row_are_those_of_batch() {
    let queries = [
        "SELECT * FROM TABLE(SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND))",
        "SELECT v, window_start, window_end, window_time FROM SESSION(TABLE events, DESCRIPTOR(ts), INTERVAL '1' SECOND) WHERE v > 0",
        "SELECT d, v, window_end FROM SESSION(TABLE events PARTITION BY upper(k), d, DESCRIPTOR(ts), INTERVAL '10' SECOND)",
        "SELECT v % 3, window_start, count(*) FROM SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '2' SECOND)
          GROUP BY v % 3, window_start, window_end",
        "SELECT k, window_end, sum(v) FROM SESSION(TABLE events PARTITION BY k, DESCRIPTOR(ts), INTERVAL '4' SECOND)
          WHERE window_end > TIMESTAMP '1970-01-01 00:00:10' GROUP BY k, window_start, window_end",
    ];
    check_queries(Arrival::InTime, &queries).await;
    check_queries(Arrival::Random, &queries).await;
}

/// Each key has windows of its own kind and size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_with_windows_of_different_policies_are_joined_by_union() {
    let union = "
        SELECT k, window_start, window_end, count(*) AS c FROM TUMBLE((SELECT * FROM events WHERE k = 'k1'), DESCRIPTOR(ts), INTERVAL '10' SECOND)
         GROUP BY k, window_start, window_end
        UNION ALL
        SELECT k, window_start, window_end, count(*) FROM HOP((SELECT * FROM events WHERE k = 'k2'), DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)
         GROUP BY k, window_start, window_end
        UNION ALL
        SELECT k, window_start, window_end, count(*) FROM SESSION((SELECT * FROM events WHERE k = 'k3') PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)
         GROUP BY k, window_start, window_end";
    let total = format!("SELECT k, sum(c), count(*) FROM ({union}) GROUP BY k");
    check_queries(Arrival::InTime, &[union, &total]).await;
    check_queries(Arrival::Random, &[union, &total]).await;
}

const TUMBLE: &str = "DESCRIPTOR(ts), INTERVAL '10' SECOND";

/// Of a join, of what is kept of a key, of groups, of windows that correct themselves: rows come and go at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_over_a_changelog_give_the_same_rows_in_batch_and_stream() {
    let joined = "(SELECT l.k, l.v, r.v AS w, l.ts FROM l LEFT JOIN r ON l.k = r.k AND l.n = r.n)";
    let padded = "(SELECT l.k, r.v, r.ts FROM l FULL JOIN r ON l.n = r.n)";
    let last = "(SELECT k, v, d, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, v % 3 ORDER BY ts DESC, v) AS i FROM events) WHERE i = 1)";
    let groups = "(SELECT k, ts, sum(v) AS v FROM events GROUP BY k, ts HAVING count(*) < 3)";
    let ranked = "(SELECT k, v, ts, count(*) OVER (PARTITION BY k ORDER BY v) AS c FROM events)";
    let queries = [
        format!("SELECT k, window_start, count(*), sum(w), max(v) FROM TUMBLE({joined}, {TUMBLE}) GROUP BY k, window_start, window_end"),
        format!("SELECT window_end, count(*), avg(w), count(DISTINCT v) FROM TUMBLE({joined}, {TUMBLE}) WHERE v > -500 GROUP BY window_start, window_end"),
        format!("SELECT window_time, count(k), min(v) FROM HOP({padded}, DESCRIPTOR(ts), INTERVAL '4' SECOND, INTERVAL '12' SECOND) GROUP BY window_time"),
        format!("SELECT k, window_end, sum(d), median(v) FROM TUMBLE({last}, {TUMBLE}) GROUP BY k, window_start, window_end HAVING count(*) > 1"),
        format!("SELECT v % 2, window_start, window_end, count(*) FROM CUMULATE({last}, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND) GROUP BY v % 2, window_start, window_end"),
        format!("SELECT k, window_start, sum(v), count(*) FROM HOP({groups}, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND) GROUP BY k, window_start, window_end"),
        format!("SELECT window_end, max(c), array_length(array_agg(v)) FROM TUMBLE({ranked}, {TUMBLE}) GROUP BY window_start, window_end"),
        format!("SELECT * FROM TUMBLE({last}, {TUMBLE}) WHERE window_end > TIMESTAMP '1970-01-01 00:00:10'"),
        format!("SELECT k, window_start, window_end, count(*), sum(v) FROM SESSION({last} PARTITION BY k, DESCRIPTOR(ts), INTERVAL '6' SECOND) GROUP BY k, window_start, window_end"),
        format!("SELECT * FROM SESSION({groups} PARTITION BY k, DESCRIPTOR(ts), INTERVAL '3' SECOND)"),
        format!("SELECT window_end, count(*) FROM SESSION({joined}, DESCRIPTOR(ts), INTERVAL '1' SECOND) WHERE v > 0 GROUP BY window_start, window_end"),
        format!("SELECT window_end, sum(c), count(*) FROM TUMBLE((SELECT k, window_time AS ts, count(*) AS c FROM TUMBLE({joined}, {TUMBLE})
           GROUP BY k, window_start, window_end, window_time), DESCRIPTOR(ts), INTERVAL '1' MINUTE) GROUP BY window_start, window_end"),
    ];
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    check_queries(Arrival::InTime, &queries).await;
}

/// Of windows that correct themselves within their lateness, or give early results: windows over them close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_over_windows_that_correct_themselves_are_those_of_batch() {
    let minutes = format!(
        "(SELECT k, window_time AS ts, count(*) AS c, sum(v) AS s FROM TUMBLE(TABLE events, {TUMBLE}) GROUP BY k, window_start, window_end, window_time)"
    );
    let queries = [
        format!("SELECT k, window_end, sum(c), max(s) FROM TUMBLE({minutes}, DESCRIPTOR(ts), INTERVAL '30' SECOND) GROUP BY k, window_start, window_end"),
        format!("SELECT window_start, sum(c), count(DISTINCT k) FROM HOP({minutes}, DESCRIPTOR(ts), INTERVAL '20' SECOND, INTERVAL '40' SECOND) WHERE c > 1 GROUP BY window_start, window_end"),
        format!("SELECT k, window_end, max(c), count(*) FROM SESSION({minutes} PARTITION BY k, DESCRIPTOR(ts), INTERVAL '15' SECOND) GROUP BY k, window_start, window_end"),
        format!("SELECT window_end, sum(n), max(c) FROM (SELECT window_start, window_end, count(*) AS n, max(v) AS c FROM TUMBLE(TABLE events, {TUMBLE}) GROUP BY k, window_start, window_end)
           GROUP BY window_start, window_end"),
    ];
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    check_queries(Arrival::Random, &queries).await;
}
