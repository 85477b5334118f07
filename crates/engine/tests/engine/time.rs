//! Event time on real threads: idle, finished and silent partitions, filters, late rows.

use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::time::TimeOptions;
use mulgil_dataflow::time::Watermark;
use mulgil_engine::job::JobOptions;
use mulgil_engine::status::PartitionState;

use crate::graphs::{Builder, event, per_key};
use crate::memory::{MemorySink, MemorySource, Step, gate, give, options, start, wait_for_status, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_partition_holds_time_back_until_it_is_idle_and_the_job_says_so() {
    for parallelism in [1, 2] {
        let (falls_asleep, end) = (gate(), gate());
        let source = MemorySource::new(vec![
            vec![give(&[event("a", 1, 1), event("a", 25, 1)]), Step::Wait(end.clone())],
            vec![Step::Wait(falls_asleep.clone()), Step::Idle, Step::Wait(end.clone())],
        ]);
        let sink = Arc::new(MemorySink::default());
        let job = start(per_key(0, 0), options(parallelism), &source, &sink).await.unwrap();
        let status =
            wait_for_status(&job, "the rows of partition 0", |status| status.partitions[0].watermark_ms == Some(25))
                .await;
        let held = status.held_back_by.unwrap();
        assert_eq!((status.watermark_ms, held.watermark_ms), (None, None));
        assert_eq!((held.table.as_str(), held.partition.as_str()), ("events", "events-1"));
        assert!(sink.lines().is_empty());

        falls_asleep.add_permits(1);
        sink.wait_until("the first window", |sink| sink.lines() == ["a 0 10 1 1"]).await;
        let status = wait_for_status(&job, "idleness", |status| {
            status.partitions[1].state == PartitionState::Idle && status.watermark_ms == Some(25)
        })
        .await;
        assert_eq!(status.held_back_by.unwrap().partition, "events-0");
        end.add_permits(2);
        within("the end", job.join()).await.unwrap();
        assert_eq!(sink.lines().len(), 2);
    }
}

/// Nobody says that a partition is idle: it is silent for too long. Only where an unbounded source is followed, because a
/// slow disk must not change results.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_is_silent_for_too_long_is_idle_until_its_next_row() {
    for (follow, is_idle) in [(true, true), (false, false)] {
        let (next, end) = (gate(), gate());
        let script = vec![
            vec![give(&[event("a", 1, 1), event("a", 25, 1)]), Step::Wait(end.clone())],
            vec![Step::Wait(next.clone()), give(&[event("b", 26, 1)]), Step::Wait(end.clone())],
        ];
        let time = TimeOptions { idle_timeout: Some(Duration::from_millis(20)), alignment: None };
        let source = MemorySource::unbounded(script, time);
        let sink = Arc::new(MemorySink::default());
        let options = JobOptions { follow, ..options(2) };
        let job = start(per_key(0, 0), options, &source, &sink).await.unwrap();
        if is_idle {
            sink.wait_until("the first window", |sink| sink.lines() == ["a 0 10 1 1"]).await;
            wait_for_status(&job, "idleness", |status| status.partitions[1].state == PartitionState::Idle).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(job.status().partitions[1].state, PartitionState::Active);
            assert!(sink.lines().is_empty());
        }
        next.add_permits(1);
        let awake = wait_for_status(&job, "the late partition's row", |status| status.partitions[1].rows == 1).await;
        assert_eq!(awake.late_dropped, 0);
        end.add_permits(2);
        within("the end", job.join()).await.unwrap();
        assert_eq!(sink.sorted_lines(), ["a 0 10 1 1", "a 20 30 1 1", "b 20 30 1 1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_partition_holds_nothing_back() {
    let end = gate();
    let source = MemorySource::new(vec![
        vec![give(&[event("a", 1, 1)])],
        vec![give(&[event("b", 2, 1), event("b", 25, 1)]), Step::Wait(end.clone())],
    ]);
    let sink = Arc::new(MemorySink::default());
    let job = start(per_key(0, 0), options(2), &source, &sink).await.unwrap();
    sink.wait_until("the first window", |sink| sink.sorted_lines() == ["a 0 10 1 1", "b 0 10 1 1"]).await;
    end.add_permits(1);
    within("the end", job.join()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn time_goes_on_when_no_row_passes_the_filter() {
    let end = gate();
    let mut builder = Builder::default();
    let node = builder.source("events");
    let node = builder.watermark(node, 0);
    let node = builder.filter_greater(node, "v", 1_000);
    let node = builder.aggregate(node, &["key"], "ts", 10, 0);
    let graph = builder.sink(node, "results");
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 1), event("a", 77, 1)]), Step::Wait(end.clone())]]);
    let sink = Arc::new(MemorySink::default());
    let job = start(graph, options(2), &source, &sink).await.unwrap();
    sink.wait_until("the watermark", |sink| {
        let watermarks = sink.watermarks.lock().unwrap();
        watermarks.iter().filter(|watermark| **watermark == Watermark(77)).count() == 2
    })
    .await;
    assert!(sink.lines().is_empty());
    end.add_permits(1);
    within("the end", job.join()).await.unwrap();
    assert_eq!(*sink.watermarks.lock().unwrap().last().unwrap(), Watermark::END);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_rows_are_counted_and_shown() {
    for parallelism in [1, 2] {
        let (late, end) = (gate(), gate());
        let source = MemorySource::new(vec![vec![
            give(&[event("on time", 50, 1)]),
            Step::Wait(late.clone()),
            give(&[event("late", 31, 1), event("much too late", 3, 1), event("much too late", 4, 1)]),
            Step::Wait(end.clone()),
        ]]);
        let sink = Arc::new(MemorySink::default());
        let job = start(per_key(0, 20), options(parallelism), &source, &sink).await.unwrap();
        wait_for_status(&job, "the watermark", |status| status.watermark_ms == Some(50)).await;
        late.add_permits(1);
        sink.wait_until("the late window", |sink| sink.lines() == ["+I late 30 40 1 1"]).await;
        let status = wait_for_status(&job, "the counts", |status| status.late_dropped == 2).await;
        assert_eq!(status.late_updated, 1);
        assert!(status.late_sample.iter().any(|row| row.contains("\"key\":\"much too late\"")), "{status:?}");
        end.add_permits(1);
        within("the end", job.join()).await.unwrap();
    }
}
