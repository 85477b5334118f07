//! Tables of a real PostgreSQL as targets: added to, merged by key, replaced; exactly once through crashes, and through a database
//! that is stopped, killed and started again.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, UInt8Array};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::error::ConnectError;
use mulgil_connect::transaction::Transaction;
use mulgil_dataflow::batch::Batch;
use tokio::time::timeout;

use super::cluster::Cluster;
use super::postgres::postgres;
use super::project::{Project, partitioned_by, primary_key, select, table, text};

/// Long enough for a database that starts on a slow machine.
const LONG: Duration = Duration::from_secs(120);

const UPDATE_BEFORE: u8 = 1;
const UPDATE_AFTER: u8 = 2;
const DELETE: u8 = 3;

type Rows = BoxStream<'static, Result<Batch, ConnectError>>;

/// The kind of a change, and its row.
type Change = (u8, i64, &'static str);

fn columns(k: Vec<i64>, v: Vec<Option<&str>>) -> RecordBatch {
    let k: ArrayRef = Arc::new(Int64Array::from(k));
    let v: ArrayRef = Arc::new(StringArray::from(v));
    RecordBatch::try_from_iter([("k", k), ("v", v)]).unwrap()
}

/// Changes of `(k, v)`.
fn changes(changes: &[Change]) -> Batch {
    let rows = columns(changes.iter().map(|(_, k, _)| *k).collect(), changes.iter().map(|(.., v)| Some(*v)).collect());
    Batch { rows, kinds: Some(UInt8Array::from(changes.iter().map(|(kind, ..)| *kind).collect::<Vec<u8>>())) }
}

/// `(k, v)` for each `k` of the range.
fn inserts(range: std::ops::Range<i64>) -> Batch {
    Batch::append(columns(range.clone().collect(), range.map(|_| Some("v")).collect()))
}

fn rows(batches: Vec<Batch>) -> Rows {
    stream::iter(batches.into_iter().map(Ok)).boxed()
}

fn keyed(name: &str, cluster: &Cluster) -> TableDefinition {
    cluster.run(&format!("CREATE TABLE {name} (k int8 PRIMARY KEY, v text, other text DEFAULT 'kept')"));
    primary_key(on(cluster, name), &["k"])
}

fn on(cluster: &Cluster, name: &str) -> TableDefinition {
    table(name, "k BIGINT, v STRING", &[("connector", "postgres"), ("url", &cluster.url())])
}

fn instance(project: &Project, definition: &TableDefinition) -> Arc<dyn Transaction> {
    project.connectors.sink(definition).unwrap().transaction().unwrap()
}

/// `1=a 2=b`, by key.
async fn seen(project: &Project, definition: &TableDefinition) -> String {
    let found =
        project.query(definition, "SELECT string_agg(k || '=' || coalesce(v, 'null'), ' ' ORDER BY k, v) AS s FROM t");
    let found = found.await.unwrap();
    found.lines().nth(3).unwrap().trim_matches(['|', ' ']).to_owned()
}

#[tokio::test]
async fn every_type_comes_back_as_it_was_written() {
    let project = Project::new();
    Cluster::shared().run(
        "CREATE TABLE round (b bool, i int4, l int8, d float8, s varchar(40), u uuid, j jsonb, bytes bytea, day date, t timestamp,
           at timestamptz, m numeric(10, 2))",
    );
    let columns = "b BOOLEAN, i INT, l BIGINT, d DOUBLE, s STRING, u STRING, j STRING, bytes BYTES, day DATE, t TIMESTAMP, \
                   at TIMESTAMP_LTZ, m DECIMAL";
    let definition = postgres("round", columns, &[]);
    let written = "SELECT * FROM (VALUES
        (true, CAST(-7 AS INT), -9000000000, 0.1, E'\\\\ tab\\t, line\\r\\n, \\\\N', '00000000-0000-0000-0000-00000000000a', '{\"a\": 1}', X'00FF5C',
         DATE '1969-12-31', TIMESTAMP '1969-12-31 23:59:59.999', CAST(TIMESTAMP '2013-01-01 00:00:00' AS TIMESTAMP WITH TIME ZONE), CAST(-12.35 AS DECIMAL(10, 2))),
        (false, 2147483647, 9223372036854775807, CAST('NaN' AS DOUBLE), '물길', NULL, '[]', X'', DATE '0001-01-01', TIMESTAMP '1700-01-01 00:00:00', NULL, CAST(0 AS DECIMAL(10, 2))),
        (false, -2147483648, 0, CAST('-inf' AS DOUBLE), '', NULL, NULL, NULL, DATE '9999-12-31', NULL, NULL, CAST(99999999.99 AS DECIMAL(10, 2))),
        (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
      ) AS t (b, i, l, d, s, u, j, bytes, day, t, at, m)";
    let writer = project.connectors.writer(&definition).unwrap();
    assert_eq!(writer.append(select(written).await).await.unwrap().rows, 4);
    insta::assert_snapshot!(text(&project.read(&definition).await.unwrap()));
    // Before the first year, and beyond the year 9999, there are days too.
    let days: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![-719_893, -719_529, -800_000, 3_000_000]));
    Cluster::shared().run("CREATE TABLE far (day date)");
    let far = postgres("far", "day DATE", &[]);
    let sink = project.connectors.sink(&far).unwrap();
    let mut sink = sink.writer(0).await.unwrap();
    let days = RecordBatch::try_from_iter([("day", days)]).unwrap();
    sink.write(Batch::append(days.clone())).await.unwrap();
    sink.commit().await.unwrap();
    assert_eq!(project.read(&far).await.unwrap().column(0), days.column(0));
}

#[tokio::test]
async fn what_does_not_fit_is_said_and_nothing_is_written() {
    let project = Project::new();
    Cluster::shared().run(
        "CREATE TABLE picky (k int8 PRIMARY KEY, v varchar(3), CHECK (v <> 'no')); CREATE TABLE loose (k int8, v text);
         CREATE TABLE typed (k int8 NOT NULL, v uuid)",
    );
    let cases = [
        (
            "picky",
            "SELECT 1 AS k, 'four' AS v",
            "value too long for type character varying(3); COPY mulgil_changes, line 2, column v: \"four\"",
        ),
        ("picky", "SELECT 1 AS k, 'no' AS v", "violates check constraint"),
        ("picky", "SELECT CAST(NULL AS BIGINT) AS k, 'x' AS v", "null value in column \"k\""),
        (
            "typed",
            "SELECT 1 AS k, 'rubbish' AS v",
            "invalid input syntax for type uuid: \"rubbish\"; COPY typed, line 2, column v: \"rubbish\"",
        ),
        ("typed", "SELECT CAST(NULL AS BIGINT) AS k, CAST(NULL AS STRING) AS v", "null value in column \"k\""),
        ("loose", "SELECT 1 AS k, 'a' || chr(0) AS v", "column \"v\": \"a\\0\" holds the character U+0000"),
        ("loose", "SELECT 10 / (k - 1) AS k, 'a' AS v FROM (VALUES (1)) AS t (k)", "Divide by zero"),
        ("nowhere", "SELECT 1 AS k, 'a' AS v", "relation \"nowhere\" does not exist"),
    ];
    for (name, bad, expected) in cases {
        let definition = on(Cluster::shared(), name);
        let definition = if name == "picky" { primary_key(definition, &["k"]) } else { definition };
        let rows = format!(
            "SELECT 7 AS k, CAST(NULL AS STRING) AS v UNION ALL SELECT * FROM ({bad}) AS b ORDER BY k DESC NULLS LAST"
        );
        let said =
            project.connectors.writer(&definition).unwrap().append(select(&rows).await).await.unwrap_err().to_string();
        assert!(said.contains(expected), "{name}: {said}, not {expected}");
        if name != "nowhere" {
            assert_eq!(project.read(&definition).await.unwrap().num_rows(), 0, "{name}: {bad}");
        }
    }
    let not_unique = primary_key(on(Cluster::shared(), "loose"), &["k"]);
    let said = project.connectors.writer(&not_unique).unwrap().append(select("SELECT 1 AS k, 'a' AS v").await).await;
    let said = said.unwrap_err().to_string();
    assert!(said.contains("say there ALTER TABLE \"loose\" ADD PRIMARY KEY (k)"), "{said}");
    // Without a key rows cannot be updated: the engine says so before it starts, and the writer if it is asked all the same.
    let sink = project.connectors.sink(&on(Cluster::shared(), "loose")).unwrap();
    assert!(!sink.accepts_changes());
    let refused = sink.writer(0).await.unwrap().write(changes(&[(DELETE, 1, "a")])).await.unwrap_err().to_string();
    assert!(refused.contains("it takes new rows only"), "{refused}");
}

#[tokio::test]
async fn changes_are_merged_by_key_whatever_their_order() {
    let project = Project::new();
    let definition = keyed("merged", Cluster::shared());
    Cluster::shared().run("INSERT INTO merged VALUES (1, 'old', 'mine'), (9, 'old', 'mine')");
    let sink = project.connectors.sink(&definition).unwrap();
    assert!(sink.accepts_changes());
    let mut writer = sink.writer(0).await.unwrap();
    let batches: [(&[Change], &str); 6] = [
        (&[(0, 1, "a"), (0, 2, "a"), (0, 1, "b")], "1=b 2=a 9=old"),
        // Of the rows that came and went nothing is left.
        (&[(UPDATE_BEFORE, 1, "b"), (UPDATE_AFTER, 1, "c"), (0, 3, "x"), (DELETE, 3, "x")], "1=c 2=a 9=old"),
        // The new row of a key comes before the old one goes, as it may be when they come from different subtasks.
        (&[(UPDATE_AFTER, 1, "d"), (UPDATE_BEFORE, 1, "c"), (DELETE, 2, "a")], "1=d 9=old"),
        (&[(DELETE, 9, "old"), (0, 2, "z"), (DELETE, 77, "nobody")], "1=d 2=z"),
        (&[(UPDATE_BEFORE, 2, "z"), (UPDATE_AFTER, 2, "z")], "1=d 2=z"),
        (&[(DELETE, 1, "d"), (0, 1, "e"), (DELETE, 1, "e"), (DELETE, 2, "z"), (0, 2, "y")], "2=y"),
    ];
    for (batch, expected) in batches {
        writer.write(changes(batch)).await.unwrap();
        writer.commit().await.unwrap();
        assert_eq!(seen(&project, &definition).await, expected, "after {batch:?}");
    }
    // Columns that are not declared stay as they are.
    writer.write(changes(&[(0, 5, "five")])).await.unwrap();
    writer.commit().await.unwrap();
    let whole =
        table("merged", "k BIGINT, other STRING", &[("connector", "postgres"), ("url", &Cluster::shared().url())]);
    let other = project.query(&whole, "SELECT other FROM t WHERE k = 5").await.unwrap();
    assert!(other.contains("| kept  |"), "{other}");
    // A table whose columns are all of its key, and one without a key: rows are added.
    Cluster::shared().run("CREATE TABLE bare (k int8, v text, PRIMARY KEY (v, k)); CREATE TABLE heap (k int8, v text)");
    for (definition, expected) in [
        (primary_key(on(Cluster::shared(), "bare"), &["v", "k"]), "0=v 1=v 2=v"),
        (on(Cluster::shared(), "heap"), "0=v 1=v 1=v 2=v"),
    ] {
        let mut writer = project.connectors.sink(&definition).unwrap().writer(0).await.unwrap();
        for range in [0..2, 1..3] {
            writer.write(inserts(range)).await.unwrap();
        }
        assert_eq!(seen(&project, &definition).await, "", "before the commit");
        writer.commit().await.unwrap();
        assert_eq!(seen(&project, &definition).await, expected);
    }
}

#[tokio::test]
async fn a_batch_replaces_and_merges_at_once_or_not_at_all() {
    let project = Project::new();
    let cluster = Cluster::shared();
    let keyed = partitioned_by(keyed("replaced", cluster), &["v"]);
    let writer = project.connectors.writer(&keyed).unwrap();
    writer.append(select("SELECT 1 AS k, 'a' AS v UNION ALL SELECT 2, 'b'").await).await.unwrap();
    writer.append(select("SELECT 2 AS k, 'c' AS v UNION ALL SELECT 3, 'c'").await).await.unwrap();
    assert_eq!(seen(&project, &keyed).await, "1=a 2=c 3=c");
    let partition = [("v".to_owned(), "c".to_owned())];
    writer.replace_partition(&partition, select("SELECT 4 AS k, 'c' AS v").await).await.unwrap();
    assert_eq!(seen(&project, &keyed).await, "1=a 4=c");
    let outside = writer.replace_partition(&partition, select("SELECT 5 AS k, 'd' AS v").await).await;
    assert!(outside.unwrap_err().to_string().contains("a row has v = d"));
    let twice = writer.replace_table(select("SELECT 5 AS k, 'd' AS v UNION ALL SELECT 5, 'e'").await).await;
    assert!(twice.unwrap_err().to_string().contains("Key (k)=(5) already exists"));
    assert_eq!(seen(&project, &keyed).await, "1=a 4=c");
    writer.replace_table(select("SELECT 6 AS k, 'f' AS v").await).await.unwrap();
    assert_eq!(seen(&project, &keyed).await, "6=f");
    // Two that replace at the same time leave the rows of one of them.
    let other = project.connectors.writer(&keyed).unwrap();
    let replace = |range: &str| format!("SELECT k, 'r' AS v FROM (SELECT unnest(range({range})) AS k)");
    let (low, high) = (select(&replace("0, 500")).await, select(&replace("1000, 1500")).await);
    let (low, high) = tokio::join!(writer.replace_table(low), other.replace_table(high));
    assert_eq!((low.unwrap().rows, high.unwrap().rows), (500, 500));
    let counted = project.query(&keyed, "SELECT count(*) AS n, max(k) - min(k) AS span FROM t").await.unwrap();
    assert!(counted.contains("| 500 | 499  |"), "{counted}");
}

#[tokio::test]
async fn epochs_are_visible_one_by_one_and_remembered() {
    let project = Project::new();
    Cluster::shared().run("CREATE TABLE epochs (k int8, v text)");
    let definition = on(Cluster::shared(), "epochs");
    let first = instance(&project, &definition);
    assert_eq!(first.last_epoch("p").await.unwrap(), None);
    first.apply("p", 1, rows(vec![inserts(0..2)])).await.unwrap();
    // An epoch that fails in the middle leaves nothing, also when its future is dropped.
    let broken = stream::iter([Ok(inserts(2..4)), Err(ConnectError::Told("the spool is torn".to_owned()))]).boxed();
    assert!(first.apply("p", 2, broken).await.is_err());
    let endless = stream::iter([Ok(inserts(2..4))]).chain(stream::pending()).boxed();
    assert!(timeout(Duration::from_millis(300), first.apply("p", 2, endless)).await.is_err());
    assert_eq!(seen(&project, &definition).await, "0=v 1=v");
    first.apply("p", 2, rows(vec![inserts(2..3)])).await.unwrap();
    // After a crash behind the commit the caller does not know of it: it asks, and may even write again.
    let second = instance(&project, &definition);
    assert_eq!(second.last_epoch("p").await.unwrap(), Some(2));
    second.apply("p", 2, rows(vec![inserts(2..3)])).await.unwrap();
    assert_eq!(seen(&project, &definition).await, "0=v 1=v 2=v");
    // The older instance is shut out, however often it tries.
    for _ in 0..2 {
        let refused = first.apply("p", 3, rows(vec![inserts(7..8)])).await.unwrap_err().to_string();
        assert!(refused.contains("another writer of the same pipeline has taken over \"epochs\""), "{refused}");
    }
    second.apply("p", 7, rows(vec![inserts(3..4)])).await.unwrap();
    assert_eq!(seen(&project, &definition).await, "0=v 1=v 2=v 3=v");
    assert_eq!(second.last_epoch("q").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_in_an_epoch_doubles_nothing() {
    let project = Project::new();
    let cluster = Cluster::start();
    let definition = keyed("killed", &cluster);
    let heap = {
        cluster.run("CREATE TABLE heap (k int8, v text)");
        on(&cluster, "heap")
    };
    for definition in [&definition, &heap] {
        let pipeline = instance(&project, definition);
        let mut expected = 0;
        for epoch in 0..5_u64 {
            let range = expected..expected + 20_000;
            expected = range.end;
            let apply = |range: std::ops::Range<i64>| {
                let batches = range.clone().step_by(1000).map(|first| inserts(first..first + 1000)).collect();
                pipeline.apply("p", epoch, rows(batches))
            };
            // The third epoch is written while the database dies, at a moment that differs from run to run.
            if epoch == 2 {
                let (written, ()) = tokio::join!(apply(range.clone()), async { kill_and_start(&cluster).await });
                assert!(matches!(written, Ok(()) | Err(ConnectError::Away { .. })), "{written:?}");
            } else {
                apply(range.clone()).await.unwrap();
            }
            if timeout(LONG, pipeline.last_epoch("p")).await.unwrap().unwrap() != Some(epoch) {
                apply(range).await.unwrap();
            }
            assert_eq!(pipeline.last_epoch("p").await.unwrap(), Some(epoch));
        }
        let counted = project.query(definition, "SELECT count(*) AS n, count(DISTINCT k) AS k FROM t").await.unwrap();
        assert!(counted.contains("| 100000 | 100000 |"), "{counted}");
    }
}

async fn kill_and_start(cluster: &Cluster) {
    // Another thread waits for the holder's word.
    tokio::task::block_in_place(|| {
        cluster.order("kill");
        cluster.order("start");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_waits_for_a_database_that_is_away() {
    let project = Project::new();
    let cluster = Cluster::start();
    let definition = keyed("away", &cluster);
    let sink = project.connectors.sink(&definition).unwrap();
    let mut writer = sink.writer(0).await.unwrap();
    for (round, (down, up)) in [("stop", "go"), ("kill", "start"), ("kill", "start")].into_iter().enumerate() {
        let first = round as i64 * 10;
        writer.write(inserts(first..first + 5)).await.unwrap();
        writer.commit().await.unwrap();
        cluster.order(down);
        let (waited, writer_again) = (tokio::time::Instant::now(), async {
            writer.write(inserts(first + 5..first + 10)).await.unwrap();
            writer.commit().await.unwrap();
            writer
        });
        let mut writing = Box::pin(writer_again);
        assert!(timeout(Duration::from_millis(700), &mut writing).await.is_err(), "it was away: {down}");
        cluster.order(up);
        writer = timeout(LONG, writing).await.unwrap();
        assert!(waited.elapsed() >= Duration::from_millis(700));
        let counted = project.query(&definition, "SELECT count(*) || ' up to ' || max(k) AS s FROM t").await.unwrap();
        assert!(counted.contains(&format!("| {} up to {} ", first + 10, first + 9)), "{counted}");
    }
}

#[tokio::test]
async fn bytes_and_fingerprints_survive_any_content() {
    let project = Project::new();
    Cluster::shared().run("CREATE TABLE blobs (k int8 PRIMARY KEY, b bytea)");
    let options = [("connector", "postgres"), ("url", &*Cluster::shared().url())];
    let definition = primary_key(table("blobs", "k BIGINT, b BYTES", &options), &["k"]);
    let everything: Vec<u8> = (0..=255).collect();
    let k: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let b: ArrayRef = Arc::new(BinaryArray::from(vec![everything.as_slice(), &[]]));
    let rows = RecordBatch::try_from_iter([("k", k), ("b", b)]).unwrap();
    let mut writer = project.connectors.sink(&definition).unwrap().writer(0).await.unwrap();
    writer.write(Batch { rows: rows.clone(), kinds: Some(UInt8Array::from(vec![0, UPDATE_AFTER])) }).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(project.read(&definition).await.unwrap().columns(), rows.columns());
}
