//! Records of topics in every format: the first byte chooses the table, the second where the rest is cut into records.

use bytes::Bytes;
use mulgil_log::{Durability, Record, TopicOptions};

use crate::project::{COLUMNS, Project};

thread_local! {
    static PROJECT: Project = Project::new(&tables());
}

/// How many tables there are.
const TABLE_COUNT: usize = 5;

/// The tables, by the first byte of an input.
fn tables() -> Vec<(&'static str, String)> {
    let topic = |number: usize, rest: &str| format!("'connector' = 'log', 'topic' = 't{number}', {rest}");
    vec![
        (COLUMNS, topic(0, "'format' = 'json'")),
        (COLUMNS, topic(1, "'format' = 'json', 'json.ignore-parse-errors' = 'true'")),
        ("line VARCHAR", topic(2, "'format' = 'raw'")),
        ("line BYTES", topic(3, "'format' = 'raw'")),
        (COLUMNS, topic(4, "'format' = 'avro', 'bad-rows' = 'skip'")),
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
