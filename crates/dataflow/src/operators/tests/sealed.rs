//! Rankings and OVER windows that are cut anywhere, and go on with other subtasks, give what they would have given.

use std::fmt;
use std::ops::Range;

use arrow::array::{Array, UInt8Array};

use super::cuts::{Dice, Script, Step, check_cuts};
use super::*;
use crate::definition::{OperatorDefinition, Port};
use crate::expression::EvaluationError;
use crate::operators::over::OverDefinition;
use crate::operators::rank::{OrderColumn, RankDefinition, RankFunction, WindowColumn};
use crate::time_to_live::TimeToLive;
use crate::window_function::{Reach, RunningFunction, WindowFunction};

const TIMES_TO_LIVE: [Option<TimeToLive>; 3] =
    [None, Some(TimeToLive::EventTime(20)), Some(TimeToLive::ProcessingTime(20))];

/// Batches of rows about as old as the time that goes on between them; rows that are there are taken back where the input
/// is updating.
fn steps(dice: &mut Dice, is_updating: bool, by_clock: bool) -> Vec<Step> {
    let (mut steps, mut now, mut there): (Vec<Step>, i64, Vec<InputRow>) = (Vec::new(), 0, Vec::new());
    for _ in 0..7 {
        let (mut rows, mut kinds): (Vec<InputRow>, Vec<u8>) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            if is_updating && !there.is_empty() && dice.below(3) == 0 {
                rows.push(there.swap_remove(dice.below(there.len())));
                kinds.push([1, 3][dice.below(2)]);
                continue;
            }
            let key = [None, Some("a"), Some("b"), Some("c")][dice.below(4)];
            let time = now + dice.below(3) as i64 * 10;
            let row = (key, (dice.below(8) > 0).then_some(time), (dice.below(6) > 0).then(|| dice.below(5) as i64));
            there.push(row);
            rows.push(row);
            kinds.push(0);
        }
        let batch = input(&rows);
        steps.push(Step::Rows(0, Batch { kinds: is_updating.then(|| UInt8Array::from(kinds)), ..batch }));
        now += dice.below(3) as i64 * 5;
        steps.push(if by_clock { Step::Clock(now) } else { Step::Watermark(now) });
    }
    steps.push(Step::Watermark(Watermark::END.0));
    steps
}

fn check(
    definition: &dyn OperatorDefinition,
    more: impl IntoIterator<Item = Field>,
    is_updating: bool,
    by_clock: bool,
    seed: u64,
) {
    let mut fields: Vec<Field> = input_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(more);
    let inputs = vec![Port { schema: input_schema(), is_updating }];
    let steps = steps(&mut Dice(seed), is_updating, by_clock);
    let script = Script { definition, inputs, schema: Arc::new(Schema::new(fields)), steps };
    check_cuts(&script, &format!("{} (updating: {is_updating})", definition.describe()));
}

fn by_value() -> Vec<OrderColumn> {
    vec![OrderColumn { column: 2, descending: true, nulls_first: false }]
}

#[test]
fn rankings_go_on_from_a_cut() {
    let functions = [RankFunction::RowNumber, RankFunction::Rank, RankFunction::DenseRank];
    for seed in 0..18 {
        let (is_updating, time_to_live) = (seed % 2 == 1, TIMES_TO_LIVE[seed % 3]);
        let definition = RankDefinition {
            input: input_schema(),
            partition: [vec![0], vec![], vec![2, 0]][seed / 6].clone(),
            order: if seed / 6 == 2 { Vec::new() } else { by_value() },
            function: functions[(seed / 2) % 3],
            limit: 1 + seed % 3,
            with_rank: seed % 4 < 2,
            window: None,
            time_to_live,
        };
        let rank = definition.with_rank.then(|| Field::new("rank", DataType::UInt64, false));
        let by_clock = matches!(time_to_live, Some(TimeToLive::ProcessingTime(_)));
        check(&definition, rank, is_updating, by_clock, seed as u64);
    }
}

#[test]
fn rankings_of_windows_go_on_from_a_cut() {
    for seed in 0..4 {
        let definition = RankDefinition {
            input: input_schema(),
            partition: vec![1, 0],
            order: by_value(),
            function: [RankFunction::RowNumber, RankFunction::Rank][seed % 2],
            limit: 1 + seed % 3,
            with_rank: seed < 2,
            window: Some(WindowColumn { column: 1, until_end_ms: 10 }),
            time_to_live: None,
        };
        let rank = definition.with_rank.then(|| Field::new("rank", DataType::UInt64, false));
        check(&definition, rank, false, false, seed as u64);
    }
}

/// The sum of the value and, as `reach` says, of rows around it.
#[derive(Debug)]
struct Sum(Reach);

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sum(v) {:?}", self.0)
    }
}

fn values(rows: &RecordBatch) -> Vec<i64> {
    rows.column(2).as_primitive::<Int64Type>().iter().map(|value| value.unwrap_or(0)).collect()
}

impl WindowFunction for Sum {
    fn data_type(&self) -> DataType {
        DataType::Int64
    }

    fn reach(&self) -> Reach {
        self.0
    }

    fn evaluate(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> Result<ArrayRef, EvaluationError> {
        let (values, times) = (values(rows), rows.column(1).as_primitive::<TimestampMillisecondType>());
        let mut sums = Vec::new();
        for partition in partitions {
            for row in partition.clone() {
                let is_near = |other: &usize| match self.0 {
                    Reach::Rows(count) => *other <= row && other + count >= row,
                    Reach::Time(ms) if times.is_valid(row) => {
                        *other <= row && times.is_valid(*other) && times.value(*other) + ms >= times.value(row)
                    }
                    Reach::Time(_) => *other <= row && times.is_null(*other),
                    Reach::Before => *other <= row,
                    Reach::Ahead => *other >= row,
                };
                sums.push(partition.clone().filter(is_near).map(|other| values[other]).sum::<i64>());
            }
        }
        Ok(Arc::new(Int64Array::from(sums)))
    }

    fn running(&self) -> Option<Box<dyn RunningFunction>> {
        (self.0 == Reach::Before).then(|| Box::new(Total(0)) as Box<dyn RunningFunction>)
    }

    fn state_types(&self) -> Result<Vec<DataType>, EvaluationError> {
        Ok(if self.0 == Reach::Before { vec![DataType::Int64] } else { Vec::new() })
    }
}

struct Total(i64);

impl RunningFunction for Total {
    fn advance(&mut self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let mut add = |value| {
            self.0 += value;
            self.0
        };
        Ok(Arc::new(values(rows).into_iter().map(&mut add).collect::<Int64Array>()))
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(vec![Arc::new(Int64Array::from(vec![self.0]))])
    }

    fn restore(&mut self, state: &[ArrayRef]) -> Result<(), EvaluationError> {
        self.0 = state[0].as_primitive::<Int64Type>().value(0);
        Ok(())
    }

    fn size_bytes(&self) -> usize {
        0
    }
}

#[test]
fn over_windows_go_on_from_a_cut() {
    let reaches = [
        vec![Reach::Before],
        vec![Reach::Rows(1)],
        vec![Reach::Time(15)],
        vec![Reach::Before, Reach::Rows(2)],
        vec![Reach::Ahead],
        vec![Reach::Rows(1), Reach::Before],
    ];
    for seed in 0..24 {
        let is_updating = seed % 4 == 3;
        let time_to_live = TIMES_TO_LIVE[(seed / 2) % 3];
        let functions = reaches[seed % 6].iter().map(|reach| Arc::new(Sum(*reach)) as Arc<dyn WindowFunction>);
        let definition = OverDefinition {
            input: input_schema(),
            partition: if seed < 18 { vec![0] } else { vec![] },
            order: vec![OrderColumn { column: 1, descending: false, nulls_first: false }],
            functions: functions.collect(),
            time: Some(1),
            time_to_live,
        };
        let by_clock = matches!(time_to_live, Some(TimeToLive::ProcessingTime(_)));
        let sums =
            (0..reaches[seed % 6].len()).map(|number| Field::new(format!("sum {number}"), DataType::Int64, true));
        check(&definition, sums, is_updating, by_clock, seed as u64);
    }
}
