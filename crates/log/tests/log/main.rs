//! The event log from outside: what is acknowledged is there, in order, whatever happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod append;
mod crash;
mod epochs;
mod full_disk;
mod once;
mod open;
mod retention;
mod tail;

use bytes::Bytes;
use mulgil_log::{Durability, EventLog, LogOptions, PartitionReader, Record, StartAt, Topic, TopicOptions};

/// A record whose content and timestamp follow from a number.
fn record(number: u64) -> Record {
    let key = (!number.is_multiple_of(3)).then(|| Bytes::from(format!("key {}", number % 7)));
    let value = Bytes::from(format!("record {number} {}", "x".repeat((number % 50) as usize)));
    Record { timestamp_ms: timestamp_ms(number), key, value }
}

/// Rising on the whole, with steps back.
fn timestamp_ms(number: u64) -> i64 {
    1_000_000 + (number as i64) * 10 - ((number as i64) * 7919) % 50
}

fn records(numbers: std::ops::Range<u64>) -> Vec<Record> {
    numbers.map(record).collect()
}

fn options(durability: Durability) -> TopicOptions {
    TopicOptions { durability, ..TopicOptions::default() }
}

fn small_segments() -> LogOptions {
    LogOptions { segment_bytes: 4096, ..LogOptions::default() }
}

/// Everything a reader has left, as offset and record.
fn rest(reader: &mut PartitionReader, max_bytes: usize) -> Vec<(u64, Record)> {
    let mut found = Vec::new();
    loop {
        let frames = reader.read(max_bytes).unwrap();
        if frames.is_empty() {
            return found;
        }
        for frame in frames {
            for r in frame.records() {
                let (key, value) = (r.key.map(Bytes::copy_from_slice), frame.share(r.value));
                found.push((r.offset, Record { timestamp_ms: r.timestamp_ms, key, value }));
            }
        }
    }
}

fn all(topic: &Topic) -> Vec<(u64, Record)> {
    rest(&mut topic.reader(0, StartAt::Earliest).unwrap(), 1 << 20)
}

/// Checks that offsets and contents are those of `record(0..count)`.
fn assert_intact(found: &[(u64, Record)], count: u64) {
    assert_eq!(found.len() as u64, count);
    for (number, (offset, found)) in (0..count).zip(found) {
        assert_eq!((*offset, found), (number, &record(number)));
    }
}
