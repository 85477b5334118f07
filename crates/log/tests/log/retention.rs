//! Retention: whole old segments go, the newest stays, readers hear of it.

use mulgil_log::{LogError, Removed};

use super::*;

fn filled(dir: &std::path::Path, settings: TopicOptions) -> (EventLog, Topic) {
    let log = EventLog::open(dir, small_segments()).unwrap();
    let topic = log.create_topic("t", settings).unwrap();
    for start in (0..1_000).step_by(20) {
        topic.append_blocking(0, &records(start..start + 20)).unwrap();
    }
    (log, topic)
}

#[test]
fn by_time() {
    let dir = tempfile::tempdir().unwrap();
    let settings = TopicOptions { retention_ms: Some(1_000), ..options(Durability::Os) };
    let (log, topic) = filled(dir.path(), settings);
    let mut behind = topic.reader(0, StartAt::Earliest).unwrap();
    behind.read(1).unwrap();

    assert_eq!(log.enforce_retention(timestamp_ms(0)).unwrap(), Removed::default());
    let before = topic.size_bytes(0).unwrap();
    let removed = log.enforce_retention(timestamp_ms(500) + 1_000).unwrap();
    assert!(removed.segments > 1);
    assert_eq!(topic.size_bytes(0).unwrap(), before - removed.bytes);
    let offsets = topic.offsets(0).unwrap();
    assert!((300..=500).contains(&offsets.start), "{offsets:?}");
    assert_eq!(offsets.end, 1_000);

    let error = behind.read(1).unwrap_err();
    assert!(matches!(error, LogError::OffsetOutOfRange { earliest, .. } if earliest == offsets.start), "{error}");
    let found = all(&topic);
    assert_eq!(found[0], (offsets.start, record(offsets.start)));
    assert_eq!(found.len() as u64, 1_000 - offsets.start);

    // However old, the segment that is written stays, and offsets go on.
    log.enforce_retention(i64::MAX).unwrap();
    let left = topic.offsets(0).unwrap();
    assert!(left.start > offsets.start && left.end == 1_000);
    assert_eq!(topic.append_blocking(0, &records(1_000..1_001)).unwrap(), 1_000..1_001);
    drop((log, topic));
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    assert_eq!(log.topic("t").unwrap().offsets(0).unwrap(), left.start..1_001);
}

#[test]
fn by_size() {
    let dir = tempfile::tempdir().unwrap();
    let settings = TopicOptions { retention_bytes: Some(10_000), ..options(Durability::Os) };
    let (log, topic) = filled(dir.path(), settings);
    assert!(topic.size_bytes(0).unwrap() > 40_000);
    log.enforce_retention(0).unwrap();
    let size = topic.size_bytes(0).unwrap();
    assert!((4_000..=10_000).contains(&size), "{size}");
    let on_disk = std::fs::read_dir(dir.path().join("t/0")).unwrap().map(|entry| entry.unwrap());
    let logs = on_disk.filter(|entry| entry.path().extension().is_some_and(|e| e == "log"));
    assert_eq!(logs.map(|entry| entry.metadata().unwrap().len()).sum::<u64>(), size);
    assert_eq!(log.enforce_retention(0).unwrap(), Removed::default());
}
