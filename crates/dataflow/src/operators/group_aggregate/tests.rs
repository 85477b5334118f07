//! The operator by itself: what a turn gives, what is forgotten and when, and that memory is given back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod sealing;

use arrow::array::{AsArray, Int64Array, RecordBatch, UInt8Array};
use arrow::datatypes::{Field, Int64Type, Schema};

use super::*;
use crate::batch::{Batch, RowKind};
use crate::native::{Count, Sum};
use crate::operator::{LateRows, Output};
use crate::time::Watermark;

/// The changes of a result: kind, key (absent without keys), results.
#[derive(Default)]
struct Changes(Vec<(u8, Vec<Option<i64>>)>);

impl Output for Changes {
    fn emit(&mut self, batch: Batch) {
        for row in 0..batch.num_rows() {
            let value = |column: &arrow::array::ArrayRef| {
                let column = column.as_primitive::<Int64Type>();
                arrow::array::Array::is_valid(column, row).then(|| column.value(row))
            };
            let kind = batch.kinds.as_ref().map_or(0, |kinds| kinds.value(row));
            self.0.push((kind, batch.rows.columns().iter().map(value).collect()));
        }
    }

    fn late(&mut self, _: LateRows<'_>) {}

    fn null_time(&mut self, _: u64) {}
}

fn call(function: Arc<dyn AggregateFunction>, is_distinct: bool) -> RollingCall {
    let text = function.to_string();
    let argument_types = vec![DataType::Int64];
    RollingCall { function, arguments: vec![1], argument_types, is_distinct, filter: None, text }
}

/// `SELECT k, count(v), sum(v), count(DISTINCT v) GROUP BY k`.
fn operator(time_to_live: Option<TimeToLive>, is_updating: bool) -> Box<dyn Operator> {
    let definition = GroupAggregate {
        key_count: 1,
        calls: vec![call(Arc::new(Count), false), call(Arc::new(Sum), false), call(Arc::new(Count), true)],
        key_texts: vec!["k".to_owned()],
        time_to_live,
        windows: None,
    };
    let field = |name: &str| Field::new(name, DataType::Int64, true);
    let input = Arc::new(Schema::new(vec![field("k"), field("v")]));
    let output = Arc::new(Schema::new(vec![field("k"), field("count"), field("sum"), field("distinct")]));
    definition.instance(&[Port { schema: input, is_updating }], &output).unwrap()
}

fn batch(rows: &[(Option<i64>, Option<i64>)], kinds: Option<Vec<u8>>) -> Batch {
    let keys = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()) as _;
    let values = Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()) as _;
    let rows = RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("v", values, true)]).unwrap();
    Batch { rows, kinds: kinds.map(UInt8Array::from) }
}

fn turn(operator: &mut dyn Operator, batches: &[Batch]) -> Vec<(u8, Vec<Option<i64>>)> {
    let mut changes = Changes::default();
    for batch in batches {
        operator.process(0, batch.clone(), &mut changes).unwrap();
    }
    assert!(changes.0.is_empty(), "changes are gathered");
    operator.flush(&mut changes).unwrap();
    changes.0
}

fn row(values: [i64; 4]) -> Vec<Option<i64>> {
    values.into_iter().map(Some).collect()
}

#[test]
fn a_turn_gives_one_change_a_group_and_none_for_an_equal_result() {
    let mut operator = operator(None, false);
    let first = batch(&[(Some(1), Some(5)), (None, None), (Some(1), Some(5))], None);
    let nothing = vec![None, Some(0), None, Some(0)];
    assert_eq!(turn(operator.as_mut(), &[first.clone(), first]), [(0, row([1, 4, 20, 1])), (0, nothing)]);
    let second = batch(&[(None, None), (Some(1), Some(7)), (Some(2), Some(0))], None);
    assert_eq!(
        turn(operator.as_mut(), &[second]),
        [(1, row([1, 4, 20, 1])), (2, row([1, 5, 27, 2])), (0, row([2, 1, 0, 1]))]
    );
    assert_eq!(turn(operator.as_mut(), &[]), []);
}

#[test]
fn a_group_without_rows_is_gone_and_may_come_back() {
    let mut operator = operator(None, true);
    let come = batch(&[(Some(1), Some(5)), (Some(1), Some(5)), (Some(2), Some(3))], None);
    assert_eq!(turn(operator.as_mut(), std::slice::from_ref(&come)), [(0, row([1, 2, 10, 1])), (0, row([2, 1, 3, 1]))]);
    let change = batch(&[(Some(1), Some(5)), (Some(1), Some(6)), (Some(2), Some(3))], Some(vec![1, 2, 3]));
    assert_eq!(
        turn(operator.as_mut(), &[change]),
        [(1, row([1, 2, 10, 1])), (2, row([1, 2, 11, 2])), (3, row([2, 1, 3, 1]))]
    );
    // Comes and goes within a turn: nobody hears of it.
    let passing = batch(&[(Some(9), Some(1)), (Some(9), Some(1))], Some(vec![0, 3]));
    assert_eq!(turn(operator.as_mut(), &[passing]), []);
    assert_eq!(turn(operator.as_mut(), &[come.slice(2, 1)]), [(0, row([2, 1, 3, 1]))]);
}

#[test]
fn groups_that_nobody_touches_are_forgotten_by_either_time() {
    for (time_to_live, by_clock) in [(TimeToLive::EventTime(100), false), (TimeToLive::ProcessingTime(100), true)] {
        let mut operator = operator(Some(time_to_live), true);
        let advance = |operator: &mut dyn Operator, now: i64| {
            let mut changes = Changes::default();
            match by_clock {
                true => operator.on_clock(now, &mut changes).unwrap(),
                false => operator.on_watermark(Watermark(now), &mut changes).unwrap(),
            }
            assert!(changes.0.is_empty(), "what is forgotten is not taken back");
        };
        turn(operator.as_mut(), &[batch(&[(Some(1), Some(5)), (Some(2), Some(5))], None)]);
        advance(operator.as_mut(), 1_000);
        let touched = turn(operator.as_mut(), &[batch(&[(Some(2), Some(5))], None)]);
        assert_eq!(touched, [(1, row([2, 1, 5, 1])), (2, row([2, 2, 10, 1]))]);
        advance(operator.as_mut(), 1_090);
        assert_eq!(turn(operator.as_mut(), &[batch(&[(Some(2), Some(1))], None)])[1], (2, row([2, 3, 11, 2])));
        advance(operator.as_mut(), 1_150);
        // Key 1 begins anew; what had been taken into account before cannot be taken back.
        let orphan = batch(&[(Some(1), Some(5)), (Some(1), Some(6)), (Some(2), Some(5))], Some(vec![1, 2, 3]));
        assert_eq!(
            turn(operator.as_mut(), &[orphan]),
            [(1, row([2, 3, 11, 2])), (2, row([2, 2, 6, 2])), (0, row([1, 1, 6, 1]))]
        );
    }
}

#[test]
fn memory_stays_level_while_keys_come_and_are_forgotten() {
    let mut operator = operator(Some(TimeToLive::EventTime(100)), false);
    let mut sizes = Vec::new();
    for step in 0..1_000_i64 {
        let rows: Vec<_> = (0..100).map(|key| (Some(step * 100 + key), Some(step))).collect();
        turn(operator.as_mut(), &[batch(&rows, None)]);
        operator.on_watermark(Watermark(step * 10), &mut Changes::default()).unwrap();
        sizes.push(operator.state_size_bytes());
    }
    let (early, late) = (sizes[..300].iter().max().unwrap(), sizes[300..].iter().max().unwrap());
    assert!(late <= early, "{early} bytes early, {late} late");
}

/// `SELECT window_end, sum(v)` over changes of rows that say the end of their window.
fn windows(windows: GroupWindows) -> Box<dyn Operator> {
    let definition = GroupAggregate {
        key_count: 1,
        calls: vec![call(Arc::new(Sum), false)],
        key_texts: vec!["window_end".to_owned()],
        time_to_live: None,
        windows: Some(windows),
    };
    let time = Field::new("k", DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, None), true);
    let value = |name: &str| Field::new(name, DataType::Int64, true);
    let input = Arc::new(Schema::new(vec![time.clone(), value("v")]));
    let output = Arc::new(Schema::new(vec![time, value("sum")]));
    assert_eq!(definition.is_updating(&[true]), windows.closes_after_ms != Some(0) || !windows.waits);
    definition.instance(&[Port { schema: input, is_updating: true }], &output).unwrap()
}

fn of_windows(rows: &[(i64, i64)], kinds: &[u8]) -> Batch {
    let ends: arrow::array::TimestampMillisecondArray = rows.iter().map(|row| Some(row.0)).collect();
    let values: Int64Array = rows.iter().map(|row| Some(row.1)).collect();
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("k", Arc::new(ends) as _, true),
        ("v", Arc::new(values) as _, true),
    ]);
    Batch { rows: rows.unwrap(), kinds: Some(UInt8Array::from(kinds.to_vec())) }
}

/// The changes of a turn that ends with a watermark, with the window's end in ms, and how many rows were late.
fn pass(operator: &mut dyn Operator, batch: Option<Batch>, watermark: i64) -> (Vec<(u8, i64, i64)>, u64) {
    struct Read(Vec<(u8, i64, i64)>, u64);
    impl Output for Read {
        fn emit(&mut self, batch: Batch) {
            let ends = crate::time::event_times(batch.rows.column(0)).unwrap();
            let sums = batch.rows.column(1).as_primitive::<Int64Type>();
            let kind = |row: usize| batch.kinds.as_ref().map_or(0, |kinds| kinds.value(row));
            self.0.extend((0..batch.num_rows()).map(|row| (kind(row), ends.value(row), sums.value(row))));
        }

        fn late(&mut self, late: LateRows<'_>) {
            self.1 += late.row_count;
        }

        fn null_time(&mut self, _: u64) {}
    }
    let mut out = Read(Vec::new(), 0);
    if let Some(batch) = batch {
        operator.process(0, batch, &mut out).unwrap();
    }
    operator.flush(&mut out).unwrap();
    operator.on_watermark(Watermark(watermark), &mut out).unwrap();
    (out.0, out.1)
}

#[test]
fn a_window_of_a_changelog_gives_its_result_when_it_ends_and_is_then_closed() {
    let mut operator = windows(GroupWindows { key: 0, until_end_ms: 0, waits: true, closes_after_ms: Some(0) });
    let operator = operator.as_mut();
    let first = of_windows(&[(100, 5), (200, 1), (100, 5), (100, 7)], &[0, 0, 1, 2]);
    assert_eq!(pass(operator, Some(first), 99), (vec![], 0));
    assert_eq!(pass(operator, Some(of_windows(&[(300, 3), (300, 3)], &[0, 3])), 100), (vec![(0, 100, 7)], 0));
    // What comes for it now is counted; what is taken back before a window ends never was.
    assert_eq!(pass(operator, Some(of_windows(&[(100, 7), (200, 2)], &[3, 0])), 250), (vec![(0, 200, 3)], 1));
    assert_eq!(pass(operator, None, i64::MAX), (vec![], 0));
}

#[test]
fn a_window_of_a_changelog_is_corrected_by_what_comes_after_its_end() {
    for closes_after_ms in [None, Some(1_000)] {
        let mut operator = windows(GroupWindows { key: 0, until_end_ms: 10, waits: true, closes_after_ms });
        let operator = operator.as_mut();
        assert_eq!(pass(operator, Some(of_windows(&[(100, 5), (200, 1)], &[0, 0])), 110), (vec![(0, 100, 5)], 0));
        let corrections = vec![(1, 100, 5), (2, 100, 9)];
        assert_eq!(pass(operator, Some(of_windows(&[(100, 4)], &[0])), 120), (corrections, 0));
        let gone = of_windows(&[(100, 4), (100, 5)], &[3, 3]);
        assert_eq!(pass(operator, Some(gone), 130), (vec![(3, 100, 9)], 0));
        assert_eq!(pass(operator, Some(of_windows(&[(100, 6)], &[0])), 1_120), (vec![(0, 100, 6), (0, 200, 1)], 0));
        let late = pass(operator, Some(of_windows(&[(100, 1)], &[0])), 1_130);
        match closes_after_ms {
            None => assert_eq!(late, (vec![(1, 100, 6), (2, 100, 7)], 0)),
            Some(_) => assert_eq!(late, (vec![], 1)),
        }
    }
}

#[test]
fn memory_stays_level_while_windows_of_a_changelog_close() {
    let mut operator = windows(GroupWindows { key: 0, until_end_ms: 0, waits: true, closes_after_ms: Some(50) });
    let mut sizes = Vec::new();
    for step in 0..1_000_i64 {
        let rows: Vec<(i64, i64)> = (0..100).map(|at| (step * 10 + at, at)).collect();
        pass(operator.as_mut(), Some(of_windows(&rows, &[0; 100])), step * 10);
        sizes.push(operator.state_size_bytes());
    }
    let (early, late) = (sizes[..300].iter().max().unwrap(), sizes[300..].iter().max().unwrap());
    assert!(late <= early, "{early} bytes early, {late} late");
}

/// Windows that close, that are corrected, and that do not wait, at every point of random scripts.
#[test]
fn windows_of_a_changelog_go_on_from_any_cut() {
    use crate::operators::tests::cut::{Event, Form, check_cuts};
    use crate::operators::tests::windowed::Random;
    for seed in 0..9_u64 {
        let mut random = Random(seed);
        let closes_after_ms = [None, Some(0), Some(150)][(seed % 3) as usize];
        let definition = GroupWindows { key: 0, until_end_ms: 0, waits: seed % 4 != 3, closes_after_ms };
        let (mut here, mut now, mut events) = (Vec::new(), 0, Vec::new());
        for _ in 0..8 {
            let (mut rows, mut kinds) = (Vec::new(), Vec::new());
            for _ in 0..1 + random.below(5) {
                if !here.is_empty() && random.below(3) == 0 {
                    rows.push(here.swap_remove(random.below(here.len() as u64) as usize));
                    kinds.push(3);
                } else {
                    // Nothing that is taken back is late: windows that were forgotten have no rows.
                    let end = if closes_after_ms.is_some() { now + 100 } else { 0 };
                    rows.push((end + 100 * random.below(4) as i64, random.below(9) as i64));
                    kinds.push(0);
                    here.push(*rows.last().unwrap());
                }
            }
            events.push(Event::Rows(of_windows(&rows, &kinds)));
            now += 60 + random.below(150) as i64;
            events.push(Event::Watermark(now));
        }
        events.push(Event::Watermark(now + 10_000));
        let form = Form { make: &|_| vec![windows(definition)], keys: vec![0] };
        check_cuts([&form, &form], &events);
    }
}

#[test]
fn what_has_been_forgotten_downstream_is_given_once_more_as_new_rows() {
    let mut operator = operator(None, true);
    let rows = batch(&[(Some(1), Some(5)), (Some(2), Some(6)), (Some(3), Some(7))], None);
    turn(operator.as_mut(), &[rows]);
    turn(operator.as_mut(), &[batch(&[(Some(3), Some(7))], Some(vec![RowKind::Delete as u8]))]);
    operator.give_again();
    let insert = RowKind::Insert as u8;
    assert_eq!(turn(operator.as_mut(), &[]), [(insert, row([1, 1, 5, 1])), (insert, row([2, 1, 6, 1]))]);
    assert_eq!(turn(operator.as_mut(), &[]), []);
    let updated = turn(operator.as_mut(), &[batch(&[(Some(2), Some(6))], None)]);
    let (before, after) = (RowKind::UpdateBefore as u8, RowKind::UpdateAfter as u8);
    assert_eq!(updated, [(before, row([2, 1, 6, 1])), (after, row([2, 2, 12, 1]))]);
}
