//! Runs a script through an operator, cut anywhere: sealed, given to another number of subtasks, and gone on with; what
//! comes out after each step must be what comes out of one subtask without a cut.

use std::collections::{BTreeMap, HashSet};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::util::display::array_value_to_string;

use crate::batch::Batch;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operator::{LateRows, Operator, Output};
use crate::scatter::HashScatter;
use crate::state::{Extent, Lies, StatePart};
use crate::time::Watermark;

/// What happens to an operator. A flush follows each step.
#[derive(Clone, Debug)]
pub(in crate::operators) enum Step {
    Rows(usize, Batch),
    Watermark(i64),
    Clock(i64),
    End(usize),
}

/// An operator, and what happens to it.
pub(in crate::operators) struct Script<'a> {
    pub(in crate::operators) definition: &'a dyn OperatorDefinition,
    pub(in crate::operators) inputs: Vec<Port>,
    pub(in crate::operators) schema: SchemaRef,
    pub(in crate::operators) steps: Vec<Step>,
}

/// Numbers that look random (SplitMix64).
pub(in crate::operators) struct Dice(pub(in crate::operators) u64);

impl Dice {
    pub(in crate::operators) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// The rows that came out, how often each; what is taken back counts down.
#[derive(Debug, Default, PartialEq, Eq)]
struct Net {
    rows: BTreeMap<String, i64>,
    late: u64,
}

impl Output for Net {
    fn emit(&mut self, batch: Batch) {
        for row in 0..batch.num_rows() {
            let kind = batch.kinds.as_ref().map_or(0, |kinds| kinds.value(row));
            *self.rows.entry(line(&batch.rows, row, batch.rows.num_columns())).or_default() +=
                1 - i64::from(kind % 2) * 2;
        }
        self.rows.retain(|_, count| *count != 0);
    }

    fn late(&mut self, late: LateRows<'_>) {
        self.late += late.row_count;
    }

    fn null_time(&mut self, _: u64) {}
}

fn line(rows: &RecordBatch, row: usize, columns: usize) -> String {
    let cell = |column| array_value_to_string(column, row).unwrap();
    rows.columns()[..columns]
        .iter()
        .map(|column| if column.is_null(row) { "null".to_owned() } else { cell(column) })
        .collect::<Vec<_>>()
        .join(" ")
}

/// A part of a subtask's state, as a checkpoint holds it.
#[derive(Clone)]
struct Stored {
    lies: Lies,
    schema: SchemaRef,
    /// Rows, one each.
    rows: Vec<RecordBatch>,
}

/// By name, in the order in which they were sealed.
type Checkpoint = Vec<(String, Stored)>;

fn merge(checkpoint: &mut Checkpoint, parts: Vec<StatePart>) {
    for part in parts {
        let rows = part.rows.to_batch().unwrap();
        let rows = (0..rows.num_rows()).map(|row| rows.slice(row, 1)).collect::<Vec<_>>();
        let place = checkpoint.iter().position(|(name, _)| *name == part.name);
        let new = Stored { lies: part.lies, schema: part.rows.schema().clone(), rows: Vec::new() };
        let place = place.unwrap_or_else(|| {
            checkpoint.push((part.name.to_string(), new.clone()));
            checkpoint.len() - 1
        });
        let stored = &mut checkpoint[place].1;
        assert_eq!((&stored.lies, &stored.schema), (&new.lies, &new.schema));
        match part.extent {
            Extent::Whole => stored.rows = rows,
            Extent::Changes { key_count, gone } => {
                assert_eq!(gone.num_columns(), key_count);
                let of = |row: &RecordBatch| line(row, 0, key_count);
                let gone: HashSet<String> = (0..gone.num_rows()).map(|row| line(&gone, row, key_count)).collect();
                let before = stored.rows.len();
                stored.rows.retain(|row| !gone.contains(&of(row)));
                assert_eq!(stored.rows.len() + gone.len(), before, "something is said to have gone that was not there");
                let changed: HashSet<String> = rows.iter().map(of).collect();
                stored.rows.retain(|row| !changed.contains(&of(row)));
                stored.rows.extend(rows);
            }
        }
    }
}

/// A checkpoint of some subtasks for `count` others.
fn dealt(checkpoints: &[Checkpoint], count: usize) -> Vec<Checkpoint> {
    let mut dealt = vec![Checkpoint::new(); count];
    for (subtask, checkpoint) in checkpoints.iter().enumerate() {
        for (name, stored) in checkpoint {
            let rows = concat_batches(&stored.schema, &stored.rows).unwrap();
            let parts = match &stored.lies {
                Lies::Keyed(columns) => {
                    let scatter = HashScatter::new(&stored.schema, columns.clone(), count).unwrap();
                    scatter
                        .scatter(Batch::append(rows))
                        .unwrap()
                        .into_iter()
                        .map(|(to, batch)| (to, batch.rows))
                        .collect()
                }
                Lies::Anywhere => vec![(subtask % count, rows)],
                Lies::Everywhere if subtask == 0 => (0..count).map(|taker| (taker, rows.clone())).collect(),
                Lies::Everywhere => Vec::new(),
            };
            for (taker, rows) in parts.into_iter().filter(|(_, rows)| rows.num_rows() > 0) {
                let rows = (0..rows.num_rows()).map(|row| rows.slice(row, 1));
                match dealt[taker].iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => known.rows.extend(rows),
                    None => dealt[taker].push((name.clone(), Stored { rows: rows.collect(), ..stored.clone() })),
                }
            }
        }
    }
    dealt
}

struct Subtasks<'a> {
    script: &'a Script<'a>,
    operators: Vec<Box<dyn Operator>>,
    batches: usize,
}

impl<'a> Subtasks<'a> {
    fn new(script: &'a Script<'a>, count: usize) -> Self {
        let operator = |_| script.definition.instance(&script.inputs, &script.schema).unwrap();
        Self { script, operators: (0..count).map(operator).collect(), batches: 0 }
    }

    fn tell(&mut self, step: &Step, net: &mut Net) {
        if let Step::Rows(port, batch) = step {
            let count = self.operators.len();
            let all = |batch: &Batch| (0..count).map(|subtask| (subtask, batch.clone())).collect::<Vec<_>>();
            self.batches += 1;
            let parts = match self.script.definition.distribution(*port) {
                Distribution::Keyed(columns) => {
                    HashScatter::new(&batch.rows.schema(), columns, count).unwrap().scatter(batch.clone()).unwrap()
                }
                Distribution::Any => vec![(self.batches % count, batch.clone())],
                Distribution::Broadcast => all(batch),
            };
            for (subtask, batch) in parts {
                self.operators[subtask].process(*port, batch, net).unwrap();
            }
        }
        for operator in &mut self.operators {
            match step {
                Step::Rows(..) => Ok(()),
                Step::Watermark(watermark) => operator.on_watermark(Watermark(*watermark), net),
                Step::Clock(now_ms) => operator.on_clock(*now_ms, net),
                Step::End(port) => operator.on_input_end(*port, net),
            }
            .unwrap();
            operator.flush(net).unwrap();
        }
    }

    fn seal(&mut self, checkpoints: &mut Vec<Checkpoint>, whole: bool, net: &mut Net) {
        checkpoints.resize(self.operators.len(), Checkpoint::new());
        for (operator, checkpoint) in self.operators.iter_mut().zip(checkpoints) {
            operator.before_cut(net).unwrap();
            operator.flush(net).unwrap();
            merge(checkpoint, operator.seal(whole).unwrap());
        }
    }

    /// New subtasks that go on from a checkpoint, `before` which these steps happened.
    fn restored(script: &'a Script<'a>, checkpoints: &[Checkpoint], before: &[Step], net: &mut Net) -> Self {
        let mut subtasks = Self::new(script, checkpoints.len());
        let watermark =
            before.iter().rev().find_map(|step| if let Step::Watermark(at) = step { Some(*at) } else { None });
        for (operator, checkpoint) in subtasks.operators.iter_mut().zip(checkpoints) {
            for (name, stored) in checkpoint {
                // In several batches, out of order where there is a key.
                for rows in stored.rows.chunks(3).filter(|rows| !rows.is_empty()) {
                    operator.restore(name, concat_batches(&stored.schema, rows).unwrap()).unwrap();
                }
            }
            watermark.into_iter().for_each(|watermark| operator.resume(Watermark(watermark)));
        }
        // What the runtime says again.
        let clock = before.iter().rfind(|step| matches!(step, Step::Clock(_)));
        let ends = before.iter().filter(|step| matches!(step, Step::End(_)));
        clock.into_iter().chain(ends).for_each(|step| subtasks.tell(step, net));
        subtasks
    }
}

/// Cuts the script at every step, each cut going on with another parallelism; then runs it with cuts again and again, of
/// which some say only what has changed.
pub(in crate::operators) fn check_cuts(script: &Script<'_>, context: &str) {
    let expected = expected(script);
    for cut in 0..=script.steps.len() {
        for (before, after) in if cut % 2 == 0 { [(1, 3), (3, 1)] } else { [(1, 1), (3, 2)] } {
            let context = format!("{context}, cut before step {cut}, {before} to {after} subtasks");
            let mut subtasks = Subtasks::new(script, before);
            for (number, step) in script.steps.iter().enumerate() {
                let mut net = Net::default();
                if number == cut {
                    let mut checkpoints = Vec::new();
                    subtasks.seal(&mut checkpoints, true, &mut net);
                    subtasks = Subtasks::restored(script, &dealt(&checkpoints, after), &script.steps[..cut], &mut net);
                    assert_eq!(net, Net::default(), "{context}");
                }
                subtasks.tell(step, &mut net);
                assert_eq!(net, expected[number], "{context}, step {number}");
            }
        }
    }
    check_changes(script, 12, context);
}

/// What comes out of one subtask without a cut, by step.
fn expected(script: &Script<'_>) -> Vec<Net> {
    let mut whole = Subtasks::new(script, 1);
    let tell = |step: &Step| {
        let mut net = Net::default();
        whole.tell(step, &mut net);
        net
    };
    script.steps.iter().map(tell).collect()
}

/// Runs the script with cuts again and again, so many times, of which some say only what has changed, and are gone on from
/// or not.
pub(in crate::operators) fn check_changes(script: &Script<'_>, runs: u64, context: &str) {
    let expected = expected(script);
    for seed in 0..runs {
        run_with_changes(script, &expected, &mut Dice(seed), &format!("{context}, seed {seed}"));
    }
}

fn run_with_changes(script: &Script<'_>, expected: &[Net], dice: &mut Dice, context: &str) {
    let mut subtasks = Subtasks::new(script, 1 + dice.below(3));
    let mut checkpoints = Vec::new();
    for (number, step) in script.steps.iter().enumerate() {
        let mut net = Net::default();
        let context = format!("{context}, step {number}");
        if dice.below(2) == 0 {
            subtasks.seal(&mut checkpoints, dice.below(8) == 0, &mut net);
            if dice.below(4) == 0 {
                checkpoints = dealt(&checkpoints, 1 + dice.below(3));
                subtasks = Subtasks::restored(script, &checkpoints, &script.steps[..number], &mut net);
            } else if dice.below(2) == 0 {
                // Nothing has changed since: all of it is what had been put together.
                let mut whole = Vec::new();
                subtasks.seal(&mut whole, true, &mut net);
                assert_eq!(lines(&checkpoints), lines(&whole), "{context}");
            }
        }
        subtasks.tell(step, &mut net);
        assert_eq!(net, expected[number], "{context}");
    }
}

/// The rows of a checkpoint, as text.
fn lines(checkpoints: &[Checkpoint]) -> Vec<String> {
    let mut lines = Vec::new();
    for (subtask, checkpoint) in checkpoints.iter().enumerate() {
        for (name, stored) in checkpoint {
            let rows = stored.rows.iter().map(|row| line(row, 0, row.num_columns()));
            lines.extend(rows.map(|row| format!("{subtask} {name}: {row}")));
        }
    }
    lines.sort();
    lines
}
