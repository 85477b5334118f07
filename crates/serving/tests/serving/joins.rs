//! Joins give the same rows in batch and as streams: every query below, over random rows, arrival orders, batch splits,
//! partitions, parallelism and schedules.

use crate::events::Arrival;
use crate::property::check_plans;

/// A query, and whether its result is a changelog.
const QUERIES: &[(&str, bool)] = &[
    ("SELECT l.k, l.v, r.v FROM l JOIN r ON l.k = r.k", false),
    ("SELECT l.k, l.v, r.v FROM l, r WHERE l.k = r.k AND l.n = r.n", false),
    ("SELECT l.v, r.k FROM l JOIN r ON l.k = r.k AND l.v < r.v + 100", false),
    ("SELECT l.v + r.v, upper(l.k) FROM l JOIN r ON l.n * 2 = r.n WHERE l.v > 0 AND r.v > 0", false),
    ("SELECT * FROM l LEFT JOIN r ON l.k = r.k", true),
    ("SELECT l.v, r.v FROM l LEFT JOIN r ON l.k = r.k AND l.v < r.v", true),
    ("SELECT l.v, r.v FROM l RIGHT JOIN r ON l.n = r.n", true),
    ("SELECT l.v, r.v, l.k, r.k FROM l FULL JOIN r ON l.k = r.k AND l.n = r.n", true),
    ("SELECT l.v, r.v FROM l FULL JOIN r ON l.k = r.k AND l.v <> r.v", true),
    ("SELECT l.k, l.v FROM l WHERE l.k IN (SELECT k FROM r)", false),
    ("SELECT l.k, l.v FROM l WHERE l.n IN (SELECT n + 1 FROM r WHERE v > 0)", false),
    ("SELECT l.k, l.v FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND r.v > l.v)", false),
    ("SELECT l.k, l.v FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.n = l.n)", true),
    ("SELECT l.k, l.v FROM l WHERE l.v > 500 OR EXISTS (SELECT 1 FROM r WHERE r.k = l.k)", true),
    ("SELECT l.k, l.v FROM l WHERE l.k NOT IN (SELECT k FROM r WHERE v > 900)", true),
    ("SELECT l.k, l.v FROM l WHERE l.k NOT IN (SELECT k FROM r WHERE k IS NOT NULL AND n > 2)", true),
    ("SELECT l.k, l.v FROM l WHERE EXISTS (SELECT 1 FROM r WHERE v > 900) AND l.v > 600", false),
    ("SELECT l.k, l.v FROM l WHERE l.k NOT IN (SELECT k FROM r WHERE r.n = l.n AND r.v > 500)", true),
    ("SELECT l.k, l.v FROM l WHERE l.k NOT IN (SELECT k FROM r WHERE l.ts BETWEEN r.ts AND r.ts + INTERVAL '3' SECOND)", true),
    ("SELECT l.k, l.v FROM l WHERE l.v > 700 OR l.k NOT IN (SELECT k FROM r WHERE v > 600)", true),
    ("SELECT l.k, l.v FROM l WHERE (l.n IN (SELECT k_max FROM (SELECT n, max(v) % 5 AS k_max FROM r GROUP BY n))) IS NOT TRUE", true),
    ("SELECT a.k, a.c FROM (SELECT k, count(*) AS c FROM l GROUP BY k) AS a WHERE a.c NOT IN (SELECT count(*) FROM r GROUP BY k)", true),
    ("SELECT a.c, a.s FROM (SELECT n, count(*) AS c, sum(v) AS s FROM l GROUP BY n) AS a WHERE a.s NOT IN (SELECT nullif(count(*), 1) FROM r GROUP BY k)", true),
    ("SELECT l.k, l.v FROM l WHERE l.v > (SELECT avg(v) FROM r)", true),
    ("SELECT l.k, l.v - (SELECT max(v) FROM r WHERE n > 2), (SELECT count(*) FROM m) FROM l", true),
    ("SELECT k, sum(v) FROM l GROUP BY k HAVING sum(v) > (SELECT min(v) FROM r) OR count(*) < (SELECT count(*) FROM m) / 10", true),
    ("SELECT k, sum(v + (SELECT count(*) FROM r)), count(*) FILTER (WHERE v < (SELECT max(v) FROM m)) FROM l GROUP BY k", true),
    ("SELECT CASE WHEN l.n = (SELECT max(n) FROM r) THEN 'last' ELSE l.k END, v FROM l", true),
    ("SELECT l.v, r.v FROM l JOIN r ON l.k = r.k AND l.v > (SELECT min(v) FROM m)", true),
    ("SELECT l.v FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k AND r.v < (SELECT max(v) FROM m))", true),
    ("SELECT l.k, (SELECT max(r.v) FROM r WHERE r.k = l.k AND r.n > 1) FROM l WHERE l.v > 0", true),
    ("SELECT l.k, (SELECT v FROM r WHERE v IS NOT NULL ORDER BY v DESC LIMIT 1) FROM l", true),
    ("SELECT l.v, r.v FROM l, r WHERE l.v > 700 AND r.v > 800", false),
    ("SELECT l.v, r.v FROM l LEFT JOIN r ON l.v > r.v + 500", true),
    ("SELECT l.k, r.n FROM l JOIN r ON l.k IS NOT DISTINCT FROM r.k WHERE l.v % 7 = 0", false),
    ("SELECT l.v, r.v FROM l JOIN r ON l.k = r.k AND l.ts BETWEEN r.ts - INTERVAL '5' SECOND AND r.ts", false),
    ("SELECT l.v, r.v, l.ts FROM l LEFT JOIN r ON l.k = r.k AND r.ts >= l.ts AND r.ts < l.ts + INTERVAL '3' SECOND", false),
    ("SELECT l.v, r.v FROM l FULL JOIN r ON l.k = r.k AND l.ts <= r.ts + INTERVAL '2' SECOND AND r.ts - l.ts <= INTERVAL '1' SECOND", true),
    ("SELECT l.v, r.v FROM l FULL JOIN r ON l.k = r.k AND l.ts <= r.ts + INTERVAL '2' SECOND AND r.ts - INTERVAL '1' SECOND <= l.ts", false),
    ("SELECT l.v FROM l WHERE EXISTS (SELECT 1 FROM r WHERE l.k = r.k AND l.ts BETWEEN r.ts AND r.ts + INTERVAL '9' SECOND)", false),
    ("SELECT l.v FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE l.k = r.k AND l.ts BETWEEN r.ts AND r.ts + INTERVAL '9' SECOND)", false),
    ("SELECT a.k, a.c, b.c, a.window_start FROM
       (SELECT k, window_start, window_end, count(*) AS c FROM TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY k, window_start, window_end) AS a
       JOIN (SELECT k, window_start, window_end, count(v) AS c FROM TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY k, window_start, window_end) AS b
       ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end", false),
    ("SELECT a.v, b.v, a.window_end FROM TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND) AS a
       FULL JOIN TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND) AS b
       ON a.k = b.k AND a.window_start = b.window_start AND a.window_end = b.window_end", false),
    ("SELECT window_end, count(*), sum(v) FROM (SELECT a.window_start, a.window_end, a.v FROM TUMBLE(TABLE l, DESCRIPTOR(ts), INTERVAL '10' SECOND) AS a
       WHERE NOT EXISTS (SELECT 1 FROM TUMBLE(TABLE r, DESCRIPTOR(ts), INTERVAL '10' SECOND) AS b WHERE a.k = b.k AND a.window_end = b.window_end))
       GROUP BY window_start, window_end", false),
    ("SELECT l.v, r.v FROM l JOIN r FOR SYSTEM_TIME AS OF l.ts ON l.k = r.k", false),
    ("SELECT l.k, l.v, x.v, x.ts FROM l LEFT JOIN r FOR SYSTEM_TIME AS OF l.ts AS x ON l.k = x.k AND x.v > l.v", false),
    ("SELECT o.v, x.v FROM l AS o LEFT JOIN r FOR SYSTEM_TIME AS OF o.ts x ON o.k = x.k AND o.n = x.n + 1 WHERE x.v IS NULL OR x.v > 0", false),
    ("SELECT window_end, count(*), sum(rv) FROM TUMBLE((SELECT l.ts AS ts, r.v AS rv FROM l JOIN r FOR SYSTEM_TIME AS OF l.ts ON l.k = r.k),
       DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end", false),
    ("SELECT l.v, x.rv, x.number FROM l JOIN r_last FOR SYSTEM_TIME AS OF l.ts AS x ON l.k = x.rk", false),
    ("SELECT l.k, l.v, x.rv, x.ts FROM l LEFT JOIN r_last FOR SYSTEM_TIME AS OF l.ts AS x ON l.k = x.rk AND x.rv > l.v", false),
    ("SELECT l.v, x.rv FROM l LEFT JOIN r_last AS x ON l.k = x.rk", true),
    ("SELECT l.v, r.v FROM l JOIN r FOR SYSTEM_TIME AS OF PROCTIME() ON l.n = r.n", false),
    ("SELECT l.v, s.v FROM l LEFT JOIN r FOR SYSTEM_TIME AS OF PROCTIME() AS s ON abs(l.v) % 5 = s.n AND s.v > 0", false),
    ("SELECT l.v, r.v, m.v FROM l JOIN r ON l.k = r.k JOIN m ON r.n = m.n", false),
    ("SELECT a.v, m.v FROM (SELECT l.k, l.v, r.n FROM l LEFT JOIN r ON l.n = r.n) AS a JOIN m ON a.k = m.k", true),
    (
        "SELECT m.v, a.v, a.n FROM m FULL JOIN (SELECT l.k, l.v, r.n FROM l FULL JOIN r ON l.n = r.n) AS a ON m.k = a.k",
        true,
    ),
    ("SELECT m.v FROM m WHERE NOT EXISTS (SELECT 1 FROM l LEFT JOIN r ON l.n = r.n WHERE l.k = m.k AND r.v > 0)", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_give_the_same_rows_in_batch_and_stream() {
    let queries: Vec<&str> = QUERIES.iter().map(|(query, _)| *query).collect();
    check_plans(Arrival::InTime, &queries, |query, plan| {
        let (_, is_updating) = QUERIES.iter().find(|(known, _)| *known == query).unwrap();
        assert_eq!(plan.is_updating, *is_updating, "{query}");
    })
    .await;
}
