//! Ranking against a naive model: after every turn, the changes so far add up to what sorting all rows gives.

use std::collections::BTreeMap;

use arrow::array::UInt8Array;

use super::*;
use crate::definition::{OperatorDefinition, Port};
use crate::operators::rank::{OrderColumn, RankDefinition, RankFunction, WindowColumn};

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn definition(function: RankFunction, limit: usize, with_rank: bool, window: Option<WindowColumn>) -> RankDefinition {
    let partition = if window.is_some() { vec![0, 1] } else { vec![0] };
    let order = vec![OrderColumn { column: 2, descending: true, nulls_first: false }];
    RankDefinition { input: input_schema(), partition, order, function, limit, with_rank, window, time_to_live: None }
}

fn instance(definition: &RankDefinition, is_updating: bool) -> Box<dyn Operator> {
    let mut fields = input_schema().fields().to_vec();
    if definition.with_rank {
        fields.push(Arc::new(Field::new("rank", DataType::UInt64, false)));
    }
    definition.instance(&[Port { schema: input_schema(), is_updating }], &Arc::new(Schema::new(fields))).unwrap()
}

/// The ranked rows of `rows`, as lines.
fn expected(rows: &[InputRow], definition: &RankDefinition) -> Vec<String> {
    let mut partitions: BTreeMap<(Option<&str>, Option<i64>), Vec<InputRow>> = BTreeMap::new();
    for row in rows {
        let end = definition.window.and(row.1);
        partitions.entry((row.0, end)).or_default().push(*row);
    }
    let nulls_last = |value: Option<i64>| (value.is_none(), value.unwrap_or(0));
    let mut lines = Vec::new();
    for (_, mut rows) in partitions {
        // Descending by value, nulls last; then as the columns stand.
        rows.sort_by_key(|row| {
            ((row.2.is_none(), -row.2.unwrap_or(0)), (row.0.is_none(), row.0), nulls_last(row.1), nulls_last(row.2))
        });
        let values: Vec<Option<i64>> = rows.iter().map(|row| row.2).collect();
        for (index, row) in rows.iter().enumerate() {
            let first = values.iter().position(|value| *value == row.2).unwrap();
            let rank = match definition.function {
                RankFunction::RowNumber => index + 1,
                RankFunction::Rank => first + 1,
                RankFunction::DenseRank => {
                    let mut before = values[..=first].to_vec();
                    before.dedup();
                    before.len()
                }
            };
            if rank <= definition.limit {
                let line = super::lines(&[input(&[*row])]).remove(0);
                lines.push(if definition.with_rank { format!("{line} {rank}") } else { line });
            }
        }
    }
    lines.sort();
    lines
}

/// Adds changes to a multiset of lines; a row that is taken back must be there.
pub(super) fn apply(result: &mut Vec<String>, changes: &[Batch], context: &str) {
    for line in lines(changes) {
        match line.split_at(3) {
            ("+I " | "+U ", row) => result.push(row.to_owned()),
            (_, row) => {
                let at = result.iter().position(|known| known == row);
                result.swap_remove(at.unwrap_or_else(|| panic!("{context}: {row} is not there")));
            }
        }
    }
}

pub(super) fn random_row(random: &mut Random) -> InputRow {
    let key = [None, Some("a"), Some("b"), Some("c")][random.below(4) as usize];
    let time = Some(random.below(5) as i64 * 10);
    let value = (random.below(6) > 0).then(|| random.below(8) as i64);
    (key, time, value)
}

#[test]
fn changes_add_up_to_the_ranked_rows_at_every_turn() {
    let first = first_seed();
    for seed in first..first + 400 {
        let mut random = Random(seed);
        let function = [RankFunction::RowNumber, RankFunction::Rank, RankFunction::DenseRank][random.below(3) as usize];
        let definition = definition(function, 1 + random.below(4) as usize, random.below(2) == 0, None);
        let is_updating = random.below(2) == 0;
        let context = format!("seed {seed}: {definition:?}, updating: {is_updating}");
        let mut operator = instance(&definition, is_updating);
        let (mut present, mut result) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(8) {
            let mut changes = Recorder::default();
            for _ in 0..random.below(4) {
                let (mut rows, mut kinds) = (Vec::new(), Vec::new());
                for _ in 0..1 + random.below(25) {
                    if is_updating && !present.is_empty() && random.below(3) == 0 {
                        rows.push(present.swap_remove(random.below(present.len() as u64) as usize));
                        kinds.push(1 + 2 * random.below(2) as u8);
                    } else {
                        let row = random_row(&mut random);
                        present.push(row);
                        rows.push(row);
                        kinds.push(2 * random.below(2) as u8);
                    }
                }
                let mut batch = input(&rows);
                batch.kinds = is_updating.then(|| UInt8Array::from(kinds));
                operator.process(0, batch, &mut changes).unwrap();
            }
            assert!(changes.batches.is_empty(), "{context}: changes are gathered for the turn");
            operator.flush(&mut changes).unwrap();
            apply(&mut result, &changes.batches, &context);
            result.sort();
            assert_eq!(result, expected(&present, &definition), "{context}");
        }
        let mut nothing = Recorder::default();
        operator.flush(&mut nothing).unwrap();
        assert!(nothing.batches.is_empty(), "{context}: a turn without rows changes nothing");
    }
}

#[test]
fn a_partition_that_changes_often_in_a_turn_says_so_once() {
    let definition = definition(RankFunction::RowNumber, 1, false, None);
    let mut operator = instance(&definition, false);
    let mut out = Recorder::default();
    for value in 0..50 {
        operator.process(0, input(&[(Some("a"), Some(0), Some(value))]), &mut out).unwrap();
    }
    operator.flush(&mut out).unwrap();
    assert_eq!(lines(&out.batches), ["+I a 0 49"]);
    let mut out = Recorder::default();
    operator.process(0, input(&[(Some("a"), Some(1), Some(7)), (Some("a"), Some(1), Some(70))]), &mut out).unwrap();
    operator.flush(&mut out).unwrap();
    assert_eq!(lines(&out.batches), ["-U a 0 49", "+U a 1 70"]);
}

#[test]
fn rows_that_are_ranked_no_longer_are_let_go() {
    let definition = definition(RankFunction::RowNumber, 2, true, None);
    let mut operator = instance(&definition, false);
    let mut out = Recorder::default();
    let mut peak = 0;
    for turn in 0..100_i64 {
        let rows: Vec<InputRow> = (0..8_000).map(|row| (Some("a"), Some(0), Some(turn * 8_000 + row))).collect();
        operator.process(0, input(&rows), &mut out).unwrap();
        operator.flush(&mut out).unwrap();
        peak = peak.max(operator.state_size_bytes());
    }
    // 800 000 rows have come; about ten batches of them are held at a time.
    assert!(peak < 12 * 8_192 * 40, "{peak}");
    let mut result = Vec::new();
    apply(&mut result, &out.batches, "");
    result.sort();
    assert_eq!(result, ["a 0 799998 2", "a 0 799999 1"]);
}

#[test]
fn a_window_is_ranked_once_when_the_watermark_passes_its_end() {
    let first = first_seed();
    for seed in first..first + 100 {
        let mut random = Random(seed);
        let definition = definition(
            RankFunction::RowNumber,
            1 + random.below(3) as usize,
            true,
            Some(WindowColumn { column: 1, until_end_ms: 0 }),
        );
        assert!(!definition.is_updating(&[false]) && definition.is_updating(&[true]));
        let mut operator = instance(&definition, false);
        let rows: Vec<InputRow> = (0..60).map(|_| random_row(&mut random)).collect();
        let mut out = Recorder::default();
        for part in rows.chunks(7) {
            operator.process(0, input(part), &mut out).unwrap();
            operator.flush(&mut out).unwrap();
        }
        assert!(out.batches.is_empty());
        let mut found = Vec::new();
        for watermark in [5, 10, 35, i64::MAX] {
            let fired = advance(operator.as_mut(), watermark);
            assert!(fired.batches.iter().all(|batch| batch.kinds.is_none()));
            found.extend(lines(&fired.batches));
            let until: Vec<InputRow> = rows.iter().copied().filter(|row| row.1.unwrap() <= watermark).collect();
            found.sort();
            assert_eq!(found, expected(&until, &definition), "seed {seed}, watermark {watermark}");
        }
        assert_eq!(operator.state_size_bytes(), 0);
        let late = process(operator.as_mut(), input(&[(Some("a"), Some(30), Some(1)), (None, None, None)]));
        assert_eq!((late.dropped, late.null_times), (1, 1));
    }
}

#[test]
fn a_row_that_is_not_there_cannot_be_taken_back() {
    let mut operator = instance(&definition(RankFunction::RowNumber, 1, false, None), true);
    let mut out = Recorder::default();
    let mut batch = input(&[(Some("a"), Some(1), Some(1))]);
    batch.kinds = Some(UInt8Array::from(vec![3]));
    operator.process(0, batch, &mut out).unwrap();
    let error = operator.flush(&mut out).unwrap_err();
    assert!(error.to_string().contains("not there"), "{error}");
}
