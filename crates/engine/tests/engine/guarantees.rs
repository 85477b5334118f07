//! What each guarantee gives when jobs die: counts that are no more, no less, or exactly the truth.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::guarantee::Guarantee;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_connect::source::{PartitionReader, Position, Read, Source};
use mulgil_connect::transaction::Transaction;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::graph::Graph;
use mulgil_engine::deterministic::Random;
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use mulgil_engine::status::{JobState, JobStatus};
use tokio::sync::Semaphore;

use crate::checkpoints::{DatabaseHandle, checkpointed};
use crate::graphs::{event, lines, pass_on, per_key, rows};
use crate::memory::{MemorySource, Step, gate, wait_for_status, within};

/// What has been written, by a process that may die: it fails in the middle of a write now and then.
#[derive(Clone, Default)]
struct Printer {
    lines: Arc<Mutex<Vec<String>>>,
    /// Of the writes to come, from the last: whether it fails.
    faults: Arc<Mutex<Vec<bool>>>,
}

impl Printer {
    fn sorted(&self) -> Vec<String> {
        let mut lines = self.lines.lock().unwrap().clone();
        lines.sort();
        lines
    }
}

#[async_trait]
impl Sink for Printer {
    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl SinkWriter for Printer {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        if self.faults.lock().unwrap().pop() == Some(true) {
            let reason = "out of paper".to_owned();
            return Err(ConnectError::Definition { table: "results".to_owned(), reason });
        }
        self.lines.lock().unwrap().extend(lines(&[batch]));
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// A database that rows can also be written to without its transactions.
#[derive(Clone, Default)]
struct EitherWay {
    database: DatabaseHandle,
    printer: Printer,
}

#[async_trait]
impl Sink for EitherWay {
    fn accepts_changes(&self) -> bool {
        true
    }

    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        Some(Arc::new(self.database.clone()))
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        self.printer.writer(subtask).await
    }
}

/// A source that gives what it has given to nobody again: a socket.
struct Socket {
    script: Arc<MemorySource>,
    given: Arc<AtomicU64>,
}

#[async_trait]
impl Source for Socket {
    fn schema(&self) -> SchemaRef {
        self.script.schema()
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn replays(&self) -> bool {
        false
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        self.script.partitions().await
    }

    async fn open(
        &self,
        partition: usize,
        _from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        let reader = self.script.open(partition, self.given.load(SeqCst), projection, follow).await?;
        Ok(Box::new(SocketReader { reader, given: self.given.clone() }))
    }
}

struct SocketReader {
    reader: Box<dyn PartitionReader>,
    given: Arc<AtomicU64>,
}

#[async_trait]
impl PartitionReader for SocketReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        let read = self.reader.next().await?;
        if let Read::Rows(_, position) = &read {
            self.given.store(*position, SeqCst);
        }
        Ok(read)
    }
}

const BATCHES: usize = 12;

/// Batches of two events, each before a gate.
fn script(gate: &Arc<Semaphore>) -> Vec<Step> {
    let batch =
        |n: i64| [Step::Wait(gate.clone()), Step::Rows(rows(&[event("a", n * 2, n), event("b", n * 2 + 1, n)]))];
    (0..BATCHES as i64).flat_map(batch).collect()
}

/// What an undisturbed job gives.
async fn truth(graph: &Graph) -> Vec<String> {
    let (open, printer) = (gate(), Printer::default());
    open.add_permits(BATCHES);
    let source: Arc<dyn Source> = MemorySource::new(vec![script(&open)]);
    let folder = tempfile::tempdir().unwrap();
    let job = begin(graph, &source, Arc::new(printer.clone()), checkpointed(1, folder.path())).await.unwrap();
    within("the end", job.join()).await.unwrap();
    printer.sorted()
}

async fn begin(
    graph: &Graph,
    source: &Arc<dyn Source>,
    sink: Arc<dyn Sink>,
    options: JobOptions,
) -> Result<JobHandle, JobError> {
    let sources = HashMap::from([("events".to_owned(), source.clone())]);
    let sinks = HashMap::from([("results".to_owned(), sink)]);
    Job::start(graph.clone(), options, sources, sinks, &tokio::runtime::Handle::current()).await
}

/// A job that is stopped at random moments, between checkpoints that it makes at once or not at all, until its input has ended.
struct Disturbed {
    graph: Graph,
    source: Arc<dyn Source>,
    gate: Arc<Semaphore>,
    sink: Arc<dyn Sink>,
    asked: Guarantee,
}

impl Disturbed {
    async fn run(&self, seed: u64) {
        let (folder, mut random) = (tempfile::tempdir().unwrap(), Random::new(seed));
        let mut closed = BATCHES;
        while closed > 0 {
            let makes_checkpoints = random.below(2) == 0;
            let open = (1 + random.below(3)).min(closed);
            // A sink that fails while it publishes may let the start fail.
            let Ok(job) = self.begin(folder.path(), makes_checkpoints).await else { continue };
            closed -= open;
            self.gate.add_permits(open);
            // A window gives no row before it ends.
            let waits = self.graph.nodes.len() > 3;
            let until = |status: &JobStatus| {
                let has_checkpoint = status.checkpoints.as_ref().is_some_and(|made| made.covered_rows > 0);
                let has_come = if waits { status.rows_in > 0 } else { status.rows_out > 0 };
                status.state != JobState::Running || has_come && (has_checkpoint || !makes_checkpoints)
            };
            wait_for_status(&job, "rows, or a failure", until).await;
            job.cancel().await;
            // What is read again needs its gates again.
            self.gate.add_permits(1);
        }
        self.gate.add_permits(1_000);
        loop {
            let Ok(job) = self.begin(folder.path(), true).await else { continue };
            if within("the end", job.join()).await.is_ok() {
                return;
            }
        }
    }

    async fn begin(&self, folder: &Path, makes_checkpoints: bool) -> Result<JobHandle, JobError> {
        let mut options = JobOptions { guarantee: Some(self.asked), ..checkpointed(1, folder) };
        if let Some(checkpoints) = options.checkpoints.as_mut().filter(|_| !makes_checkpoints) {
            checkpoints.interval = Duration::from_secs(3_600);
        }
        let job = begin(&self.graph, &self.source, self.sink.clone(), options).await?;
        assert_eq!(job.status().guarantee.given, self.asked.name());
        Ok(job)
    }
}

/// How many lines are missing, and how many are too many.
fn difference(truth: &[String], found: &[String]) -> (usize, usize) {
    let mut left = truth.to_vec();
    let mut surplus = 0;
    for line in found {
        match left.iter().position(|known| known == line) {
            Some(place) => drop(left.remove(place)),
            None => surplus += 1,
        }
    }
    (left.len(), surplus)
}

/// Some writes fail.
fn faults(seed: u64) -> Arc<Mutex<Vec<bool>>> {
    let mut random = Random::new(seed);
    Arc::new(Mutex::new((0..12).map(|_| random.below(3) == 0).collect()))
}

/// What is missing, and what is too much, over some seeds.
async fn over_seeds(graph: &Graph, asked: Guarantee, replays: bool, of: &str) -> (usize, usize) {
    let truth = truth(graph).await;
    let (mut missing, mut surplus) = (0, 0);
    for seed in 1..=8 {
        let gate = gate();
        let script = MemorySource::new(vec![script(&gate)]);
        let source: Arc<dyn Source> = if replays { script } else { Arc::new(Socket { script, given: Arc::default() }) };
        let printer = Printer { faults: faults(seed), ..Printer::default() };
        let database = EitherWay { printer: printer.clone(), ..EitherWay::default() };
        let epochs = database.database.clone();
        let sink: Arc<dyn Sink> = if of == "database" { Arc::new(database) } else { Arc::new(printer.clone()) };
        Disturbed { graph: graph.clone(), source, gate, sink, asked }.run(seed).await;
        let mut found = printer.sorted();
        found.extend(epochs.0.lines.lock().unwrap().iter().cloned());
        let (left_out, twice) = difference(&truth, &found);
        found.sort();
        found.dedup();
        let unheard_of = found.iter().filter(|line| !truth.contains(line)).count();
        assert_eq!(unheard_of, 0, "seed {seed}: what is given again is what was given before: {found:?}");
        (missing, surplus) = (missing + left_out, surplus + twice);
    }
    (missing, surplus)
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_once_gives_no_row_twice_and_may_lose_some() {
    let (missing, surplus) = over_seeds(&pass_on(), Guarantee::AtMostOnce, true, "printer").await;
    assert!(
        missing > 0 && surplus == 0,
        "a sink that fails while it is given rows: {missing} missing, {surplus} twice"
    );
    let (missing, surplus) = over_seeds(&pass_on(), Guarantee::AtMostOnce, false, "printer").await;
    assert!(missing > 0 && surplus == 0, "a socket: {missing} missing, {surplus} twice");
    let (missing, surplus) = over_seeds(&pass_on(), Guarantee::AtMostOnce, true, "database").await;
    assert_eq!((missing, surplus), (0, 0), "nothing has to be lost where a sink commits with the checkpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_loses_no_row_and_may_give_some_twice() {
    for sink in ["printer", "database"] {
        let (missing, surplus) = over_seeds(&pass_on(), Guarantee::AtLeastOnce, true, sink).await;
        assert!(missing == 0 && surplus > 0, "{sink}: {missing} missing, {surplus} twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_once_counts_each_row_once_also_where_its_result_is_given_twice() {
    let graph = per_key(0, 0);
    // That no window is given with another count is asked for in there.
    let (missing, surplus) = over_seeds(&graph, Guarantee::ExactlyOnce, true, "printer").await;
    assert!(missing == 0 && surplus > 0, "{missing} missing, {surplus} twice");
    let (missing, surplus) = over_seeds(&graph, Guarantee::ExactlyOnce, true, "database").await;
    assert_eq!((missing, surplus), (0, 0), "a sink that can commit does");
}

#[tokio::test(flavor = "multi_thread")]
async fn end_to_end_exactly_once_gives_each_row_once() {
    for graph in [pass_on(), per_key(0, 0)] {
        let (missing, surplus) = over_seeds(&graph, Guarantee::EndToEndExactlyOnce, true, "database").await;
        assert_eq!((missing, surplus), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_its_checkpoint_is_given_out_under_another_guarantee_too() {
    let (folder, gate, database) = (tempfile::tempdir().unwrap(), gate(), EitherWay::default());
    let source: Arc<dyn Source> = MemorySource::new(vec![script(&gate)]);
    gate.add_permits(1_000);
    // The first epoch cannot be applied, so the checkpoint that names it has not been published when the job fails.
    *database.database.0.faults.lock().unwrap() = vec![Some(false)];
    let sink: Arc<dyn Sink> = Arc::new(database.clone());
    let job = begin(&pass_on(), &source, sink.clone(), checkpointed(1, folder.path())).await.unwrap();
    within("the end", job.join()).await.unwrap_err();
    gate.add_permits(1_000);
    let options = JobOptions { guarantee: Some(Guarantee::AtLeastOnce), ..checkpointed(1, folder.path()) };
    let job = begin(&pass_on(), &source, sink, options).await.unwrap();
    within("the end", job.join()).await.unwrap();
    let mut found = database.printer.sorted();
    found.extend(database.database.0.lines.lock().unwrap().iter().cloned());
    assert_eq!(difference(&truth(&pass_on()).await, &found).0, 0, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_given_is_refused_with_the_table_that_is_in_the_way() {
    let (folder, gate) = (tempfile::tempdir().unwrap(), gate());
    let script = MemorySource::new(vec![script(&gate)]);
    let socket: Arc<dyn Source> = Arc::new(Socket { script: script.clone(), given: Arc::default() });
    let topic: Arc<dyn Source> = script;
    let cases = [
        (&socket, Guarantee::AtLeastOnce, "source events cannot be read again"),
        (&topic, Guarantee::EndToEndExactlyOnce, "sink results cannot commit with a checkpoint"),
    ];
    for (source, asked, expected) in cases {
        let options = JobOptions { guarantee: Some(asked), ..checkpointed(1, folder.path()) };
        let refused = begin(&pass_on(), source, Arc::new(Printer::default()), options).await.unwrap_err().to_string();
        assert!(refused.contains(expected) && refused.contains("ask for"), "{refused}");
    }
}
