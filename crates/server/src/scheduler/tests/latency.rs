//! Measurements, not tests: how soon a dependent starts after what it needs, and how fast no-op tasks go through.
//!
//! `cargo test --release -p mulgil-server --lib latency -- --ignored --nocapture --test-threads 1`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mulgil_history::read::RunDetail;
use mulgil_sched::status::RunStatus;

use super::fixture::{House, PATIENCE};

const CHAIN: usize = 100;
const CHAINS: usize = 5;
const INDEPENDENT: usize = 1_000;

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

fn report(what: &str, mut gaps: Vec<Duration>) {
    gaps.sort();
    let (p50, p99, max) = (percentile(&gaps, 50), percentile(&gaps, 99), gaps[gaps.len() - 1]);
    println!("{what}: p50 {p50:.2?}, p99 {p99:.2?}, max {max:.2?} of {}", gaps.len());
}

fn chain() -> String {
    let mut flow = "flow: chain\nparams: {n: {type: integer, default: 0}}\ntasks:\n".to_owned();
    for task in 0..CHAIN {
        let needs = if task == 0 { String::new() } else { format!("needs: [t{}], ", task - 1) };
        writeln!(flow, "  t{task}: {{{needs}shell: 'echo x'}}").unwrap();
    }
    flow
}

/// When the attempt's shell said its word.
fn said(folder: &Path, log: &str) -> Timestamp {
    let text = std::fs::read_to_string(folder.join(log)).unwrap();
    let line = text.lines().find(|line| line.ends_with("Z x")).unwrap();
    line.split(' ').next().unwrap().parse().unwrap()
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    from.duration_until(to).max(jiff::SignedDuration::ZERO).unsigned_abs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn from_the_end_of_a_task_to_the_start_of_its_dependent() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let house = House::open(folder.path(), &[&chain()]).await;
    let (mut stored, mut word_to_word) = (Vec::new(), Vec::new());
    for number in 0..CHAINS {
        let mut changes = house.handle.subscribe();
        let params = BTreeMap::from([("n".to_owned(), number.into())]);
        let request = crate::scheduler::TriggerRequest { flow: "chain".to_owned(), params, ..Default::default() };
        let run = house.handle.trigger(request).await.unwrap().run;
        let detail: RunDetail = house.ended(run, &mut changes).await;
        assert_eq!(detail.run.status, RunStatus::Succeeded);
        for pair in detail.attempts.windows(2) {
            stored.push(between(pair[0].ended_at.unwrap(), pair[1].started_at.unwrap()));
            word_to_word.push(between(said(folder.path(), &pair[0].log), said(folder.path(), &pair[1].log)));
        }
    }
    report("end reported -> dependent's process there, both in the history", stored);
    report("word of a task's command -> word of its dependent's command", word_to_word);
    house.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn a_thousand_independent_tasks() {
    let mut flow = "flow: wide\ntasks:\n".to_owned();
    for task in 0..INDEPENDENT {
        writeln!(flow, "  t{task}: {{shell: 'true'}}").unwrap();
    }
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let house = House::open(folder.path(), &[&flow]).await;
    let mut changes = house.handle.subscribe();
    let begun = Instant::now();
    let run = house.trigger("wide").await;
    house.ended(run, &mut changes).await;
    let took = begun.elapsed();
    let rate = INDEPENDENT as f64 / took.as_secs_f64();
    println!("{INDEPENDENT} independent no-op shell tasks, eight at a time: {took:.2?}, {rate:.0} tasks/s");
    house.close(PATIENCE).await;
}
