//! The files of the event log, as a machine that lost its power or a failing disk may leave them. What is whole is read,
//! what is torn at the end is cut off, and a log that opens can be appended to.

use std::fs;

use bytes::Bytes;
use mulgil_log::{Durability, EventLog, LogOptions, Record, StartAt, Topic, TopicOptions};

/// The bytes of a frame's header: see the frames of `mulgil_log`.
const HEADER_BYTES: usize = 40;
/// From where on a frame's bytes are under its checksum.
const CHECKED_FROM: usize = 16;

/// Opens a log whose only segment is the input. The first byte says whether its checksums are mended: what hides behind them
/// would never be reached otherwise.
pub fn check(input: &[u8]) {
    let Some((choice, content)) = input.split_first() else { return };
    let mut segment = content.to_vec();
    if choice % 2 == 1 {
        mend(&mut segment);
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let options = TopicOptions { durability: Durability::Os, ..TopicOptions::default() };
    let log = EventLog::open(dir.path(), LogOptions::default()).expect("an empty log");
    drop(log.create_topic("t", options).expect("a topic"));
    drop(log);
    let place = dir.path().join("t/0/00000000000000000000.log");
    assert!(place.parent().is_some_and(|folder| folder.is_dir()), "the layout of the log has changed");
    fs::write(&place, &segment).expect("a segment");

    let _ = EventLog::open_read_only(dir.path()).and_then(|log| read(&log.topic("t")?));
    let Ok(log) = EventLog::open(dir.path(), LogOptions::default()) else { return };
    let topic = log.topic("t").expect("the topic");
    let Ok(before) = read(&topic) else { return };
    let record = Record { timestamp_ms: 1, key: None, value: Bytes::from_static(b"one more") };
    let Ok(_) = topic.append_blocking(0, &[record]) else { return };
    assert_eq!(
        read(&topic).expect("what was read is read again"),
        before + 1,
        "an appended record comes behind the others"
    );
}

/// How many records can be read.
fn read(topic: &Topic) -> Result<usize, mulgil_log::LogError> {
    let mut reader = topic.reader(0, StartAt::Earliest)?;
    let mut count = 0;
    loop {
        let frames = reader.read(1 << 20)?;
        if frames.is_empty() {
            return Ok(count);
        }
        count += frames.iter().map(|frame| frame.records().count()).sum::<usize>();
    }
}

/// Puts the right checksum and offset into each frame, as far as lengths lead.
fn mend(segment: &mut [u8]) {
    let (mut at, mut offset) = (0, 0u64);
    while let Some(header) = segment.get(at..at + HEADER_BYTES) {
        let number = |from: usize| -> u32 {
            header.get(from..from + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        let (length, count) = (number(16) as usize, number(20));
        let end = at.saturating_add(HEADER_BYTES).saturating_add(length);
        let Some(checked) = segment.get(at + CHECKED_FROM..end) else { return };
        let checksum = crc32fast::hash(checked);
        if let Some(place) = segment.get_mut(at + 4..at + 8) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        if let Some(place) = segment.get_mut(at + 8..at + 16) {
            place.copy_from_slice(&offset.to_le_bytes());
        }
        offset = offset.saturating_add(count.into());
        at = end;
    }
}
