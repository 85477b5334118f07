//! How fast rows go through the engine when source and sink cost nothing: batches lie in memory, results are thrown away.
//!
//! ```text
//! cargo run --release -p mulgil-engine --example window_throughput -- [MILLION_ROWS] [PARALLELISM]
//! ```
//!
//! It prints rows a second for a stateless query (filter and projection) and for a count and sum per key and 10-second
//! tumbling window, with few keys and with many.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, DurationMillisecondType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use mulgil_connect::error::ConnectError;
use mulgil_connect::sink::{Sink, SinkWriter};
use mulgil_connect::source::{PartitionReader, Position, Read, Source};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::graph::{AggregateCall, Graph, LogicalOperator, NodeId, Window};
use mulgil_dataflow::native::{Binary, BinaryOperation, Count, Literal, Sum, column};
use mulgil_dataflow::trigger::Trigger;
use mulgil_engine::deterministic::Random;
use mulgil_engine::job::{Job, JobOptions};

const BATCH_ROWS: usize = 8_192;
const DISTINCT_BATCHES: usize = 64;

type Build = fn() -> Result<Graph, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let million_rows: usize = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let default = std::thread::available_parallelism().map_or(1, usize::from);
    let parallelism: usize = arguments.next().map_or(Ok(default), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let cases: [(&str, usize, Build); 4] = [
        ("filter and project", 1_000, stateless),
        ("count and sum per window, 100 keys", 100, windowed),
        ("count and sum per window, 10,000 keys", 10_000, windowed),
        ("count and sum per window, 1,000,000 keys", 1_000_000, windowed),
    ];
    for (name, key_count, graph) in cases {
        let batches_per_partition = million_rows * 1_000_000 / BATCH_ROWS / parallelism;
        let source: Arc<dyn Source> = Arc::new(Repeating {
            batches: Arc::new(batches(key_count)?),
            partition_count: parallelism,
            batches_per_partition,
        });
        let sources = HashMap::from([("events".to_owned(), source)]);
        let sink: Arc<dyn Sink> = Arc::new(Nowhere);
        let sinks = HashMap::from([("results".to_owned(), sink)]);
        let options = JobOptions { parallelism, ..JobOptions::default() };
        let graph = graph()?;
        let summary = runtime.block_on(async {
            let job = Job::start(graph, options, sources, sinks, runtime.handle()).await?;
            job.join().await
        })?;
        let rate = summary.rows_in as f64 / summary.elapsed.as_secs_f64() / 1e6;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{name}: {rate:.2} million rows/s ({} rows in, {} out, {:.2} s, parallelism {parallelism})",
            summary.rows_in,
            summary.rows_out,
            summary.elapsed.as_secs_f64()
        )?;
    }
    Ok(())
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("ts", time_type(), false),
        Field::new("v", DataType::Int64, false),
    ]))
}

/// Some batches with random keys, all within the first seconds; readers move them on in time.
fn batches(key_count: usize) -> Result<Vec<RecordBatch>, Box<dyn Error>> {
    let mut random = Random::new(1);
    let mut batches = Vec::new();
    for _ in 0..DISTINCT_BATCHES {
        let keys: StringArray = (0..BATCH_ROWS).map(|_| Some(format!("key-{:07}", random.below(key_count)))).collect();
        let values = Int64Array::from_iter_values((0..BATCH_ROWS as i64).map(|row| row % 100));
        let times = TimestampMillisecondArray::from_iter_values((0..BATCH_ROWS as i64).map(|row| row / 64));
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(values)];
        batches.push(RecordBatch::try_new(schema(), columns)?);
    }
    Ok(batches)
}

fn source(graph: &mut Graph) -> NodeId {
    let operator =
        LogicalOperator::Source { table: "events".to_owned(), projection: vec![0, 1, 2], has_changes: false };
    graph.push(operator, vec![], schema())
}

fn named(name: &str) -> Result<mulgil_dataflow::expression::NamedExpression, Box<dyn Error>> {
    column(&schema(), name).ok_or_else(|| format!("there is no column {name}").into())
}

fn stateless() -> Result<Graph, Box<dyn Error>> {
    let mut graph = Graph::new();
    let read = source(&mut graph);
    let fifty = Literal::new("50", Arc::new(Int64Array::from(vec![50])));
    let predicate = Arc::new(Binary::new(named("v")?.expression, BinaryOperation::Greater, fifty));
    let filter = graph.push(LogicalOperator::Filter { predicate }, vec![read], schema());
    let one = Literal::new("1", Arc::new(Int64Array::from(vec![1])));
    let mut less = named("v")?;
    less.expression = Arc::new(Binary::new(less.expression, BinaryOperation::Minus, one));
    let project = LogicalOperator::Project { expressions: vec![named("key")?, named("ts")?, less] };
    let fields: Vec<Field> = schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let project = graph.push(project, vec![filter], Arc::new(Schema::new(fields)));
    graph.push(LogicalOperator::Sink { table: "results".to_owned() }, vec![project], schema());
    Ok(graph)
}

fn windowed() -> Result<Graph, Box<dyn Error>> {
    let mut graph = Graph::new();
    let read = source(&mut graph);
    let second = arrow::array::PrimitiveArray::<DurationMillisecondType>::from(vec![1_000]);
    let second = Literal::new("1 s", Arc::new(second));
    let bound = Arc::new(Binary::new(named("ts")?.expression, BinaryOperation::Minus, second));
    let read = graph.push(LogicalOperator::Watermark { column: 1, bound, is_clock: false }, vec![read], schema());
    let call =
        |name: &str, function, arguments| AggregateCall { name: String::from(name), function, arguments, filter: None };
    let operator = LogicalOperator::WindowAggregate {
        column: 1,
        window: Window::Tumbling { size_ms: 10_000, offset_ms: 0 },
        keys: vec![named("key")?],
        aggregates: vec![
            call("n", Arc::new(Count), vec![]),
            call("total", Arc::new(Sum), vec![named("v")?.expression]),
        ],
        trigger: Trigger::default(),
    };
    let output = Arc::new(Schema::new(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("window_start", time_type(), false),
        Field::new("window_end", time_type(), false),
        Field::new("n", DataType::Int64, true),
        Field::new("total", DataType::Int64, true),
    ]));
    let aggregate = graph.push(operator, vec![read], Arc::clone(&output));
    graph.push(LogicalOperator::Sink { table: "results".to_owned() }, vec![aggregate], output);
    Ok(graph)
}

/// Gives the same batches again and again, each time a little later in event time.
struct Repeating {
    batches: Arc<Vec<RecordBatch>>,
    partition_count: usize,
    batches_per_partition: usize,
}

#[async_trait]
impl Source for Repeating {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn is_bounded(&self) -> bool {
        true
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        Ok((0..self.partition_count).map(|partition| partition.to_string()).collect())
    }

    async fn open(
        &self,
        partition: usize,
        _from: Position,
        _projection: &[usize],
        _follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        // Partitions begin at different batches, so that they do not give the same keys at the same time.
        let next = partition * DISTINCT_BATCHES / self.partition_count.max(1);
        let end = next + self.batches_per_partition;
        Ok(Box::new(RepeatingReader { batches: Arc::clone(&self.batches), given: 0, next, end }))
    }
}

struct RepeatingReader {
    batches: Arc<Vec<RecordBatch>>,
    given: i64,
    next: usize,
    end: usize,
}

#[async_trait]
impl PartitionReader for RepeatingReader {
    async fn next(&mut self) -> Result<Read, ConnectError> {
        let batch = self.batches.get(self.next % DISTINCT_BATCHES);
        let Some(batch) = batch.filter(|_| self.next < self.end) else { return Ok(Read::End) };
        // 128 ms of event time a batch: a window has some 640,000 rows of each partition.
        let begin = self.given * (BATCH_ROWS as i64 / 64);
        let times = TimestampMillisecondArray::from_iter_values((0..BATCH_ROWS as i64).map(|row| begin + row / 64));
        let mut columns = batch.columns().to_vec();
        if let Some(column) = columns.get_mut(1) {
            *column = Arc::new(times);
        }
        self.next += 1;
        self.given += 1;
        Ok(Read::Rows(RecordBatch::try_new(schema(), columns)?, self.next as Position))
    }
}

struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    fn accepts_changes(&self) -> bool {
        true
    }

    async fn writer(&self, _subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        Ok(Box::new(Nowhere))
    }
}

#[async_trait]
impl SinkWriter for Nowhere {
    async fn write(&mut self, _batch: Batch) -> Result<(), ConnectError> {
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}
