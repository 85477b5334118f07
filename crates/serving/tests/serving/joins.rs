//! Joins give the same rows in batch and as streams: every query below, over random rows, arrival orders, batch splits,
//! partitions, parallelism and schedules.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use mulgil_connect::definition::TableName;
use mulgil_dataflow::graph::LogicalOperator;
use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::deterministic::{Random, Script, Step, run};
use mulgil_serving::result::ResultTable;
use mulgil_serving::run::collect;
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::{Session, ViewSnapshots, single_statement};

use crate::fixture::{Project, sorted, text_rows};

const TABLES: &str = "
CREATE TABLE left_rows (k VARCHAR, n BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
WITH ('connector' = 'log', 'topic' = 'l', 'format' = 'json');
CREATE TABLE right_rows (k VARCHAR, n BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
WITH ('connector' = 'log', 'topic' = 'r', 'format' = 'json');
CREATE TABLE more_rows (k VARCHAR, n BIGINT, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '20' SECOND)
WITH ('connector' = 'log', 'topic' = 'm', 'format' = 'json');
CREATE MATERIALIZED TABLE m REFRESH_MODE = CONTINUOUS AS SELECT * FROM more_rows;
CREATE MATERIALIZED TABLE l REFRESH_MODE = CONTINUOUS AS SELECT * FROM left_rows;
CREATE MATERIALIZED TABLE r REFRESH_MODE = CONTINUOUS AS SELECT * FROM right_rows;
";

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

type Row = (Option<String>, Option<i64>, Option<i64>, Option<i64>);

/// The stored results of the views `l` and `r`.
struct Rows(HashMap<&'static str, Arc<dyn TableProvider>>);

impl ViewSnapshots for Rows {
    fn snapshot(&self, view: &TableName) -> Option<Arc<dyn TableProvider>> {
        self.0.get(view.name.as_str()).cloned()
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("v", DataType::Int64, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: StringArray = rows.iter().map(|row| row.0.clone()).collect();
    let numbers: Int64Array = rows.iter().map(|row| row.1).collect();
    let values: Int64Array = rows.iter().map(|row| row.2).collect();
    let times: TimestampMillisecondArray = rows.iter().map(|row| row.3).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(numbers), Arc::new(values), Arc::new(times)]).unwrap()
}

fn signed(random: &mut Random, bound: usize) -> i64 {
    i64::try_from(random.below(bound)).unwrap()
}

/// Rows in order of arrival, out of order in time by less than the watermark's patience.
fn random_rows(random: &mut Random) -> Vec<Row> {
    let count = random.below(60);
    let grain_ms = [1, 1_000][random.below(2)];
    let row = |arrival: usize| {
        let time = (1_000 * i64::try_from(arrival).unwrap() - signed(random, 19_000)).div_euclid(grain_ms) * grain_ms;
        (
            (random.below(8) > 0).then(|| format!("k{}", random.below(5))),
            (random.below(8) > 0).then(|| signed(random, 6)),
            (random.below(8) > 0).then(|| signed(random, 2_000) - 1_000),
            Some(time),
        )
    };
    (0..count).map(row).collect()
}

/// Cuts the rows into partitions, and those into batches, with pauses between.
fn random_script(rows: &[Row], projection: &[usize], random: &mut Random) -> Script {
    let mut partitions = vec![Vec::new(); 1 + random.below(3)];
    for row in rows {
        let partition = random.below(partitions.len());
        partitions[partition].push(row.clone());
    }
    let cut = |rows: Vec<Row>| {
        let mut steps = Vec::new();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + random.below(rest.len().min(20)));
            steps.push(Step::Rows(batch(now).project(projection).unwrap()));
            rest = later;
        }
        steps
    };
    partitions.into_iter().map(cut).collect()
}

async fn check(project: &Project, catalog: &Arc<Catalog>, (query, is_updating): (&str, bool), seed: u64) -> usize {
    let mut random = Random::new(seed);
    let rows = ["left_rows", "right_rows", "more_rows"].map(|table| (table, random_rows(&mut random)));
    let rows = HashMap::from(rows);
    let options = PlanOptions { parallelism: 1 + random.below(8), rebalance: false };
    let context = format!("seed {seed}: {query}, {options:?}");

    let stored = |table: &str| -> Arc<dyn TableProvider> {
        Arc::new(MemTable::try_new(schema(), vec![vec![batch(&rows[table])]]).unwrap())
    };
    let views = HashMap::from([("l", stored("left_rows")), ("r", stored("right_rows")), ("m", stored("more_rows"))]);
    let session =
        Session::new(Arc::clone(catalog), Arc::clone(&project.connectors)).with_view_snapshots(Arc::new(Rows(views)));
    let expected = session.query(query).await.unwrap_or_else(|error| panic!("{context}: {error}"));
    let expected = sorted(text_rows(&collect(expected).await.unwrap().1));

    let plan = session.stream_statement(&single_statement(query).unwrap(), 0);
    let plan = plan.unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(plan.is_updating, is_updating, "{context}");
    let physical = plan_with(&plan.graph, options).unwrap_or_else(|error| panic!("{context}: {error}"));
    let mut scripts = HashMap::new();
    for node in &plan.graph.nodes {
        let LogicalOperator::Source { table, projection } = &node.operator else { continue };
        let script = random_script(&rows[table.as_str()], projection, &mut random);
        assert!(scripts.insert(table.clone(), script).is_none(), "a script is for one reader: {context}");
    }
    let queue_bytes_max = [1, 500, 1 << 20][random.below(3)];
    let mut outcome = run(&physical, &scripts, queue_bytes_max, random.next_u64())
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    let table = ResultTable::new(plan.schema, plan.key, plan.is_updating, usize::MAX).unwrap();
    let batches = outcome.batches.remove("result").unwrap_or_default();
    table.apply(&batches).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = sorted(text_rows(&table.snapshot().unwrap().batches));
    assert_eq!(found, expected, "{context}");
    assert_eq!(outcome.summary.late_dropped, 0, "{context}");
    found.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_give_the_same_rows_in_batch_and_stream() {
    let project = Project::new();
    let catalog = project.catalog(TABLES);
    let first = match std::env::var("MULGIL_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()) * 1_000,
    };
    println!("first seed {first}");
    for (number, query) in QUERIES.iter().enumerate() {
        let first = first + 5 * number as u64;
        let mut row_count = 0;
        for seed in first..first + 5 {
            row_count += check(&project, &catalog, *query, seed).await;
        }
        assert!(row_count > 0, "no rows to compare, from seed {first}: {}", query.0);
    }
}
