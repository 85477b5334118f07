//! Jobs that are stopped at any moment and go on from their last checkpoint, with the same or another parallelism: what is
//! published in the end is what an undisturbed job publishes, nothing lost and nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_connect::source::Source;
use mulgil_connect::time::TimeOptions;
use mulgil_connect::transaction::Transaction;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::graph::Graph;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_engine::deterministic::Random;
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use mulgil_engine::status::{CheckpointStatus, JobState};
use tokio::sync::Semaphore;

use crate::graphs::{Event, event, lines, pass_on, per_key, rows};
use crate::memory::{MemorySink, MemorySource, Step, gate, options, start, wait_for_status, within};

/// A system beside the job, which keeps what is staged and shows what is published.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Pages>>);

#[derive(Default)]
pub(crate) struct Pages {
    staged: BTreeMap<String, Vec<String>>,
    published: Vec<String>,
}

impl Ledger {
    pub(crate) fn published(&self) -> Vec<String> {
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

/// A system that takes epochs as transactions, and fails now and then in the middle of one or right after it.
#[derive(Default)]
pub(crate) struct Database {
    pub(crate) lines: Mutex<Vec<String>>,
    last: Mutex<Option<u64>>,
    /// Of the applications to come: `Some(true)` fails after it, `Some(false)` before.
    pub(crate) faults: Mutex<Vec<Option<bool>>>,
}

#[derive(Clone, Default)]
pub(crate) struct DatabaseHandle(pub(crate) Arc<Database>);

impl DatabaseHandle {
    /// The rows that are in.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lines.lock().unwrap().clone()
    }
}

#[async_trait]
impl Transaction for DatabaseHandle {
    async fn last_epoch(&self, pipeline: &str) -> Result<Option<u64>, ConnectError> {
        assert_eq!(pipeline, "test");
        Ok(*self.0.last.lock().unwrap())
    }

    async fn apply(
        &self,
        _pipeline: &str,
        epoch: u64,
        mut rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().await {
            batches.push(batch?);
        }
        let fault = self.0.faults.lock().unwrap().pop().flatten();
        let gone = || ConnectError::Definition { table: "results".to_owned(), reason: "connection lost".to_owned() };
        if fault == Some(false) {
            return Err(gone());
        }
        let before = self.0.last.lock().unwrap().replace(epoch);
        assert!(before.is_none_or(|before| before < epoch), "epoch {epoch} after {before:?}");
        self.0.lines.lock().unwrap().extend(lines(&batches));
        if fault == Some(true) { Err(gone()) } else { Ok(()) }
    }
}

#[async_trait]
impl Sink for DatabaseHandle {
    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        Some(Arc::new(self.clone()))
    }

    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        panic!("with checkpoints, rows go into the system epoch by epoch")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_epoch_are_applied_once_whenever_the_system_fails() {
    for seed in 1..=8 {
        let mut random = Random::new(seed);
        let graph = [per_key(8, 0), per_key(3, 1_000_000), pass_on()][random.below(3)].clone();
        let (scripts, _) = gated(&mut random, &gate());
        let scripts = ungated(&scripts);
        let undisturbed = Arc::new(MemorySink::default());
        let job = start(graph.clone(), options(2), &MemorySource::new(scripts.clone()), &undisturbed).await.unwrap();
        within("the end", job.join()).await.unwrap();

        let (folder, database) = (tempfile::tempdir().unwrap(), DatabaseHandle::default());
        let faults = (0..6).map(|_| [None, Some(true), Some(false)][random.below(3)]);
        *database.0.faults.lock().unwrap() = faults.collect();
        loop {
            let source: Arc<dyn Source> = MemorySource::new(scripts.clone());
            let sinks: HashMap<String, Arc<dyn Sink>> =
                HashMap::from([("results".to_owned(), Arc::new(database.clone()) as Arc<dyn Sink>)]);
            let options = checkpointed(1 + random.below(4), folder.path());
            let sources = HashMap::from([("events".to_owned(), source)]);
            let io = tokio::runtime::Handle::current();
            let Ok(job) = Job::start(graph.clone(), options, sources, sinks, &io).await else { continue };
            match within("the end", job.join()).await {
                Ok(_) => break,
                Err(error) => assert!(error.to_string().contains("connection lost"), "{error}"),
            }
        }
        let found = database.0.lines.lock().unwrap().clone();
        assert_eq!(added_up(&found), added_up(&undisturbed.lines()), "seed {seed}");
        let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(left.filter(|path| path.extension().is_some_and(|end| end == "spool")).count(), 0, "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_ahead_of_the_checkpoints_is_refused() {
    let (folder, database) = (tempfile::tempdir().unwrap(), DatabaseHandle::default());
    *database.0.last.lock().unwrap() = Some(7);
    let source: Arc<dyn Source> = MemorySource::new(vec![vec![]]);
    let sinks: HashMap<String, Arc<dyn Sink>> =
        HashMap::from([("results".to_owned(), Arc::new(database) as Arc<dyn Sink>)]);
    let sources = HashMap::from([("events".to_owned(), source)]);
    let io = tokio::runtime::Handle::current();
    let refused = Job::start(pass_on(), checkpointed(1, folder.path()), sources, sinks, &io).await.unwrap_err();
    assert!(refused.to_string().contains("rows of checkpoint 7"), "{refused}");
}

pub(crate) fn checkpointed(parallelism: usize, folder: &Path) -> JobOptions {
    let checkpoints =
        CheckpointOptions { interval: Duration::from_millis(1), ..CheckpointOptions::new(folder.to_owned()) };
    JobOptions { checkpoints: Some(checkpoints), ..options(parallelism) }
}

pub(crate) async fn begin(
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

/// Waits until a checkpoint covers so many rows, or all there are.
pub(crate) async fn covered(job: &JobHandle, rows: u64) {
    let is_covered = |made: &CheckpointStatus| made.completed > 0 && made.error.is_none() && made.covered_rows >= rows;
    wait_for_status(job, "a checkpoint", |status| {
        status.checkpoints.as_ref().is_some_and(is_covered) || status.state != JobState::Running
    })
    .await;
}

/// Partitions of random events, each before a gate that opens step by step.
pub(crate) fn gated(random: &mut Random, gate: &Arc<Semaphore>) -> (Vec<Vec<Step>>, usize) {
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
pub(crate) fn ungated(scripts: &[Vec<Step>]) -> Vec<Vec<Step>> {
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
                let read = job.status().rows_in;
                covered(&job, read * random.below(2) as u64).await;
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
pub(crate) fn added_up(lines: &[String]) -> BTreeMap<String, i64> {
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

/// A job over eight batches that has made some checkpoints with some rows between them, and has been stopped before it
/// published anything: what is published cannot be taken back by a checkpoint before it.
async fn stopped(folder: &Path, ledger: &Ledger) -> (Graph, Arc<MemorySource>, Arc<Semaphore>) {
    let (graph, gate) = (per_key(0, 0), gate());
    let batch = |n: i64| [Step::Wait(gate.clone()), Step::Rows(rows(&[event("a", n * 3, n), event("b", n * 3, n)]))];
    let source = MemorySource::new(vec![(0..8).flat_map(batch).collect()]);
    let job = begin(&graph, checkpointed(2, folder), &source, ledger).await.unwrap();
    for batch in 1..=4 {
        gate.add_permits(1);
        covered(&job, 2 * batch).await;
    }
    job.cancel().await;
    (graph, source, gate)
}

/// What the job over eight batches publishes.
const RESULT: [&str; 6] = ["a 0 10 4 6", "a 10 20 3 15", "a 20 30 1 7", "b 0 10 4 6", "b 10 20 3 15", "b 20 30 1 7"];

async fn comes_to_its_end(graph: &Graph, source: &Arc<MemorySource>, gate: &Semaphore, folder: &Path, ledger: &Ledger) {
    let job = begin(graph, checkpointed(3, folder), source, ledger).await.unwrap();
    gate.add_permits(1_000);
    within("the end", job.join()).await.unwrap();
    assert_eq!(ledger.published(), RESULT);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_time_alone_lets_out_is_published_too() {
    let (folder, ledger, idles, never) = (tempfile::tempdir().unwrap(), Ledger::default(), gate(), gate());
    let ahead = vec![Step::Rows(rows(&[event("a", 1, 1), event("a", 25, 2)])), Step::Wait(never.clone())];
    let behind = vec![Step::Rows(rows(&[event("a", 2, 3)])), Step::Wait(idles.clone()), Step::Idle, Step::Wait(never)];
    let source = MemorySource::unbounded(vec![ahead, behind], TimeOptions::default());
    let options = JobOptions { follow: true, ..checkpointed(2, folder.path()) };
    let job = begin(&per_key(0, 0), options, &source, &ledger).await.unwrap();
    covered(&job, 3).await;
    assert!(ledger.published().is_empty());
    // No row comes, but nobody holds time back any longer.
    idles.add_permits(1);
    wait_for_status(&job, "the window's result", |_| !ledger.published().is_empty()).await;
    assert_eq!(ledger.published(), ["a 0 10 2 4"]);
    job.cancel().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_had_ended_ends_again_and_writes_nothing_more() {
    let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
    let (graph, source, gate) = stopped(folder.path(), &ledger).await;
    comes_to_its_end(&graph, &source, &gate, folder.path(), &ledger).await;
    for parallelism in [1, 2, 3, 1] {
        let job = begin(&graph, checkpointed(parallelism, folder.path()), &source, &ledger).await.unwrap();
        let summary = within("the end", job.join()).await.unwrap();
        assert_eq!((summary.rows_in, ledger.published()), (0, RESULT.map(str::to_owned).to_vec()));
    }
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
    covered(&job, 0).await;
    std::fs::rename(&folder, parent.path().join("elsewhere")).unwrap();
    let failures = |job: &JobHandle| job.status().checkpoints.map_or(0, |checkpoints| checkpoints.failed);
    gate.add_permits(1);
    let status = wait_for_status(&job, "a failure", |_| failures(&job) >= 2).await;
    assert_eq!(status.state, JobState::Running);
    let error = status.checkpoints.unwrap().error.unwrap();
    assert!(error.contains("cannot create"), "{error}");
    std::fs::rename(parent.path().join("elsewhere"), &folder).unwrap();
    covered(&job, 2).await;
    assert_eq!(job.status().checkpoints.unwrap().error, None);
    job.cancel().await;
    comes_to_its_end(&graph, &source, &gate, &folder, &ledger).await;
}
