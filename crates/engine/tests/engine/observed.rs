//! What can be seen of a running job: rows, bytes and their pace, latency, how full, how busy, whom time waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mulgil_dataflow::graph::Graph;
use mulgil_engine::status::{JobStatus, PartitionState};

use crate::graphs::{Builder, Event, event, pass_on, per_key};
use crate::memory::{
    MemorySink, MemorySinkHandle, MemorySource, Step, gate, give, options, start, wait_for_status, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_bytes_are_counted_at_every_point() {
    let events: Vec<Event> = (0..5_000).map(|n| event(&format!("key {n}"), n, n)).collect();
    for parallelism in [1, 3] {
        let end = gate();
        let steps = || events.chunks(500).map(give).collect::<Vec<Step>>();
        let mut first = steps();
        first.push(Step::Wait(end.clone()));
        let source = MemorySource::new(vec![first, steps()]);
        let sink = Arc::new(MemorySink::default());
        let job = start(pass_on(), options(parallelism), &source, &sink).await.unwrap();
        let status = wait_for_status(&job, "all rows", |status| status.rows_out == 10_000).await;
        for partition in &status.partitions {
            assert_eq!(partition.rows, 5_000);
            // A key of 8 or so bytes, its offset, two numbers.
            assert!((24 * 5_000..60 * 5_000).contains(&partition.bytes), "{partition:?}");
            assert!(partition.rows_per_second > 0.0 && partition.bytes_per_second > partition.rows_per_second);
        }
        let read: u64 = status.partitions.iter().map(|partition| partition.bytes).sum();
        assert_eq!(status.sinks.len(), 1);
        assert_eq!((status.sinks[0].table.as_str(), status.sinks[0].rows), ("results", 10_000));
        assert!(status.sinks[0].rows_per_second > 0.0);
        let sum = |of: fn(&mulgil_engine::status::SubtaskStatus) -> u64| status.subtasks.iter().map(of).sum::<u64>();
        assert_eq!((sum(|s| s.rows_in), sum(|s| s.rows_out), sum(|s| s.bytes_in)), (10_000, 10_000, read));
        assert_eq!(sum(|s| s.bytes_out), status.sinks[0].bytes);
        assert!(status.edges.iter().all(|edge| edge.fullness >= 0.0));
        end.add_permits(1);
        within("the end", job.join()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latency_is_from_reading_to_having_written() {
    let (slow, end) = (gate(), gate());
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 1)]), Step::Wait(end.clone())]]);
    let sink = Arc::new(MemorySink { gate: Some(slow.clone()), ..MemorySink::default() });
    let job = start(pass_on(), options(1), &source, &sink).await.unwrap();
    let status = wait_for_status(&job, "the row is read", |status| status.rows_in == 1).await;
    assert_eq!(status.latency, None);
    // The sink takes its time: that is what is measured.
    let read_by = Instant::now();
    tokio::time::sleep(Duration::from_millis(60)).await;
    slow.add_permits(1);
    let latency = wait_for_status(&job, "the row is written", |status| status.rows_out == 1).await.latency.unwrap();
    let most_ms = read_by.elapsed().as_secs_f64() * 1_000.0 + 1_000.0;
    for ms in [latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms] {
        // Within an eighth.
        assert!((52.0..most_ms).contains(&ms), "{latency:?}");
    }
    assert_eq!(latency.rows, 1);
    end.add_permits(1);
    within("the end", job.join()).await.unwrap();
}

/// A row that waits for its window's end does not count as slow: the row that ended the window lets the result out.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_event_time_is_no_latency() {
    for parallelism in [1, 2] {
        let (next, end) = (gate(), gate());
        let source = MemorySource::new(vec![vec![
            give(&[event("a", 1, 1)]),
            Step::Wait(next.clone()),
            give(&[event("a", 20, 1)]),
            Step::Wait(end.clone()),
        ]]);
        let sink = Arc::new(MemorySink::default());
        let job = start(per_key(0, 0), options(parallelism), &source, &sink).await.unwrap();
        wait_for_status(&job, "the first row", |status| status.watermark_ms == Some(1)).await;
        let waits = Duration::from_millis(500);
        tokio::time::sleep(waits).await;
        let begin = Instant::now();
        next.add_permits(1);
        let status = wait_for_status(&job, "the window", |status| status.rows_out == 1).await;
        let took = begin.elapsed();
        let latency = status.latency.unwrap();
        assert!(latency.max_ms < 1.2 * took.as_secs_f64() * 1_000.0 + 1.0, "{latency:?}, {took:?}");
        end.add_permits(1);
        within("the end", job.join()).await.unwrap();
    }
}

fn union_of_two_tables() -> Graph {
    let mut builder = Builder::default();
    let events = builder.source("events");
    let events = builder.watermark(events, 0);
    let more = builder.source("more");
    let more = builder.watermark(more, 0);
    let node = builder.union(vec![events, more]);
    let node = builder.aggregate(node, &["key"], "ts", 10, 0);
    builder.sink(node, "results")
}

/// "Why is there no output?": the input, the partition, and since when.
#[tokio::test(flavor = "multi_thread")]
async fn every_input_says_how_far_its_time_has_come_and_since_when() {
    let (next, end) = (gate(), gate());
    let events = MemorySource::new(vec![vec![give(&[event("a", 50, 1)]), Step::Wait(end.clone())]]);
    let more = MemorySource::new(vec![vec![
        give(&[event("a", 3, 1)]),
        Step::Wait(next.clone()),
        give(&[event("a", 4, 1)]),
        Step::Wait(end.clone()),
    ]]);
    let sink = Arc::new(MemorySink::default());
    let sources = [("events".to_owned(), events as _), ("more".to_owned(), more as _)];
    let sinks = [("results".to_owned(), Arc::new(MemorySinkHandle(sink.clone())) as _)];
    let io = tokio::runtime::Handle::current();
    let job = mulgil_engine::job::Job::start(union_of_two_tables(), options(1), sources.into(), sinks.into(), &io);
    let job = job.await.unwrap();
    let union = |status: &JobStatus| status.subtasks.iter().find(|subtask| subtask.inputs.len() == 2).unwrap().clone();
    let inputs = |status: &JobStatus| {
        union(status).inputs.iter().map(|input| (input.from.clone(), input.watermark_ms)).collect::<Vec<_>>()
    };
    let expected = |more: i64| vec![("read events".to_owned(), Some(50)), ("read more".to_owned(), Some(more))];
    let status = wait_for_status(&job, "both inputs", |status| inputs(status) == expected(3)).await;
    let held = status.held_back_by.unwrap();
    assert_eq!((held.table.as_str(), held.watermark_ms), ("more", Some(3)));
    let since_ms = status.partitions[1].watermark_since_ms;
    assert_eq!(held.since_ms, since_ms);
    assert!(union(&job.status()).inputs.iter().all(|input| input.state == PartitionState::Active));

    // Looking again does not make it younger; a row that brings time on does.
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(job.status().held_back_by.unwrap().since_ms, since_ms);
    next.add_permits(1);
    let status = wait_for_status(&job, "the next row", |status| inputs(status) == expected(4)).await;
    assert!(status.held_back_by.unwrap().since_ms > since_ms);
    end.add_permits(2);
    within("the end", job.join()).await.unwrap();
}
