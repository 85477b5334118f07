//! State with a time to live at a constant rate of ever new keys: an hour of event time goes through every operator that
//! keeps state, and neither the state nor the memory of this process grows. Nothing else runs in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use mulgil_dataflow::batch::{Batch, RowKind};
use mulgil_dataflow::chain::{Chain, Link};
use mulgil_dataflow::definition::{OperatorDefinition, Port};
use mulgil_dataflow::expression::EvaluationError;
use mulgil_dataflow::native::{Count, Sum};
use mulgil_dataflow::operator::{LateRows, Output};
use mulgil_dataflow::operators::group_aggregate::{GroupAggregate, RollingCall};
use mulgil_dataflow::operators::join::{Join, JoinKind, Sides, TemporalJoin};
use mulgil_dataflow::operators::over::OverDefinition;
use mulgil_dataflow::operators::rank::{OrderColumn, RankDefinition, RankFunction};
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::time_to_live::TimeToLive;
use mulgil_dataflow::window_function::{Reach, WindowFunction};

const HOUR_MS: i64 = 3_600_000;
const STEP_MS: i64 = 10_000;
const ROWS_PER_STEP: i64 = 400;
const TIME_TO_LIVE_MS: i64 = 100_000;

/// What comes to an operator at every step: keys that never come again.
#[derive(Clone, Copy, PartialEq)]
enum Input {
    Inserts,
    /// Every row is taken back, and comes again otherwise.
    Changes,
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("ts", time, true),
        Field::new("v", DataType::Int64, true),
    ]))
}

fn batch(step: i64, input: Input) -> Batch {
    let rows: Vec<(i64, i64, u8)> = (0..ROWS_PER_STEP)
        .flat_map(|n| match input {
            Input::Inserts => vec![(n, n % 7, RowKind::Insert as u8)],
            Input::Changes => vec![
                (n, 1, RowKind::Insert as u8),
                (n, 1, RowKind::UpdateBefore as u8),
                (n, 2, RowKind::UpdateAfter as u8),
            ],
        })
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| step * ROWS_PER_STEP + row.0))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| step * STEP_MS + row.0 % STEP_MS))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
    ];
    let kinds = (input == Input::Changes).then(|| UInt8Array::from_iter_values(rows.iter().map(|row| row.2)));
    Batch { rows: RecordBatch::try_new(schema(), columns).unwrap(), kinds }
}

/// How many rows are before a row in its partition, or in all of it.
#[derive(Debug)]
struct Counted(Reach);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("count(*)")
    }
}

impl WindowFunction for Counted {
    fn data_type(&self) -> DataType {
        DataType::Int64
    }

    fn reach(&self) -> Reach {
        self.0
    }

    fn evaluate(&self, _: &RecordBatch, partitions: &[Range<usize>]) -> Result<ArrayRef, EvaluationError> {
        let counts = partitions.iter().flat_map(|partition| 0..partition.len() as i64);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }
}

fn join(kind: JoinKind, time_to_live: TimeToLive) -> Arc<dyn OperatorDefinition> {
    let (left, right) = (vec![0], vec![0, 2]);
    let right = if kind == JoinKind::LeftAnti { Vec::new() } else { right };
    Arc::new(Join {
        kind,
        keys: Sides { left: vec![0], right: vec![0] },
        on: "k = k".to_owned(),
        nulls_match: false,
        condition: None,
        outputs: Sides { left, right },
        retention: None,
        time_to_live: Some(time_to_live),
        is_lookup: false,
        is_right_everywhere: false,
        left_by: Vec::new(),
        contest: None,
    })
}

fn rank(limit: usize, with_rank: bool, time_to_live: TimeToLive) -> Arc<dyn OperatorDefinition> {
    Arc::new(RankDefinition {
        input: schema(),
        partition: vec![0],
        order: vec![OrderColumn { column: 1, descending: true, nulls_first: false }],
        function: RankFunction::RowNumber,
        limit,
        with_rank,
        window: None,
        time_to_live: Some(time_to_live),
    })
}

fn over(reach: Reach, time_to_live: TimeToLive) -> Arc<dyn OperatorDefinition> {
    Arc::new(OverDefinition {
        input: schema(),
        partition: vec![0],
        order: vec![OrderColumn { column: 1, descending: false, nulls_first: false }],
        functions: vec![Arc::new(Counted(reach))],
        time: Some(1),
        time_to_live: Some(time_to_live),
    })
}

fn aggregate(distinct: bool, time_to_live: TimeToLive) -> Arc<dyn OperatorDefinition> {
    let sum = RollingCall {
        function: Arc::new(Sum),
        arguments: vec![2],
        argument_types: vec![DataType::Int64],
        is_distinct: distinct,
        filter: None,
        text: "sum(v)".to_owned(),
    };
    let count = RollingCall {
        function: Arc::new(Count),
        arguments: Vec::new(),
        argument_types: Vec::new(),
        is_distinct: false,
        filter: None,
        text: "count(*)".to_owned(),
    };
    Arc::new(GroupAggregate {
        key_count: 1,
        calls: vec![sum, count],
        key_texts: vec!["k".to_owned()],
        time_to_live: Some(time_to_live),
        windows: None,
    })
}

fn temporal(time_to_live: TimeToLive) -> Arc<dyn OperatorDefinition> {
    Arc::new(TemporalJoin {
        kind: JoinKind::Left,
        keys: Sides { left: vec![0], right: vec![0] },
        on: "k = k".to_owned(),
        times: Sides { left: 1, right: 1 },
        condition: None,
        outputs: Sides { left: vec![0], right: vec![2] },
        time_to_live: Some(time_to_live),
    })
}

/// Counts what comes out.
struct Counter(u64);

impl Output for Counter {
    fn emit(&mut self, batch: Batch) {
        self.0 += batch.num_rows() as u64;
    }

    fn late(&mut self, late: LateRows<'_>) {
        assert_eq!(late.row_count, 0);
    }

    fn null_time(&mut self, _: u64) {}
}

/// What an operator gives out, as far as its columns go: those of ports side by side, then what it appends.
fn output(name: &str) -> SchemaRef {
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let mut fields: Vec<Field> = schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    match name {
        _ if name.contains("anti") => fields = vec![number("k")],
        _ if name.contains("temporal") => fields = vec![number("k"), number("rv")],
        _ if name.contains("join") => fields = vec![number("k"), number("rk"), number("rv")],
        _ if name.contains("aggregate") => fields = vec![number("k"), number("sum"), number("count")],
        _ if name.contains("with the rank") => fields.push(Field::new("rank", DataType::UInt64, true)),
        _ if name.contains("over") => fields.push(number("count")),
        _ => {}
    }
    Arc::new(Schema::new(fields))
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Sends an hour through an operator; gives the largest state of each third, and how resident memory has grown since the
/// first.
fn an_hour(
    name: &str,
    definition: &dyn OperatorDefinition,
    ports: usize,
    input: Input,
    by_clock: bool,
) -> ([usize; 3], i64) {
    let port = Port { schema: schema(), is_updating: input == Input::Changes };
    let operator = definition.instance(&vec![port; ports], &output(name)).unwrap();
    let mut chain =
        Chain::new(vec![Link { name: name.to_owned(), node: None, operator, late_rows_to: Default::default() }]);
    let mut out = Counter(0);
    let mut sizes = [0; 3];
    let mut resident = 0;
    let steps = HOUR_MS / STEP_MS;
    for step in 0..steps {
        for port in 0..ports {
            chain.process(port, batch(step, input), &mut out).unwrap();
        }
        if by_clock {
            chain.on_clock(step * STEP_MS, &mut out).unwrap();
        }
        chain.on_watermark(Watermark(step * STEP_MS), &mut out).unwrap();
        let third = (3 * step / steps) as usize;
        sizes[third] = sizes[third].max(chain.state_size_bytes());
        if step == steps / 3 {
            resident = resident_bytes();
        }
    }
    assert!(out.0 > 0, "{name} gives nothing");
    (sizes, resident_bytes() as i64 - resident as i64)
}

/// An operator under a name, how many inputs it has, and what comes to them.
type Case = (&'static str, Arc<dyn OperatorDefinition>, usize, &'static [Input]);

#[test]
fn an_hour_at_a_constant_rate_leaves_memory_flat() {
    let ttls = [(false, TimeToLive::EventTime(TIME_TO_LIVE_MS)), (true, TimeToLive::ProcessingTime(TIME_TO_LIVE_MS))];
    for (by_clock, ttl) in ttls {
        let operators: Vec<Case> = vec![
            ("aggregate", aggregate(false, ttl), 1, &[Input::Inserts, Input::Changes]),
            ("aggregate of distinct values", aggregate(true, ttl), 1, &[Input::Inserts, Input::Changes]),
            ("inner join", join(JoinKind::Inner, ttl), 2, &[Input::Inserts, Input::Changes]),
            ("full join", join(JoinKind::Full, ttl), 2, &[Input::Inserts, Input::Changes]),
            ("anti join", join(JoinKind::LeftAnti, ttl), 2, &[Input::Inserts, Input::Changes]),
            ("keep the last row", rank(1, false, ttl), 1, &[Input::Inserts, Input::Changes]),
            ("keep three rows, with the rank", rank(3, true, ttl), 1, &[Input::Inserts, Input::Changes]),
            ("over all rows before", over(Reach::Before, ttl), 1, &[Input::Inserts, Input::Changes]),
            ("over the row before", over(Reach::Rows(1), ttl), 1, &[Input::Inserts]),
            ("over rows behind", over(Reach::Ahead, ttl), 1, &[Input::Inserts]),
            ("temporal join", temporal(ttl), 2, &[Input::Inserts]),
        ];
        for (name, definition, ports, inputs) in operators {
            // The clock forgets as event time does: once is enough.
            for input in inputs.iter().take(if by_clock { 1 } else { 2 }) {
                let (sizes, grown) = an_hour(name, definition.as_ref(), ports, *input, by_clock);
                let context = format!("{name}, {ttl}, changes: {}: {sizes:?}, {grown}", *input == Input::Changes);
                // What is kept is about a tenth of what has come: a leak would at least double it in the last third.
                assert!(sizes[2] as f64 <= 1.3 * sizes[0].max(sizes[1]) as f64, "{context}");
                assert!(grown < 6 << 20, "{context}");
            }
        }
    }
}
