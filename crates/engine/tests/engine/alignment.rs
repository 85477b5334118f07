//! Partitions wait for each other: none is read on while it is too far ahead of the slowest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::time::{Alignment, TimeOptions};
use mulgil_dataflow::physical::plan;
use mulgil_engine::deterministic::{Random, Step, run, run_aligned};

use crate::graphs::{event, lines, per_key, rows};
use crate::memory::{self, MemorySink, MemorySource, gate, give, options, start, wait_for_status, within};

const DRIFT_MS: i64 = 50;

fn alignment(drift_ms: i64) -> Alignment {
    Alignment { group: None, drift_max: Duration::from_millis(drift_ms as u64) }
}

/// A row each `step_ms`, one a batch.
fn steps(step_ms: i64, until_ms: i64, may_sleep: bool, random: &mut Random) -> Vec<Step> {
    let mut steps = Vec::new();
    for ts in (0..until_ms).step_by(step_ms as usize) {
        steps.push(Step::Rows(rows(&[event("k", ts, 1)])));
        if may_sleep && random.below(30) == 0 {
            steps.push(Step::Idle);
        }
    }
    steps
}

#[test]
fn drift_is_bounded_and_results_are_the_same() {
    let mut unbounded_peak = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let may_sleep = seed % 3 == 0;
        // The first partition has the more rows for the same time, so the others run ahead.
        let script: Vec<Vec<Step>> =
            [1, 7, 20].iter().map(|step_ms| steps(*step_ms, 400, may_sleep, &mut random)).collect();
        let tables = HashMap::from([("events".to_owned(), script)]);
        let parallelism = 1 + random.below(4);
        let physical = plan(&per_key(0, if may_sleep { 1_000 } else { 0 }), parallelism).unwrap();
        let free = run(&physical, &tables, 1, seed).unwrap();
        let alignments = HashMap::from([("events".to_owned(), alignment(DRIFT_MS))]);
        let aligned = run_aligned(&physical, &tables, &alignments, 1, seed).unwrap();
        unbounded_peak = unbounded_peak.max(free.drift_ms_peak);
        if !may_sleep {
            // What was under way when a partition had to wait: a row or two in its queue.
            assert!(aligned.drift_ms_peak <= DRIFT_MS + 3 * 20, "seed {seed}: {}", aligned.drift_ms_peak);
            let sorted = |batches| {
                let mut lines = lines(batches);
                lines.sort();
                lines
            };
            assert_eq!(sorted(&aligned.batches["results"]), sorted(&free.batches["results"]), "seed {seed}");
        }
        assert_eq!(aligned.summary.rows_in, free.summary.rows_in, "seed {seed}: everything is read in the end");
    }
    assert!(unbounded_peak > DRIFT_MS + 3 * 20, "without alignment partitions do drift: {unbounded_peak}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_partition_waits_for_a_slow_one_on_real_threads() {
    for parallelism in [1, 2] {
        let (slow, slower, end) = (gate(), gate(), gate());
        let mut fast: Vec<memory::Step> = (0..100).map(|n| give(&[event("fast", n * 10, 1)])).collect();
        fast.push(memory::Step::Wait(end.clone()));
        let script = vec![
            fast,
            vec![
                memory::Step::Wait(slow.clone()),
                give(&[event("slow", 0, 1)]),
                memory::Step::Wait(slower.clone()),
                give(&[event("slow", 300, 1)]),
                memory::Step::Idle,
                memory::Step::Wait(end.clone()),
            ],
        ];
        let time = TimeOptions { idle_timeout: None, alignment: Some(alignment(DRIFT_MS)) };
        let source = MemorySource::unbounded(script, time);
        let sink = Arc::new(MemorySink::default());
        let job = start(per_key(0, 0), options(parallelism), &source, &sink).await.unwrap();
        // The other has said nothing yet, so any known time is ahead of it. What is in the queue may still come.
        let status = wait_for_status(&job, "the wait", |status| status.partitions[0].waits_for_others).await;
        let ahead_ms = |status: &mulgil_engine::status::JobStatus| status.partitions[0].watermark_ms.unwrap();
        assert!(ahead_ms(&status) < 990 && !status.partitions[1].waits_for_others, "{:?}", status.partitions);
        assert_eq!(status.held_back_by.unwrap().partition, "events-1");
        slow.add_permits(1);
        wait_for_status(&job, "the slow one's row", |status| status.partitions[1].watermark_ms == Some(0)).await;
        slower.add_permits(1);
        // At 300 and then idle: the fast one may go to its end.
        wait_for_status(&job, "all rows", |status| status.partitions[0].watermark_ms == Some(990)).await;
        end.add_permits(2);
        within("the end", job.join()).await.unwrap();
    }
}
