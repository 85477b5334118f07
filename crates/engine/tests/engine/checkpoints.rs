//! Jobs that are stopped at any moment and go on from their last checkpoint, with the same or another parallelism: what is
//! published in the end is what an undisturbed job publishes, nothing lost and nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_connect::source::Source;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::graph::Graph;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_engine::deterministic::Random;
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use mulgil_engine::status::JobState;
use tokio::sync::Semaphore;

use crate::graphs::{Event, event, lines, pass_on, per_key, rows};
use crate::memory::{MemorySink, MemorySource, Step, gate, options, start, wait_for_status, within};

/// A system beside the job, which keeps what is staged and shows what is published.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    staged: BTreeMap<String, Vec<String>>,
    published: Vec<String>,
}

impl Ledger {
    fn published(&self) -> Vec<String> {
        let mut lines = self.0.lock().unwrap().published.clone();
        lines.sort();
        lines
    }
}

#[async_trait]
impl Sink for Ledger {
    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(LedgerWriter { ledger: self.clone(), subtask, written: Vec::new() }))
    }

    async fn publish(&self, _number: u64, staged: &[String]) -> Result<(), ConnectError> {
        let mut pages = self.0.lock().unwrap();
        for name in staged {
            let lines = pages.staged.remove(name).unwrap_or_default();
            pages.published.extend(lines);
        }
        Ok(())
    }
}

struct LedgerWriter {
    ledger: Ledger,
    subtask: usize,
    written: Vec<Batch>,
}

#[async_trait]
impl SinkWriter for LedgerWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        self.written.push(batch);
        Ok(())
    }

    async fn seal(&mut self, number: u64) -> Result<Vec<String>, ConnectError> {
        let mut pages = self.ledger.0.lock().unwrap();
        let name = format!("{}-{number}-{}", self.subtask, pages.staged.len() + pages.published.len());
        pages.staged.insert(name.clone(), lines(&std::mem::take(&mut self.written)));
        Ok(vec![name])
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        assert!(self.written.is_empty(), "the last checkpoint has sealed everything");
        Ok(())
    }
}

fn checkpointed(parallelism: usize, folder: &Path) -> JobOptions {
    let checkpoints =
        CheckpointOptions { interval: Duration::from_millis(1), ..CheckpointOptions::new(folder.to_owned()) };
    JobOptions { checkpoints: Some(checkpoints), ..options(parallelism) }
}

async fn begin(
    graph: &Graph,
    options: JobOptions,
    source: &Arc<MemorySource>,
    ledger: &Ledger,
) -> Result<JobHandle, JobError> {
    let source: Arc<dyn Source> = source.clone();
    let sink: Arc<dyn Sink> = Arc::new(ledger.clone());
    let sources = HashMap::from([("events".to_owned(), source)]);
    let sinks = HashMap::from([("results".to_owned(), sink)]);
    Job::start(graph.clone(), options, sources, sinks, &tokio::runtime::Handle::current()).await
}

/// Waits until as many more checkpoints have been made.
async fn checkpoints(job: &JobHandle, more: u64) {
    let made = |job: &JobHandle| job.status().checkpoints.map_or(0, |checkpoints| checkpoints.completed);
    let before = made(job);
    let is_over = |job: &JobHandle| job.status().state != JobState::Running;
    wait_for_status(job, "a checkpoint", |_| made(job) >= before + more || is_over(job)).await;
}

/// Partitions of random events, each before a gate that opens step by step.
fn gated(random: &mut Random, gate: &Arc<Semaphore>) -> (Vec<Vec<Step>>, usize) {
    let mut steps = 0;
    let mut partition = |random: &mut Random| {
        let mut script = Vec::new();
        let mut ts = 0;
        for _ in 0..8 {
            let mut some = |_| -> Event {
                ts += random.below(9) as i64 - 2;
                let keys = ["a", "b", "c", "d", "e", "f"];
                event(keys[random.below(keys.len())], ts, random.below(100) as i64)
            };
            let batch: Vec<Event> = (0..5).map(&mut some).collect();
            steps += 1;
            script.extend([Step::Wait(gate.clone()), Step::Rows(rows(&batch))]);
        }
        script
    };
    let partitions = (0..3).map(|_| partition(random)).collect();
    (partitions, steps)
}

/// The same scripts without gates.
fn ungated(scripts: &[Vec<Step>]) -> Vec<Vec<Step>> {
    let rows_only = |script: &Vec<Step>| script.iter().filter(|step| matches!(step, Step::Rows(_))).cloned().collect();
    scripts.iter().map(rows_only).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_in_between_everything_is_published_once() {
    for seed in 1..=12 {
        let mut random = Random::new(seed);
        let graph = [per_key(8, 0), per_key(3, 1_000_000), pass_on()][random.below(3)].clone();
        let gate = gate();
        let (scripts, mut closed) = gated(&mut random, &gate);
        let undisturbed = Arc::new(MemorySink::default());
        let job = start(graph.clone(), options(2), &MemorySource::new(ungated(&scripts)), &undisturbed).await.unwrap();
        within("the end", job.join()).await.unwrap();

        let (folder, ledger, source) = (tempfile::tempdir().unwrap(), Ledger::default(), MemorySource::new(scripts));
        while closed > 0 {
            let job = begin(&graph, checkpointed(1 + random.below(4), folder.path()), &source, &ledger).await.unwrap();
            for _ in 0..=random.below(2) {
                let open = random.below(6).min(closed);
                gate.add_permits(open);
                closed -= open;
                checkpoints(&job, random.below(3) as u64).await;
            }
            job.cancel().await;
            assert_eq!(job.status().late_dropped, 0, "seed {seed}: within a partition little is out of order");
            // What was read after the last checkpoint is read again, and needs its gates again.
            gate.add_permits(4);
        }
        let job = begin(&graph, checkpointed(3, folder.path()), &source, &ledger).await.unwrap();
        gate.add_permits(1_000);
        within("the end", job.join()).await.unwrap();
        assert_eq!(added_up(&ledger.published()), added_up(&undisturbed.lines()), "seed {seed}");
    }
}

/// What changes add up to: `+U` and `-U` lines of the same row cancel out.
fn added_up(lines: &[String]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for line in lines {
        let (sign, row) = match line.split_once(' ') {
            Some(("-U" | "-D", row)) => (-1, row),
            Some(("+U" | "+I", row)) => (1, row),
            _ => (1, line.as_str()),
        };
        *counts.entry(row.to_owned()).or_default() += sign;
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// A job over eight batches that has made some checkpoints with some rows between them, and has been stopped.
async fn stopped(folder: &Path, ledger: &Ledger) -> (Graph, Arc<MemorySource>, Arc<Semaphore>) {
    let (graph, gate) = (per_key(0, 0), gate());
    let batch = |n: i64| [Step::Wait(gate.clone()), Step::Rows(rows(&[event("a", n * 4, n), event("b", n * 4, n)]))];
    let source = MemorySource::new(vec![(0..8).flat_map(batch).collect()]);
    let job = begin(&graph, checkpointed(2, folder), &source, ledger).await.unwrap();
    for _ in 0..4 {
        gate.add_permits(1);
        checkpoints(&job, 2).await;
    }
    job.cancel().await;
    (graph, source, gate)
}

/// What the job over eight batches publishes.
const RESULT: [&str; 6] = ["a 0 10 3 3", "a 10 20 2 7", "a 20 30 3 18", "b 0 10 3 3", "b 10 20 2 7", "b 20 30 3 18"];

async fn comes_to_its_end(graph: &Graph, source: &Arc<MemorySource>, gate: &Semaphore, folder: &Path, ledger: &Ledger) {
    let job = begin(graph, checkpointed(3, folder), source, ledger).await.unwrap();
    gate.add_permits(1_000);
    within("the end", job.join()).await.unwrap();
    assert_eq!(ledger.published(), RESULT);
}

fn newest(folder: &Path, end: &str) -> std::path::PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|found| found == end)).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_or_garbled_manifest_is_seen_and_the_one_before_it_is_used() {
    let harms: [fn(&Path); 4] = [
        |path| std::fs::write(path, "").unwrap(),
        |path| {
            let text = std::fs::read(path).unwrap();
            std::fs::write(path, &text[..text.len() / 2]).unwrap();
        },
        |path| {
            let mut text = std::fs::read(path).unwrap();
            let middle = text.len() / 2;
            text[middle] ^= 1;
            std::fs::write(path, text).unwrap();
        },
        |path| std::fs::remove_file(path).unwrap(),
    ];
    for harm in harms {
        let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
        let (graph, source, gate) = stopped(folder.path(), &ledger).await;
        harm(&newest(folder.path(), "checkpoint"));
        comes_to_its_end(&graph, &source, &gate, folder.path(), &ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_file_is_seen_and_the_checkpoint_before_it_is_used() {
    let harms: [fn(&Path); 3] = [
        |path| std::fs::remove_file(path).unwrap(),
        |path| std::fs::write(path, "no state").unwrap(),
        |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
    ];
    for harm in harms {
        let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
        let (graph, source, gate) = stopped(folder.path(), &ledger).await;
        harm(&newest(folder.path(), "state"));
        comes_to_its_end(&graph, &source, &gate, folder.path(), &ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_last_few_checkpoints_are_kept() {
    let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
    stopped(folder.path(), &ledger).await;
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!((6..=8).contains(&files), "three manifests and their state, not {files} files");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_query_is_refused_with_the_operator_that_has_no_place_in_it() {
    let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
    let (_, source, _) = stopped(folder.path(), &ledger).await;
    let refused = begin(&pass_on(), checkpointed(2, folder.path()), &source, &ledger).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("it has no operator \"aggregate count") && text.contains("a replay"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_checkpoints_cannot_be_written_goes_on_and_says_so() {
    let (parent, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
    let folder = parent.path().join("checkpoints");
    let (graph, source, gate) = stopped(&folder, &ledger).await;
    let job = begin(&graph, checkpointed(2, &folder), &source, &ledger).await.unwrap();
    checkpoints(&job, 1).await;
    std::fs::rename(&folder, parent.path().join("elsewhere")).unwrap();
    let failures = |job: &JobHandle| job.status().checkpoints.map_or(0, |checkpoints| checkpoints.failed);
    gate.add_permits(1);
    let status = wait_for_status(&job, "a failure", |_| failures(&job) >= 2).await;
    assert_eq!(status.state, JobState::Running);
    let error = status.checkpoints.unwrap().error.unwrap();
    assert!(error.contains("cannot create"), "{error}");
    std::fs::rename(parent.path().join("elsewhere"), &folder).unwrap();
    checkpoints(&job, 1).await;
    assert_eq!(job.status().checkpoints.unwrap().error, None);
    job.cancel().await;
    comes_to_its_end(&graph, &source, &gate, &folder, &ledger).await;
}
