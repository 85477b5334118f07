//! A topic of Debezium's changes as a table: both modes give the rows that are left, whatever is made of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use mulgil_connect::definition::TableName;
use mulgil_connect::source::Read;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::deterministic::{Random, Script, Step, run_cut};
use mulgil_log::{Record, TopicOptions};
use mulgil_serving::run::{Mode, RunOptions};
use mulgil_sql::catalog::Catalog;
use mulgil_sql::session::{Session, single_statement};

use crate::changes::{added_up, difference};
use crate::fixture::{Project, sorted};
use crate::modes::in_batch;

const TABLES: &str = "
    CREATE TABLE accounts (id BIGINT NOT NULL, k STRING, v BIGINT, ts TIMESTAMP(3), w AS v % 3,
                           WATERMARK FOR ts AS ts - INTERVAL '1' DAY)
      WITH ('connector' = 'log', 'topic' = 'accounts', 'format' = 'debezium-json');
    CREATE TABLE stamped (id BIGINT, p AS PROCTIME())
      WITH ('connector' = 'log', 'topic' = 'accounts', 'format' = 'debezium-json');
    CREATE TABLE plain (id BIGINT) WITH ('connector' = 'log', 'topic' = 'plain', 'format' = 'json');
    CREATE TABLE totals (k STRING, n BIGINT, total BIGINT)
      WITH ('connector' = 'log', 'topic' = 'totals', 'topic.partitions' = '3', 'format' = 'debezium-json');";

/// A table to be joined with.
pub(crate) const NAMES: &str =
    "CREATE TABLE names (k STRING, name STRING) WITH ('connector' = 'log', 'topic' = 'names', 'format' = 'json');";

/// Queries over `accounts`, a changelog, and `names`.
pub(crate) const QUERIES: [&str; 12] = [
    "SELECT id, k, v, ts FROM accounts",
    "SELECT count(*) FROM accounts",
    "SELECT id, v FROM accounts WHERE v > 50 AND w <> 1",
    "SELECT k, count(*), count(v), sum(v), min(v), max(v) FROM accounts GROUP BY k",
    "SELECT n, count(*) FROM (SELECT k, w, count(*) AS n FROM accounts GROUP BY k, w) GROUP BY n",
    "SELECT DISTINCT k, w FROM accounts",
    "SELECT a.id, a.v, n.name FROM accounts a JOIN names n ON a.k = n.k",
    "SELECT n.name, a.id, a.v FROM names n LEFT JOIN accounts a ON a.k = n.k AND a.v > 20",
    "SELECT a.id, b.id FROM accounts a JOIN accounts b ON a.v = b.v AND a.id < b.id",
    "SELECT name FROM names WHERE k IN (SELECT k FROM accounts WHERE v < 30)",
    "SELECT k, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v DESC, id) AS rn FROM accounts)
      WHERE rn <= 2",
    "SELECT window_end, k, count(*), sum(v) FROM TUMBLE(TABLE accounts, DESCRIPTOR(ts), INTERVAL '10' SECOND)
      GROUP BY window_start, window_end, k",
];

/// A row of `accounts`, as JSON.
fn account(id: usize, random: &mut Random) -> String {
    let v = if random.below(8) == 0 { "null".to_owned() } else { random.below(100).to_string() };
    let (k, second) = (random.below(4), random.below(60));
    format!(r#"{{"id":{id},"k":"k{k}","v":{v},"ts":"2013-01-01 00:00:{second:02}"}}"#)
}

/// What happens to some accounts, and those that are left.
fn history(random: &mut Random, steps: usize) -> (Vec<(usize, String)>, Vec<String>) {
    let mut there: BTreeMap<usize, String> = BTreeMap::new();
    let mut changes = Vec::new();
    for step in 0..steps {
        let id = random.below(30);
        let after = account(id, random);
        let change = match there.remove(&id) {
            Some(before) if random.below(3) == 0 => format!(r#"{{"before":{before},"after":null,"op":"d"}}"#),
            Some(before) => {
                let change = format!(r#"{{"op":"u","before":{before},"after":{after},"ts_ms":{step}}}"#);
                there.insert(id, after);
                change
            }
            None => {
                let op = if step < 10 { "r" } else { "c" };
                let change = format!(r#"{{"before":null,"after":{after},"source":{{"lsn":7}},"op":"{op}"}}"#);
                there.insert(id, after);
                change
            }
        };
        changes.push((id, change));
        // A tombstone.
        if random.below(10) == 0 {
            changes.push((id, String::new()));
        }
    }
    (changes, there.into_values().collect())
}

async fn produce(project: &Project, topic: &str, partitions: u32, values: &[(usize, String)]) {
    let topic = project.log.topic_or_create(topic, TopicOptions { partitions, ..TopicOptions::default() }).unwrap();
    for partition in 0..partitions {
        let of_partition = values.iter().filter(|(key, _)| u32::try_from(*key).unwrap() % partitions == partition);
        let record = |value: &String| Record { timestamp_ms: 0, key: None, value: value.clone().into_bytes().into() };
        let records: Vec<Record> = of_partition.map(|(_, value)| record(value)).collect();
        topic.append(partition, &records).await.unwrap();
    }
}

/// The rows of `names`.
pub(crate) async fn names(project: &Project) {
    let names = (0..6).map(|k| (k % 2, format!(r#"{{"k":"k{k}","name":"name {}"}}"#, k / 2)));
    produce(project, "names", 2, &names.collect::<Vec<_>>()).await;
}

/// A project in which something has happened; and what `SELECT * FROM accounts` is to give.
async fn eventful(random: &mut Random, steps: usize) -> (Project, Arc<Catalog>, usize) {
    let project = Project::new();
    let (changes, left) = history(random, steps);
    produce(&project, "accounts", 1 + u32::try_from(random.below(3)).unwrap(), &changes).await;
    names(&project).await;
    let catalog = project.catalog(&format!("{TABLES}{NAMES}"));
    (project, catalog, left.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_is_the_same_table_in_both_modes() {
    let (project, catalog, left) = eventful(&mut Random::new(7), 300).await;
    for query in QUERIES {
        let expected = sorted(project.batch(&catalog, query).await);
        assert!(!expected.is_empty(), "{query}");
        if query == QUERIES[0] {
            assert_eq!(expected.len(), left);
        }
        for parallelism in [1, 3] {
            let found = sorted(project.stream(&catalog, query, parallelism).await);
            assert!(found == expected, "{query}, {parallelism}: {}", difference(&expected, &found));
        }
    }
}

/// The partitions of a table, in steps of any size.
pub(crate) async fn script(project: &Project, catalog: &Catalog, table: &str, random: &mut Random) -> Script {
    let definition = &catalog.table(&TableName::parse(table)).unwrap().definition;
    let source = project.connectors.source(definition).unwrap();
    let columns: Vec<usize> = (0..source.schema().fields().len()).collect();
    let mut script = Vec::new();
    for partition in 0..source.partitions().await.unwrap().len() {
        let mut reader = source.open(partition, 0, &columns, false).await.unwrap();
        let mut steps = Vec::new();
        loop {
            let batch = match reader.next().await.unwrap() {
                Read::Rows(rows, _) => Batch::append(rows),
                Read::Changes(batch, _) => batch,
                Read::Idle => continue,
                Read::End => break,
            };
            let mut at = 0;
            while at < batch.num_rows() {
                let count = (1 + random.below(20)).min(batch.num_rows() - at);
                steps.push(Step::Changes(batch.slice(at, count)));
                at += count;
            }
        }
        script.push(steps);
    }
    script
}

/// Every order of events, and crashes after which the query goes on from a checkpoint with another parallelism.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changelog_is_the_same_table_over_restarts() {
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let (project, catalog, _) = eventful(&mut random, 150).await;
        let session = Session::new(Arc::clone(&catalog), Arc::clone(&project.connectors));
        let mut scripts = HashMap::new();
        for table in ["accounts", "names"] {
            scripts.insert(table.to_owned(), script(&project, &catalog, table, &mut random).await);
        }
        for query in QUERIES {
            let expected = in_batch(&session, query).await.unwrap();
            let plan = session.stream_statement(&single_statement(query).unwrap(), 0).unwrap();
            assert!(plan.is_updating || query.contains("TUMBLE"), "{query}");
            let mut text = String::new();
            let graphs = [1 + random.below(6), 1 + random.below(6), 1].map(|parallelism| {
                let options = PlanOptions { parallelism, rebalance: random.below(2) == 0 };
                write!(text, " {options:?}").unwrap();
                plan_with(&plan.graph, options).unwrap()
            });
            let context = format!("seed {seed}: {query},{text}");
            let run = run_cut(&graphs, &scripts, (1 << 20, None), random.next_u64());
            let (mut outcome, _) = run.unwrap_or_else(|error| panic!("{context}: {error}"));
            let found = added_up(&outcome.batches.remove("result").unwrap_or_default());
            let found = sorted(found.unwrap_or_else(|error| panic!("{context}: {error}")));
            assert!(found == expected, "{context}: {}", difference(&expected, &found));
        }
    }
}

/// What a query has written as changes is, read back, what the query gives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_changes_are_read_back() {
    let (project, catalog, _) = eventful(&mut Random::new(3), 300).await;
    let query = "SELECT k, count(*) AS n, sum(v) AS total FROM accounts GROUP BY k";
    let options = RunOptions { mode: Mode::Stream, parallelism: 2, ..RunOptions::default() };
    project.run(&catalog, &format!("INSERT INTO totals {query}"), &options).await.unwrap();
    let expected = sorted(project.batch(&catalog, query).await);
    assert_eq!(expected.len(), 4);
    assert_eq!(sorted(project.batch(&catalog, "SELECT * FROM totals").await), expected);
    assert_eq!(sorted(project.stream(&catalog, "SELECT * FROM totals", 3).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_with_a_changelog_is_said() {
    let (project, catalog, _) = eventful(&mut Random::new(5), 20).await;
    for (statement, reason) in [
        ("SELECT * FROM stamped", "PROCTIME() as a column of a changelog"),
        ("INSERT INTO plain SELECT id FROM accounts", "updat"),
    ] {
        let options = RunOptions { mode: Mode::Stream, ..RunOptions::default() };
        let error = project.run(&catalog, statement, &options).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{statement}: {error}");
    }
}
