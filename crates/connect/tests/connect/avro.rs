//! Avro: files of all codecs and types, records byte by byte as the specification has them, and a schema registry over HTTP.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use mulgil_connect::definition::TableDefinition;
use mulgil_connect::sink::Sink;
use mulgil_dataflow::batch::Batch;
use mulgil_log::{Record, StartAt, TopicOptions};

use super::project::{Project, select, table};

const COLUMNS: &str = "i INT, l BIGINT, f DOUBLE, b BOOLEAN, s STRING, y BYTES, d DATE, c DECIMAL, t TIMESTAMP, z TIMESTAMP_LTZ, n BIGINT NOT NULL";
const ROWS: &str = "SELECT CAST(x AS INT) AS i, x * 1000000007 AS l, x / 3.0 AS f, x % 2 = 0 AS b, concat('é', x) AS s, \
    arrow_cast(concat('y', x), 'Binary') AS y, DATE '1969-12-30' + CAST(x AS INT) AS d, CAST(x - 2.25 AS DECIMAL(10, 2)) AS c, \
    arrow_cast(x * 1001 - 5000, 'Timestamp(Millisecond, None)') AS t, arrow_cast(x * 77, 'Timestamp(Millisecond, Some(\"UTC\"))') AS z, \
    x AS n FROM (SELECT unnest(range(0, 20)) AS x) UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 7";

#[tokio::test]
async fn files_come_back_as_they_were_written() {
    let project = Project::new();
    let mut texts = Vec::new();
    for codec in ["snappy", "null", "deflate", "zstandard"] {
        let path = format!("out-{codec}");
        let options = [("connector", "filesystem"), ("path", &*path), ("format", "avro"), ("avro.codec", codec)];
        let definition = table("out", COLUMNS, &options);
        project.connectors.writer(&definition).unwrap().append(select(ROWS).await).await.unwrap();
        texts.push(project.query(&definition, "SELECT * FROM t ORDER BY n, i").await.unwrap());
        // A reader goes on in the middle, with some of the columns.
        let source = project.connectors.source(&definition).unwrap();
        let mut reader = source.open(0, 15, &[10, 4], true).await.unwrap();
        let (rest, position) = super::project::drain(reader.as_mut()).await.unwrap();
        assert_eq!((rest.iter().map(|rows| rows.num_rows()).sum::<usize>(), position), (6, 21), "{codec}");
    }
    assert!(texts.iter().all(|text| text == &texts[0]));
    let csv = table("t", COLUMNS, &[("connector", "filesystem"), ("path", "out-csv"), ("format", "json")]);
    project
        .connectors
        .writer(&csv)
        .unwrap()
        .append(select(&ROWS.replace("arrow_cast(concat('y', x), 'Binary')", "NULL")).await)
        .await
        .unwrap();
    let columns = "i, l, f, b, s, d, c, t, z, n";
    let sql = format!("SELECT {columns} FROM t ORDER BY n, i");
    let avro = table("t", COLUMNS, &[("connector", "filesystem"), ("path", "out-null"), ("format", "avro")]);
    assert_eq!(project.query(&avro, &sql).await.unwrap(), project.query(&csv, &sql).await.unwrap());
}

#[tokio::test]
async fn what_is_no_avro_file_is_said() {
    let project = Project::new();
    let options = [("connector", "filesystem"), ("path", "in.avro"), ("format", "avro")];
    project.file("in.avro", "x,y\n1,2\n");
    let error = project.read(&table("in", "x BIGINT", &options)).await.unwrap_err().to_string();
    assert!(error.contains("in.avro: this is not an Avro file"), "{error}");
    std::fs::remove_file(project.path("in.avro")).unwrap();
    let written = table("in", "x STRING", &options);
    project
        .connectors
        .writer(&written)
        .unwrap()
        .replace_table(select("SELECT '5' AS x UNION ALL SELECT 'six'").await)
        .await
        .unwrap();
    let error = project.read(&table("in", "x BIGINT", &options)).await.unwrap_err().to_string();
    assert!(error.contains("row 2: column \"x\": cannot read \"six\" as BIGINT"), "{error}");
    let error = project.read(&table("in", "z BIGINT NOT NULL", &options)).await.unwrap_err().to_string();
    assert!(error.contains("column \"z\" is missing; the file has: x"), "{error}");
    let bytes = std::fs::read(project.path("in.avro")).unwrap();
    std::fs::write(project.path("in.avro"), &bytes[..bytes.len() - 9]).unwrap();
    let error = project.read(&written).await.unwrap_err().to_string();
    assert!(error.contains("it ends in the middle of a block"), "{error}");
}

async fn produce(project: &Project, topic: &str, values: &[&[u8]]) {
    let topic = project.log.topic_or_create(topic, TopicOptions::default()).unwrap();
    let record = |value: &&[u8]| Record { timestamp_ms: 0, key: None, value: value.to_vec().into() };
    topic.append(0, &values.iter().map(record).collect::<Vec<_>>()).await.unwrap();
}

fn values(project: &Project, topic: &str) -> Vec<Vec<u8>> {
    let mut reader = project.log.topic(topic).unwrap().reader(0, StartAt::Earliest).unwrap();
    reader
        .read(1 << 20)
        .unwrap()
        .iter()
        .flat_map(|frame| frame.records().map(|record| record.value.to_vec()).collect::<Vec<_>>())
        .collect()
}

async fn write(sink: &Arc<dyn Sink>, sql: &str) {
    let mut writer = sink.writer(0).await.unwrap();
    let rows: Vec<_> = futures::TryStreamExt::try_collect(select(sql).await).await.unwrap();
    for rows in rows {
        writer.write(Batch::append(rows)).await.unwrap();
    }
    writer.commit().await.unwrap();
}

fn topic(name: &str, columns: &str, more: &[(&str, &str)]) -> TableDefinition {
    let options = [("connector", "log"), ("topic", name)];
    table("t", columns, &options.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
}

#[tokio::test]
async fn plain_records_are_as_the_specification_has_them() {
    let project = Project::new();
    let own = topic("own", "n BIGINT NOT NULL, s STRING", &[("format", "avro")]);
    write(
        &project.connectors.sink(&own).unwrap(),
        "SELECT CAST(5 AS BIGINT) AS n, 'ab' AS s UNION ALL SELECT -1, NULL",
    )
    .await;
    let mut written = values(&project, "own");
    written.sort();
    // Zigzag numbers, lengths before bytes, the branch of a union before its value.
    assert_eq!(written, [vec![0x01, 0x00], vec![0x0a, 0x02, 0x04, b'a', b'b']]);
    let found = project.query(&own, "SELECT n, s FROM t ORDER BY n").await.unwrap();
    assert!(found.contains("| -1 |    |") && found.contains("| 5  | ab |"), "{found}");
    // Written with another schema: other order, other types, a field more, a field less.
    let writer = r#"{"type":"record","name":"bid","namespace":"com.x","fields":[
        {"name":"extra","type":{"type":"array","items":"long"}},{"name":"s","type":"string"},{"name":"n","type":"int"}]}"#;
    let other = topic("other", "n BIGINT NOT NULL, s STRING, m DOUBLE", &[("format", "avro"), ("avro.schema", writer)]);
    produce(&project, "other", &[&[0x04, 0x02, 0x04, 0x00, 0x02, b'x', 0x54]]).await;
    let found = project.query(&other, "SELECT * FROM t").await.unwrap();
    assert!(found.contains("| 42 | x |   |"), "{found}");
    // Bytes that are no row of that schema: cut off, too many, nonsense; they are found among good ones.
    let good: &[u8] = &[0x00, 0x02, b'y', 0x02];
    produce(&project, "other", &[good, &[0x00, 0x02], good, &[0x00, 0x02, b'y', 0x02, 0x02], &[0xff; 12], good]).await;
    let error = project.query(&other, "SELECT * FROM t").await.unwrap_err().to_string();
    assert!(error.contains("offset 2: not Avro of the writer's schema"), "{error}");
    let mut skipping = other.clone();
    skipping.options.insert("avro.ignore-parse-errors".to_owned(), "true".to_owned());
    let found = project.query(&skipping, "SELECT count(*) AS c, sum(n) AS s FROM t").await.unwrap();
    assert!(found.contains("| 4 | 45 |"), "{found}");
    let refused =
        project.connectors.check(&topic("t", "n BIGINT", &[("format", "avro"), ("avro.schema", "{")])).unwrap_err();
    assert!(refused.to_string().contains("'avro.schema' cannot be read"), "{refused}");
}

/// A registry, as small as one can be, over real HTTP.
struct Registry {
    url: String,
    /// Schemas in the order of their numbers, from 1, with their subjects.
    schemas: Arc<Mutex<Vec<(String, String)>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Registry {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let registry = Self { url, schemas: Arc::default(), requests: Arc::default() };
        let (schemas, requests) = (Arc::clone(&registry.schemas), Arc::clone(&registry.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &schemas, &requests);
            }
        });
        registry
    }
}

fn serve(mut stream: TcpStream, schemas: &Mutex<Vec<(String, String)>>, requests: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    lines.read_line(&mut request).unwrap();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    requests.lock().unwrap().push(format!("{} {path}", request.split(' ').next().unwrap()));
    let mut schemas = schemas.lock().unwrap();
    let (status, answer) = if let Some(id) = path.strip_prefix("/schemas/ids/") {
        match schemas.get(id.parse::<usize>().unwrap() - 1) {
            Some((_, schema)) => (200, serde_json::json!({ "schema": schema })),
            None => (404, serde_json::json!({ "error_code": 40403, "message": "Schema not found" })),
        }
    } else {
        let subject = path.trim_start_matches("/subjects/").trim_end_matches("/versions").to_owned();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let schema = body["schema"].as_str().unwrap().to_owned();
        if subject == "refused" {
            (409, serde_json::json!({ "error_code": 409, "message": "incompatible with an earlier schema" }))
        } else {
            let found = schemas.iter().position(|known| known.1 == schema).unwrap_or_else(|| {
                schemas.push((subject, schema));
                schemas.len() - 1
            });
            (200, serde_json::json!({ "id": found + 1 }))
        }
    };
    let answer = answer.to_string();
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_asked_for_schemas_and_told_of_them() {
    let (project, registry) = (Project::new(), Registry::start());
    let older = r#"{"type":"record","name":"bid","fields":[{"name":"price","type":"int"}]}"#;
    registry.schemas.lock().unwrap().push(("bids-value".to_owned(), older.to_owned()));
    let options = [("format", "avro-confluent"), ("avro-confluent.url", registry.url.as_str())];
    let bids = topic("bids", "price BIGINT, who STRING", &options);
    produce(&project, "bids", &[&[0, 0, 0, 0, 1, 0x54], &[0, 0, 0, 0, 1, 0x02]]).await;
    let sink = project.connectors.sink(&bids).unwrap();
    write(&sink, "SELECT 7 AS price, 'me' AS who").await;
    write(&sink, "SELECT 8 AS price, 'you' AS who").await;
    // The row is framed with the number that the registry gave.
    assert_eq!(values(&project, "bids")[2], [0, 0, 0, 0, 2, 0x02, 0x0e, 0x02, 0x04, b'm', b'e']);
    assert_eq!(registry.schemas.lock().unwrap()[1].0, "bids%2Dvalue");
    produce(&project, "bids", &[&[0, 0, 0, 0, 1, 0x04]]).await;
    let found = project.query(&bids, "SELECT sum(price) AS s, count(who) AS w, count(*) AS c FROM t").await.unwrap();
    assert!(found.contains("| 60 | 2 | 5 |"), "{found}");
    let requests = registry.requests.lock().unwrap().clone();
    let posts = requests.iter().filter(|request| request.starts_with("POST")).count();
    assert_eq!((posts, requests.len()), (1, 3), "each number is asked for once: {requests:?}");
    // What is not framed, and what the registry does not know.
    for (value, reason) in [
        (&[9, 9][..], "does not begin with a zero and the number of a schema"),
        (&[0, 0, 0, 0, 99, 1], "the registry knows no schema 99"),
    ] {
        let project = Project::new();
        produce(&project, "bids", &[&[0, 0, 0, 0, 1, 0x54], value]).await;
        let error = project.query(&bids, "SELECT * FROM t").await.unwrap_err().to_string();
        assert!(error.contains("offset 1") && error.contains(reason), "{error}");
        let mut skipping = bids.clone();
        skipping.options.insert("avro-confluent.ignore-parse-errors".to_owned(), "true".to_owned());
        let found = project.query(&skipping, "SELECT count(*) AS c FROM t").await.unwrap();
        assert!(found.contains("| 1 |"), "{found}");
    }
    let refused = topic("bids", "price BIGINT", &[options[0], options[1], ("avro-confluent.subject", "refused")]);
    let sink = project.connectors.sink(&refused).unwrap();
    let rows: Vec<_> = futures::TryStreamExt::try_collect(select("SELECT 7 AS price").await).await.unwrap();
    let error = sink.writer(0).await.unwrap().write(Batch::append(rows[0].clone())).await.unwrap_err().to_string();
    assert!(error.contains("answers 409: incompatible with an earlier schema"), "{error}");
}

#[tokio::test]
async fn changes_are_written_as_debezium_has_them() {
    let project = Project::new();
    let definition = topic("changes", "k STRING, n BIGINT", &[("format", "debezium-json")]);
    let sink = project.connectors.sink(&definition).unwrap();
    assert!(sink.accepts_changes());
    let mut writer = sink.writer(0).await.unwrap();
    let rows: Vec<_> =
        futures::TryStreamExt::try_collect(select("SELECT 'a' AS k, unnest(range(1, 5)) AS n").await).await.unwrap();
    let kinds = Some(arrow::array::UInt8Array::from(vec![0, 1, 2, 3]));
    writer.write(Batch { rows: rows[0].clone(), kinds }).await.unwrap();
    writer.commit().await.unwrap();
    let written: Vec<String> =
        values(&project, "changes").into_iter().map(|value| String::from_utf8(value).unwrap()).collect();
    assert_eq!(
        written,
        [
            r#"{"before":null,"after":{"k":"a","n":1},"op":"c"}"#,
            r#"{"before":{"k":"a","n":2},"after":null,"op":"d"}"#,
            r#"{"before":null,"after":{"k":"a","n":3},"op":"c"}"#,
            r#"{"before":{"k":"a","n":4},"after":null,"op":"d"}"#,
        ]
    );
}
