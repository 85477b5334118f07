//! Tables of a real PostgreSQL: read as a whole, looked up by key, and refused in words that hold no password.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::lookup::Lookup;
use mulgil_connect::source::Read;

use super::cluster::{Cluster, PASSWORD};
use super::project::{Project, drain, table, text};

pub fn postgres(name: &str, columns: &str, more: &[(&str, &str)]) -> TableDefinition {
    let url = Cluster::shared().url();
    let options = [("connector", "postgres"), ("url", url.as_str())];
    table(name, columns, &options.iter().chain(more).copied().collect::<Vec<_>>())
}

#[tokio::test]
async fn every_type_is_read_as_declared() {
    let project = Project::new();
    Cluster::shared().run(
        "CREATE SCHEMA kinds; CREATE TABLE kinds.all_of_them (b bool, i int2, n int4, l int8, f float4, d float8,
               s varchar(20), \"Odd \"\"name\" text, day date, t timestamp, at timestamptz, m numeric(12, 4), x jsonb);
             INSERT INTO kinds.all_of_them VALUES
               (true, -7, 70000, 9000000000, 1.5, 2.25, '물길', 'y', '1969-12-31', '1969-12-31 23:59:59.9995',
                '2013-01-01 00:00:00+09', -12.3456, '{\"a\": 1}'),
               (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    );
    let columns = "b BOOLEAN, i INT, n INT, l BIGINT, f DOUBLE, d DOUBLE, s STRING, day DATE, t TIMESTAMP, at TIMESTAMP_LTZ, \
                   m DECIMAL, x STRING";
    let definition = postgres("kinds.all_of_them", columns, &[]);
    insta::assert_snapshot!(text(&project.read(&definition).await.unwrap()), @r#"
    +------+----+-------+------------+-----+------+------+------------+-------------------------+----------------------+--------+----------+
    | b    | i  | n     | l          | f   | d    | s    | day        | t                       | at                   | m      | x        |
    +------+----+-------+------------+-----+------+------+------------+-------------------------+----------------------+--------+----------+
    | true | -7 | 70000 | 9000000000 | 1.5 | 2.25 | 물길 | 1969-12-31 | 1969-12-31T23:59:59.999 | 2012-12-31T15:00:00Z | -12.35 | {"a": 1} |
    |      |    |       |            |     |      |      |            |                         |                      |        |          |
    +------+----+-------+------------+-----+------+------+------------+-------------------------+----------------------+--------+----------+
    "#);
    let counted = project.query(&definition, "SELECT count(*) AS rows, count(l) AS numbers FROM t").await.unwrap();
    assert!(counted.contains("| 2    | 1       |"), "{counted}");

    // What does not fit the declared type is said, not bent.
    for (columns, said) in [
        ("l INT", "integer out of range"),
        ("s BIGINT", "invalid input syntax for type bigint"),
        ("nowhere INT", "column \"nowhere\" does not exist"),
        ("b BOOLEAN NOT NULL", "column b: a row has NULL in a NOT NULL column"),
    ] {
        let error = project.read(&postgres("kinds.all_of_them", columns, &[])).await.unwrap_err().to_string();
        assert!(error.starts_with("table kinds.all_of_them: ") && error.contains(said), "{error}");
    }
    let infinite = postgres("i", "t TIMESTAMP", &[("table-name", "pg_temp_view")]);
    Cluster::shared().run("CREATE VIEW pg_temp_view AS SELECT 'infinity'::timestamp AS t");
    let error = project.read(&infinite).await.unwrap_err().to_string();
    assert!(error.ends_with("column t: a time is infinite"), "{error}");
}

#[tokio::test]
async fn many_rows_come_in_batches_and_go_on_from_a_position() {
    let project = Project::new();
    Cluster::shared().run(
        "CREATE TABLE many AS SELECT n, n * 2 AS twice FROM generate_series(1, 20000) AS n; CREATE VIEW many_seen AS SELECT * FROM many;
         CREATE TABLE none (n int8)",
    );
    // A table's rows are found again by their places, those of a view by their number.
    for name in ["many", "many_seen"] {
        let source = project.connectors.source(&postgres(name, "n BIGINT, twice BIGINT", &[])).unwrap();
        assert!(source.is_bounded());
        assert_eq!(source.partitions().await.unwrap().len(), 1);
        for projection in [vec![1, 0], vec![1], vec![]] {
            let mut reader = source.open(0, 0, &projection, true).await.unwrap();
            let Read::Rows(first, behind) = reader.next().await.unwrap() else { panic!("{name} has rows") };
            let (batches, _) = drain(reader.as_mut()).await.unwrap();
            assert_eq!(first.num_rows() + batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
            assert!(batches.iter().all(|batch| batch.num_rows() <= 8192 && batch.num_columns() == projection.len()));
            let mut reader = source.open(0, behind, &projection, true).await.unwrap();
            assert_eq!(drain(reader.as_mut()).await.unwrap().0, batches, "{name} {projection:?}");
        }
    }
    assert_eq!(project.read(&postgres("none", "n BIGINT", &[])).await.unwrap().num_rows(), 0);
}

#[tokio::test]
async fn parts_are_read_side_by_side_as_of_one_moment() {
    let project = Project::new();
    // More than two stretches of blocks.
    Cluster::shared().run(
        "CREATE TABLE wide (n int8, filler text); ALTER TABLE wide ALTER filler SET STORAGE PLAIN;
         INSERT INTO wide SELECT n, repeat(n::text || '-', 600) FROM generate_series(0, 29999) AS n; INSERT INTO wide VALUES (NULL, NULL)",
    );
    let cases: [(&[(&str, &str)], usize); 5] = [
        (&[], 4),
        (&[("scan.partition.num", "3")], 3),
        (&[("scan.partition.column", "n")], 4),
        (&[("scan.partition.column", "n"), ("scan.partition.num", "2"), ("scan.partition.lower-bound", "20000")], 2),
        (&[("scan.partition.column", "n"), ("scan.partition.num", "1")], 1),
    ];
    for (number, (options, parts)) in cases.into_iter().enumerate() {
        let source = project.connectors.source(&postgres("wide", "n BIGINT", options)).unwrap();
        assert_eq!(source.partitions().await.unwrap().len(), parts, "{options:?}");
        if parts > 1 {
            // What happens from now on is not seen, wherever it happens.
            Cluster::shared().run(&format!(
                "UPDATE wide SET n = n + 100000 WHERE n % 1000 = {number}; DELETE FROM wide WHERE n = 5"
            ));
        }
        let mut counts = Vec::new();
        let (mut rows, mut sum) = (0, 0);
        for part in 0..parts {
            let mut reader = source.open(part, 0, &[0], true).await.unwrap();
            let (batches, _) = drain(reader.as_mut()).await.unwrap();
            counts.push(batches.iter().map(RecordBatch::num_rows).sum::<usize>());
            for batch in &batches {
                let n = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                rows += batch.num_rows();
                sum += n.iter().flatten().sum::<i64>();
            }
        }
        let deleted = if number > 0 { 1 } else { 0 };
        let moved = 100_000 * 30 * number.min(4) as i64;
        assert_eq!(
            (rows, sum),
            (30_001 - deleted, 29_999 * 15_000 - 5 * deleted as i64 + moved),
            "{options:?}: {counts:?}"
        );
        assert!(counts.iter().filter(|count| **count > 0).count() >= parts.min(2), "{options:?}: {counts:?}");
    }
    for (name, value, said) in [
        ("scan.partition.num", "0", "must be at least 1"),
        ("scan.partition.column", "filler", "must be a column of whole numbers"),
        ("scan.partition.lower-bound", "3", "need 'scan.partition.column'"),
    ] {
        let refused =
            project.connectors.check(&postgres("wide", "n BIGINT, filler STRING", &[(name, value)])).unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
    }
}

fn numbers(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn wanted(columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(n, column)| (format!("k{n}"), column))).unwrap()
}

fn lookup(project: &Project, definition: &TableDefinition, keys: &[usize]) -> Arc<dyn Lookup> {
    let source = project.connectors.source(definition).unwrap();
    let all: Vec<usize> = (0..source.schema().fields().len()).collect();
    source.lookup(keys, &all).unwrap().unwrap()
}

#[tokio::test]
async fn rows_are_found_by_key() {
    let project = Project::new();
    Cluster::shared()
        .run(
            "CREATE TABLE found (id int4, code varchar(8), wide char(6), number numeric, u uuid, v int8);
             INSERT INTO found SELECT n, 'c' || n % 3, 'w' || n % 3, n, ('00000000-0000-0000-0000-00000000000' || n)::uuid, n * 10
               FROM generate_series(1, 9) AS n;
             INSERT INTO found VALUES (NULL, NULL, NULL, NULL, NULL, 0)",
        );
    let uuid = |n: u32| format!("00000000-0000-0000-0000-00000000000{n}");
    let columns = "id INT, code STRING, wide STRING, number BIGINT, u STRING, v BIGINT";
    let definition = postgres("found", columns, &[]);
    let id = numbers(&[Some(2), Some(7), None, Some(99), Some(1 << 40)]);
    let cases: Vec<(Vec<usize>, Vec<ArrayRef>, Vec<i64>)> = vec![
        (vec![0], vec![id], vec![20, 70]),
        (vec![1], vec![texts(&["c1", "nothing", "'; DROP TABLE found"])], vec![10, 40, 70]),
        // A text of fixed length is compared without its blanks.
        (vec![2], vec![texts(&["w2"])], vec![20, 50, 80]),
        (vec![3], vec![numbers(&[Some(3), Some(5)])], vec![30, 50]),
        (vec![4], vec![texts(&[&uuid(4), "no uuid", &uuid(5).to_uppercase()])], vec![40, 50]),
        (vec![0, 1], vec![numbers(&[Some(1), Some(4), Some(5)]), texts(&["c1", "c2", "c2"])], vec![10, 50]),
        (vec![0], vec![numbers(&[])], vec![]),
    ];
    for (keys, columns, expected) in cases {
        let rows = lookup(&project, &definition, &keys).find(&wanted(columns)).await.unwrap();
        let found = rows.column(5).as_any().downcast_ref::<Int64Array>().unwrap();
        let mut found: Vec<i64> = found.values().to_vec();
        found.sort_unstable();
        assert_eq!(found, expected, "by {keys:?}");
    }
    let dated = postgres("found", "id DATE", &[]);
    let refused = project.connectors.source(&dated).unwrap().lookup(&[0], &[0]).unwrap().err().unwrap().to_string();
    assert!(refused.contains("cannot be looked up by column id, which is DATE"), "{refused}");
}

#[tokio::test]
async fn a_lost_connection_costs_one_question() {
    let project = Project::new();
    Cluster::shared().run("CREATE TABLE steady AS SELECT 1::int8 AS id");
    let lookup = lookup(&project, &postgres("steady", "id BIGINT", &[]), &[0]);
    let question = wanted(vec![numbers(&[Some(1)])]);
    assert_eq!(lookup.find(&question).await.unwrap().num_rows(), 1);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%\"steady\"%' AND pid <> pg_backend_pid()";
    Cluster::shared().run(end);
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push(lookup.find(&question).await.map(|rows| rows.num_rows()));
    }
    assert!(matches!(answers.last(), Some(Ok(1))), "{answers:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_password() {
    let project = Project::new();
    let good = Cluster::shared().url();
    let encoded = PASSWORD.replace(' ', "%20");
    project.file("secret", format!("{PASSWORD}\n"));
    project.file("wrong", "s3same open");
    let bare = good.replace(&format!(":{encoded}@"), "@");
    let cases: Vec<(Vec<(&str, String)>, &str)> = vec![
        (vec![("url", bare.clone()), ("password-file", "secret".to_owned())], ""),
        (vec![("url", bare.clone()), ("password", PASSWORD.to_owned())], ""),
        (vec![("url", bare.clone())], "password missing"),
        (vec![("url", bare.clone()), ("password-file", "wrong".to_owned())], "password authentication failed for user"),
        (vec![("url", bare), ("password-file", "nowhere".to_owned())], "nowhere: No such file"),
        (vec![("url", good.replace("/postgres", "/nowhere"))], "database \"nowhere\" does not exist"),
        (
            vec![("url", format!("postgresql://u:{encoded}@localhost:1/x"))],
            "connect to localhost:1/x: error connecting",
        ),
        (vec![("url", format!("postgresql://u:{encoded}@local host:port/x"))], "'url' cannot be read"),
        (vec![("url", format!("{good}?sslmode=verify-ca"))], "disable, prefer, require and verify-full"),
        (vec![("url", good.clone()), ("ssl.root-cert", "x".to_owned())], "'ssl.root-cert' needs sslmode=verify-full"),
        (vec![("url", good.clone()), ("pasword", PASSWORD.to_owned())], "did you mean 'password'?"),
        (vec![], "option 'url' is missing"),
        (vec![("url", good.clone()), ("table-name", "nowhere".to_owned())], "relation \"nowhere\" does not exist"),
    ];
    Cluster::shared().run("CREATE TABLE guarded AS SELECT 1::int8 AS id");
    for (options, expected) in cases {
        let options = options.iter().map(|(name, value)| (*name, value.as_str()));
        let options: Vec<(&str, &str)> = [("connector", "postgres")].into_iter().chain(options).collect();
        let read = project.read(&table("guarded", "id BIGINT", &options)).await;
        let said = read.map_or_else(|error| error.to_string(), |_| String::new());
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{expected}: {said}");
        for secret in [PASSWORD, &encoded, "s3same"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

#[test]
fn options_of_looking_up_are_checked() {
    let project = Project::new();
    for (connector, name, value, expected) in [
        ("postgres", "lookup.cache", "PARTIAL", None),
        ("postgres", "lookup.cache", "full", None),
        ("postgres", "lookup.cache", "SOME", Some("allowed: NONE, PARTIAL, FULL")),
        ("postgres", "lookup.partial-cache.max-rows", "7", Some("needs 'lookup.cache' = 'PARTIAL'")),
        ("postgres", "lookup.full-cache.periodic-reload.interval", "1 min", Some("needs 'lookup.cache' = 'FULL'")),
        ("postgres", "lookup.max-retries", "many", Some("is not a whole number")),
        ("delta", "lookup.full-cache.periodic-reload.interval", "1 min", None),
        ("delta", "lookup.full-cache.periodic-reload.interval", "often", Some("is not a span of time")),
        ("delta", "lookup.cache", "PARTIAL", Some("cannot be asked for single keys")),
        ("delta", "lookup.cash", "FULL", Some("unknown option 'lookup.cash'")),
    ] {
        let url = ("url", "postgresql://u@localhost/d");
        let mut options = vec![("connector", connector), (name, value)];
        options.extend((connector == "postgres").then_some(url));
        let checked = project.connectors.check(&table("t", "id BIGINT", &options));
        match (checked, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (checked, expected) => panic!("{connector} {name} = {value}: {checked:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn connections_are_encrypted_as_asked() {
    let project = Project::new();
    let cluster = Cluster::start_with_tls();
    cluster.run("CREATE VIEW encrypted AS SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    let own = cluster.certificate().display().to_string();
    let other = Cluster::start_with_tls();
    let others = other.certificate().display().to_string();
    project.file("empty.pem", "");
    let cases: [(&str, &str, &str, &str); 10] = [
        ("localhost", "disable", "", "false"),
        ("localhost", "prefer", "", "true"),
        ("localhost", "require", "", "true"),
        ("127.0.0.1", "require", "", "true"),
        ("localhost", "require", &own, "true"),
        ("localhost", "verify-full", &own, "true"),
        ("localhost", "verify-full", "", "invalid peer certificate"),
        ("127.0.0.1", "verify-full", &own, "certificate"),
        ("localhost", "verify-full", &others, "certificate"),
        ("localhost", "verify-full", "empty.pem", "there is none in it"),
    ];
    for (host, mode, roots, expected) in cases {
        let url = format!("{}?sslmode={mode}", cluster.url_of(host));
        let mut options = vec![("connector", "postgres"), ("url", url.as_str())];
        options.extend((!roots.is_empty()).then_some(("ssl.root-cert", roots)));
        let found = project.read(&table("encrypted", "ssl BOOLEAN", &options)).await;
        let found = found.map_or_else(|error| error.to_string(), |rows| text(&rows));
        assert!(found.contains(expected) && !found.contains(PASSWORD), "{host} {mode} {roots}: {found}");
        if expected.contains("certificate") {
            // It does not pass by waiting.
            let sink = project.connectors.sink(&table("encrypted", "ssl BOOLEAN", &options)).unwrap();
            let said = sink.transaction().unwrap().last_epoch("p").await.unwrap_err().to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
    cluster.run("ALTER SYSTEM SET ssl = off");
    cluster.run("SELECT pg_reload_conf()");
    for (mode, expected) in [("require", "server does not support TLS"), ("prefer", "false")] {
        let url = format!("{}?sslmode={mode}", cluster.url_of("localhost"));
        let options = [("connector", "postgres"), ("url", url.as_str())];
        let ends = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        // The server does what it is told a moment later.
        loop {
            let found = project.read(&table("encrypted", "ssl BOOLEAN", &options)).await;
            let found = found.map_or_else(|error| error.to_string(), |rows| text(&rows));
            if found.contains(expected) {
                break;
            }
            assert!(tokio::time::Instant::now() < ends, "{mode}: {found}");
        }
    }
}

#[tokio::test]
async fn a_condition_on_time_is_the_databases_to_look_at() {
    let project = Project::new();
    // What is outside of the days asked for cannot be read: asking for it would fail.
    Cluster::shared().run(
        "CREATE TABLE days (n int8, at timestamptz, day timestamp, said text);
         INSERT INTO days SELECT n, timestamptz '2013-01-01 00:00:00+00' + n * interval '6 hours' + interval '1 microsecond',
           timestamp '2013-01-01' + n * interval '6 hours', '2013-01-0' || 1 + n / 4 FROM generate_series(0, 11) AS n;
         UPDATE days SET n = 9000000000 WHERE n < 4 OR n > 7",
    );
    let columns = "n INT, at TIMESTAMP_LTZ, day DATE, said STRING";
    let query = [("scan.query", "SELECT * FROM days WHERE n <> 5;")];
    let parts = [("scan.partition.num", "3")];
    for (more, expected) in [(&[][..], "| 4 | 22 |"), (&parts[..], "| 4 | 22 |"), (&query[..], "| 3 | 17 |")] {
        let table = postgres("days", columns, more);
        for condition in [
            "at >= TIMESTAMP WITH TIME ZONE '2013-01-02T00:00:00Z' AND at < TIMESTAMP WITH TIME ZONE '2013-01-03T00:00:00Z'",
            "day = DATE '2013-01-02' AND said LIKE '2013%'",
            "day >= DATE '2013-01-02' AND DATE '2013-01-03' > day",
        ] {
            let sql = format!("SELECT count(*) AS n, sum(n) AS s FROM t WHERE {condition}");
            let found = project.query(&table, &sql).await.unwrap();
            assert!(found.contains(expected), "{more:?}, {condition}: {found}");
        }
        // Other conditions are not: what is declared in milliseconds is stored in microseconds, and equal only as declared.
        let sql = "SELECT count(*) AS n FROM t WHERE at = TIMESTAMP WITH TIME ZONE '2013-01-02T00:00:00Z'";
        let found = project.query(&table, sql).await.unwrap();
        assert!(found.contains("| 1 |"), "{found}");
    }
    let table = postgres("days", columns, &query);
    for refused in [project.connectors.writer(&table).err().unwrap(), project.connectors.sink(&table).err().unwrap()] {
        assert!(refused.to_string().contains("what 'scan.query' gives can only be read"), "{refused}");
    }
}
