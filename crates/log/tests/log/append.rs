//! Appending and reading: order, places to start, waking up, sharing syncs.

use mulgil_log::LogError;

use super::*;

#[test]
fn records_come_back_in_order_over_many_segments_and_openings() {
    for durability in [Durability::Os, Durability::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let mut next = 0;
        for opening in 0..3 {
            let log = EventLog::open(dir.path(), small_segments()).unwrap();
            let topic = log.topic_or_create("t", options(durability)).unwrap();
            assert_eq!(topic.offsets(0).unwrap(), 0..next);
            for size in [1, 7, 100, 3] {
                let got = topic.append_blocking(0, &records(next..next + size)).unwrap();
                assert_eq!(got, next..next + size);
                next += size;
            }
            assert_eq!(topic.append_blocking(0, &[]).unwrap(), next..next);
            for max_bytes in [1, 300, 1 << 20] {
                let mut reader = topic.reader(0, StartAt::Earliest).unwrap();
                assert_intact(&rest(&mut reader, max_bytes), next);
                assert_eq!(reader.offset(), next);
            }
            let segments = std::fs::read_dir(dir.path().join("t/0")).unwrap().count();
            assert!(segments > opening + 1, "segments must roll");
        }
    }
}

#[test]
fn reading_starts_at_any_offset_and_any_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let count = 1_000;
    for start in (0..count).step_by(25) {
        topic.append_blocking(0, &records(start..start + 25)).unwrap();
    }
    for offset in (0..=count).step_by(13).chain([count]) {
        let mut reader = topic.reader(0, StartAt::Offset(offset)).unwrap();
        assert_eq!(reader.offset(), offset);
        let found = rest(&mut reader, 500);
        assert_eq!(found.first().map(|(offset, _)| *offset), (offset < count).then_some(offset));
        assert_eq!(found.len() as u64, count - offset);
    }
    for time in (999_900..timestamp_ms(count) + 100).step_by(37) {
        let expected = (0..count).find(|number| timestamp_ms(*number) >= time).unwrap_or(count);
        assert_eq!(topic.reader(0, StartAt::Time(time)).unwrap().offset(), expected, "time {time}");
    }
    assert_eq!(topic.reader(0, StartAt::Latest).unwrap().offset(), count);
    let beyond = topic.reader(0, StartAt::Offset(count + 1)).unwrap_err();
    assert_eq!(
        beyond.to_string(),
        "topic t, partition 0: offset 1001 is outside 0..=1000; start at the earliest offset"
    );
    assert!(matches!(topic.reader(1, StartAt::Earliest), Err(LogError::UnknownPartition { .. })));
}

#[test]
fn extreme_records_survive() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    let empty = Record { timestamp_ms: i64::MIN, key: Some(Bytes::new()), value: Bytes::new() };
    let late = Record { timestamp_ms: i64::MAX, key: None, value: Bytes::from(vec![7; 3 << 20]) };
    let given: Vec<Record> = [empty, late].into_iter().cycle().take(9).collect();
    topic.append_blocking(0, &given).unwrap();
    let found: Vec<Record> = all(&topic).into_iter().map(|(_, record)| record).collect();
    assert_eq!(found, given);
    let too_large = Record { timestamp_ms: 0, key: None, value: Bytes::from(vec![0; (16 << 20) + 1]) };
    assert!(matches!(topic.append_blocking(0, &[too_large]), Err(LogError::RecordTooLarge { .. })));
    assert_eq!(topic.offsets(0).unwrap(), 0..9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appenders_at_the_same_time_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let topic = log.create_topic("t", options(Durability::Fsync)).unwrap();
    let (appenders, each) = (64, 20);
    let tasks: Vec<_> = (0..appenders)
        .map(|_| {
            let topic = topic.clone();
            tokio::spawn(async move {
                let mut offsets = Vec::new();
                for number in 0..each {
                    offsets.push(topic.append(0, &records(number..number + 1)).await.unwrap().start);
                }
                offsets
            })
        })
        .collect();
    let mut offsets = Vec::new();
    for task in tasks {
        let own = task.await.unwrap();
        assert!(own.is_sorted(), "one appender's records keep their order");
        offsets.extend(own);
    }
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(0..appenders * each), "every append got an offset of its own");
    assert!(log.syncs() < appenders * each / 2, "{} syncs for {} appends", log.syncs(), appenders * each);
}

#[tokio::test]
async fn followers_wake_up_when_records_are_visible() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), small_segments()).unwrap();
    let topic = log.create_topic("t", options(Durability::Fsync)).unwrap();
    let follower = tokio::spawn({
        let topic = topic.clone();
        async move {
            let mut watch = topic.watch(0).unwrap();
            let mut reader = topic.reader(0, StartAt::Latest).unwrap();
            let mut found = Vec::new();
            while found.len() < 300 {
                watch.wait_for(|next| *next > reader.offset()).await.unwrap();
                let new = rest(&mut reader, 1 << 20);
                assert!(!new.is_empty(), "woken up for nothing");
                found.extend(new);
            }
            found
        }
    });
    for start in (0..300).step_by(10) {
        topic.append(0, &records(start..start + 10)).await.unwrap();
    }
    let found = tokio::time::timeout(std::time::Duration::from_secs(60), follower).await.unwrap().unwrap();
    assert_intact(&found, 300);
}

#[test]
fn keys_keep_their_partition() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let topic = log.create_topic("t", TopicOptions { partitions: 8, ..options(Durability::Os) }).unwrap();
    let keys: Vec<String> = (0..100).map(|number| format!("key {number}")).collect();
    let partitions: Vec<u32> = keys.iter().map(|key| topic.partition_for(key.as_bytes())).collect();
    assert!((0..8).all(|partition| partitions.contains(&partition)), "keys spread");
    // Written down: changing the hash would tear keys apart that are on disk already.
    assert_eq!(partitions[..8], [1, 0, 7, 6, 5, 5, 6, 7]);
    for (key, partition) in keys.iter().zip(&partitions) {
        topic.append_blocking(*partition, &[Record { key: Some(key.clone().into()), ..record(0) }]).unwrap();
    }
    let total: u64 = (0..8).map(|partition| topic.offsets(partition).unwrap().end).sum();
    assert_eq!(total, 100);
}
