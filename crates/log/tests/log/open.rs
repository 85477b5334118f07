//! Opening: locks, reading beside a writer, names, settings.

use mulgil_log::LogError;

use super::*;

#[test]
fn one_process_writes_and_others_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    topic.append_blocking(0, &records(0..200)).unwrap();

    let refused = EventLog::open(dir.path(), LogOptions::default()).unwrap_err();
    assert!(matches!(refused, LogError::Locked { .. }));
    assert!(refused.to_string().ends_with("is in use by another process; stop it, or open the log for reading only"));

    let reading = EventLog::open_read_only(dir.path()).unwrap();
    let same = reading.topic("t").unwrap();
    assert_intact(&all(&same), 200);
    assert!(matches!(same.append_blocking(0, &records(0..1)), Err(LogError::ReadOnly { .. })));
    assert!(matches!(reading.create_topic("u", options(Durability::Os)), Err(LogError::ReadOnly { .. })));

    drop(log);
    // A topic keeps the log open.
    assert!(matches!(EventLog::open(dir.path(), LogOptions::default()), Err(LogError::Locked { .. })));
    drop(topic);
    assert_intact(&all(&EventLog::open(dir.path(), LogOptions::default()).unwrap().topic("t").unwrap()), 200);
}

#[test]
fn topics_keep_their_settings() {
    let dir = tempfile::tempdir().unwrap();
    let settings = TopicOptions {
        partitions: 3,
        retention_ms: Some(60_000),
        retention_bytes: Some(1 << 30),
        durability: Durability::Os,
    };
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    log.create_topic("b.settings-1", settings.clone()).unwrap();
    log.create_topic("a", TopicOptions::default()).unwrap();
    assert!(matches!(log.create_topic("a", TopicOptions::default()), Err(LogError::TopicExists { .. })));
    assert!(matches!(log.topic("c"), Err(LogError::UnknownTopic { .. })));
    drop(log);
    // A crash before the settings were written leaves a folder that is no topic.
    std::fs::create_dir(dir.path().join("half")).unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let names: Vec<String> = log.topics().iter().map(|topic| topic.name().to_owned()).collect();
    assert_eq!(names, ["a", "b.settings-1"]);
    assert_eq!(log.topic("b.settings-1").unwrap().options(), &settings);
    assert_eq!(log.topic_or_create("b.settings-1", TopicOptions::default()).unwrap().options(), &settings);
    log.create_topic("half", TopicOptions::default()).unwrap();
}

#[test]
fn bad_names_and_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    for name in ["", ".", "..", "../t", "a/b", "a\\b", ".hidden", "lock", "a b", "é", "a\0b", &"x".repeat(201)] {
        let refused = log.create_topic(name, TopicOptions::default());
        assert!(matches!(refused, Err(LogError::TopicName { .. })), "{name:?}");
    }
    for partitions in [0, 1025] {
        let refused = log.create_topic("t", TopicOptions { partitions, ..TopicOptions::default() });
        assert!(matches!(refused, Err(LogError::TopicOptions { .. })));
    }
    let refused = log.create_topic("t", TopicOptions { retention_ms: Some(-1), ..TopicOptions::default() });
    assert!(matches!(refused, Err(LogError::TopicOptions { .. })));
    assert!(log.topics().is_empty());
}

#[test]
fn lost_or_damaged_indexes_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    for start in (0..600).step_by(20) {
        topic.append_blocking(0, &records(start..start + 20)).unwrap();
    }
    drop((log, topic));
    let partition = dir.path().join("t/0");
    let files = std::fs::read_dir(&partition).unwrap().map(|entry| entry.unwrap().path());
    let indexes: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "index")).collect();
    assert!(indexes.len() > 4);
    std::fs::remove_file(&indexes[0]).unwrap();
    std::fs::write(&indexes[1], b"").unwrap();
    std::fs::write(&indexes[2], [0; 100]).unwrap();
    let mut garbled = std::fs::read(&indexes[3]).unwrap();
    garbled[9] ^= 1;
    std::fs::write(&indexes[3], garbled).unwrap();
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    assert_intact(&all(&log.topic("t").unwrap()), 600);
}

#[test]
fn damage_within_is_an_error_that_names_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    for start in (0..600).step_by(20) {
        topic.append_blocking(0, &records(start..start + 20)).unwrap();
    }
    // The second segment of many: not a tail, so nothing may be cut off.
    let mut files: Vec<_> = std::fs::read_dir(dir.path().join("t/0")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    let mut bytes = std::fs::read(&files[1]).unwrap();
    bytes[100] ^= 0x40;
    std::fs::write(&files[1], &bytes).unwrap();

    let mut reader = topic.reader(0, StartAt::Earliest).unwrap();
    let mut outcome = Ok(Vec::new());
    while outcome.as_ref().is_ok_and(|_| reader.offset() < 600) {
        outcome = reader.read(1 << 20);
    }
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("is damaged at byte 0: the checksum does not match"), "{error}");

    drop((log, topic));
    std::fs::remove_file(files[1].with_extension("index")).unwrap();
    let error = EventLog::open(dir.path(), small_segments()).unwrap_err().to_string();
    assert!(error.contains("is damaged at byte 0: the checksum does not match"), "{error}");
    std::fs::remove_file(&files[1]).unwrap();
    let error = EventLog::open(dir.path(), small_segments()).unwrap_err().to_string();
    assert!(error.contains("are missing before it"), "{error}");
}
