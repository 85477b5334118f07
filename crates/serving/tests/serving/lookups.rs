//! Looking up files, lake tables and PostgreSQL: the same rows in batch and as streams, whatever is kept of answers.

use std::fmt::Write as _;

use mulgil_serving::run::{Mode, RunOptions};

use crate::cluster::{Cluster, PASSWORD};
use crate::fixture::{Project, sorted};

/// Orders of which some have no customer, some no key; more than a batch.
fn orders() -> String {
    let mut text = "id,customer,amount,ts\n".to_owned();
    for n in 0..20_000 {
        let customer = if n % 17 == 0 { String::new() } else { (n * 7919 % 1_300).to_string() };
        writeln!(text, "{n},{customer},{},2013-01-01 00:00:{:02}", n % 100, n / 400).unwrap();
    }
    text
}

fn customers() -> String {
    let mut text = "id,name,region,credit\n".to_owned();
    for n in 0..1_000 {
        // Some have two rows.
        for copy in 0..=usize::from(n % 10 == 0) {
            writeln!(text, "{n},c{n}-{copy},{},{}", ["north", "south", ""][n % 3], n % 100).unwrap();
        }
    }
    text
}

fn tables() -> String {
    let columns = "(id BIGINT, name STRING, region STRING, credit BIGINT, shout AS upper(name))";
    let url = Cluster::shared().url();
    let mut text = "CREATE TABLE orders (id BIGINT, customer BIGINT, amount BIGINT, ts TIMESTAMP(3), p AS PROCTIME(),
                      WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
                    WITH ('connector' = 'filesystem', 'path' = 'orders.csv', 'format' = 'csv');"
        .to_owned();
    let lookups = [
        ("always", "'lookup.cache' = 'NONE'"),
        ("kept", "'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.expire-after-write' = '1 min'"),
        (
            "hardly",
            "'lookup.cache' = 'PARTIAL', 'lookup.partial-cache.max-rows' = '10',
             'lookup.partial-cache.cache-missing-key' = 'false', 'lookup.async.buffer-capacity' = '100'",
        ),
        ("whole", "'lookup.cache' = 'FULL'"),
    ];
    for (name, options) in lookups {
        let connector = format!("'connector' = 'postgres', 'url' = '{url}', 'table-name' = 'customers'");
        writeln!(text, "CREATE TABLE {name} {columns} WITH ({connector}, {options});").unwrap();
    }
    let file = "'connector' = 'filesystem', 'path' = 'customers.csv', 'format' = 'csv'";
    writeln!(text, "CREATE TABLE in_file {columns} WITH ({file});").unwrap();
    let plain = columns.replace(", shout AS upper(name)", "");
    writeln!(text, "CREATE TABLE file_rows {plain} WITH ({file});").unwrap();
    writeln!(text, "CREATE TABLE in_lake {columns} WITH ('connector' = 'delta');").unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_up_gives_the_same_rows_in_batch_and_stream() {
    let project = Project::new();
    std::fs::write(project.dir.path().join("orders.csv"), orders()).unwrap();
    std::fs::write(project.dir.path().join("customers.csv"), customers()).unwrap();
    let mut statements = "CREATE TABLE customers (id int4, name text, region text, credit int8);\n".to_owned();
    for line in customers().lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let region = if cells[2].is_empty() { "NULL".to_owned() } else { format!("'{}'", cells[2]) };
        writeln!(statements, "INSERT INTO customers VALUES ({}, '{}', {region}, {});", cells[0], cells[1], cells[3])
            .unwrap();
    }
    Cluster::shared().run(&statements);
    let catalog = project.catalog(&tables());
    project.batch(&catalog, "INSERT INTO in_lake SELECT * FROM file_rows").await;

    let queries = [
        "SELECT o.id, c.name, c.region FROM orders AS o JOIN {t} FOR SYSTEM_TIME AS OF o.p AS c ON o.customer = c.id",
        "SELECT o.id, c.shout FROM orders AS o LEFT JOIN {t} FOR SYSTEM_TIME AS OF PROCTIME() AS c
           ON o.customer = c.id AND c.credit < o.amount AND c.region = 'north'",
        "SELECT window_end, count(*) AS n, count(region) AS known, sum(credit) AS credit FROM
           TUMBLE((SELECT o.ts AS ts, c.region AS region, c.credit AS credit FROM orders AS o
                     LEFT JOIN {t} FOR SYSTEM_TIME AS OF o.p AS c ON o.customer = c.id),
                  DESCRIPTOR(ts), INTERVAL '10' SECOND) GROUP BY window_start, window_end",
        "SELECT o.id, a.name, b.name FROM orders AS o JOIN {t} FOR SYSTEM_TIME AS OF o.p AS a ON a.id = o.customer
           LEFT JOIN {t} FOR SYSTEM_TIME AS OF o.p AS b ON b.id = a.id + 500 WHERE o.id < 2000",
        // The text of the key too: the table is asked by both, or by one and the other is compared.
        "SELECT o.id, c.credit FROM orders AS o JOIN {t} FOR SYSTEM_TIME AS OF o.p AS c
           ON o.customer = c.id AND c.shout = 'C' || o.customer || '-0' WHERE o.id < 5000",
        "SELECT o.id, c.credit FROM orders AS o JOIN {t} FOR SYSTEM_TIME AS OF o.p AS c
           ON o.customer = c.id AND c.name = 'c' || o.customer || '-0' WHERE o.id < 5000",
    ];
    for query in queries {
        let expected = sorted(project.batch(&catalog, &query.replace("{t}", "in_file")).await);
        assert!(!expected.is_empty());
        for (number, table) in ["always", "kept", "hardly", "whole", "in_file", "in_lake"].into_iter().enumerate() {
            let query = query.replace("{t}", table);
            assert_eq!(sorted(project.batch(&catalog, &query).await), expected, "batch: {query}");
            let found = sorted(project.stream(&catalog, &query, 1 + number % 3).await);
            assert_eq!(found, expected, "stream: {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_looked_up_is_said() {
    let project = Project::new();
    std::fs::write(project.dir.path().join("orders.csv"), "id,customer,amount,ts\n1,1,1,2013-01-01 00:00:00\n")
        .unwrap();
    let nowhere = format!("postgresql://u:{}@%2Fnowhere/d", PASSWORD.replace(' ', "%20"));
    let gone = format!(
        "CREATE TABLE gone (id BIGINT, day DATE) WITH ('connector' = 'postgres', 'url' = '{nowhere}', 'lookup.max-retries' = '1');"
    );
    let catalog = project.catalog(&format!("{}{gone}", tables()));
    for (query, expected) in [
        (
            "SELECT o.id FROM orders AS o JOIN gone FOR SYSTEM_TIME AS OF o.p AS c ON o.customer = c.id",
            "source gone: looking up: table gone: connect to /nowhere:5432/d: error connecting to server",
        ),
        (
            "SELECT o.id FROM orders AS o JOIN gone FOR SYSTEM_TIME AS OF o.p AS c ON CAST(o.ts AS DATE) = c.day",
            "it cannot be looked up by column day, which is DATE",
        ),
        (
            "SELECT o.id FROM orders AS o JOIN always FOR SYSTEM_TIME AS OF o.p AS c ON upper('c' || o.id) = c.shout",
            "or set 'lookup.cache' = 'FULL'",
        ),
    ] {
        let options = RunOptions { mode: Mode::Stream, ..RunOptions::default() };
        let error = project.run(&catalog, query, &options).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(PASSWORD) && !error.contains("h0rse"), "{error}");
    }
    let explained = project.stream(
        &catalog,
        "EXPLAIN SELECT o.id FROM orders AS o JOIN kept FOR SYSTEM_TIME AS OF o.p AS c ON o.customer = c.id",
        2,
    );
    let explained = explained.await.concat().concat();
    assert!(explained.contains("lookup in kept (with up to 100000 rows kept) by inner join on"), "{explained}");
    assert!(!explained.contains("h0rse"), "{explained}");
}
