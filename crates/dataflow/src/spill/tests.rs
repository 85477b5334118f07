//! An operator that puts its state away gives what it gives with all of it in memory. (That every real operator does is
//! the equality tests' of `serving`, which run with all sizes of memory.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;
use crate::operator::LateRows;
use crate::state::{StoreError, StoredRows};

/// Counts rows `(key, time)` by key, those that are not late; gives the counts out at the end of time.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<i64, i64>,
    changed: Vec<i64>,
    reached: Option<Watermark>,
    gives_again: bool,
}

fn rows(names: [&str; 2], rows: &[(i64, i64)]) -> RecordBatch {
    let fields = names.map(|name| Field::new(name, DataType::Int64, true));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap()
}

fn pairs(batch: &RecordBatch) -> Vec<(i64, i64)> {
    let [first, second] = [0, 1].map(|column| batch.column(column).as_primitive::<Int64Type>().values().to_vec());
    first.into_iter().zip(second).collect()
}

impl Operator for Tally {
    fn process(&mut self, _port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError> {
        for (key, time) in pairs(&batch.rows) {
            if self.reached.is_some_and(|reached| time < reached.0) {
                out.null_time(1);
            } else {
                *self.counts.entry(key).or_default() += 1;
                self.changed.push(key);
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        assert!(Some(watermark) >= self.reached, "time never goes back");
        self.reached = Some(watermark);
        if watermark == Watermark::END {
            let counts: Vec<(i64, i64)> = std::mem::take(&mut self.counts).into_iter().collect();
            out.emit(Batch::append(rows(["key", "count"], &counts)));
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut dyn Output) -> Result<(), OperatorError> {
        if std::mem::take(&mut self.gives_again) {
            let counts: Vec<(i64, i64)> = self.counts.iter().map(|(key, count)| (*key, *count)).collect();
            out.emit(Batch::append(rows(["key", "count"], &counts)));
        }
        Ok(())
    }

    fn give_again(&mut self) {
        self.gives_again = true;
    }

    fn state_size_bytes(&self) -> usize {
        self.counts.len() * 16
    }

    fn seal(&mut self, whole: bool) -> Result<Vec<StatePart>, OperatorError> {
        let changed = std::mem::take(&mut self.changed);
        let sealed = self.counts.iter().filter(|(key, _)| whole || changed.contains(key));
        let sealed = rows(["key", "count"], &sealed.map(|(key, count)| (*key, *count)).collect::<Vec<_>>());
        if whole {
            return Ok(vec![StatePart::whole("counts", sealed, Lies::Keyed(vec![0]))]);
        }
        let gone = sealed.slice(0, 0).project(&[0]).unwrap();
        Ok(vec![StatePart::changes("counts", sealed, Lies::Keyed(vec![0]), 1, gone)])
    }

    fn restore(&mut self, name: &str, rows: RecordBatch) -> Result<(), OperatorError> {
        assert_eq!(name, "counts");
        self.counts.extend(pairs(&rows));
        Ok(())
    }

    fn resume(&mut self, watermark: Watermark) {
        self.reached = Some(watermark);
    }
}

/// Counts what is put away, and has no more room when told so.
#[derive(Debug, Default)]
struct Shelf {
    puts: AtomicUsize,
    is_full: AtomicBool,
}

impl StateStore for Shelf {
    fn put(&self, rows: &[RecordBatch]) -> Result<Arc<dyn StoredRows>, StoreError> {
        if self.is_full.load(Relaxed) {
            return Err(StoreError("no space left on device".to_owned()));
        }
        self.puts.fetch_add(1, Relaxed);
        InMemory.put(rows)
    }
}

#[derive(Default)]
struct Given {
    counts: Vec<(i64, i64)>,
    late: u64,
}

impl Output for Given {
    fn emit(&mut self, batch: Batch) {
        self.counts.extend(pairs(&batch.rows));
    }

    fn late(&mut self, _: LateRows<'_>) {}

    fn null_time(&mut self, row_count: u64) {
        self.late += row_count;
    }
}

fn tally(shelf: &Arc<Shelf>, limit_bytes: usize) -> Spilling {
    let store = Arc::<Shelf>::clone(shelf);
    let memory = StateMemory { budget: StateBudget::new(limit_bytes), store };
    Spilling::new(Box::new(|| Ok(Box::new(Tally::default()))), vec![Keys::Columns(vec![0])], &memory).unwrap()
}

/// Rows of a round: time goes on, and some are late.
fn round(number: i64) -> Batch {
    let row = |n: i64| ((number * 7_919 + n * 31) % 500, number * 10 + n % 10 - if n % 13 == 0 { 25 } else { 0 });
    Batch::append(rows(["key", "time"], &(0..200).map(row).collect::<Vec<_>>()))
}

fn drain(operator: &mut Spilling, out: &mut Given) {
    for _ in 0..10_000 {
        if operator.put_off() == PutOff::Nothing {
            return;
        }
        operator.catch_up(out).unwrap();
    }
    panic!("it never catches up");
}

/// Runs rounds, catching up with a slice every so often; says whether state was ever put away.
fn run(operator: &mut Spilling, rounds: std::ops::Range<i64>, catch_up_every: i64, out: &mut Given) -> bool {
    let mut was_stored = false;
    for number in rounds {
        operator.process(0, round(number), out).unwrap();
        operator.flush(out).unwrap();
        operator.on_watermark(Watermark(number * 10), out).unwrap();
        was_stored |= operator.stored_bytes() > 0;
        while operator.put_off() == PutOff::TooMuch {
            operator.catch_up(out).unwrap();
        }
        if number % catch_up_every == 0 {
            operator.catch_up(out).unwrap();
        }
        assert!(operator.holds_back().is_none_or(|held| held <= Watermark(number * 10)));
    }
    was_stored
}

fn end(operator: &mut Spilling, out: &mut Given) {
    operator.on_watermark(Watermark::END, out).unwrap();
    drain(operator, out);
    assert_eq!(operator.holds_back(), None);
    operator.flush(out).unwrap();
    assert_eq!((operator.stored_bytes(), operator.state_size_bytes()), (0, 0), "nothing is left");
    out.counts.sort_unstable();
}

#[test]
fn what_is_put_away_comes_to_the_same_counts_and_the_same_late_rows() {
    let shelf = Arc::new(Shelf::default());
    let (mut all, mut expected) = (tally(&shelf, usize::MAX), Given::default());
    assert!(!run(&mut all, 0..50, 1, &mut expected));
    end(&mut all, &mut expected);
    assert_eq!((shelf.puts.load(Relaxed), expected.counts.len()), (0, 500));
    assert!(expected.late > 0);
    for limit_bytes in [0, 100, 1_000, 4_000, 7_999] {
        for catch_up_every in [1, 3, 1_000] {
            let (mut some, mut found) = (tally(&shelf, limit_bytes), Given::default());
            assert!(run(&mut some, 0..50, catch_up_every, &mut found), "{limit_bytes} bytes are too few");
            end(&mut some, &mut found);
            assert_eq!((found.counts, found.late), (expected.counts.clone(), expected.late), "{limit_bytes} bytes");
        }
    }
}

#[test]
fn a_cut_of_what_is_put_away_is_restored_with_any_memory() {
    let shelf = Arc::new(Shelf::default());
    let (mut all, mut expected) = (tally(&shelf, usize::MAX), Given::default());
    run(&mut all, 0..40, 1, &mut expected);
    end(&mut all, &mut expected);
    for (before, after) in [(0, 0), (0, usize::MAX), (usize::MAX, 500), (3_000, 3_000)] {
        let (mut first, mut found) = (tally(&shelf, before), Given::default());
        run(&mut first, 0..20, 4, &mut found);
        drain(&mut first, &mut found);
        first.before_cut(&mut found).unwrap();
        let parts = first.seal(false).unwrap();
        let [part] = parts.as_slice() else { panic!("one name is one part") };
        let (mut second, puts) = (tally(&shelf, after), shelf.puts.load(Relaxed));
        second.expect(part.rows.memory_bytes() + part.rows.stored_bytes());
        for rows in part.rows.batches() {
            second.restore_lying(&part.name, &part.lies, rows.unwrap()).unwrap();
            assert!(second.state_size_bytes() <= after.max(500), "not all of it is held on the way");
        }
        second.resume(Watermark(190));
        assert_eq!(shelf.puts.load(Relaxed) > puts, after < 4_000);
        drop(first);
        run(&mut second, 20..40, 4, &mut found);
        end(&mut second, &mut found);
        assert_eq!((found.counts, found.late), (expected.counts.clone(), expected.late), "{before}, {after}");
    }
}

#[test]
fn what_sleeps_is_given_again_too() {
    let shelf = Arc::new(Shelf::default());
    for limit_bytes in [0, 3_000, usize::MAX] {
        let (mut tally, mut found) = (tally(&shelf, limit_bytes), Given::default());
        run(&mut tally, 0..20, 4, &mut found);
        tally.give_again();
        drain(&mut tally, &mut found);
        tally.flush(&mut found).unwrap();
        let again = std::mem::take(&mut found.counts).into_iter().collect::<BTreeMap<i64, i64>>();
        end(&mut tally, &mut found);
        assert_eq!(again.into_iter().collect::<Vec<_>>(), found.counts, "{limit_bytes} bytes");
    }
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let shelf = Arc::new(Shelf::default());
    let (mut tally, mut out) = (tally(&shelf, 0), Given::default());
    run(&mut tally, 0..10, 1, &mut out);
    drain(&mut tally, &mut out);
    let puts = shelf.puts.load(Relaxed);
    assert!(puts > 0);
    tally.on_watermark(Watermark(1_000), &mut out).unwrap();
    assert_eq!(tally.holds_back(), Some(Watermark(90)), "time waits until all slices have heard of it");
    drain(&mut tally, &mut out);
    assert_eq!(shelf.puts.load(Relaxed), puts);
}

#[test]
fn the_one_that_holds_most_gives_way() {
    let shelf: Arc<dyn StateStore> = Arc::new(Shelf::default());
    let memory = StateMemory { budget: StateBudget::new(6_000), store: shelf };
    let make = || Spilling::new(Box::new(|| Ok(Box::new(Tally::default()))), vec![Keys::Columns(vec![0])], &memory);
    let (mut small, mut large, mut out) = (make().unwrap(), make().unwrap(), Given::default());
    let few: Vec<(i64, i64)> = (0..10).map(|key| (key, 1_000)).collect();
    small.process(0, Batch::append(rows(["key", "time"], &few)), &mut out).unwrap();
    small.flush(&mut out).unwrap();
    assert!(run(&mut large, 0..20, 1, &mut out));
    small.flush(&mut out).unwrap();
    assert_eq!((small.stored_bytes(), small.state_size_bytes()), (0, 160), "it holds less than its share");
    assert!(memory.budget.held_bytes() <= memory.budget.peak_bytes());
    drop((small, large));
    assert_eq!(memory.budget.held_bytes(), 0);
}

#[test]
fn a_full_disk_is_an_error_with_the_store_s_own_word() {
    let shelf = Arc::new(Shelf::default());
    shelf.is_full.store(true, Relaxed);
    let (mut tally, mut out) = (tally(&shelf, 0), Given::default());
    tally.process(0, round(0), &mut out).unwrap();
    let error = tally.flush(&mut out).unwrap_err();
    assert!(matches!(&error, OperatorError::Store(_)) && error.to_string() == "no space left on device", "{error}");
}
