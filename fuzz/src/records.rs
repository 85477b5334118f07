//! Records of topics in every format: the first byte chooses the table, the second where the rest is cut into records.

use bytes::Bytes;
use mulgil_log::{Durability, Record, TopicOptions};

use crate::project::{COLUMNS, Project};
use crate::registry;

thread_local! {
    static PROJECT: Project = Project::new(&tables());
}

/// How many tables there are.
const TABLE_COUNT: usize = 10;

/// A schema with more in it than the table has columns.
const NESTED: &str = r#"{"type":"record","name":"row","fields":[{"name":"tags","type":{"type":"array","items":"string"}},{"name":"counts","type":{"type":"map","values":"long"}},{"name":"kind","type":{"type":"enum","name":"kind","symbols":["a","b"]}},{"name":"small","type":"int"},{"name":"note","type":"string"}]}"#;

/// The tables, by the first byte of an input.
fn tables() -> Vec<(&'static str, String)> {
    let registry = registry::serve();
    let topic = |number: usize, rest: &str| format!("'connector' = 'log', 'topic' = 't{number}', {rest}");
    vec![
        (COLUMNS, topic(0, "'format' = 'json'")),
        (COLUMNS, topic(1, "'format' = 'json', 'json.ignore-parse-errors' = 'true'")),
        ("line VARCHAR", topic(2, "'format' = 'raw'")),
        ("line BYTES", topic(3, "'format' = 'raw'")),
        (COLUMNS, topic(4, "'format' = 'avro', 'bad-rows' = 'skip'")),
        (COLUMNS, topic(5, "'format' = 'debezium-json', 'bad-rows' = 'skip'")),
        (COLUMNS, topic(6, "'format' = 'debezium-json', 'debezium-json.schema-include' = 'true', 'bad-rows' = 'skip'")),
        (
            COLUMNS,
            topic(7, &format!("'format' = 'avro-confluent', 'avro-confluent.url' = '{registry}', 'bad-rows' = 'skip'")),
        ),
        (COLUMNS, topic(8, "'format' = 'avro', 'bad-rows' = 'dead-letter', 'dead-letter.topic' = 'rejects'")),
        (
            "note VARCHAR NOT NULL, small INT",
            topic(9, &format!("'format' = 'avro', 'avro.schema' = '{NESTED}', 'bad-rows' = 'skip'")),
        ),
    ]
}

/// Appends the records, and reads them back through the table.
pub fn check(input: &[u8]) {
    let [choice, cut, values @ ..] = input else { return };
    let number = usize::from(*choice) % TABLE_COUNT;
    PROJECT.with(|project| {
        let options = TopicOptions { durability: Durability::Os, ..TopicOptions::default() };
        let topic = project.log.topic_or_create(&format!("t{number}"), options).expect("a topic");
        let size = usize::from(*cut).max(1) * 4;
        let records: Vec<Record> = values
            .chunks(size)
            .map(|value| Record { timestamp_ms: 0, key: None, value: Bytes::copy_from_slice(value) })
            .collect();
        if records.is_empty() {
            return;
        }
        let added = topic.append_blocking(0, &records).expect("an append");
        let source = project.source(number);
        let _ = project.io.block_on(source.partitions());
        let _ = project.read(source.as_ref(), 0, added.start);
    });
}
