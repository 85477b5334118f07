//! Results do not depend on how many subtasks there are: from one to as many as there are key groups.

use std::collections::HashMap;
use std::sync::Arc;

use mulgil_dataflow::physical::{PlanOptions, plan_with};
use mulgil_engine::deterministic::{Step, run};

use crate::graphs::{Event, event, lines, per_key, rows};
use crate::memory::{MemorySink, MemorySource, give, options, start, within};

/// More are for threads: here everybody is looked at for every step.
const PARALLELISMS: [usize; 5] = [1, 2, 3, 7, 16];

/// 300 keys in windows of 10 ms, from two partitions.
fn events() -> Vec<Vec<Event>> {
    let partition = |offset: i64| (0..600).map(|n| event(&format!("k{}", n % 300), n / 20 + offset, n)).collect();
    vec![partition(0), partition(5)]
}

#[test]
fn any_parallelism_gives_the_same_rows() {
    let script = events().iter().map(|events| events.chunks(70).map(|some| Step::Rows(rows(some))).collect()).collect();
    let tables = HashMap::from([("events".to_owned(), script)]);
    let given = |parallelism, rebalance| {
        let physical = plan_with(&per_key(0, 0), PlanOptions { parallelism, rebalance }).unwrap();
        let outcome = run(&physical, &tables, 10_000, parallelism as u64).unwrap();
        assert_eq!(outcome.summary.late_dropped, 0);
        let mut lines = lines(&outcome.batches["results"]);
        lines.sort();
        lines
    };
    let alone = given(1, false);
    assert!(alone.len() >= 900, "{}", alone.len());
    for parallelism in PARALLELISMS {
        assert_eq!(given(parallelism, false), alone, "parallelism {parallelism}");
        assert_eq!(given(parallelism, true), alone, "parallelism {parallelism}, rebalanced");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_do_so_too() {
    let mut results = Vec::new();
    for parallelism in [1, 4, 64, 256] {
        let script = events().iter().map(|events| events.chunks(70).map(give).collect()).collect();
        let (source, sink) = (MemorySource::new(script), Arc::new(MemorySink::default()));
        let job = start(per_key(0, 0), options(parallelism), &source, &sink).await.unwrap();
        within("the end", job.join()).await.unwrap();
        results.push(sink.sorted_lines());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    let source = MemorySource::new(vec![]);
    let refused = start(per_key(0, 0), options(257), &source, &Arc::new(MemorySink::default())).await.unwrap_err();
    assert!(refused.to_string().contains("the parallelism must be 1 to 256, not 257"), "{refused}");
}

/// As many partitions as subtasks, each with a watermark that moves with every batch: everybody hears from everybody, and
/// only the newest.
#[tokio::test(flavor = "multi_thread")]
async fn time_goes_through_the_widest_exchange() {
    let partition = |p: i64| -> Vec<_> { (0..40).map(|n| give(&[event(&format!("k{}", p % 7), 5 * n, p)])).collect() };
    let source = MemorySource::new((0..256).map(partition).collect());
    let sink = Arc::new(MemorySink::default());
    let began = std::time::Instant::now();
    let job = start(per_key(0, 0), options(256), &source, &sink).await.unwrap();
    let summary = within("the end", job.join()).await.unwrap();
    println!("256 partitions to 256 subtasks, 40 batches each: {:?}", began.elapsed());
    assert_eq!((summary.rows_in, summary.late_dropped), (256 * 40, 0));
    assert_eq!(sink.sorted_lines().len(), 7 * 20);
}
