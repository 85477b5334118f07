//! Joins whose rows are forgotten: the same rows as a join that remembers, in memory that does not grow.

use arrow::compute::cast;
use arrow::datatypes::TimeUnit;

use super::oracle::{Within, naive_where};
use super::*;
use crate::operator::Operator;
use crate::time::Watermark;

/// Partners are at most so far apart: `rv` in `[lv - 7, lv + 12]`.
const BEFORE_MS: i64 = 7;
const AFTER_MS: i64 = 12;

pub(super) fn timed_schema(side: &str) -> SchemaRef {
    let mut fields: Vec<Field> = schema_of(side).fields().iter().map(|field| field.as_ref().clone()).collect();
    fields[2] = Field::new(format!("{side}v"), DataType::Timestamp(TimeUnit::Millisecond, None), true);
    Arc::new(Schema::new(fields))
}

pub(super) fn timed_batch(side: &str, rows: &[Row]) -> Batch {
    let rows: Vec<(Row, RowKind)> = rows.iter().map(|row| (*row, RowKind::Insert)).collect();
    let batch = batch_of(side, &rows, true);
    let mut columns = batch.rows.columns().to_vec();
    columns[2] = cast(&columns[2], timed_schema(side).field(2).data_type()).unwrap();
    Batch::append(RecordBatch::try_new(timed_schema(side), columns).unwrap())
}

pub(super) fn timed_join(kind: JoinKind, time_to_live: Option<TimeToLive>) -> Join {
    let mut join = join(kind, vec![0], false, false);
    join.condition = Some(Condition {
        columns: vec![(Side::Left, 2), (Side::Right, 2)],
        predicate: Arc::new(Within { before_ms: BEFORE_MS, after_ms: AFTER_MS }),
    });
    let retention = |keep_ms| Retention { column: 2, keep_ms, time: 2, late_ms: 0, grain_ms: 4 };
    if time_to_live.is_none() {
        join.retention = Some(Sides { left: retention(AFTER_MS), right: retention(BEFORE_MS) });
    }
    join.time_to_live = time_to_live;
    join
}

pub(super) fn timed_output(join: &Join) -> SchemaRef {
    let mut schema = output_schema(join).fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    for field in &mut schema {
        if field.name().ends_with('v') {
            *field = field.clone().with_data_type(DataType::Timestamp(TimeUnit::Millisecond, None));
        }
    }
    Arc::new(Schema::new(schema))
}

fn instance(join: &Join) -> Box<dyn Operator> {
    let ports = ["l", "r"].map(|side| Port { schema: timed_schema(side), is_updating: false });
    join.instance(&ports, &timed_output(join)).unwrap()
}

fn check(seed: u64) {
    let mut random = Random(seed);
    let kind = KINDS[random.below(KINDS.len())];
    let join = timed_join(kind, None);
    let mut operator = instance(&join);
    let mut out = Final::default();
    let mut rows: [Rows; 2] = Default::default();
    let mut clock = 0;
    for _ in 0..random.below(30) {
        let port = random.below(2);
        let count = 1 + random.below(6);
        let row = |_| {
            let time = clock + random.below(30) as i64;
            ((random.below(6) > 0).then(|| random.below(3) as i64), (random.below(9) > 0).then_some(time))
        };
        let new: Vec<Row> = (0..count).map(row).collect();
        rows[port].extend(&new);
        operator.process(port, timed_batch(["l", "r"][port], &new), &mut out).unwrap();
        clock += random.below(8) as i64;
        operator.flush(&mut out).unwrap();
        operator.on_watermark(Watermark(clock), &mut out).unwrap();
    }
    operator.on_watermark(Watermark::END, &mut out).unwrap();
    let near = |l: &Row, r: &Row| {
        let both = l.1.zip(r.1);
        l.0.is_some() && l.0 == r.0 && both.is_some_and(|(l, r)| l - BEFORE_MS <= r && r <= l + AFTER_MS)
    };
    assert_eq!(out.rows, naive_where(kind, &rows, near), "seed {seed}: {}", join.describe());
    assert!(!out.updating && out.late == 0, "seed {seed}: {}", join.describe());
    assert!(!join.is_updating(&[false, false]));
}

#[test]
fn interval_joins_forget_rows_and_give_the_same() {
    let first = crate::operators::tests::first_seed();
    (first..first + 1_000).for_each(check);
}

#[test]
fn rows_behind_the_watermark_are_late() {
    let join = timed_join(JoinKind::Left, None);
    let mut operator = instance(&join);
    let mut out = Final::default();
    operator.on_watermark(Watermark(100), &mut out).unwrap();
    operator.process(0, timed_batch("l", &[(Some(1), Some(99)), (Some(1), Some(100))]), &mut out).unwrap();
    operator.on_watermark(Watermark::END, &mut out).unwrap();
    assert_eq!((out.late, out.given), (1, 1));
}

/// The bytes of state after each step of an hour at a constant rate.
fn sizes(join: &Join, by_clock: bool) -> Vec<usize> {
    let mut operator = instance(join);
    let mut out = Final::default();
    let mut sizes = Vec::new();
    for step in 0..240_i64 {
        let rows: Vec<Row> = (0..200).map(|i| (Some(step * 50 + i % 50), Some(step * 10 + i % 10))).collect();
        operator.process(0, timed_batch("l", &rows), &mut out).unwrap();
        operator.process(1, timed_batch("r", &rows), &mut out).unwrap();
        operator.flush(&mut out).unwrap();
        out.rows.clear();
        if by_clock {
            operator.on_clock(step * 10, &mut out).unwrap();
        } else {
            operator.on_watermark(Watermark(step * 10), &mut out).unwrap();
        }
        sizes.push(operator.state_size_bytes());
    }
    sizes
}

#[test]
fn state_does_not_grow_with_time() {
    for (join, by_clock) in [
        (timed_join(JoinKind::Inner, None), false),
        (timed_join(JoinKind::Inner, Some(TimeToLive::EventTime(50))), false),
        (timed_join(JoinKind::Inner, Some(TimeToLive::ProcessingTime(50))), true),
    ] {
        let sizes = sizes(&join, by_clock);
        let (early, late) = (sizes[..80].iter().max().unwrap(), sizes[160..].iter().max().unwrap());
        assert!(late <= early, "{}: state grows from {early} to {late} bytes", join.describe());
    }
    let forever = sizes(&Join { retention: None, ..timed_join(JoinKind::Inner, None) }, false);
    assert!(forever[239] > 2 * forever[79]);
}

#[test]
fn rows_live_as_long_as_they_may() {
    let row = |time| timed_batch("l", &[(Some(1), Some(time))]);
    for (time_to_live, by_clock) in [(TimeToLive::EventTime(50), false), (TimeToLive::ProcessingTime(50), true)] {
        let mut operator = instance(&timed_join(JoinKind::Inner, Some(time_to_live)));
        let mut out = Final::default();
        let tell = |operator: &mut Box<dyn Operator>, time: i64, out: &mut Final| {
            if by_clock { operator.on_clock(time, out) } else { operator.on_watermark(Watermark(time), out) }.unwrap();
        };
        operator.process(0, row(1), &mut out).unwrap();
        tell(&mut operator, 100, &mut out);
        tell(&mut operator, 110, &mut out);
        operator.process(0, row(2), &mut out).unwrap();
        for (now, pairs) in [(150, 2), (151, 1), (161, 0)] {
            tell(&mut operator, now, &mut out);
            let given = out.given;
            operator.process(1, timed_batch("r", &[(Some(1), Some(3))]), &mut out).unwrap();
            operator.flush(&mut out).unwrap();
            assert_eq!(out.given - given, pairs, "{time_to_live:?} at {now}");
        }
    }
}
