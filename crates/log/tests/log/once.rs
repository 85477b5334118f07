//! Appends with an id: once, whoever asks how often, whatever ends in between.

use std::fs::OpenOptions;

use mulgil_log::LogError;

use super::*;

const HOUR_MS: i64 = 3_600_000;

/// Records as of a time.
fn at(now_ms: i64, numbers: std::ops::Range<u64>) -> Vec<Record> {
    records(numbers).into_iter().map(|record| Record { timestamp_ms: now_ms, ..record }).collect()
}

#[tokio::test]
async fn an_id_appends_once_also_after_another_opening() {
    let dir = tempfile::tempdir().unwrap();
    for durability in [Durability::Os, Durability::Fsync] {
        let name = format!("{durability:?}");
        let mut expected = 0;
        for opening in 0..3_u64 {
            let log = EventLog::open(dir.path(), small_segments()).unwrap();
            let topic = log.topic_or_create(&name, TopicOptions { partitions: 2, ..options(durability) }).unwrap();
            for number in 0..20_u64 {
                let (id, partition) = (format!("{number}"), u32::from(number % 3 == 0));
                let now_ms = number as i64 + opening as i64;
                let once = topic.append_once(&id, partition, at(now_ms, number..number + 5), now_ms).await.unwrap();
                assert_eq!((once.partition, once.is_repeated), (partition, opening > 0), "{id} of opening {opening}");
                assert_eq!(once.offsets.end - once.offsets.start, 5);
                let mut reader = topic.reader(partition, StartAt::Offset(once.offsets.start)).unwrap();
                let found: Vec<Bytes> = rest(&mut reader, 1 << 20).into_iter().take(5).map(|(_, r)| r.value).collect();
                assert_eq!(found, records(number..number + 5).into_iter().map(|r| r.value).collect::<Vec<_>>());
                // Between them are others.
                topic.append(partition, &at(now_ms, 0..3)).await.unwrap();
            }
            expected += 60 + if opening == 0 { 100 } else { 0 };
            let count: u64 = (0..2).map(|partition| topic.offsets(partition).unwrap().end).sum();
            assert_eq!(count, expected, "opening {opening}");
        }
    }
}

#[tokio::test]
async fn other_records_an_old_id_and_a_wrong_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let topic = log.create_topic("t", options(Durability::Os)).unwrap();
    topic.append_once("a", 0, at(0, 0..2), 0).await.unwrap();
    let taken = topic.append_once("a", 0, at(1, 0..3), 1).await.unwrap_err();
    assert!(matches!(taken, LogError::AppendIdTaken { .. }), "{taken}");
    assert!(topic.append_once("a", 0, at(23 * HOUR_MS, 0..2), 23 * HOUR_MS).await.unwrap().is_repeated);
    let later = topic.append_once("a", 0, at(25 * HOUR_MS, 0..3), 25 * HOUR_MS).await.unwrap();
    assert_eq!((later.is_repeated, later.offsets), (false, 2..5));
    for id in ["", &"x".repeat(256)] {
        assert!(matches!(topic.append_once(id, 0, at(0, 0..1), 0).await, Err(LogError::AppendId)));
    }
    let id = "x".repeat(255);
    topic.append_once(&id, 0, at(25 * HOUR_MS, 0..1), 25 * HOUR_MS).await.unwrap();
    let large = Record { timestamp_ms: 0, key: None, value: Bytes::from(vec![b'x'; 9 << 20]) };
    let refused = topic.append_once("large", 0, vec![large.clone(), large], 0).await.unwrap_err();
    assert!(matches!(refused, LogError::AppendTooLarge { .. }), "{refused}");
    drop((topic, log));
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let topic = log.topic("t").unwrap();
    assert_eq!(topic.offsets(0).unwrap(), 0..6);
    let again = topic.append_once(&id, 0, at(26 * HOUR_MS, 0..1), 26 * HOUR_MS).await.unwrap();
    assert_eq!((again.is_repeated, again.offsets), (true, 5..6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_a_time_and_callers_that_go_append_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
    let topic = log.create_topic("t", options(Durability::Fsync)).unwrap();
    let calls = (0..40_u64).map(|number| {
        let topic = topic.clone();
        tokio::spawn(async move {
            let id = format!("{}", number % 4);
            let call = topic.append_once(&id, 0, at(7, number % 4..number % 4 + 2), 7);
            // Some do not wait for the answer.
            if number % 3 == 0 {
                let _ = tokio::time::timeout(std::time::Duration::from_micros(number), call).await;
                return None;
            }
            Some((number % 4, call.await.unwrap().offsets))
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut places = std::collections::BTreeMap::new();
    for call in calls {
        if let Some((id, offsets)) = call.await.unwrap() {
            assert_eq!(places.entry(id).or_insert_with(|| offsets.clone()), &offsets);
        }
    }
    assert_eq!(places.len(), 4);
    assert_eq!(topic.offsets(0).unwrap(), 0..8);
}

#[tokio::test]
async fn a_torn_append_is_made_again_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let append = async |expect_repeated: bool| {
        let log = EventLog::open(dir.path(), LogOptions::default()).unwrap();
        let topic = log.topic_or_create("t", options(Durability::Os)).unwrap();
        let once = topic.append_once("a", 0, at(5, 0..50), 5).await.unwrap();
        assert_eq!((once.is_repeated, once.offsets), (expect_repeated, 0..50));
        assert_intact(
            &all(&topic)
                .into_iter()
                .map(|(o, r)| (o, Record { timestamp_ms: timestamp_ms(o), ..r }))
                .collect::<Vec<_>>(),
            50,
        );
    };
    append(false).await;
    append(true).await;
    let path = dir.path().join("t/0/00000000000000000000.log");
    let whole = std::fs::metadata(&path).unwrap().len();
    for cut in [1, 2, 9, 100, whole - 1] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(whole - cut).unwrap();
        append(false).await;
    }
}
