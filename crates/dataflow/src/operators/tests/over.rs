//! OVER windows against a naive model: in event time, and over partitions that change.

use std::fmt;
use std::ops::Range;

use arrow::array::UInt8Array;

use super::rank::{Random, apply, random_row};
use super::*;
use crate::definition::{OperatorDefinition, Port};
use crate::expression::EvaluationError;
use crate::operators::over::OverDefinition;
use crate::operators::rank::OrderColumn;
use crate::window_function::{Reach, WindowFunction};

/// The sum of the value with those of the row before and, if asked for, the row behind.
#[derive(Debug)]
struct Neighbours {
    ahead: bool,
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neighbours(v)")
    }
}

impl WindowFunction for Neighbours {
    fn data_type(&self) -> DataType {
        DataType::Int64
    }

    fn reach(&self) -> Reach {
        if self.ahead { Reach::Ahead } else { Reach::Rows(1) }
    }

    fn evaluate(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> Result<ArrayRef, EvaluationError> {
        let values: Vec<i64> =
            rows.column(2).as_primitive::<Int64Type>().iter().map(|value| value.unwrap_or(0)).collect();
        let mut sums = Int64Array::builder(values.len());
        for partition in partitions {
            let values = &values[partition.clone()];
            for row in 0..values.len() {
                let behind = if self.ahead { values.get(row + 1).copied().unwrap_or(0) } else { 0 };
                let before = row.checked_sub(1).map_or(0, |before| values[before]);
                sums.append_value(before + values[row] + behind);
            }
        }
        Ok(Arc::new(sums.finish()))
    }
}

fn instance(ahead: bool, is_updating: bool) -> Box<dyn Operator> {
    let order = vec![OrderColumn { column: 1, descending: false, nulls_first: false }];
    let functions: Vec<Arc<dyn WindowFunction>> = vec![Arc::new(Neighbours { ahead })];
    let definition = OverDefinition {
        input: input_schema(),
        partition: vec![0],
        order,
        functions,
        time: Some(1),
        time_to_live: None,
    };
    assert_eq!(definition.is_updating(&[is_updating]), ahead || is_updating);
    let mut fields = input_schema().fields().to_vec();
    fields.push(Arc::new(Field::new("sum", DataType::Int64, true)));
    definition.instance(&[Port { schema: input_schema(), is_updating }], &Arc::new(Schema::new(fields))).unwrap()
}

fn expected(rows: &[InputRow], ahead: bool) -> Vec<String> {
    let mut rows = rows.to_vec();
    let nulls_last = |value: Option<i64>| (value.is_none(), value.unwrap_or(0));
    rows.sort_by_key(|row| ((row.0.is_none(), row.0), nulls_last(row.1), nulls_last(row.2)));
    let mut lines = Vec::new();
    for partition in rows.chunk_by(|a, b| a.0 == b.0) {
        let value = |at: usize| partition.get(at).and_then(|row| row.2).unwrap_or(0);
        for (at, row) in partition.iter().enumerate() {
            let behind = if ahead { value(at + 1) } else { 0 };
            let sum = at.checked_sub(1).map_or(0, value) + value(at) + behind;
            lines.push(format!("{} {sum}", super::lines(&[input(&[*row])])[0]));
        }
    }
    lines.sort();
    lines
}

#[test]
fn changes_add_up_to_the_windows_at_every_turn() {
    let first = first_seed();
    for seed in first..first + 200 {
        let mut random = Random(seed);
        let (ahead, is_updating) = [(true, false), (true, true), (false, true)][random.below(3) as usize];
        let context = format!("seed {seed}, ahead: {ahead}, updating: {is_updating}");
        let mut operator = instance(ahead, is_updating);
        let (mut present, mut result) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(6) {
            let (mut rows, mut kinds) = (Vec::new(), Vec::new());
            for _ in 0..1 + random.below(30) {
                if is_updating && !present.is_empty() && random.below(3) == 0 {
                    rows.push(present.swap_remove(random.below(present.len() as u64) as usize));
                    kinds.push(3);
                } else {
                    present.push(random_row(&mut random));
                    rows.push(*present.last().unwrap());
                    kinds.push(0);
                }
            }
            let mut batch = input(&rows);
            batch.kinds = is_updating.then(|| UInt8Array::from(kinds));
            let mut changes = process(operator.as_mut(), batch);
            operator.flush(&mut changes).unwrap();
            apply(&mut result, &changes.batches, &context);
            result.sort();
            assert_eq!(result, expected(&present, ahead), "{context}");
        }
    }
}

#[test]
fn rows_come_out_in_event_time_once_the_watermark_has_passed_them() {
    let first = first_seed();
    for seed in first..first + 200 {
        let mut random = Random(seed);
        let mut operator = instance(false, false);
        let (mut in_time, mut found, mut late_count, mut dropped) = (Vec::new(), Vec::new(), 0, 0);
        let mut watermark = i64::MIN;
        for next in [12, 20, 21, i64::MAX] {
            let rows: Vec<InputRow> = (0..random.below(20)).map(|_| random_row(&mut random)).collect();
            let (late, good): (Vec<InputRow>, Vec<InputRow>) =
                rows.iter().copied().partition(|row| row.1.unwrap() < watermark);
            late_count += late.len() as u64;
            in_time.extend(good);
            let taken = process(operator.as_mut(), input(&rows));
            assert!(taken.batches.is_empty());
            dropped += taken.dropped;
            watermark = next;
            found.extend(lines(&advance(operator.as_mut(), watermark).batches));
            let due: Vec<InputRow> = in_time.iter().copied().filter(|row| row.1.unwrap() < watermark).collect();
            found.sort();
            assert_eq!(found, expected(&due, false), "seed {seed}, watermark {watermark}");
        }
        assert_eq!(dropped, late_count, "seed {seed}");
    }
}

#[test]
fn rows_behind_the_frame_are_let_go() {
    let mut operator = instance(false, false);
    let mut peak = 0;
    for turn in 0..100_i64 {
        let rows: Vec<InputRow> = (0..8_000).map(|row| (Some("a"), Some(turn * 8_000 + row), Some(1))).collect();
        process(operator.as_mut(), input(&rows));
        advance(operator.as_mut(), (turn + 1) * 8_000);
        peak = peak.max(operator.state_size_bytes());
    }
    // 800 000 rows have come; about ten batches of them are held at a time.
    assert!(peak < 14 * 8_192 * 60, "{peak}");
}

#[test]
fn rows_without_a_time_come_last() {
    let mut operator = instance(false, false);
    process(operator.as_mut(), input(&[(Some("a"), None, Some(5)), (Some("a"), Some(3), Some(7))]));
    assert_eq!(lines(&advance(operator.as_mut(), 100).batches), ["a 3 7 7"]);
    assert_eq!(lines(&advance(operator.as_mut(), i64::MAX).batches), ["a null 5 12"]);
}
