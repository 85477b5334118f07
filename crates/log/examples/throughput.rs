//! Measures the event log: append MB/s and records/s for both durabilities, and replay.
//!
//! `cargo run --release -p mulgil-log --example throughput [FOLDER]`. The folder should be on the disk that matters.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use mulgil_log::{Durability, EventLog, LogOptions, Record, StartAt, Topic, TopicOptions};

const VALUE: &str =
    r#"{"carrier":"UA","flight":1545,"origin":"EWR","dest":"IAH","dep_delay":2.0,"scheduled":"2013-01-01T05:15:00"}"#;

fn batch(size: u64) -> Vec<Record> {
    let record = |number: u64| Record {
        timestamp_ms: 1_357_000_000_000 + number.cast_signed(),
        key: None,
        value: Bytes::from_static(VALUE.as_bytes()),
    };
    (0..size).map(record).collect()
}

/// Appends `records` records in batches, with so many batches on their way at once.
async fn append(topic: &Topic, records: u64, batch_size: u64, on_their_way: usize) {
    let batch = batch(batch_size);
    let mut waiting = std::collections::VecDeque::new();
    for _ in 0..records / batch_size {
        waiting.push_back(topic.send(0, &batch).await.unwrap());
        if waiting.len() >= on_their_way {
            waiting.pop_front().unwrap().await.unwrap();
        }
    }
    for append in waiting {
        append.await.unwrap();
    }
}

fn report(what: &str, records: u64, bytes: u64, began: Instant, extra: &str) {
    let seconds = began.elapsed().as_secs_f64();
    let (per_second, megabytes) = (records as f64 / seconds, bytes as f64 / 1e6 / seconds);
    println!("{what:<48} {per_second:>10.0} records/s {megabytes:>8.1} MB/s {extra}");
}

#[tokio::main]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = folder.join(format!("mulgil-log-throughput-{}", std::process::id()));
    let log = EventLog::open(&dir, LogOptions::default()).unwrap();
    let cases = [
        (Durability::Os, 2_000_000, 1_000, 16),
        (Durability::Os, 500_000, 1, 256),
        (Durability::Fsync, 2_000_000, 1_000, 16),
        (Durability::Fsync, 100_000, 1, 256),
        (Durability::Fsync, 2_000, 1, 1),
    ];
    for (number, (durability, records, batch_size, on_their_way)) in cases.into_iter().enumerate() {
        let settings = TopicOptions { durability, ..TopicOptions::default() };
        let topic = log.create_topic(&format!("case-{number}"), settings).unwrap();
        let syncs_before = log.syncs();
        let began = Instant::now();
        append(&topic, records, batch_size, on_their_way).await;
        let what = format!("append {durability:?}, {batch_size} a batch, {on_their_way} on their way");
        let syncs = log.syncs() - syncs_before;
        report(&what, records, topic.size_bytes(0).unwrap(), began, &format!("{syncs} syncs"));

        let began = Instant::now();
        let mut reader = topic.reader(0, StartAt::Earliest).unwrap();
        let (mut count, mut bytes) = (0u64, 0u64);
        loop {
            let frames = reader.read(4 << 20).unwrap();
            if frames.is_empty() {
                break;
            }
            for record in frames.iter().flat_map(mulgil_log::Frame::records) {
                count += 1;
                bytes += record.value.len() as u64;
            }
        }
        assert_eq!(count, records);
        report(&format!("  replay, {batch_size} a batch"), count, bytes, began, "");
    }
    drop(log);
    std::fs::remove_dir_all(dir).unwrap();
}
