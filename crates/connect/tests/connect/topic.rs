//! Topics: records to rows and back, positions, following, idleness, records that cannot be read.

use std::time::Duration;

use mulgil_connect::source::Read;
use mulgil_log::{Record, TopicOptions};
use tokio::time::timeout;

use super::project::{Project, drain, select, table, text};

/// Nothing here takes this long.
const LONG: Duration = Duration::from_secs(20);

const LOG: [(&str, &str); 3] = [("connector", "log"), ("topic", "departures"), ("format", "json")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    LOG.iter().copied().chain(more.iter().copied()).collect()
}

fn records(values: &[&str]) -> Vec<Record> {
    let record = |(number, value): (usize, &&str)| Record {
        timestamp_ms: number as i64 * 1000,
        key: None,
        value: value.as_bytes().to_vec().into(),
    };
    values.iter().enumerate().map(record).collect()
}

async fn produce(project: &Project, partition: u32, values: &[&str]) {
    let options = TopicOptions { partitions: 2, ..TopicOptions::default() };
    let topic = project.log.topic_or_create("departures", options).unwrap();
    topic.append(partition, &records(values)).await.unwrap();
}

#[tokio::test]
async fn where_reading_begins_is_decided_once() {
    for before in [&[][..], &["{\"n\": 1}", "{\"n\": 2}"]] {
        let project = Project::new();
        let definition = table("t", "n BIGINT", &with(&[("scan.startup.mode", "latest-offset")]));
        produce(&project, 0, before).await;
        let source = project.connectors.source(&definition).unwrap();
        let mut reader = source.open(0, 0, &[0], true).await.unwrap();
        let begun = timeout(LONG, reader.next()).await.unwrap().unwrap();
        let Read::Rows(nothing, position) = begun else { panic!("{begun:?}") };
        assert_eq!(nothing.num_rows(), 0);
        drop(reader);
        // What comes while nobody reads is not skipped, though it is not the latest any more.
        produce(&project, 0, &["{\"n\": 3}"]).await;
        let mut reader = source.open(0, position, &[0], false).await.unwrap();
        let (rows, _) = drain(reader.as_mut()).await.unwrap();
        assert_eq!(rows.iter().map(|rows| rows.num_rows()).sum::<usize>(), 1);
    }
}

#[tokio::test]
async fn records_become_rows_of_the_wanted_columns() {
    let project = Project::new();
    produce(
        &project,
        0,
        &[
            r#"{"carrier":"UA","delay":1.5,"at":"2013-01-01T10:00:00Z","more":{"x":[1]}}"#,
            r#"{"at":"2013-01-01 05:15:00","delay":null}"#,
        ],
    )
    .await;
    produce(&project, 1, &[r#" {"carrier":"AA","delay":2} "#]).await;
    let table = table("departures", "carrier STRING, delay DOUBLE, at TIMESTAMP", &LOG);
    insta::assert_snapshot!(project.query(&table, "SELECT at, carrier, delay FROM t ORDER BY delay").await.unwrap(), @r"
    +---------------------+---------+-------+
    | at                  | carrier | delay |
    +---------------------+---------+-------+
    | 2013-01-01T10:00:00 | UA      | 1.5   |
    |                     | AA      | 2.0   |
    | 2013-01-01T05:15:00 |         |       |
    +---------------------+---------+-------+
    ");
    let source = project.connectors.source(&table).unwrap();
    assert!(!source.is_bounded());
    assert_eq!(source.partitions().await.unwrap(), ["departures-0", "departures-1"]);
    let mut reader = source.open(0, 1, &[2], false).await.unwrap();
    let (batches, position) = drain(reader.as_mut()).await.unwrap();
    assert_eq!((batches[0].num_rows(), batches[0].num_columns(), position), (1, 1, 2));
}

#[tokio::test]
async fn a_reader_follows_and_loses_nothing_when_it_is_dropped() {
    let project = Project::new();
    let table =
        table("departures", "x INT", &with(&[("scan.watermark.idle-timeout", "20 ms"), ("topic.partitions", "2")]));
    let source = project.connectors.source(&table).unwrap();
    assert_eq!(source.partitions().await.unwrap().len(), 2);
    let mut reader = source.open(0, 0, &[0], true).await.unwrap();
    // The time-out is the engine's; the reader waits, and dropping the wait loses nothing.
    assert_eq!(source.time_options().idle_timeout, Some(Duration::from_millis(20)));
    assert!(timeout(Duration::from_millis(60), reader.next()).await.is_err());
    let mut rows = 0;
    for round in 0..50 {
        let (more, ()) = tokio::join!(
            async {
                let mut more = 0;
                while more < 3 {
                    // A short time-out drops `next` at all kinds of moments.
                    if let Ok(read) = timeout(Duration::from_millis(round % 4), reader.next()).await
                        && let Read::Rows(batch, position) = read.unwrap()
                    {
                        more += batch.num_rows();
                        assert_eq!(position as usize, rows + more);
                    }
                }
                more
            },
            produce(&project, 0, &[r#"{"x":1}"#, r#"{"x":2}"#, r#"{"x":3}"#])
        );
        rows += more;
    }
    assert_eq!(rows, 150);
}

#[tokio::test]
async fn a_bounded_read_ends_where_the_topic_ended_when_it_was_opened() {
    let project = Project::new();
    produce(&project, 0, &[r#"{"x":1}"#, r#"{"x":2}"#]).await;
    let table = table("departures", "x INT", &LOG);
    let source = project.connectors.source(&table).unwrap();
    let mut reader = source.open(0, 0, &[0], false).await.unwrap();
    produce(&project, 0, &[r#"{"x":3}"#]).await;
    let (batches, position) = drain(reader.as_mut()).await.unwrap();
    assert_eq!((batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), position), (2, 2));
    let mut follow = source.open(0, position, &[0], true).await.unwrap();
    let Read::Rows(batch, 3) = timeout(LONG, follow.next()).await.unwrap().unwrap() else { panic!("no third record") };
    assert_eq!(batch.num_rows(), 1);
}

#[tokio::test]
async fn reading_starts_where_the_options_say() {
    let project = Project::new();
    produce(&project, 0, &[r#"{"x":1}"#, r#"{"x":2}"#, r#"{"x":3}"#]).await;
    let starts: [(&[(&str, &str)], usize); 4] = [
        (&[], 3),
        (&[("scan.startup.mode", "earliest-offset")], 3),
        (&[("scan.startup.mode", "latest-offset")], 0),
        (&[("scan.startup.mode", "timestamp"), ("scan.startup.timestamp-millis", "1000")], 2),
    ];
    for (options, expected) in starts {
        let rows = project.read(&table("departures", "x INT", &with(options))).await.unwrap();
        assert_eq!(rows.num_rows(), expected, "{options:?}");
    }
}

#[tokio::test]
async fn a_record_that_is_no_row_is_named() {
    let project = Project::new();
    let bad = [
        r#"{"x":"5x7"}"#,
        r#"{"x":1"#,
        r#","y":2}{"x":3}"#,
        "[1]",
        "",
        r#"{"x":1}{"x":2}"#,
        r#"{"x":3000000000}"#,
        r#"{"at":"yesterday","x":1}"#,
        r#"{"y":1}"#,
        "\u{0}\u{1}",
        r#"{"x":{"y":1}}"#,
    ];
    let mut values = vec![r#"{"x":1}"#; 20];
    let mut messages = Vec::new();
    for (number, bad) in bad.into_iter().enumerate() {
        let topic = format!("bad-{number}");
        values[13] = bad;
        let handle = project.log.topic_or_create(&topic, TopicOptions::default()).unwrap();
        handle.append(0, &records(&values)).await.unwrap();
        let table = table("events", "x INT NOT NULL, at TIMESTAMP", &[LOG[0], ("topic", &*topic), LOG[2]]);
        messages.push(project.read(&table).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(messages.join("\n"));
}

#[tokio::test]
async fn bad_records_are_skipped_and_counted_if_asked_for() {
    let project = Project::new();
    let good = r#"{"x":7}"#;
    let mut values = vec![good; 1000];
    for (number, bad) in [(0, "oops"), (1, r#"{"x":null}"#), (500, "{"), (998, "{}"), (999, "[]")] {
        values[number] = bad;
    }
    produce(&project, 0, &values).await;
    let table = table("departures", "x INT NOT NULL", &with(&[("json.ignore-parse-errors", "true")]));
    let source = project.connectors.source(&table).unwrap();
    let mut reader = source.open(0, 0, &[0], false).await.unwrap();
    let (batches, position) = drain(reader.as_mut()).await.unwrap();
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!((rows, reader.skipped_rows(), position), (995, 5, 1000));
}

#[tokio::test]
async fn rows_written_are_the_rows_read() {
    let project = Project::new();
    let columns = "x INT, s STRING, d DOUBLE, b BOOLEAN, at TIMESTAMP, day DATE, m DECIMAL";
    let table =
        table("out", columns, &[("connector", "log"), ("topic", "out"), ("format", "json"), ("topic.partitions", "3")]);
    let sql = "SELECT 1 AS x, 'a \"b\"\n' AS s, 1.25 AS d, true AS b, TIMESTAMP '2013-01-01T10:00:00.123' AS at, \
               DATE '2013-02-28' AS day, CAST(12.3 AS DECIMAL(10, 2)) AS m UNION ALL \
               SELECT 2, NULL, NULL, NULL, NULL, NULL, NULL";
    let summary = project.connectors.writer(&table).unwrap().append(select(sql).await).await.unwrap();
    assert_eq!(summary.rows, 2);
    let written = project.query(&table, "SELECT * FROM t ORDER BY x").await.unwrap();
    insta::assert_snapshot!(written, @r#"
    +---+-------+------+------+-------------------------+------------+-------+
    | x | s     | d    | b    | at                      | day        | m     |
    +---+-------+------+------+-------------------------+------------+-------+
    | 1 | a "b" | 1.25 | true | 2013-01-01T10:00:00.123 | 2013-02-28 | 12.30 |
    |   |       |      |      |                         |            |       |
    | 2 |       |      |      |                         |            |       |
    +---+-------+------+------+-------------------------+------------+-------+
    "#);
}

#[tokio::test]
async fn raw_values_are_one_column() {
    let project = Project::new();
    produce(&project, 0, &["not json", "{}"]).await;
    let table = table("lines", "line STRING", &[LOG[0], LOG[1], ("format", "raw")]);
    let rows = project.read(&table).await.unwrap();
    assert_eq!(text(&rows), "+----------+\n| line     |\n+----------+\n| not json |\n| {}       |\n+----------+");
}

#[tokio::test]
async fn without_a_log_the_table_says_so() {
    let project = Project::new();
    let error = project.reopened().source(&table("departures", "x INT", &LOG)).unwrap().partitions().await.unwrap_err();
    assert_eq!(error.to_string(), "table departures: there is no event log here; open the project with one");
}
