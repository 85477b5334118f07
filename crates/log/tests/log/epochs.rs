//! Epochs: visible as a whole, remembered, and after a crash there in every partition or in none.

use std::fs;
use std::path::Path;

use super::*;

const PARTITIONS: u32 = 3;

fn topic_of(log: &EventLog) -> Topic {
    log.topic_or_create("t", TopicOptions { partitions: PARTITIONS, ..TopicOptions::default() }).unwrap()
}

/// How many records each partition shows.
fn counts(topic: &Topic) -> Vec<usize> {
    let count = |partition| rest(&mut topic.reader(partition, StartAt::Earliest).unwrap(), 1 << 20).len();
    (0..PARTITIONS).map(count).collect()
}

/// Begins an epoch with `per_partition` records for each of the first `partitions`, in several parts.
async fn begun(topic: &Topic, epoch: u64, partitions: u32, per_partition: u64) -> mulgil_log::EpochAppend {
    let mut append = topic.begin_epoch("w", epoch).await.unwrap();
    for part in 0..2 {
        for partition in 0..partitions {
            let half = per_partition / 2;
            append.append(partition, &records(part * half..(part + 1) * half)).await.unwrap();
        }
    }
    append
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn an_epoch_is_visible_with_its_commit_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    let topic = topic_of(&log);
    topic.append(1, &records(0..5)).await.unwrap();
    assert_eq!(topic.last_epoch("w"), None);
    begun(&topic, 4, 2, 200).await.commit().await.unwrap();
    assert_eq!(counts(&topic), [200, 205, 0]);
    assert_eq!((topic.last_epoch("w"), topic.last_epoch("v")), (Some(4), None));
    let dropped = begun(&topic, 5, 3, 100).await;
    assert_eq!(counts(&topic), [200, 205, 0]);
    drop(dropped);
    // Appends go on behind what was taken back, and others find it gone.
    topic.append(0, &records(0..1)).await.unwrap();
    assert_eq!(counts(&topic), [201, 205, 0]);
    assert_eq!(topic.last_epoch("w"), Some(4));
    let beside = EventLog::open_read_only(dir.path()).unwrap().topic("t").unwrap();
    assert_eq!((counts(&beside), beside.last_epoch("w")), (vec![201, 205, 0], Some(4)));
    drop((topic, log));
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    let topic = topic_of(&log);
    assert_eq!((counts(&topic), topic.last_epoch("w")), (vec![201, 205, 0], Some(4)));
    begun(&topic, 5, 3, 100).await.commit().await.unwrap();
    assert_eq!(counts(&topic), [301, 305, 100]);
    let mut reader = topic.reader(2, StartAt::Time(timestamp_ms(60))).unwrap();
    assert!(rest(&mut reader, 1 << 20).len() >= 40);
}

#[tokio::test]
async fn a_crash_leaves_an_epoch_in_every_partition_or_in_none() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let topic = topic_of(&log);
    topic.append(1, &records(0..5)).await.unwrap();
    begun(&topic, 1, 2, 20).await.commit().await.unwrap();
    let note = fs::read(dir.path().join("t/epochs.json")).unwrap();
    let lengths = |dir: &Path| -> Vec<u64> {
        let length = |n: u32| fs::metadata(dir.join(format!("t/{n}/{:020}.log", 0))).unwrap().len();
        (0..PARTITIONS).map(length).collect()
    };
    let before = lengths(dir.path());
    begun(&topic, 2, 3, 400).await.commit().await.unwrap();
    let after = lengths(dir.path());
    // The process dies before the note: of what it has written, any part may be there.
    for written in 0..16_u64 {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        fs::write(crashed.path().join("t/epochs.json"), &note).unwrap();
        for (n, (before, after)) in before.iter().zip(&after).enumerate() {
            let path = crashed.path().join(format!("t/{n}/{:020}.log", 0));
            let kept = before + (after - before) * ((written * (n as u64 + 3)) % 16) / 15;
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(kept).unwrap();
        }
        let beside = EventLog::open_read_only(crashed.path()).unwrap().topic("t").unwrap();
        assert_eq!(counts(&beside), [20, 25, 0], "{written}");
        let log = EventLog::open(crashed.path(), LogOptions::default()).unwrap();
        let topic = topic_of(&log);
        assert_eq!((counts(&topic), topic.last_epoch("w")), (vec![20, 25, 0], Some(1)), "{written}");
        assert_eq!(lengths(crashed.path()), before, "{written}");
        begun(&topic, 2, 3, 400).await.commit().await.unwrap();
        assert_eq!(counts(&topic), [420, 425, 400], "{written}");
    }
    // It dies behind the note.
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    let log = EventLog::open(crashed.path(), LogOptions::default()).unwrap();
    assert_eq!((counts(&topic_of(&log)), topic_of(&log).last_epoch("w")), (vec![420, 425, 400], Some(2)));
}

#[tokio::test]
async fn a_garbled_note_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    begun(&topic_of(&log), 1, 3, 20).await.commit().await.unwrap();
    drop(log);
    fs::write(dir.path().join("t/epochs.json"), "{\"last\": 7}").unwrap();
    let refused = EventLog::open(dir.path(), LogOptions::default()).unwrap_err().to_string();
    assert!(refused.contains("epochs.json is damaged"), "{refused}");
}
