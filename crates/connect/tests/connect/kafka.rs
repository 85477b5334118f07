//! Topics of a real Apache Kafka: records to rows and back, where reading begins and ends, who may read, and a broker that
//! goes away in the middle.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use mulgil_connect::connectors::Connectors;
use mulgil_connect::definition::TableDefinition;
use mulgil_connect::source::{PartitionReader, Position, Read};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tokio::time::timeout;

use super::broker::{Broker, PASSWORD};
use super::project::{Project, drain, metadata, select, table, text};

/// Nothing here takes this long.
pub const LONG: Duration = Duration::from_secs(120);

/// Options of a table.
pub type Given<'a> = Vec<(&'a str, &'a str)>;

/// A table over `topic` of the broker that all tests share.
pub fn kafka(topic: &str, columns: &str, more: &[(&str, &str)]) -> TableDefinition {
    on(Broker::shared(), topic, columns, more)
}

pub fn on(broker: &Broker, topic: &str, columns: &str, more: &[(&str, &str)]) -> TableDefinition {
    let servers = broker.servers();
    let options =
        [("connector", "kafka"), ("topic", topic), ("format", "json"), ("properties.bootstrap.servers", &servers)];
    table(topic, columns, &options.iter().chain(more).copied().collect::<Vec<_>>())
}

/// Writes records: key, value, time.
fn produce(topic: &str, partition: i32, records: &[(Option<&str>, Option<&str>, i64)]) {
    static PRODUCER: OnceLock<BaseProducer> = OnceLock::new();
    let producer = PRODUCER.get_or_init(|| Broker::shared().client().create().unwrap());
    for (key, value, time_ms) in records {
        let mut record = BaseRecord::<str, str>::to(topic).partition(partition).timestamp(*time_ms);
        (record.key, record.payload) = (*key, *value);
        record = record.headers(OwnedHeaders::new().insert(Header { key: "from", value: Some("test") }));
        producer.send(record).unwrap();
    }
    producer.flush(LONG).unwrap();
}

/// Writes `{"x": 0}`, `{"x": 1}`, ... of these numbers, each at `1000 * x + 1` ms: 0 would be now.
fn numbers(topic: &str, partition: i32, range: std::ops::Range<i64>) {
    let values: Vec<(String, i64)> = range.map(|x| (format!("{{\"x\": {x}}}"), x * 1000 + 1)).collect();
    let records: Vec<_> = values.iter().map(|(value, time_ms)| (None, Some(value.as_str()), *time_ms)).collect();
    produce(topic, partition, &records);
}

pub fn values(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// Reads until `rows` rows have come.
pub async fn read(reader: &mut dyn PartitionReader, rows: usize) -> (Vec<i64>, Position) {
    let (mut found, mut position) = (Vec::new(), 0);
    while found.len() < rows {
        let next = timeout(LONG, reader.next()).await.unwrap_or_else(|_| panic!("only {} rows came", found.len()));
        let Read::Rows(batch, behind) = next.unwrap() else { panic!("it ended after {} rows", found.len()) };
        found.extend(values(&[batch]));
        position = behind;
    }
    (found, position)
}

async fn write(connectors: &Connectors, table: &TableDefinition, sql: &str) {
    connectors.writer(table).unwrap().append(select(sql).await).await.unwrap();
}

#[tokio::test]
async fn records_become_rows_with_their_key_and_metadata() {
    let project = Project::new();
    Broker::shared().topic("departures", 2);
    produce(
        "departures",
        0,
        &[
            (
                Some(r#"{"carrier":"UA"}"#),
                Some(r#"{"delay":1.5,"at":"2013-01-01T10:00:00Z","more":{"x":[1]}}"#),
                1_357_016_400_000,
            ),
            // A record without a value is no row.
            (Some(r#"{"carrier":"UA"}"#), None, 1_357_016_401_000),
            (Some(r#"{"carrier":"B6"}"#), Some(r#"{"at":"2013-01-01 05:15:00","delay":null}"#), 1_357_016_402_000),
        ],
    );
    produce("departures", 1, &[(Some(r#"{"carrier":"AA"}"#), Some(r#" {"delay":2} "#), 1_357_016_403_000)]);
    let columns = "carrier STRING, delay DOUBLE, at TIMESTAMP, p INT, o BIGINT NOT NULL, t TIMESTAMP, k STRING, h STRING, topic STRING";
    let key = [("key.format", "json"), ("key.fields", "carrier"), ("value.fields-include", "EXCEPT_KEY")];
    let mut definition = kafka("departures", columns, &key);
    let named = [
        ("p", "partition"),
        ("o", "offset"),
        ("t", "timestamp"),
        ("k", "timestamp-type"),
        ("h", "headers"),
        ("topic", "topic"),
    ];
    for (column, key) in named {
        definition = metadata(definition, column, key, true);
    }
    insta::assert_snapshot!(project.query(&definition, "SELECT * FROM t ORDER BY p, o").await.unwrap(), @r#"
    +---------+-------+---------------------+---+---+---------------------+------------+-----------------+------------+
    | carrier | delay | at                  | p | o | t                   | k          | h               | topic      |
    +---------+-------+---------------------+---+---+---------------------+------------+-----------------+------------+
    | UA      | 1.5   | 2013-01-01T10:00:00 | 0 | 0 | 2013-01-01T05:00:00 | CreateTime | {"from":"test"} | departures |
    | B6      |       | 2013-01-01T05:15:00 | 0 | 2 | 2013-01-01T05:00:02 | CreateTime | {"from":"test"} | departures |
    | AA      | 2.0   |                     | 1 | 0 | 2013-01-01T05:00:03 | CreateTime | {"from":"test"} | departures |
    +---------+-------+---------------------+---+---+---------------------+------------+-----------------+------------+
    "#);
    let counted = project.query(&definition, "SELECT count(*) AS n, max(o) AS o FROM t").await.unwrap();
    assert!(counted.contains("| 3 | 2 |"), "{counted}");
    let source = project.connectors.source(&definition).unwrap();
    assert!(!source.is_bounded());
    assert_eq!(source.partitions().await.unwrap(), ["departures-0", "departures-1"]);
    let mut reader = source.open(0, 2, &[4, 1], false).await.unwrap();
    let (batches, position) = drain(reader.as_mut()).await.unwrap();
    assert_eq!((batches[0].num_rows(), batches[0].num_columns(), position), (1, 2, 4));
}

#[tokio::test]
async fn a_reader_follows_and_loses_nothing_when_it_is_dropped() {
    let project = Project::new();
    Broker::shared().topic("followed", 1);
    let source = project.connectors.source(&kafka("followed", "x BIGINT", &[])).unwrap();
    let mut reader = source.open(0, 0, &[0], true).await.unwrap();
    assert!(matches!(reader.next().await.unwrap(), Read::Rows(rows, 1) if rows.num_rows() == 0));
    let mut found = Vec::new();
    for round in 0..20 {
        numbers("followed", 0, round * 10..round * 10 + 10);
        while found.len() < (round as usize + 1) * 10 {
            // Dropped as often as not while it waits.
            if let Ok(next) = timeout(Duration::from_micros(300), reader.next()).await {
                let Read::Rows(rows, position) = next.unwrap() else { panic!("it ended") };
                found.extend(values(&[rows]));
                assert_eq!(position, found.len() as u64 + 1);
            }
        }
    }
    assert_eq!(found, (0..200).collect::<Vec<_>>());
    // Another one goes on in the middle, beside the first.
    let mut second = source.open(0, 101, &[0], true).await.unwrap();
    assert_eq!(read(second.as_mut(), 100).await, ((100..200).collect(), 201));
    numbers("followed", 0, 200..201);
    assert_eq!(read(reader.as_mut(), 1).await.0, [200]);
    assert_eq!(read(second.as_mut(), 1).await.0, [200]);
    // A position that the topic does not have is not read as another.
    let error = source.open(0, 300, &[0], true).await.err().unwrap().to_string();
    assert!(error.contains("no longer has the rows of topic 'followed'"), "{error}");
}

#[tokio::test]
async fn many_rows_come_in_batches() {
    let project = Project::new();
    Broker::shared().topic("many", 1);
    numbers("many", 0, 0..20_000);
    let source = project.connectors.source(&kafka("many", "x BIGINT", &[])).unwrap();
    for (from, expected) in [(0, 0..20_000), (19_991, 19_990..20_000)] {
        let mut reader = source.open(0, from, &[0], false).await.unwrap();
        let (batches, position) = drain(reader.as_mut()).await.unwrap();
        assert_eq!((values(&batches), position), (expected.collect(), 20_001));
        assert!(batches.iter().all(|batch| batch.num_rows() <= 8192) && batches.len() < 200, "{}", batches.len());
        assert_eq!(reader.progress().unwrap().lag(), Some(0));
    }
}

/// The values of a bounded read of two partitions: 0 to 9 in the first, 10 to 14 in the second.
async fn span(project: &Project, options: &[(&str, &str)]) -> Vec<i64> {
    let source = project.connectors.source(&kafka("spans", "x BIGINT", options)).unwrap();
    let mut found = Vec::new();
    for partition in 0..2 {
        let mut reader = source.open(partition, 0, &[0], source.is_bounded()).await.unwrap();
        found.extend(values(&timeout(LONG, drain(reader.as_mut())).await.unwrap().unwrap().0));
    }
    found
}

#[tokio::test]
async fn reading_begins_and_ends_where_the_table_says() {
    let project = Project::new();
    Broker::shared().topic("spans", 2);
    numbers("spans", 0, 0..10);
    numbers("spans", 1, 10..15);
    let group = ("properties.group.id", "spans-readers");
    let acknowledged = project.connectors.source(&kafka("spans", "x BIGINT", &[group])).unwrap();
    acknowledged.acknowledge(&[(0, 8)]).await.unwrap();
    let (mode, bounded) = ("scan.startup.mode", "scan.bounded.mode");
    let (from, to) = ("scan.startup.timestamp-millis", "scan.bounded.timestamp-millis");
    let (offsets, end_offsets) = ("scan.startup.specific-offsets", "scan.bounded.specific-offsets");
    let cases: Vec<(Given<'_>, Vec<i64>)> = vec![
        (vec![], (0..15).collect()),
        (vec![(mode, "earliest-offset")], (0..15).collect()),
        (vec![(mode, "latest-offset")], vec![]),
        (vec![(mode, "timestamp"), (from, "8500")], (9..15).collect()),
        (vec![(mode, "timestamp"), (from, "99000")], vec![]),
        (vec![(mode, "specific-offsets"), (offsets, "partition:0,offset:7;partition:1,offset:4")], vec![7, 8, 9, 14]),
        (vec![(mode, "specific-offsets"), (offsets, "partition:1,offset:4")], (0..10).chain([14]).collect()),
        // The group has committed for the first partition only.
        (vec![group], (7..15).collect()),
        (vec![group, ("properties.auto.offset.reset", "latest")], vec![7, 8, 9]),
        (vec![group, (mode, "earliest-offset")], (0..15).collect()),
        (vec![(bounded, "latest-offset")], (0..15).collect()),
        (vec![group, (mode, "earliest-offset"), (bounded, "group-offsets")], (0..7).chain(10..15).collect()),
        (vec![(bounded, "timestamp"), (to, "12000")], (0..12).collect()),
        (vec![(bounded, "specific-offsets"), (end_offsets, "partition:0,offset:2;partition:1,offset:0")], vec![0, 1]),
    ];
    for (options, expected) in cases {
        assert_eq!(span(&project, &options).await, expected, "{options:?}");
    }
    let none = [group, ("properties.auto.offset.reset", "none")];
    let source = project.connectors.source(&kafka("spans", "x BIGINT", &none)).unwrap();
    assert_eq!(read(source.open(0, 0, &[0], false).await.unwrap().as_mut(), 3).await.0, [7, 8, 9]);
    let error = source.open(1, 0, &[0], false).await.err().unwrap().to_string();
    assert!(error.contains("group 'spans-readers' has committed nothing for partition 1"), "{error}");
}

#[tokio::test]
async fn where_reading_began_is_a_position_before_anything_has_come() {
    let project = Project::new();
    Broker::shared().topic("late", 1);
    numbers("late", 0, 0..5);
    let source =
        project.connectors.source(&kafka("late", "x BIGINT", &[("scan.startup.mode", "latest-offset")])).unwrap();
    let mut reader = source.open(0, 0, &[0], true).await.unwrap();
    let Read::Rows(none, position) = reader.next().await.unwrap() else { panic!("it ended") };
    assert_eq!((none.num_rows(), position), (0, 6));
    drop(reader);
    numbers("late", 0, 5..7);
    // The end has moved, but not the beginning that was decided.
    let mut reader = source.open(0, position, &[0], true).await.unwrap();
    assert_eq!(read(reader.as_mut(), 2).await, (vec![5, 6], 8));
}

#[tokio::test]
async fn a_partition_that_comes_later_is_read_from_its_first_record() {
    let project = Project::new();
    Broker::shared().topic("growing", 1);
    let options = [("scan.startup.mode", "latest-offset"), ("scan.topic-partition-discovery.interval", "30 s")];
    let source = project.connectors.source(&kafka("growing", "x BIGINT", &options)).unwrap();
    assert_eq!(source.discovery_interval(), Some(Duration::from_secs(30)));
    assert_eq!(source.partitions().await.unwrap().len(), 1);
    Broker::shared().grow("growing", 2);
    while source.partitions().await.unwrap().len() < 2 {}
    // It may have records before anybody has seen it.
    numbers("growing", 1, 10..13);
    let mut old = source.open(0, 0, &[0], true).await.unwrap();
    assert!(matches!(old.next().await.unwrap(), Read::Rows(none, 1) if none.num_rows() == 0));
    assert_eq!(read(source.open(1, 0, &[0], true).await.unwrap().as_mut(), 3).await, (vec![10, 11, 12], 4));
}

#[tokio::test]
async fn bad_records_are_fatal_with_their_place_or_counted() {
    let project = Project::new();
    Broker::shared().topic("bad", 1);
    let key = |n: i32| format!("{{\"k\": {n}}}");
    let keys = [key(0), key(1), "no key".to_owned(), key(3), key(4)];
    let values = [r#"{"x": 0}"#, r#"{"x": "y"}"#, r#"{"x": 2}"#, "not JSON", r#"{"x": 4}"#];
    let records: Vec<_> = keys.iter().zip(values).map(|(key, value)| (Some(key.as_str()), Some(value), 0)).collect();
    produce("bad", 0, &records);
    let columns = "x BIGINT, k BIGINT, o BIGINT";
    let options = [("key.format", "json"), ("key.fields", "k"), ("value.fields-include", "EXCEPT_KEY")];
    let strict = metadata(kafka("bad", columns, &options), "o", "offset", true);
    let error = project.read(&strict).await.unwrap_err().to_string();
    assert_eq!(error, r#"topic bad, partition 0, offset 1: column "x": cannot read "y" as BIGINT"#);
    let mut lenient = strict.clone();
    lenient.options.insert("json.ignore-parse-errors".to_owned(), "true".to_owned());
    insta::assert_snapshot!(text(&project.read(&lenient).await.unwrap()), @r#"
    +---+---+---+
    | x | k | o |
    +---+---+---+
    | 0 | 0 | 0 |
    | 4 | 4 | 4 |
    +---+---+---+
    "#);
    let source = project.connectors.source(&lenient).unwrap();
    let mut reader = source.open(0, 0, &[0, 1, 2], false).await.unwrap();
    drain(reader.as_mut()).await.unwrap();
    assert_eq!(reader.skipped_rows(), 3);
}

#[tokio::test]
async fn changes_are_read_from_the_values_of_records() {
    let project = Project::new();
    Broker::shared().topic("of_rows", 1);
    let changes = kafka("of_rows", "id BIGINT, v BIGINT", &[("format", "debezium-json")]);
    let (one, two) = (r#"{"after":{"id":1,"v":1},"op":"c"}"#, r#"{"after":{"id":2,"v":1},"op":"r"}"#);
    let update = r#"{"before":{"id":1,"v":1},"after":{"id":1,"v":2},"op":"u"}"#;
    let delete = r#"{"before":{"id":2,"v":1},"after":null,"op":"d"}"#;
    let key = Some("k");
    let records =
        [(key, Some(one), 1), (key, Some(two), 1), (key, Some(update), 1), (key, Some(delete), 1), (key, None, 1)];
    produce("of_rows", 0, &records);
    let source = project.connectors.source(&changes).unwrap();
    let mut reader = source.open(0, 0, &[0, 1], false).await.unwrap();
    let mut kinds = Vec::new();
    loop {
        match timeout(LONG, reader.next()).await.unwrap().unwrap() {
            Read::Changes(batch, _) => kinds.extend(batch.kinds.unwrap().values().to_vec()),
            Read::End => break,
            _ => {}
        }
    }
    assert_eq!(kinds, [0, 0, 1, 2, 3]);
    let left = project.query(&changes, "SELECT id, v FROM t").await.unwrap();
    assert!(left.contains("| 1  | 2 |") && left.lines().count() == 5, "{left}");
}

#[tokio::test]
async fn rows_become_records_with_key_headers_and_time() {
    let project = Project::new();
    Broker::shared().topic("written", 4);
    let columns = "id BIGINT, v STRING, at TIMESTAMP, h STRING, p INT";
    let key = [("key.format", "json"), ("key.fields", "id")];
    let mut definition = kafka("written", columns, &key);
    for (column, key, is_virtual) in [("at", "timestamp", false), ("h", "headers", false), ("p", "partition", true)] {
        definition = metadata(definition, column, key, is_virtual);
    }
    let rows = "SELECT n AS id, 'v' || n AS v, to_timestamp_millis(n * 1000 + 1000) AS at, '{\"n\":\"' || n || '\"}' AS h \
                FROM (SELECT unnest(range(0, 12)) AS n)";
    write(&project.connectors, &definition, rows).await;
    let keyless = metadata(
        metadata(metadata(kafka("written", columns, &[]), "at", "timestamp", true), "h", "headers", true),
        "p",
        "partition",
        true,
    );
    let query = "SELECT id, v, at, h FROM t ORDER BY id LIMIT 3";
    insta::assert_snapshot!(project.query(&keyless, query).await.unwrap(), @r#"
    +----+----+---------------------+-----------+
    | id | v  | at                  | h         |
    +----+----+---------------------+-----------+
    | 0  | v0 | 1970-01-01T00:00:01 | {"n":"0"} |
    | 1  | v1 | 1970-01-01T00:00:02 | {"n":"1"} |
    | 2  | v2 | 1970-01-01T00:00:03 | {"n":"2"} |
    +----+----+---------------------+-----------+
    "#);
    // Every key has one partition: the one that Java's client chooses (`Utils.toPositive(Utils.murmur2(key)) % 4`).
    let of_java = [(0, 0), (1, 0), (2, 0), (3, 3), (4, 0), (5, 1), (6, 1), (7, 1), (8, 2), (9, 3), (10, 0), (11, 0)];
    let query = "SELECT id, min(p) AS p FROM t GROUP BY id HAVING count(DISTINCT p) = 1 ORDER BY id";
    let found = project.query(&definition, query).await.unwrap();
    for (id, partition) in of_java {
        assert!(found.contains(&format!("| {id:<2} | {partition} |")), "{id}: {found}");
    }
}

#[tokio::test]
async fn the_partitioner_spreads_rows() {
    let project = Project::new();
    for (partitioner, expected) in [("round-robin", vec![2, 2, 2, 2]), ("fixed", vec![8, 0, 0, 0])] {
        let topic = format!("spread-{partitioner}");
        Broker::shared().topic(&topic, 4);
        let options = [("sink.partitioner", partitioner)];
        let definition = kafka(&topic, "n BIGINT", &options);
        write(&project.connectors, &definition, "SELECT unnest(range(0, 8)) AS n").await;
        let source = project.connectors.source(&definition).unwrap();
        let mut found = Vec::new();
        for partition in 0..4 {
            let mut reader = source.open(partition, 0, &[0], false).await.unwrap();
            found.push(values(&drain(reader.as_mut()).await.unwrap().0).len());
        }
        assert_eq!(found, expected, "{partitioner}");
    }
}

#[tokio::test]
async fn tls_and_passwords_reach_the_broker() {
    let project = Project::new();
    let broker = Broker::shared();
    broker.topic("secrets", 1);
    numbers("secrets", 0, 0..3);
    project.file("password", format!("{PASSWORD}\n"));
    project.file("wrong", "s3same open");
    let (servers, certificate) = (broker.secure_servers(), broker.certificate());
    let trust = ("properties.ssl.ca.location", certificate.as_str());
    let user = ("properties.sasl.username", "mulgil");
    let file = |name| ("password-file", name);
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"mulgil\" password=\"{PASSWORD}\";"
    );
    let cases: Vec<(&str, Given<'_>, &str)> = vec![
        ("PLAIN", vec![trust, user, file("password")], ""),
        ("SCRAM-SHA-256", vec![trust, user, file("password")], ""),
        ("PLAIN", vec![trust, ("properties.sasl.jaas.config", &jaas)], ""),
        ("PLAIN", vec![trust, user, file("wrong")], "Authentication failed: Invalid username or password"),
        ("SCRAM-SHA-256", vec![trust, user, file("wrong")], "Authentication failed"),
        ("SCRAM-SHA-512", vec![trust, user, file("password")], "SCRAM-SHA-512"),
        ("PLAIN", vec![user, file("password")], "certificate verify failed"),
        ("PLAIN", vec![trust, user, file("nowhere")], "No such file"),
    ];
    for (mechanism, more, refused) in cases {
        let mut definition = kafka("secrets", "x BIGINT", &more);
        let secure = [
            ("properties.bootstrap.servers", servers.as_str()),
            ("properties.security.protocol", "SASL_SSL"),
            ("properties.sasl.mechanism", mechanism),
        ];
        definition.options.extend(secure.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let rows = timeout(LONG, project.read(&definition)).await.unwrap();
        match rows {
            Ok(rows) => assert_eq!((values(&[rows]), refused), (vec![0, 1, 2], ""), "{mechanism} {more:?}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!refused.is_empty() && error.contains(refused), "{mechanism} {more:?}: {error}");
                assert!(!error.contains(PASSWORD) && !error.contains("s3same"), "{error}");
            }
        }
        if mechanism == "PLAIN" && refused.contains("Invalid username") {
            let writer = project.connectors.writer(&definition).unwrap();
            let error =
                timeout(LONG, writer.append(select("SELECT 1 AS x").await)).await.unwrap().unwrap_err().to_string();
            assert!(error.contains(refused), "{error}");
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_an_error() {
    let project = Project::new();
    let definition = kafka("nowhere", "x BIGINT", &[]);
    let servers = Broker::shared().servers();
    let expected = format!("table nowhere: there is no topic 'nowhere' at {servers}; create it, or mend 'topic'");
    assert_eq!(project.read(&definition).await.unwrap_err().to_string(), expected);
    let error =
        project.connectors.writer(&definition).unwrap().append(select("SELECT 1 AS x").await).await.unwrap_err();
    assert_eq!(error.to_string(), expected);
}

/// Reads on, which brings nothing, until `seen` is so.
async fn until(reader: &mut dyn PartitionReader, what: &str, seen: impl Fn() -> bool) {
    let waited = timeout(LONG, async {
        while !seen() {
            let more = timeout(Duration::from_millis(20), reader.next()).await;
            assert!(more.is_err(), "while waiting until {what}: {more:?}");
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it was never so that {what}"));
}

#[tokio::test]
async fn a_broker_that_goes_away_is_waited_for() {
    let project = Project::new();
    let broker = Broker::start();
    broker.topic("steady", 1);
    let definition = on(&broker, "steady", "x BIGINT", &[("properties.socket.timeout.ms", "2000")]);
    let source = project.connectors.source(&definition).unwrap();
    let mut reader = source.open(0, 1, &[0], true).await.unwrap();
    let progress = reader.progress().unwrap();
    write(&project.connectors, &definition, "SELECT unnest(range(0, 10)) AS x").await;
    assert_eq!(read(reader.as_mut(), 10).await.0, (0..10).collect::<Vec<_>>());
    assert_eq!(progress.waits_for(), None);

    // Stopped in its tracks: connections stay, nothing is answered.
    broker.pause();
    let writing = || {
        let (connectors, definition) = (Arc::clone(&project.connectors), definition.clone());
        move |sql: &'static str| tokio::spawn(async move { write(&connectors, &definition, sql).await })
    };
    let written = writing()("SELECT unnest(range(10, 20)) AS x");
    until(reader.as_mut(), "the wait is said", || progress.waits_for().is_some()).await;
    broker.resume();
    assert_eq!(read(reader.as_mut(), 10).await.0, (10..20).collect::<Vec<_>>());
    written.await.unwrap();

    broker.kill();
    let written = writing()("SELECT unnest(range(20, 30)) AS x");
    let read_whole = tokio::spawn({
        let (connectors, definition) = (Arc::clone(&project.connectors), definition.clone());
        async move {
            let source = connectors.source(&definition).unwrap();
            source.partitions().await.unwrap();
            values(&drain(source.open(0, 0, &[0], false).await.unwrap().as_mut()).await.unwrap().0)
        }
    });
    until(reader.as_mut(), "the wait is said", || progress.waits_for().is_some()).await;
    let said = progress.waits_for().unwrap();
    assert!(said.what.starts_with(&format!("Kafka at {}: ", broker.servers())), "{said:?}");
    broker.start_again();
    assert_eq!(read(reader.as_mut(), 10).await.0, (20..30).collect::<Vec<_>>());
    written.await.unwrap();
    until(reader.as_mut(), "the wait is over", || progress.waits_for().is_none()).await;
    // A reader that came while the broker was away has read what was there when it came back.
    let whole = read_whole.await.unwrap();
    assert!(whole.len() >= 20 && whole.iter().copied().eq(0..whole.len() as i64), "{whole:?}");
}
