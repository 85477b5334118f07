//! The machine's clock, as operators hear of it: from a script, and from the machine while no rows come.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::definition::{Distribution, OperatorDefinition, Port};
use mulgil_dataflow::graph::{Graph, LogicalOperator};
use mulgil_dataflow::operator::{Operator, OperatorError, Output};
use mulgil_dataflow::physical::plan;
use mulgil_dataflow::time::Watermark;
use mulgil_engine::deterministic::{Step, run};

use crate::graphs::{Builder, event, lines, rows};
use crate::memory::{self, MemorySink, MemorySource, gate, give, options, start, within};

/// Holds rows until the clock strikes, and gives them out with its time in place of `v`.
#[derive(Debug)]
struct Strike;

#[derive(Default)]
struct Held(Vec<Batch>);

impl OperatorDefinition for Strike {
    fn describe(&self) -> String {
        "wait for the clock".to_owned()
    }

    fn distribution(&self, _port: usize) -> Distribution {
        Distribution::Keyed(vec![0])
    }

    fn is_updating(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn instance(&self, _inputs: &[Port], _schema: &SchemaRef) -> Result<Box<dyn Operator>, OperatorError> {
        Ok(Box::new(Held::default()))
    }
}

impl Held {
    fn give_out(&mut self, now_ms: i64, out: &mut dyn Output) {
        for batch in self.0.drain(..) {
            let mut columns = batch.rows.columns().to_vec();
            columns[2] = Arc::new(Int64Array::from(vec![now_ms; batch.num_rows()]));
            out.emit(Batch::append(arrow::array::RecordBatch::try_new(batch.rows.schema(), columns).unwrap()));
        }
    }
}

impl Operator for Held {
    fn process(&mut self, _port: usize, batch: Batch, _out: &mut dyn Output) -> Result<(), OperatorError> {
        self.0.push(batch);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        if watermark == Watermark::END {
            self.give_out(-1, out);
        }
        Ok(())
    }

    fn on_clock(&mut self, now_ms: i64, out: &mut dyn Output) -> Result<(), OperatorError> {
        self.give_out(now_ms, out);
        Ok(())
    }

    fn wants_clock(&self) -> bool {
        true
    }
}

fn graph() -> Graph {
    let mut builder = Builder::default();
    let source = builder.source("events");
    let schema = builder.schema(source);
    let node = builder.graph.push(LogicalOperator::Apply(Arc::new(Strike)), vec![source], schema);
    builder.sink(node, "results")
}

#[test]
fn a_script_says_what_comes_before_a_stroke_and_what_after() {
    let steps = vec![
        Step::Rows(rows(&[event("a", 1, 0), event("b", 2, 0)])),
        Step::Clock(1_000),
        Step::Rows(rows(&[event("a", 3, 0)])),
        Step::Clock(1_500),
        Step::Clock(900),
        Step::Rows(rows(&[event("c", 4, 0)])),
    ];
    let tables = HashMap::from([("events".to_owned(), vec![steps, vec![]])]);
    for parallelism in [1, 2, 5] {
        let physical = plan(&graph(), parallelism).unwrap();
        for seed in 0..100 {
            let outcome = run(&physical, &tables, 1_000, seed).unwrap();
            let mut given = lines(&outcome.batches["results"]);
            given.sort();
            let expected = ["a 1 1000", "a 3 1500", "b 2 1000", "c 4 -1"];
            assert_eq!(given, expected, "seed {seed}, parallelism {parallelism}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_strikes_while_no_rows_come() {
    let end = gate();
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 0)]), memory::Step::Wait(end.clone())]]);
    let sink = Arc::new(MemorySink::default());
    let job = start(graph(), options(2), &source, &sink).await.unwrap();
    sink.wait_until("the row", |sink| sink.lines().len() == 1).await;
    let line = sink.lines().remove(0);
    let at_ms: i64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(at_ms > 1_600_000_000_000, "the time of day: {line}");
    end.add_permits(1);
    within("the end", job.join()).await.unwrap();
}

/// Counts and sums per key and `size_ms` of processing time.
fn per_processing_time(size_ms: i64) -> Graph {
    let mut builder = Builder::default();
    let source = builder.source("events");
    let mut fields: Vec<Field> = builder.schema(source).fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("p", DataType::Timestamp(TimeUnit::Millisecond, None), false));
    let schema = Arc::new(Schema::new(fields));
    let stamped = builder.graph.push(LogicalOperator::ProcessingTime, vec![source], Arc::clone(&schema));
    let (column, bound) = (schema.index_of("p").unwrap(), builder.column(stamped, "p"));
    let watermark = LogicalOperator::Watermark { column, bound, is_clock: true };
    let timed = builder.graph.push(watermark, vec![stamped], schema);
    let node = builder.aggregate(timed, &["key"], "p", size_ms, 0);
    builder.sink(node, "results")
}

#[test]
fn rows_are_stamped_with_the_clock_when_they_are_read() {
    let steps = vec![
        Step::Rows(rows(&[event("a", 77, 1), event("b", -77, 2)])),
        Step::Clock(9_999),
        Step::Rows(rows(&[event("a", 0, 4)])),
        Step::Idle,
        Step::Clock(25_000),
        Step::Rows(rows(&[event("a", 0, 8)])),
    ];
    let tables = HashMap::from([("events".to_owned(), vec![steps, vec![Step::Rows(rows(&[]))]])]);
    for parallelism in [1, 2, 5] {
        let physical = plan(&per_processing_time(10_000), parallelism).unwrap();
        for seed in 0..100 {
            let outcome = run(&physical, &tables, 1_000, seed).unwrap();
            let mut given = lines(&outcome.batches["results"]);
            given.sort();
            let expected = ["a 0 10000 2 5", "a 20000 30000 1 8", "b 0 10000 1 2"];
            assert_eq!(given, expected, "seed {seed}, parallelism {parallelism}");
            assert_eq!(outcome.summary.late_dropped, 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_processing_time_close_while_no_rows_come() {
    let end = gate();
    let source = MemorySource::new(vec![vec![give(&[event("a", 1, 5)]), memory::Step::Wait(end.clone())]]);
    let sink = Arc::new(MemorySink::default());
    let job = start(per_processing_time(1), options(2), &source, &sink).await.unwrap();
    sink.wait_until("the window", |sink| sink.lines().len() == 1).await;
    assert!(sink.lines()[0].ends_with(" 1 5"), "{:?}", sink.lines());
    end.add_permits(1);
    within("the end", job.join()).await.unwrap();
}
