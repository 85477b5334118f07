//! State with a time to live by the machine's clock: forgotten when the clock says so, also when no rows come.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use mulgil_connect::definition::TableName;
use mulgil_dataflow::graph::{LogicalOperator, Node};
use mulgil_dataflow::physical::plan;
use mulgil_engine::deterministic::{Step, run};
use mulgil_sql::session::Session;

use crate::fixture::{Project, text_rows};

const TABLES: &str = "
CREATE TABLE events (k VARCHAR, n BIGINT) WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');
CREATE MATERIALIZED TABLE counts WITH ('state-ttl' = '10 s', 'state-ttl-clock' = 'processing')
REFRESH_MODE = CONTINUOUS AS SELECT k, count(n) AS c FROM events GROUP BY k;
CREATE MATERIALIZED TABLE pairs WITH ('state-ttl' = '10 s', 'state-ttl-clock' = 'processing')
REFRESH_MODE = CONTINUOUS AS
SELECT a.k, a.n + b.n AS c FROM (SELECT DISTINCT k, n FROM events) AS a JOIN (SELECT DISTINCT k, n FROM events) AS b ON a.k = b.k;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_forgotten_by_the_clock() {
    let project = Project::new();
    let session = Session::new(project.catalog(TABLES), Arc::clone(&project.connectors));
    for (view, remembered, forgotten) in [("counts", "a 3", "a 1"), ("pairs", "9 rows", "5 rows")] {
        let stream = session.stream_view(&TableName::parse(view)).unwrap();
        for (parallelism, later_ms, expected) in
            [(1, 9_000, remembered), (1, 60_000, forgotten), (3, 9_000, remembered), (3, 60_000, forgotten)]
        {
            let physical = plan(&stream.graph, parallelism).unwrap();
            let is_source = |node: &&Node| matches!(node.operator, LogicalOperator::Source { .. });
            assert_eq!(stream.graph.nodes.iter().filter(is_source).count(), 1, "a table is read once");
            let row = |n: i64| {
                let columns = [
                    ("k", Arc::new(StringArray::from(vec!["a"])) as _),
                    ("n", Arc::new(Int64Array::from(vec![n])) as _),
                ];
                Step::Rows(RecordBatch::try_from_iter(columns).unwrap())
            };
            let steps = vec![row(1), Step::Clock(1_000), row(2), Step::Clock(2_000), Step::Clock(later_ms), row(4)];
            let outcome = run(&physical, &HashMap::from([("events".to_owned(), vec![steps])]), 1_000, 7).unwrap();
            let rows: Vec<Vec<String>> = outcome
                .batches
                .values()
                .flatten()
                .flat_map(|batch| text_rows(std::slice::from_ref(&batch.rows)))
                .collect();
            let found = if view == "counts" { rows.last().unwrap().join(" ") } else { format!("{} rows", rows.len()) };
            assert_eq!(found, expected, "{view}, parallelism {parallelism}, {later_ms} ms: {rows:?}");
        }
    }
}
