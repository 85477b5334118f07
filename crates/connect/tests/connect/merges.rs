//! Rows merged by key, and rows appended once: in a real lake and a real PostgreSQL, against a model in memory, with attempts beside
//! each other, behind each other and in other processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::writer::{Append, WriteSummary};

use super::broker::Broker;
use super::cluster::Cluster;
use super::kafka::on as on_kafka;
use super::project::{Project, partitioned_by, query, rows, select, table};

const COLUMNS: &str = "k BIGINT, day DATE, v STRING";

/// A generator of numbers, always the same for a seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn seed() -> u64 {
    let seed = std::env::var("MULGIL_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 | 1
    })
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// `(k, day, v)` for each, in this order.
fn values(rows: &[(u64, u64, u64)]) -> String {
    let rows: Vec<String> = rows.iter().map(|(k, day, v)| format!("({k}, '2013-01-0{}', 'v{v}')", day + 1)).collect();
    format!(
        "SELECT CAST(column1 AS BIGINT) AS k, CAST(column2 AS DATE) AS day, column3 AS v FROM (VALUES {})",
        rows.join(", ")
    )
}

/// `1=v7@1 2=v3@0`, by key.
async fn seen(connectors: &Connectors, table: &TableDefinition) -> String {
    let sql = "SELECT string_agg(k || '=' || v || '@' || (CAST(date_part('day', day) AS INT) - 1), ' ' ORDER BY k, day, v) AS s FROM t";
    let found = query(connectors, table, sql).await.unwrap();
    found.lines().nth(3).unwrap().trim_matches(['|', ' ']).to_owned()
}

/// Lake tables, flat and in partitions, and tables of PostgreSQL with a unique index on the key.
fn stores(key: &[&str], name: &str) -> Vec<TableDefinition> {
    let lake = table(&format!("{name}.flat"), COLUMNS, &[("connector", "delta")]);
    let by_day = partitioned_by(table(&format!("{name}.by_day"), COLUMNS, &[("connector", "delta")]), &["day"]);
    let in_database = format!("{name}_{}", key.len());
    Cluster::shared()
        .run(&format!("CREATE TABLE {in_database} (k int8, day date, v text, UNIQUE ({}))", key.join(", ")));
    let url = Cluster::shared().url();
    vec![lake, by_day, table(&in_database, COLUMNS, &[("connector", "postgres"), ("url", &url)])]
}

#[tokio::test]
async fn merges_are_those_of_a_map() {
    let seed = seed();
    eprintln!("MULGIL_SEED={seed}");
    for key in [&["k"][..], &["k", "day"]] {
        for table in stores(key, "modelled") {
            let project = Project::new();
            let mut random = Random(seed);
            let mut model = BTreeMap::new();
            for round in 0..12 {
                // Another process now and then, which has to find what the one before has written.
                let connectors = if round % 4 == 3 { Arc::new(project.reopened()) } else { project.connectors.clone() };
                let size = random.below(30);
                let batch: Vec<_> =
                    (0..size).map(|_| (random.below(25), random.below(3), random.below(1000))).collect();
                for &(k, day, v) in &batch {
                    model.insert((k, if key.len() > 1 { day } else { 0 }), (day, v));
                }
                let rows = match batch.is_empty() {
                    true => format!("{} WHERE false", values(&[(0, 0, 0)])),
                    false => values(&batch),
                };
                let writer = connectors.writer(&table).unwrap();
                writer.merge(&names(key), select(&rows).await).await.unwrap();
                let mut expected: Vec<_> = model.iter().map(|((k, _), (day, v))| (*k, *day, *v)).collect();
                expected.sort_unstable();
                let expected: Vec<String> = expected.iter().map(|(k, day, v)| format!("{k}=v{v}@{day}")).collect();
                assert_eq!(
                    seen(&connectors, &table).await,
                    expected.join(" "),
                    "{} by {key:?}, round {round}, MULGIL_SEED={seed}",
                    table.name
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_and_appends_at_once_lose_nothing() {
    for table in stores(&["k"], "at_once") {
        let project = Project::new();
        let mut work = Vec::new();
        for turn in 0..6_u64 {
            // Two processes; the keys of one turn are half those of the next.
            let connectors = if turn % 2 == 0 { project.connectors.clone() } else { Arc::new(project.reopened()) };
            let table = table.clone();
            work.push(tokio::spawn(async move {
                let writer = connectors.writer(&table).unwrap();
                for step in 0..4 {
                    let rows: Vec<_> = (turn * 5..turn * 5 + 10).map(|k| (k, k % 3, step)).collect();
                    writer.merge(&names(&["k"]), select(&values(&rows)).await).await.unwrap();
                }
                let append = Append { name: format!("append {turn}"), attempt: 1 };
                writer.append_once(&append, select(&values(&[(1000 + turn, 0, 9)])).await).await.unwrap();
            }));
        }
        for work in work {
            work.await.unwrap();
        }
        let sums =
            "SELECT count(*) AS n, count(DISTINCT k) AS k, count(*) FILTER (WHERE v IN ('v3', 'v9')) AS last FROM t";
        let found = query(&project.reopened(), &table, sums).await.unwrap();
        assert!(found.contains("| 41 | 41 | 41   |"), "{}: {found}", table.name);
    }
}

#[tokio::test]
async fn a_row_without_a_key_and_an_unknown_key_change_nothing() {
    for table in stores(&["k"], "refused") {
        let project = Project::new();
        let writer = project.connectors.writer(&table).unwrap();
        writer.merge(&names(&["k"]), select(&values(&[(1, 0, 1)])).await).await.unwrap();
        let with_null = format!("{} UNION ALL SELECT NULL, DATE '2013-01-01', 'x'", values(&[(1, 0, 2)]));
        let cases = [
            (
                with_null,
                names(&["k"]),
                "column \"k\" is the key of the merge, but a row has NULL there; nothing was written",
            ),
            (values(&[(1, 0, 2)]), names(&["key"]), "there is no key column \"key\""),
            (values(&[(1, 0, 2)]), vec![], "no key is named"),
            ("SELECT 1 AS k, 'x' AS v".to_owned(), names(&["k"]), "column \"day\" is missing"),
        ];
        for (rows, key, expected) in cases {
            let error = writer.merge(&key, select(&rows).await).await.unwrap_err().to_string();
            assert!(error.contains(expected), "{}: {error}", table.name);
        }
        assert_eq!(seen(&project.connectors, &table).await, "1=v1@0");
    }
    Cluster::shared().run("CREATE TABLE no_index (k int8, day date, v text)");
    let url = Cluster::shared().url();
    let table = table("no_index", COLUMNS, &[("connector", "postgres"), ("url", &url)]);
    let writer = Project::new().connectors.writer(&table).unwrap();
    let error = writer.merge(&names(&["k"]), select(&values(&[(1, 0, 2)])).await).await.unwrap_err().to_string();
    assert!(error.contains("nothing makes these columns unique; say there ALTER TABLE"), "{error}");
}

async fn append(
    connectors: &Connectors,
    table: &TableDefinition,
    attempt: u64,
    rows: &[(u64, u64, u64)],
) -> Result<WriteSummary, String> {
    let append = Append { name: "flow/2013-01-01/task".to_owned(), attempt };
    let writer = connectors.writer(table).unwrap();
    writer.append_once(&append, select(&values(rows)).await).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_append_is_there_once_and_another_attempt_replaces_it_where_that_can_be_told() {
    let files = |path: &str, name: &str| {
        let options = [("connector", "filesystem"), ("path", path), ("format", "json")];
        partitioned_by(table(name, COLUMNS, &options), &["day"])
    };
    let mut stores = stores(&["k"], "once");
    stores.push(files("out", "files"));
    stores.push(table("topic", COLUMNS, &[("connector", "log"), ("topic", "once"), ("format", "json")]));
    Broker::shared().topic("once", 1);
    stores.push(on_kafka(Broker::shared(), "once", COLUMNS, &[]));
    for table in stores {
        let replaces = ["delta", "filesystem"].contains(&table.options["connector"].as_str());
        let project = Project::new();
        let connectors = &project.connectors;
        append(connectors, &table, 1, &[(1, 0, 1), (2, 1, 1)]).await.unwrap();
        let again = append(&project.reopened_with_log(), &table, 2, &[(1, 0, 1), (2, 1, 1)]).await.unwrap();
        assert_eq!(again.is_repeated, !replaces, "{}", table.name);
        assert_eq!(seen(connectors, &table).await, "1=v1@0 2=v1@1", "{}", table.name);
        append(connectors, &table, 3, &[(3, 2, 5)]).await.unwrap();
        let expected = if replaces { "3=v5@2" } else { "1=v1@0 2=v1@1" };
        assert_eq!(seen(connectors, &table).await, expected, "{}", table.name);
        // Another run's rows are others.
        let other = Append { name: "flow/2013-01-02/task".to_owned(), attempt: 4 };
        let writer = connectors.writer(&table).unwrap();
        writer.append_once(&other, select(&values(&[(9, 0, 9)])).await).await.unwrap();
        assert_eq!(seen(connectors, &table).await, format!("{expected} 9=v9@0"), "{}", table.name);
    }
}

#[tokio::test]
async fn of_two_attempts_at_an_append_one_is_in() {
    let stores = stores(&["k"], "beside");
    // Nothing but the append's own note keeps rows from being there twice.
    Cluster::shared().run("ALTER TABLE beside_1 DROP CONSTRAINT beside_1_k_key");
    for table in stores {
        let project = Project::new();
        let late = project.reopened();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
        // The first attempt has lost its lease, and does not know it: it reads on while another one writes.
        let first = Append { name: "flow/2013-01-01/task".to_owned(), attempt: 1 };
        let slow = {
            let writer = late.writer(&table).unwrap();
            let batches: Vec<_> = select(&values(&[(1, 0, 1), (2, 1, 1)])).await.collect::<Vec<_>>().await;
            let batches: Vec<_> = batches.into_iter().map(Result::unwrap).collect();
            let (schema, whole) = (batches[0].schema(), rows(batches));
            let last = futures::stream::once(async move {
                begun.send(()).unwrap();
                gone.await.unwrap();
                Ok(arrow::array::RecordBatch::new_empty(schema))
            });
            let schema = whole.schema();
            let stream = datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, whole.chain(last));
            tokio::spawn(async move { writer.append_once(&first, Box::pin(stream)).await })
        };
        has_begun.await.unwrap();
        append(&project.connectors, &table, 2, &[(1, 0, 1), (2, 1, 1)]).await.unwrap();
        go.send(()).unwrap();
        let slow = slow.await.unwrap();
        match table.options["connector"].as_str() {
            "delta" => {
                assert!(slow.unwrap_err().to_string().contains("another attempt has appended"), "{}", table.name)
            }
            _ => assert!(slow.unwrap().is_repeated),
        }
        assert_eq!(seen(&project.connectors, &table).await, "1=v1@0 2=v1@1", "{}", table.name);
    }
}

#[tokio::test]
async fn what_an_append_had_added_is_told_also_behind_a_merge_and_refused_where_it_cannot_be() {
    let project = Project::new();
    let table = partitioned_by(table("raw.t", COLUMNS, &[("connector", "delta")]), &["day"]);
    append(&project.connectors, &table, 1, &[(1, 0, 1), (2, 0, 1), (3, 1, 1)]).await.unwrap();
    let writer = project.connectors.writer(&table).unwrap();
    writer.merge(&names(&["k"]), select(&values(&[(2, 2, 7)])).await).await.unwrap();
    assert_eq!(seen(&project.connectors, &table).await, "1=v1@0 2=v7@2 3=v1@1");
    // Also as a process sees it that reads the table anew.
    append(&project.reopened(), &table, 2, &[(1, 0, 2), (3, 1, 2)]).await.unwrap();
    assert_eq!(seen(&project.reopened(), &table).await, "1=v2@0 2=v7@2 3=v2@1");
    let partition = [("day".to_owned(), "2013-01-02".to_owned())];
    writer.replace_partition(&partition, select(&values(&[(5, 1, 5)])).await).await.unwrap();
    let error = append(&project.connectors, &table, 3, &[(1, 0, 3)]).await.unwrap_err();
    assert!(
        error.contains("flow/2013-01-01/task has been appended before, but the files are not all there any more"),
        "{error}"
    );
    assert_eq!(seen(&project.connectors, &table).await, "1=v2@0 2=v7@2 5=v5@1");
}
