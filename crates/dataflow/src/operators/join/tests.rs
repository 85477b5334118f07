//! Joins of random changelogs against a naive join of the final rows: every kind, with and without a condition.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod contested;
mod lookup;
mod oracle;
mod sealed;
mod timely;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMillisecondType};

use self::oracle::{KINDS, Less, Row, Rows, naive};
use super::*;
use crate::batch::{Batch, RowKind};
use crate::operator::LateRows;

/// Numbers that look random (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// Applies what an operator gives out.
#[derive(Default)]
pub(super) struct Final {
    pub(super) rows: BTreeMap<Vec<String>, i64>,
    pub(super) updating: bool,
    pub(super) late: u64,
    pub(super) given: u64,
}

impl crate::operator::Output for Final {
    fn emit(&mut self, batch: Batch) {
        self.updating |= batch.kinds.is_some();
        for row in 0..batch.num_rows() {
            self.given += 1;
            let cells = batch.rows.columns().iter().map(|column| cell(column, row)).collect();
            let kind = batch.kinds.as_ref().map_or(0, |kinds| kinds.value(row));
            let count: &mut i64 = self.rows.entry(cells).or_default();
            *count += if kind == 0 || kind == 2 { 1 } else { -1 };
            assert!(*count >= 0, "a row is taken back that was not given");
        }
        self.rows.retain(|_, count| *count > 0);
    }

    fn late(&mut self, late: LateRows<'_>) {
        self.late += late.row_count;
    }

    fn null_time(&mut self, _: u64) {}
}

fn cell(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Timestamp(..) => column.as_primitive::<TimestampMillisecondType>().value(row).to_string(),
        _ => column.as_primitive::<Int64Type>().value(row).to_string(),
    }
}

pub(super) fn schema_of(side: &str) -> SchemaRef {
    let fields = [("k", DataType::Int64), ("t", DataType::Utf8), ("v", DataType::Int64)];
    Arc::new(Schema::new(fields.map(|(name, kind)| Field::new(format!("{side}{name}"), kind, true)).to_vec()))
}

pub(super) fn batch_of(side: &str, rows: &[(Row, RowKind)], append: bool) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(row, _)| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(row, _)| row.0.map(|key| format!("t{key}"))).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(row, _)| row.1).collect::<Int64Array>()),
    ];
    let kinds = (!append).then(|| UInt8Array::from_iter_values(rows.iter().map(|(_, kind)| *kind as u8)));
    Batch { rows: RecordBatch::try_new(schema_of(side), columns).unwrap(), kinds }
}

/// `lv < rv`, or nothing.
fn condition(with: bool) -> Option<Condition> {
    with.then(|| Condition { columns: vec![(Side::Left, 2), (Side::Right, 2)], predicate: Arc::new(Less) })
}

pub(super) fn join(kind: JoinKind, keys: Vec<usize>, with_condition: bool, nulls_match: bool) -> Join {
    let outputs = |side| if kind.shows(side) { vec![2, 0] } else { Vec::new() };
    Join {
        kind,
        on: format!("{keys:?}"),
        keys: Sides { left: keys.clone(), right: keys },
        nulls_match,
        condition: condition(with_condition),
        outputs: Sides { left: outputs(Side::Left), right: outputs(Side::Right) },
        retention: None,
        time_to_live: None,
        is_lookup: false,
        is_right_everywhere: false,
        left_by: Vec::new(),
        contest: None,
    }
}

pub(super) fn output_schema(join: &Join) -> SchemaRef {
    let of = |side: &str, columns: &[usize]| -> Vec<Field> {
        columns.iter().map(|column| schema_of(side).field(*column).clone()).collect()
    };
    let mut fields = of("l", &join.outputs.left);
    fields.extend(of("r", &join.outputs.right));
    if join.kind.gives_mark() {
        fields.push(Field::new("mark", DataType::Boolean, true));
    }
    Arc::new(Schema::new(fields))
}

/// Random changes to one side, in order: only rows that are there are taken back.
fn random_changes(random: &mut Random, rows: &mut Rows, append: bool, count: usize) -> Vec<(Row, RowKind)> {
    let mut changes = Vec::new();
    while changes.len() < count {
        if !append && !rows.is_empty() && random.below(3) == 0 {
            let row = rows.swap_remove(random.below(rows.len()));
            changes.push((row, [RowKind::Delete, RowKind::UpdateBefore][random.below(2)]));
        } else {
            let row = ((random.below(6) > 0).then(|| random.below(5) as i64), Some(random.below(4) as i64));
            rows.push(row);
            changes.push((row, [RowKind::Insert, RowKind::UpdateAfter][if append { 0 } else { random.below(2) }]));
        }
    }
    changes
}

fn check(seed: u64) {
    let mut random = Random(seed);
    let kind = KINDS[random.below(KINDS.len())];
    let keys = [vec![0], vec![0, 1], vec![1], vec![]][random.below(4)].clone();
    let (with_condition, nulls_match) = (random.below(2) == 0, random.below(3) == 0);
    let append = [random.below(2) == 0, random.below(2) == 0];
    let join = join(kind, keys.clone(), with_condition, nulls_match);
    let ports = [("l", append[0]), ("r", append[1])]
        .map(|(side, append)| Port { schema: schema_of(side), is_updating: !append });
    let context = format!("seed {seed}: {} append {append:?} nulls match {nulls_match}", join.describe());

    let mut operator = join.instance(&ports, &output_schema(&join)).unwrap();
    let mut out = Final::default();
    let mut rows: [Rows; 2] = Default::default();
    let mut ended = [false; 2];
    for _ in 0..random.below(12) {
        let mut port = random.below(2);
        if random.below(12) == 0 && !ended.contains(&true) {
            operator.on_input_end(port, &mut out).unwrap();
            ended[port] = true;
        }
        if ended[port] {
            port = 1 - port;
        }
        let count = 1 + random.below(9);
        let changes = random_changes(&mut random, &mut rows[port], append[port], count);
        operator.process(port, batch_of(["l", "r"][port], &changes, append[port]), &mut out).unwrap();
        if random.below(2) == 0 {
            operator.flush(&mut out).unwrap();
            assert_eq!(out.rows, naive(kind, &rows, &keys, with_condition, nulls_match), "{context}");
        }
    }
    operator.flush(&mut out).unwrap();
    assert_eq!(out.rows, naive(kind, &rows, &keys, with_condition, nulls_match), "{context}");
    assert!(!out.updating || join.is_updating(&append.map(|append| !append)), "{context}");
}

#[test]
fn joins_of_changelogs_are_joins_of_their_rows() {
    let first = crate::operators::tests::first_seed();
    (first..first + 3_000).for_each(check);
}

#[test]
fn an_inner_join_of_inserts_gives_inserts() {
    for (kind, inputs, updating) in [
        (JoinKind::Inner, [false, false], false),
        (JoinKind::Inner, [false, true], true),
        (JoinKind::LeftSemi, [false, false], false),
        (JoinKind::Left, [false, false], true),
        (JoinKind::LeftAnti, [false, false], true),
        (JoinKind::LeftMark, [false, false], true),
    ] {
        assert_eq!(join(kind, vec![0], false, false).is_updating(&inputs), updating, "{kind:?}");
    }
}

#[test]
fn many_rows_of_one_key_are_joined_in_parts() {
    let join = join(JoinKind::Full, vec![0], false, false);
    let ports = ["l", "r"].map(|side| Port { schema: schema_of(side), is_updating: false });
    let mut operator = join.instance(&ports, &output_schema(&join)).unwrap();
    let rows = |count: i64| (0..count).map(|v| ((Some(1), Some(v)), RowKind::Insert)).collect::<Vec<_>>();
    let mut out = Final::default();
    operator.process(0, batch_of("l", &rows(250), true), &mut out).unwrap();
    operator.process(1, batch_of("r", &rows(150), true), &mut out).unwrap();
    operator.flush(&mut out).unwrap();
    assert_eq!(out.rows.len(), 250 * 150);
}

#[test]
fn nothing_waits_for_an_input_that_has_ended() {
    let join = join(JoinKind::Inner, vec![0], false, false);
    let ports = ["l", "r"].map(|side| Port { schema: schema_of(side), is_updating: false });
    let mut operator = join.instance(&ports, &output_schema(&join)).unwrap();
    let rows = |keys: std::ops::Range<i64>| keys.map(|key| ((Some(key), Some(1)), RowKind::Insert)).collect::<Vec<_>>();
    let mut out = Final::default();
    operator.process(0, batch_of("l", &rows(0..2_000), true), &mut out).unwrap();
    operator.process(1, batch_of("r", &rows(0..10), true), &mut out).unwrap();
    let waiting = operator.state_size_bytes();
    operator.on_input_end(1, &mut out).unwrap();
    let freed = operator.state_size_bytes();
    assert!(freed + 20_000 < waiting, "{waiting} bytes before, {freed} after");
    for _ in 0..10 {
        operator.process(0, batch_of("l", &rows(0..2_000), true), &mut out).unwrap();
    }
    assert_eq!(operator.state_size_bytes(), freed);
    operator.flush(&mut out).unwrap();
    assert_eq!(out.given, 11 * 10);
}

#[test]
fn rows_that_are_taken_back_are_forgotten() {
    let join = join(JoinKind::Left, vec![0], false, false);
    let ports = ["l", "r"].map(|side| Port { schema: schema_of(side), is_updating: true });
    let mut operator = join.instance(&ports, &output_schema(&join)).unwrap();
    let mut out = Final::default();
    let mut sizes = Vec::new();
    for round in 0..80 {
        let of = |kind| (0..400).map(|i| ((Some(round * 400 + i), Some(i)), kind)).collect::<Vec<_>>();
        for port in [0, 1] {
            operator.process(port, batch_of(["l", "r"][port], &of(RowKind::Insert), false), &mut out).unwrap();
        }
        for port in [1, 0] {
            operator.process(port, batch_of(["l", "r"][port], &of(RowKind::Delete), false), &mut out).unwrap();
        }
        sizes.push(operator.state_size_bytes());
    }
    operator.flush(&mut out).unwrap();
    assert!(out.rows.is_empty());
    let (early, late) = (sizes[..30].iter().max().unwrap(), sizes[50..].iter().max().unwrap());
    assert!(late <= early, "state grows from {early} to {late} bytes");
}
