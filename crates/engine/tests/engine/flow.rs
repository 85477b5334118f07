//! Rows on real threads: results, backpressure, commits, the cost of doing nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};
use mulgil_engine::cut::PartitionStart;
use mulgil_engine::status::{JobState, PartitionState};

use crate::graphs::{Event, event, pass_on, per_key, rows};
use crate::memory::{MemorySink, MemorySource, Step, gate, give, options, start, wait_for_status, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_job_gives_its_results_commits_and_finishes() {
    for parallelism in [1, 2, 5] {
        let source = MemorySource::new(vec![
            vec![give(&[event("a", 1, 1), event("b", 2, 2)]), give(&[event("a", 15, 3)])],
            vec![give(&[event("b", 3, 4), (None, None, None)])],
        ]);
        let sink = Arc::new(MemorySink::default());
        let job = start(per_key(0, 0), options(parallelism), &source, &sink).await.unwrap();
        let summary = within("the end", job.join()).await.unwrap();

        assert_eq!(sink.sorted_lines(), ["a 0 10 1 1", "a 10 20 1 3", "b 0 10 2 6"]);
        assert_eq!((summary.rows_in, summary.rows_out, summary.null_event_times), (5, 3, 1));
        assert_eq!(sink.commits.load(Ordering::SeqCst), parallelism, "each writer commits once");
        assert_eq!(source.open_readers.load(Ordering::SeqCst), 0);
        let status = job.status();
        assert_eq!((status.state, &status.held_back_by), (JobState::Finished, &None));
        assert!(status.partitions.iter().all(|partition| partition.state == PartitionState::Finished));
        assert_eq!(status.partitions.iter().map(|partition| partition.position).collect::<Vec<u64>>(), [2, 1]);
        assert!(serde_json::to_string(&status).unwrap().contains("\"state\":\"finished\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_input_at_all_is_a_finished_job() {
    for scripts in [vec![], vec![vec![]], vec![vec![give(&[])]]] {
        let source = MemorySource::new(scripts);
        let sink = Arc::new(MemorySink::default());
        let job = start(per_key(0, 0), options(3), &source, &sink).await.unwrap();
        within("the end", job.join()).await.unwrap();
        assert!(sink.lines().is_empty());
        assert_eq!(sink.commits.load(Ordering::SeqCst), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_starts_where_it_is_told() {
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 1)]), give(&[event("b", 2, 2)])]]);
    let sink = Arc::new(MemorySink::default());
    let mut options = options(2);
    let time = InputTime { watermark: Watermark::UNKNOWN, state: InputState::Active };
    let from = PartitionStart { partition: "events-0".to_owned(), position: 1, time };
    options.starts.insert("events".to_owned(), vec![from]);
    let job = start(pass_on(), options, &source, &sink).await.unwrap();
    within("the end", job.join()).await.unwrap();
    assert_eq!(sink.lines(), ["b 2 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sink_stops_the_source_and_memory_stays_bounded() {
    let events: Vec<Event> = (0..1_000).map(|n| event("some key of some length", n, n)).collect();
    let batch = rows(&events);
    let batch_bytes = batch.get_array_memory_size();
    let source = MemorySource::new(vec![vec![Step::Rows(batch); 500]]);
    let slow = gate();
    let sink = Arc::new(MemorySink { gate: Some(slow.clone()), ..MemorySink::default() });
    let mut options = options(1);
    options.queue_bytes_max = 3 * batch_bytes;
    let job = start(pass_on(), options, &source, &sink).await.unwrap();

    // A full queue wakes whoever fills it when it is half empty, so it may stand anywhere between.
    let status = wait_for_status(&job, "both queues are full", |status| {
        status.edges.iter().all(|edge| edge.queued_bytes * 2 > edge.queue_bytes_max)
    })
    .await;
    assert_eq!(status.edges.len(), 2);
    // Two queues of three batches, each over its bound by at most a turn's batches; one being read, one being written.
    let most = 2 * (3 + 1 + 2) * 1_000 + 2_000;
    assert!(source.rows_read.load(Ordering::SeqCst) <= most, "{}", source.rows_read.load(Ordering::SeqCst));
    for _ in 0..100 {
        slow.add_permits(1);
        tokio::task::yield_now().await;
        let written: usize = sink.batches.lock().unwrap().iter().map(|batch| batch.num_rows()).sum();
        assert!(source.rows_read.load(Ordering::SeqCst) <= written + most + 1_000);
    }
    slow.add_permits(1_000);
    let summary = within("the end", job.join()).await.unwrap();
    assert_eq!((summary.rows_in, summary.rows_out), (500_000, 500_000));
    assert!(job.status().subtasks.iter().any(|subtask| subtask.blocked_ms + subtask.busy_ms > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_goes_through_at_once_and_time_with_it() {
    let next = gate();
    let script =
        vec![give(&[event("a", 1, 1)]), Step::Wait(next.clone()), give(&[event("b", 12, 1)]), Step::Wait(next)];
    let source = MemorySource::new(vec![script.clone()]);
    let sink = Arc::new(MemorySink::default());
    let job = start(per_key(0, 0), options(2), &source, &sink).await.unwrap();
    let Step::Wait(next) = &script[1] else { panic!("the second step waits") };
    wait_for_status(&job, "the first row", |status| status.watermark_ms == Some(1)).await;
    assert!(sink.lines().is_empty());
    next.add_permits(1);
    // Nothing else comes until this has.
    sink.wait_until("the first window", |sink| sink.lines() == ["a 0 10 1 1"]).await;
    next.add_permits(1);
    within("the end", job.join()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_commit_while_the_job_runs_if_told_to() {
    let end = gate();
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 1)]), Step::Wait(end.clone())]]);
    let sink = Arc::new(MemorySink::default());
    let mut options = options(1);
    options.commit_interval = Some(Duration::from_millis(1));
    let job = start(pass_on(), options, &source, &sink).await.unwrap();
    sink.wait_until("a commit", |sink| sink.commits.load(Ordering::SeqCst) == 1).await;
    assert_eq!(job.status().state, JobState::Running);
    end.add_permits(1);
    within("the end", job.join()).await.unwrap();
    assert_eq!(sink.commits.load(Ordering::SeqCst), 2);
}

/// Worker threads of a job that waits for input do not run at all.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_costs_nothing() {
    let end = gate();
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 1)]), Step::Wait(end.clone())]]);
    let sink = Arc::new(MemorySink::default());
    let mut options = options(3);
    options.name = "waiter".to_owned();
    let job = start(per_key(0, 0), options, &source, &sink).await.unwrap();
    wait_for_status(&job, "the first row", |status| status.watermark_ms == Some(1)).await;
    within("threads that rest", async {
        loop {
            let before = context_switches("waiter-");
            assert_eq!(before.len(), 3);
            // On a busy machine a thread may still be on its way to sleep; one that polls never is still.
            tokio::time::sleep(Duration::from_millis(300)).await;
            if context_switches("waiter-") == before {
                break;
            }
        }
    })
    .await;
    end.add_permits(1);
    within("the end", job.join()).await.unwrap();
    assert!(context_switches("waiter-").is_empty(), "the threads have ended");
}

/// How often each thread of this process with that name has been woken.
pub(crate) fn context_switches(prefix: &str) -> Vec<(String, String)> {
    let mut switches = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.trim_start_matches(name).trim().to_owned()
        };
        if field("Name:").starts_with(prefix) {
            switches.push((field("Name:"), field("voluntary_ctxt_switches:")));
        }
    }
    switches.sort();
    switches
}
