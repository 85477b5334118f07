//! Ranking in both modes: top-N, deduplication and their relatives give the same rows in batch and as a stream.

use crate::property::{Arrival, check_queries};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranking_gives_the_same_rows_in_batch_and_stream() {
    check_queries(Arrival::Random, &[
        // Deduplication, keep-last and keep-first, with and without the rank.
        "SELECT k, v, d, ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS rn FROM events)
          WHERE rn = 1",
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k, v % 3 ORDER BY ts) AS rn FROM events) WHERE rn <= 1",
        // Top-N with the rank, without it, with a condition on other columns, and over computed keys.
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC) AS rn FROM events) WHERE rn <= 3",
        "SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC NULLS LAST, d) AS rn FROM events)
          WHERE rn < 4 AND k <> 'k1'",
        "SELECT k, d FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS rn FROM events) WHERE 5 >= rn AND d > 0",
        "SELECT v, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY upper(k), v % 2 ORDER BY abs(d), v) AS rn FROM events)
          WHERE rn BETWEEN 2 AND 4",
        "SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY d DESC, v) AS rn FROM events) WHERE rn <= 7",
        "SELECT k, v, ts FROM events QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC, v) = 1",
        // The places of equals are shared.
        "SELECT * FROM (SELECT k, v % 5 AS w, RANK() OVER (PARTITION BY k ORDER BY v % 5) AS r FROM events) WHERE r <= 4",
        "SELECT k, w FROM (SELECT k, v % 5 AS w, DENSE_RANK() OVER (PARTITION BY k ORDER BY v % 5 DESC) AS r FROM events)
          WHERE r <= 2",
        // Over an updating input: rows come and go, and the next ones move up.
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY w ORDER BY v, k) AS rn FROM
          (SELECT k, v, v % 2 AS w, ROW_NUMBER() OVER (PARTITION BY k ORDER BY ts DESC) AS last FROM events) WHERE last <= 5)
          WHERE rn <= 3",
        "SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (ORDER BY v DESC, k) AS rn FROM
          (SELECT k, v, ROW_NUMBER() OVER (PARTITION BY k ORDER BY d) AS first FROM events) WHERE first <= 4)
          WHERE rn <= 5",
        "SELECT * FROM (SELECT w, v, RANK() OVER (PARTITION BY w ORDER BY v) AS r FROM
          (SELECT v % 3 AS v, k AS w, ROW_NUMBER() OVER (PARTITION BY k ORDER BY d) AS first FROM events) WHERE first <= 9)
          WHERE r <= 3",
        // The first rows of everything, inside a query.
        "SELECT k, count FROM (SELECT k, v AS count FROM events ORDER BY v DESC NULLS LAST, k LIMIT 6) WHERE count < 990",
        "SELECT k, count FROM (SELECT k, v AS count FROM events ORDER BY v DESC NULLS LAST, k LIMIT 6 OFFSET 3) WHERE count < 990",
        "SELECT count(*) FROM (SELECT k, v FROM events ORDER BY v LIMIT 0 OFFSET 3)",
        // The first row of each key, in PostgreSQL's words.
        "SELECT DISTINCT ON (k) k, v, ts FROM events ORDER BY k, ts DESC",
        "SELECT k, v + 1 FROM (SELECT DISTINCT ON (upper(k), v % 3) k, v, d FROM events ORDER BY upper(k), v % 3, d DESC, v)
          WHERE v > 0",
    ])
    .await;
}

/// Per window, over raw rows and over aggregates: final when the window closes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranking_per_window_gives_the_same_rows_in_batch_and_stream() {
    check_queries(
        Arrival::InTime,
        &[
            "SELECT window_end, k, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_end ORDER BY n DESC, k) AS rn FROM
               (SELECT window_start, window_end, k, count(*) AS n
                  FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end, k))
              WHERE rn <= 2",
            "SELECT * FROM (SELECT k, v, window_start, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY v) AS rn
               FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '20' SECOND)) WHERE rn <= 3",
            "SELECT * FROM (SELECT k, v, window_end, RANK() OVER (PARTITION BY window_end, k ORDER BY v % 3) AS r
               FROM HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) WHERE r = 1",
            "SELECT window_end, n, sum(n) OVER (ORDER BY window_end ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM
               (SELECT window_end, count(*) AS n FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)
                 GROUP BY window_start, window_end)",
        ],
    )
    .await;
}
