//! What look-ups find while a result changes, is merged, is pinned.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, Int64Array, UInt8Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use mulgil_dataflow::batch::{Batch, RowKind};

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("n", DataType::Int64, true)]))
}

fn rows(rows: &[(i64, i64)]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|(key, _)| Some(*key)).collect();
    let numbers: Int64Array = rows.iter().map(|(_, number)| Some(*number)).collect();
    RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(numbers)]).unwrap()
}

fn changes(of: &[(RowKind, i64, i64)]) -> Batch {
    let kinds: UInt8Array = of.iter().map(|(kind, ..)| Some(*kind as u8)).collect();
    Batch { rows: rows(&of.iter().map(|(_, key, number)| (*key, *number)).collect::<Vec<_>>()), kinds: Some(kinds) }
}

fn table(is_updating: bool) -> ResultTable {
    ResultTable::new(schema(), Some(vec![0]), is_updating, 1_000_000).unwrap()
}

/// The numbers of a key, once the result can be asked.
fn numbers(table: &ResultTable, key: i64) -> Vec<i64> {
    loop {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![key]));
        match table.find(&[values]).unwrap() {
            Found::Rows(rows) => {
                let numbers = rows.iter().map(|row| {
                    assert_eq!(row.column(0).as_primitive::<Int64Type>().value(0), key);
                    row.column(1).as_primitive::<Int64Type>().value(0)
                });
                return numbers.collect();
            }
            Found::NotYet => table.prepare_look_ups().unwrap(),
            Found::NoKey => panic!("it has a key"),
        }
    }
}

#[test]
fn a_key_is_found_whatever_was_merged() {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}");
    for (case, is_updating) in [(0_u64, true), (1, false), (2, true), (3, false)] {
        let mut random = seed * 31 + case + 1;
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            i64::try_from(random % bound).unwrap()
        };
        let (table, mut model) = (table(is_updating), BTreeMap::<i64, Vec<i64>>::new());
        for step in 0..60 {
            let mut step_rows = Vec::new();
            for _ in 0..below(40) {
                let (key, number) = (below(60), below(1_000));
                let numbers = model.entry(key).or_default();
                if !is_updating {
                    numbers.push(number);
                } else if below(3) == 0 && !numbers.is_empty() {
                    step_rows.push((RowKind::Delete, key, numbers.pop().unwrap()));
                    continue;
                } else {
                    *numbers = vec![number];
                }
                step_rows.push((RowKind::Insert, key, number));
            }
            table.apply(&[changes(&step_rows)]).unwrap();
            // The append-only one has no index before somebody asks.
            for key in (0..60).filter(|_| step > 20) {
                let expected = model.get(&key).cloned().unwrap_or_default();
                let mut found = numbers(&table, key);
                let (mut expected, places) = (expected, found.len());
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected, "seed {seed}, case {case}, key {key} at {places} places");
            }
        }
    }
}

/// Each step sets all keys to its own number, by way of another number that nobody may see.
#[test]
fn a_look_up_sees_whole_steps_and_never_goes_back() {
    const KEYS: i64 = 2_000;
    const STEPS: i64 = 60;
    let (table, is_done) = (table(true), AtomicBool::new(false));
    let step = |number: i64| {
        let set = |key: i64| {
            let before = (number > 1).then_some((RowKind::UpdateBefore, key, number - 1));
            let by_way = [(RowKind::UpdateAfter, key, -1), (RowKind::UpdateBefore, key, -1)];
            before.into_iter().chain(by_way).chain([(RowKind::UpdateAfter, key, number)])
        };
        let (low, high) = (0..KEYS / 2, KEYS / 2..KEYS);
        [low, high].map(|keys| changes(&keys.flat_map(set).collect::<Vec<_>>()))
    };
    table.apply(&step(1)).unwrap();
    let seen = std::thread::scope(|scope| {
        let read = |mut key: i64| {
            let (mut last, mut seen) = (1, 0);
            while !is_done.load(Ordering::Acquire) {
                key = (key * 7_919 + 13) % KEYS;
                let found = numbers(&table, key);
                assert!(matches!(found[..], [now] if now >= last), "key {key}: {found:?} after {last}");
                seen += u64::from(found[0] > last);
                last = found[0];
            }
            seen
        };
        let readers = [3, 8].map(|key| scope.spawn(move || read(key)));
        (2..=STEPS).for_each(|number| table.apply(&step(number)).unwrap());
        is_done.store(true, Ordering::Release);
        readers.map(|reader| reader.join().unwrap())
    });
    println!("{seen:?} steps were seen to come");
    assert_eq!(numbers(&table, 0), [STEPS]);
    assert_eq!(table.row_count_and_version(), (usize::try_from(KEYS).unwrap(), u64::try_from(STEPS).unwrap()));
}

#[test]
fn a_pinned_result_is_found_as_it_was() {
    let table = table(true);
    table.apply(&[changes(&[(RowKind::Insert, 1, 10), (RowKind::Insert, 2, 20)])]).unwrap();
    assert_eq!(numbers(&table, 1), [10]);
    table.pin();
    for number in 0..50 {
        let change = [(RowKind::Insert, 1, number), (RowKind::Insert, 100 + number, number)];
        table.apply(&[changes(&change)]).unwrap();
        assert_eq!((numbers(&table, 1), numbers(&table, 2)), (vec![10], vec![20]));
        assert_eq!(numbers(&table, 100), Vec::<i64>::new());
        assert_eq!(table.seen().rows().unwrap().batches, [rows(&[(1, 10), (2, 20)])]);
    }
    table.unpin();
    assert_eq!((numbers(&table, 1), numbers(&table, 2), numbers(&table, 149)), (vec![49], vec![20], vec![49]));
}

#[test]
fn an_index_that_nobody_asked_for_is_made_when_somebody_does() {
    let table = table(false);
    table.apply(&[Batch::append(rows(&[(1, 10), (2, 20)]))]).unwrap();
    let key: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    assert_eq!(table.find(&[Arc::clone(&key)]).unwrap(), Found::NotYet);
    table.pin();
    table.prepare_look_ups().unwrap();
    assert_eq!(table.find(&[Arc::clone(&key)]).unwrap(), Found::NotYet, "it would find what nobody is to see");
    table.unpin();
    table.prepare_look_ups().unwrap();
    assert_eq!(table.find(&[key]).unwrap(), Found::Rows(vec![rows(&[(1, 10)])]));
    let nameless = ResultTable::new(schema(), None, true, 10).unwrap();
    assert_eq!(nameless.find(&[]).unwrap(), Found::NoKey);
}
