//! A result table against a plain map, over random changes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};

use arrow::array::{AsArray, Int64Array, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use mulgil_dataflow::batch::RowKind;

use super::*;

const INSERT: u8 = RowKind::Insert as u8;
const BEFORE: u8 = RowKind::UpdateBefore as u8;
const AFTER: u8 = RowKind::UpdateAfter as u8;
const DELETE: u8 = RowKind::Delete as u8;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]))
}

fn batch(rows: &[(u8, Option<&str>, i64)]) -> Batch {
    let keys: StringArray = rows.iter().map(|(_, key, _)| *key).collect();
    let numbers: Int64Array = rows.iter().map(|(_, _, number)| Some(*number)).collect();
    let kinds: UInt8Array = rows.iter().map(|(kind, _, _)| Some(*kind)).collect();
    Batch { rows: RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(numbers)]).unwrap(), kinds: Some(kinds) }
}

fn sorted(table: &ResultTable) -> Vec<(Option<String>, i64)> {
    let mut rows = Vec::new();
    for batch in table.snapshot().unwrap().batches {
        let numbers = batch.column(1).as_primitive::<Int64Type>();
        for (key, number) in batch.column(0).as_string::<i32>().iter().zip(numbers) {
            rows.push((key.map(str::to_owned), number.unwrap()));
        }
    }
    rows.sort();
    rows
}

fn pairs(expected: &[(Option<&str>, i64)]) -> Vec<(Option<String>, i64)> {
    expected.iter().map(|(key, number)| (key.map(str::to_owned), *number)).collect()
}

#[test]
fn a_key_has_one_row() {
    let table = ResultTable::new(schema(), Some(vec![0]), true, 100).unwrap();
    table.apply(&[batch(&[(INSERT, Some("a"), 1), (INSERT, None, 2)])]).unwrap();
    table.apply(&[batch(&[(BEFORE, Some("a"), 1), (AFTER, Some("a"), 5), (DELETE, None, 2)])]).unwrap();
    assert_eq!(sorted(&table), pairs(&[(Some("a"), 5)]));
    table.apply(&[batch(&[(INSERT, Some("a"), 6)])]).unwrap();
    assert_eq!(sorted(&table), pairs(&[(Some("a"), 6)]));
    assert_eq!(table.row_count_and_version(), (1, 3));
}

#[test]
fn without_a_key_equal_rows_stand_side_by_side() {
    let table = ResultTable::new(schema(), None, true, 100).unwrap();
    table.apply(&[batch(&[(INSERT, Some("a"), 1), (INSERT, Some("a"), 1), (INSERT, Some("a"), 1)])]).unwrap();
    table.apply(&[batch(&[(DELETE, Some("a"), 1)])]).unwrap();
    assert_eq!(sorted(&table), pairs(&[(Some("a"), 1), (Some("a"), 1)]));
    table.apply(&[batch(&[(DELETE, Some("a"), 1), (DELETE, Some("a"), 1)])]).unwrap();
    assert!(matches!(table.apply(&[batch(&[(DELETE, Some("a"), 1)])]), Err(ResultError::MissingRow)));
}

#[test]
fn a_result_is_bounded() {
    let table = ResultTable::new(schema(), None, false, 2).unwrap();
    table.apply(&[batch(&[(INSERT, Some("a"), 1), (INSERT, Some("a"), 1)])]).unwrap();
    let error = table.apply(&[batch(&[(INSERT, Some("a"), 1)])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the result would hold more than 2 rows; aggregate more, or raise the option 'rows-max'"
    );
}

#[test]
fn an_old_snapshot_stays_as_it_was() {
    let table = ResultTable::new(schema(), Some(vec![0]), true, 100).unwrap();
    table.apply(&[batch(&[(INSERT, Some("a"), 1), (INSERT, Some("b"), 2)])]).unwrap();
    let before = table.snapshot().unwrap();
    table.apply(&[batch(&[(DELETE, Some("a"), 1)])]).unwrap();
    assert_eq!(before.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(sorted(&table), pairs(&[(Some("b"), 2)]));
}

/// A small generator; the seed is printed, so that a failure can be run again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn random_changes_add_up_like_a_map() {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    for case in 0_u64..200 {
        let mut random = Random(seed + case * 7919 + 1);
        let table = ResultTable::new(schema(), Some(vec![0]), true, 10_000).unwrap();
        let mut model: BTreeMap<String, i64> = BTreeMap::new();
        for _ in 0..random.below(40) {
            let mut rows: Vec<(u8, String, i64)> = Vec::new();
            for _ in 0..random.below(30) {
                let key = format!("k{}", random.below(50));
                let number = i64::try_from(random.below(1000)).unwrap();
                match (model.get(&key).copied(), random.below(3)) {
                    (Some(former), 0) => {
                        rows.push((DELETE, key.clone(), former));
                        model.remove(&key);
                        continue;
                    }
                    (Some(former), 1) => {
                        rows.push((BEFORE, key.clone(), former));
                        rows.push((AFTER, key.clone(), number));
                    }
                    _ => rows.push((INSERT, key.clone(), number)),
                }
                model.insert(key, number);
            }
            let borrowed: Vec<(u8, Option<&str>, i64)> =
                rows.iter().map(|(kind, key, number)| (*kind, Some(key.as_str()), *number)).collect();
            table.apply(&[batch(&borrowed)]).unwrap();
            let expected: Vec<(Option<String>, i64)> =
                model.iter().map(|(key, number)| (Some(key.clone()), *number)).collect();
            assert_eq!(sorted(&table), expected, "seed {seed}, case {case}");
            assert_eq!(table.row_count_and_version().0, model.len());
        }
        let segments = table.contents.lock().segments.len();
        assert!(segments < 16, "{segments} segments");
    }
}

/// Rows are combined while a step is applied, and here they wait for somebody who reads meanwhile: this says so, and lets them go on.
fn held_while_combined() -> (ResultTable, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrivals) = mpsc::channel();
    let (leave, leaving) = mpsc::channel();
    let (arrived, leaving) = (Mutex::new(arrived), Mutex::new(leaving));
    let table = ResultTable::new(schema(), None, false, 100_000).unwrap().combining(move |rows| {
        arrived.lock().send(()).unwrap();
        leaving.lock().recv().unwrap();
        Ok(rows.clone())
    });
    (table, arrivals, leave)
}

#[test]
fn who_reads_while_a_step_is_applied_sees_the_one_before() {
    let (table, arrivals, leave) = held_while_combined();
    let (first, second, third) = ((Some("a"), 1), (Some("b"), 2), (Some("c"), 3));
    let step = |(key, number): (Option<&str>, i64)| table.apply(&[batch(&[(INSERT, key, number)])]).unwrap();
    step(first);
    assert_eq!(sorted(&table), pairs(&[first]));
    leave.send(()).unwrap();
    step(second);
    std::thread::scope(|scope| {
        let applying = scope.spawn(|| step(third));
        arrivals.iter().nth(1).unwrap();
        assert_eq!(sorted(&table), pairs(&[first, second]), "read twice, so it is there without waiting");
        assert_eq!(sorted(&table), pairs(&[first, second]));
        leave.send(()).unwrap();
        applying.join().unwrap();
    });
    assert_eq!(sorted(&table), pairs(&[first, second, third]));
}

#[test]
fn who_reads_for_the_first_time_while_a_long_step_is_applied_waits_for_nothing() {
    let (table, arrivals, leave) = held_while_combined();
    table.apply(&[batch(&[(INSERT, Some("a"), 1)])]).unwrap();
    let long = batch(&vec![(INSERT, Some("b"), 2); LONG_STEP_ROWS]);
    std::thread::scope(|scope| {
        let applying = scope.spawn(|| table.apply(&[long]).unwrap());
        arrivals.recv().unwrap();
        assert_eq!(sorted(&table), pairs(&[(Some("a"), 1)]));
        leave.send(()).unwrap();
        applying.join().unwrap();
    });
    assert_eq!(sorted(&table).len(), 1 + LONG_STEP_ROWS);
}
