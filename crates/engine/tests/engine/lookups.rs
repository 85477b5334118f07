//! Tables that are looked up while a job runs: asked, asked again, read again when they have changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::lookup::Lookup;
use mulgil_connect::source::{PartitionReader, Position, Read, Source};
use mulgil_dataflow::definition::LookupRead;
use mulgil_dataflow::graph::{Graph, LogicalOperator};
use mulgil_dataflow::operators::join::{Cache, JoinKind, LookupJoin, Sides};
use mulgil_engine::error::JobError;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use tokio::sync::Semaphore;

use crate::graphs::{Builder, event, events_schema, rows, schema_of};
use crate::memory::{MemorySink, MemorySinkHandle, MemorySource, Step, gate, give, options, within};

/// One row: key `a`, and a value that tests change. It fails as often as it is told.
#[derive(Clone, Default)]
struct Rates {
    value: Arc<AtomicI64>,
    failures: Arc<AtomicI64>,
    reads: Arc<AtomicI64>,
    /// With a gate, every question needs a permit.
    gate: Option<Arc<Semaphore>>,
}

impl Rates {
    fn rows(&self) -> Result<RecordBatch, ConnectError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.failures.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Err(ConnectError::Told("the table is gone".to_owned()));
        }
        Ok(rows(&[event("a", 0, self.value.load(Ordering::SeqCst))]))
    }
}

#[async_trait]
impl Source for Rates {
    fn schema(&self) -> SchemaRef {
        events_schema()
    }

    fn is_bounded(&self) -> bool {
        true
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok(vec!["rates".to_owned()])
    }

    async fn open(
        &self,
        _partition: usize,
        _from: Position,
        _projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        Ok(Box::new(Once(Some(self.rows()?))))
    }

    fn lookup(&self, _keys: &[usize], _projection: &[usize]) -> Option<Result<Arc<dyn Lookup>, ConnectError>> {
        Some(Ok(Arc::new(self.clone())))
    }

    async fn state(&self) -> Result<Option<String>, ConnectError> {
        Ok(Some(self.value.load(Ordering::SeqCst).to_string()))
    }
}

struct Once(Option<RecordBatch>);

#[async_trait]
impl PartitionReader for Once {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        Ok(self.0.take().map_or(Read::End, |rows| Read::Rows(rows, 1)))
    }
}

#[async_trait]
impl Lookup for Rates {
    async fn find(&self, _wanted: &RecordBatch) -> Result<RecordBatch, ConnectError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.rows()
    }
}

/// Each event with the value of its key, or null.
fn graph(is_whole: bool) -> Graph {
    let mut builder = Builder::default();
    let events = builder.source("events");
    let events = builder.watermark(events, 0);
    let read = LookupRead {
        table: "rates".to_owned(),
        projection: vec![0, 1, 2],
        keys: (!is_whole).then(|| vec![0]),
        retries_max: 2,
        reload_ms: is_whole.then_some(1),
    };
    let lookup = LookupJoin {
        kind: JoinKind::Left,
        read,
        preparation: Vec::new(),
        right: events_schema(),
        keys: Sides { left: vec![0], right: vec![0] },
        asked_by: vec![0],
        on: "key = key".to_owned(),
        condition: None,
        outputs: Sides { left: vec![0, 2], right: vec![2] },
        cache: Cache::None,
        capacity: 2,
    };
    let schema = builder.schema(events);
    let number = schema.field(2).data_type().clone();
    let schema = schema_of(&[("key", schema.field(0).data_type().clone()), ("v", number.clone()), ("rate", number)]);
    let joined = builder.graph.push(LogicalOperator::Apply(Arc::new(lookup)), vec![events], schema);
    builder.sink(joined, "results")
}

async fn start(
    graph: Graph,
    options: JobOptions,
    source: Arc<MemorySource>,
    rates: &Rates,
) -> (JobHandle, Arc<MemorySink>) {
    let sink = Arc::new(MemorySink::default());
    let rates: Arc<dyn Source> = Arc::new(rates.clone());
    let sources: HashMap<String, Arc<dyn Source>> =
        HashMap::from([("events".to_owned(), source as Arc<dyn Source>), ("rates".to_owned(), rates)]);
    let results = Arc::new(MemorySinkHandle(Arc::clone(&sink)));
    let sinks = HashMap::from([("results".to_owned(), results as _)]);
    let job = Job::start(graph, options, sources, sinks, &tokio::runtime::Handle::current()).await;
    (job.unwrap(), sink)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_tried_again_and_then_fails_the_job_with_table_and_reason() {
    for is_whole in [false, true] {
        for (failures, expected) in [(0, Ok(())), (2, Ok(())), (3, Err("source rates: looking up: the table is gone"))]
        {
            let rates = Rates::default();
            rates.value.store(7, Ordering::SeqCst);
            rates.failures.store(failures, Ordering::SeqCst);
            let source = MemorySource::new(vec![vec![give(&[event("a", 1, 1), event("b", 2, 2)])]]);
            let (job, sink) = start(graph(is_whole), options(1), source, &rates).await;
            let ended = within("the end", job.join()).await;
            match expected {
                Ok(()) => {
                    ended.unwrap();
                    assert_eq!(sink.lines(), ["a 1 7", "b 2 null"], "as a whole: {is_whole}");
                }
                Err(expected) => assert_eq!(ended.unwrap_err().to_string(), expected),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_wait_up_to_the_capacity_and_hold_time_back() {
    let rates = Rates { gate: Some(gate()), ..Rates::default() };
    let script = (1..=50).map(|n| give(&[event("a", n, n)])).collect();
    let source = MemorySource::new(vec![script]);
    let mut options = options(1);
    options.queue_bytes_max = 1;
    let (job, sink) = start(graph(false), options, Arc::clone(&source), &rates).await;
    rates.gate.as_ref().unwrap().add_permits(1);
    sink.wait_until("the first row", |sink| !sink.lines().is_empty()).await;
    // Nothing has come out but what was answered, and time is not ahead of what waits.
    let out = sink.lines().len() as i64;
    assert!(sink.watermarks.lock().unwrap().iter().all(|watermark| watermark.0 <= out + 1));
    // Two rows may wait; where the second was asked for by itself, its key is known until its own answer is there, and serves
    // rows of the same key that come meanwhile, a turn's at most.
    assert!(out <= 2 + 16, "{out}");
    // A turn's messages, and one in each of two queues, a reader and a sender.
    let read = source.rows_read.load(Ordering::SeqCst);
    assert!(read <= 2 + 16 + 4, "{read}");
    rates.gate.as_ref().unwrap().add_permits(50);
    within("the end", job.join()).await.unwrap();
    assert_eq!(sink.lines(), (1..=50).map(|n| format!("a {n} 0")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_has_changed_is_read_again_while_a_job_follows() {
    let rates = Rates::default();
    let turn = gate();
    let (wait, row) = (Step::Wait(Arc::clone(&turn)), |n| give(&[event("a", n, n)]));
    let steps: Vec<Step> = (1..20_000).flat_map(|n| [wait.clone(), row(n)]).collect();
    let source = MemorySource::unbounded(vec![steps], Default::default());
    let (job, sink) = start(graph(true), JobOptions { follow: true, ..options(2) }, source, &rates).await;
    let mut given = 0;
    for value in [0, 5, 9] {
        rates.value.store(value, Ordering::SeqCst);
        // The next look at the table comes within milliseconds: rows are sent until one has seen it.
        while sink.lines().last().is_none_or(|line| !line.ends_with(&format!(" {value}"))) {
            given += 1;
            assert!(given < 19_999, "the change to {value} is not seen: {:?}", sink.lines());
            turn.add_permits(1);
            sink.wait_until("a row", |sink| sink.lines().len() == given).await;
        }
    }
    let reads = rates.reads.load(Ordering::SeqCst);
    assert_eq!(reads, 3, "it is read when it has changed, once for both subtasks");
    job.cancel().await;
    assert_eq!(job.join().await, Err(JobError::Cancelled));
}
