//! Batch and stream give the same rows for aggregates without windows: over rows, over results that change and vanish,
//! and for `DISTINCT`.

use mulgil_engine::deterministic::Random;

use crate::property::check_all;

const CASES: u64 = 100;

/// Aggregates of every kind of state.
const AGGREGATES: [&str; 7] = [
    "count(*), count(v), sum(v), avg(d), sum(d), min(d), max(v), min(k), max(ts)",
    "count(*), count(v) FILTER (WHERE d > 0), sum(v) FILTER (WHERE k <> 'k1'), max(d) FILTER (WHERE v > 0)",
    "count(DISTINCT v), count(DISTINCT k), sum(DISTINCT v % 7), count(DISTINCT v) FILTER (WHERE d > 0)",
    "median(v), var_pop(v) > 1000, stddev_pop(d) IS NULL, bool_or(v > 100), bit_xor(v)",
    "array_length(array_agg(v)), approx_distinct(v % 10), length(string_agg(k, '/')), count(*)",
    "array_sort(array_agg(DISTINCT v % 5)), avg(DISTINCT v % 5), max(DISTINCT d), covar_pop(v, v) > 1000",
    "sum(CAST(v AS DECIMAL(12, 2))), avg(CAST(v AS DECIMAL(12, 2))), avg(v + 0) AS mean, min(ts), max(CAST(ts AS DATE))",
];

fn random_rolling(random: &mut Random) -> String {
    let aggregates = AGGREGATES[random.below(AGGREGATES.len())];
    let condition = ["", "WHERE v > 0", "WHERE k <> 'k1' AND d < 300", "WHERE v > 5000"][random.below(4)];
    let having = ["", "HAVING count(*) > 2", "HAVING max(v) < 900"][random.below(3)];
    let (keys, group) =
        [("", ""), ("k, ", "GROUP BY k"), ("v % 3, k, ", "GROUP BY v % 3, k"), ("upper(k), ", "GROUP BY upper(k)")]
            [random.below(4)];
    format!("SELECT {keys}{aggregates} FROM events {condition} {group} {having}")
}

/// Over results that change: with `HAVING` they vanish too.
fn random_nested(random: &mut Random) -> String {
    let aggregates = AGGREGATES[random.below(AGGREGATES.len())];
    let having = ["", "HAVING count(*) < 3", "HAVING max(v) < 900"][random.below(3)];
    let inner = [
        "SELECT k, max(v) AS v, sum(d) AS d, max(ts) AS ts, count(*) % 3 AS c FROM events GROUP BY k, v % 5",
        "SELECT min(k) AS k, count(*) AS v, sum(d) AS d, max(ts) AS ts, v % 4 AS c FROM events GROUP BY v % 4",
        "SELECT k, sum(v) AS v, max(d) AS d, window_start AS ts, count(*) % 3 AS c \
         FROM TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY k, window_start, window_end",
    ][random.below(3)];
    let (keys, group) = [("", ""), ("c, ", "GROUP BY c"), ("k, c, ", "GROUP BY k, c")][random.below(3)];
    format!("SELECT {keys}{aggregates} FROM ({inner} {having}) AS changing {group}")
}

fn random_distinct(random: &mut Random) -> String {
    [
        "SELECT DISTINCT k, v % 3 FROM events",
        "SELECT DISTINCT c, m FROM (SELECT k, count(*) % 3 AS c, max(k) AS m FROM events GROUP BY k)",
        "SELECT k, v FROM events WHERE d > 0 UNION SELECT k, v % 10 FROM events WHERE d < 5",
        "SELECT count(*), sum(n) FROM (SELECT DISTINCT count(*) AS n FROM events GROUP BY k)",
        "SELECT DISTINCT k FROM events WHERE v > 5000",
    ][random.below(5)]
    .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregates_without_windows_are_those_of_batch() {
    check_all(CASES, |random| match random.below(5) {
        0 => random_distinct(random),
        1 | 2 => random_nested(random),
        _ => random_rolling(random),
    })
    .await;
}
