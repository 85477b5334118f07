//! The state of groups, sealed and restored at every point of random scripts, for every kind of state.

use std::fmt;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};

use super::*;
use crate::aggregate::{Algebra, GroupAccumulator};
use crate::expression::EvaluationError;
use crate::operators::tests::cut::{Event, Form, check_cuts};
use crate::operators::tests::windowed::Random;
use crate::state::{Extent, StatePart};

/// A function of which only what kind it is is known: its states are kept in place.
#[derive(Debug)]
struct Known(Algebra, DataType);

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl AggregateFunction for Known {
    fn state_fields(&self) -> Vec<Field> {
        let state = Field::new("state", self.1.clone(), true);
        match self.0 {
            Algebra::Average => vec![Field::new("count", DataType::UInt64, true), state],
            _ => vec![state],
        }
    }

    fn data_type(&self) -> DataType {
        self.1.clone()
    }

    fn algebra(&self) -> Algebra {
        self.0
    }

    fn accumulator(&self) -> Result<Box<dyn GroupAccumulator>, EvaluationError> {
        Err(EvaluationError { expression: self.to_string(), reason: "it is kept in place".to_owned() })
    }
}

/// The columns: a key, an integer, a float, a text, a condition.
fn input_schema() -> SchemaRef {
    let types = [DataType::Utf8, DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Boolean];
    let names = ["k", "v", "f", "t", "p"];
    let fields = names.iter().zip(types).map(|(name, data_type)| Field::new(*name, data_type, true));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

fn on(
    function: impl AggregateFunction + 'static,
    arguments: &[usize],
    is_distinct: bool,
    filtered: bool,
) -> RollingCall {
    let schema = input_schema();
    RollingCall {
        text: function.to_string(),
        function: Arc::new(function),
        arguments: arguments.to_vec(),
        argument_types: arguments.iter().map(|column| schema.field(*column).data_type().clone()).collect(),
        is_distinct,
        filter: filtered.then_some(4),
    }
}

/// Calls whose functions can be computed anyhow, and over anything.
fn common_calls() -> Vec<RollingCall> {
    vec![
        on(Count, &[], false, false),
        on(Count, &[1], false, true),
        on(Sum, &[1], false, false),
        on(Sum, &[1], false, true),
        on(Count, &[1], true, false),
        on(Count, &[1], true, true),
        on(Count, &[3], true, false),
        on(Sum, &[1], true, true),
        on(Count, &[2, 3], true, false),
    ]
}

fn in_place(is_updating: bool) -> Vec<RollingCall> {
    let mut calls = common_calls();
    calls.extend([
        on(Known(Algebra::Sum, DataType::Int64), &[1], false, true),
        on(Known(Algebra::Sum, DataType::Float64), &[2], false, false),
        on(Known(Algebra::Average, DataType::Float64), &[2], false, true),
    ]);
    if !is_updating {
        calls.extend([
            on(Known(Algebra::Least, DataType::Float64), &[2], false, false),
            on(Known(Algebra::Greatest, DataType::Int64), &[1], false, true),
            on(Known(Algebra::Least, DataType::Utf8), &[3], false, true),
        ]);
    }
    calls
}

type Row = (Option<&'static str>, Option<i64>, Option<f64>, Option<&'static str>, Option<bool>);

fn random_row(random: &mut Random) -> Row {
    let of = |random: &mut Random, texts: &[Option<&'static str>]| texts[random.below(texts.len() as u64) as usize];
    let floats = [0.1, -0.0, 1e17, 3.5, -2.25, 1e-9, f64::INFINITY, f64::NAN];
    (
        of(random, &[Some("a"), Some("b"), Some("c"), Some("d"), Some("e"), None]),
        Some(random.below(9) as i64 - 4).filter(|v| *v != 3),
        Some(floats[random.below(8) as usize]).filter(|_| random.below(5) > 0),
        of(random, &[Some("x"), Some("yy"), Some(""), None]),
        [Some(true), Some(false), None][random.below(3) as usize],
    )
}

fn batch_of(rows: &[Row], kinds: Option<Vec<u8>>) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|row| row.3).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.4).collect::<BooleanArray>()),
    ];
    Batch { rows: RecordBatch::try_new(input_schema(), columns).unwrap(), kinds: kinds.map(UInt8Array::from) }
}

/// Rows come, and go again where `is_updating`; time goes on, so that groups are forgotten.
fn script(random: &mut Random, is_updating: bool, by_clock: bool) -> Vec<Event> {
    let mut here: Vec<Row> = Vec::new();
    let mut now = 1_000;
    let mut events = Vec::new();
    for _ in 0..10 {
        if random.below(4) == 0 {
            now += 10 + random.below(80) as i64;
            events.push(if by_clock { Event::Clock(now) } else { Event::Watermark(now) });
            continue;
        }
        let (mut rows, mut kinds) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(7) {
            if is_updating && !here.is_empty() && random.below(2) == 0 {
                rows.push(here.swap_remove(random.below(here.len() as u64) as usize));
                kinds.push([RowKind::Delete, RowKind::UpdateBefore][random.below(2) as usize] as u8);
            } else {
                rows.push(random_row(random));
                here.push(*rows.last().unwrap());
                kinds.push([RowKind::Insert, RowKind::UpdateAfter][random.below(2) as usize] as u8);
            }
        }
        events.push(Event::Rows(batch_of(&rows, is_updating.then_some(kinds))));
    }
    events
}

fn aggregate(calls: Vec<RollingCall>, key_count: usize, time_to_live: Option<TimeToLive>) -> GroupAggregate {
    let key_texts = ["k".to_owned()].into_iter().take(key_count).collect();
    GroupAggregate { key_count, calls, key_texts, time_to_live, windows: None }
}

fn output_schema(definition: &GroupAggregate) -> SchemaRef {
    let keys = input_schema().fields().iter().take(definition.key_count).map(|field| field.as_ref().clone()).collect();
    let mut fields: Vec<Field> = keys;
    let results = definition.calls.iter().enumerate();
    fields.extend(results.map(|(n, call)| Field::new(format!("r{n}"), call.function.data_type(), true)));
    Arc::new(Schema::new(fields))
}

/// One operator that does it all, and one with a part before the exchange.
fn split(definition: &GroupAggregate, is_updating: bool) -> Vec<Box<dyn Operator>> {
    let port = Port { schema: input_schema(), is_updating };
    let local = definition.local_part(&port).unwrap();
    let before = local.before.instance(std::slice::from_ref(&port), &local.schema).unwrap();
    let between = Port { schema: Arc::clone(&local.schema), is_updating };
    vec![before, local.after.instance(&[between], &output_schema(definition)).unwrap()]
}

fn whole(definition: &GroupAggregate, is_updating: bool) -> Vec<Box<dyn Operator>> {
    let port = Port { schema: input_schema(), is_updating };
    vec![definition.instance(&[port], &output_schema(definition)).unwrap()]
}

#[test]
fn groups_go_on_from_any_cut() {
    let lives = [None, Some(TimeToLive::EventTime(100)), Some(TimeToLive::ProcessingTime(100))];
    let mut row_count = 0;
    for seed in 0..8 {
        let mut random = Random(seed);
        let is_updating = seed % 2 == 1;
        let time_to_live = lives[random.below(3) as usize];
        let by_clock = matches!(time_to_live, Some(TimeToLive::ProcessingTime(_)));
        let events = script(&mut random, is_updating, by_clock);
        let definition = aggregate(in_place(is_updating), 1, time_to_live);
        let form = Form { make: &|_| whole(&definition, is_updating), keys: vec![0] };
        row_count += check_cuts([&form, &form], &events);
    }
    assert!(row_count > 40, "too little happens to see anything");
}

#[test]
fn a_part_before_the_exchange_changes_nothing_in_what_is_sealed() {
    let mut row_count = 0;
    for seed in 0..4 {
        let mut random = Random(seed);
        let definition = aggregate(common_calls(), 1, None);
        let events = script(&mut random, false, false);
        let one = Form { make: &|_| whole(&definition, false), keys: vec![0] };
        let two = Form { make: &|_| split(&definition, false), keys: vec![0] };
        row_count += check_cuts([&one, &two], &events);
        row_count += check_cuts([&two, &one], &events);
    }
    assert!(row_count > 40, "too little happens to see anything");
}

#[test]
fn the_only_group_without_keys_goes_on_from_any_cut() {
    let mut row_count = 0;
    for seed in 0..4 {
        let mut random = Random(seed);
        let is_updating = seed % 2 == 1;
        let definition = aggregate(common_calls(), 0, None);
        let events = script(&mut random, is_updating, false);
        let one = Form { make: &|_| whole(&definition, is_updating), keys: vec![] };
        let two = Form { make: &|_| split(&definition, is_updating), keys: vec![] };
        row_count += check_cuts([&one, &two], &events);
    }
    assert!(row_count > 40, "too little happens to see anything");
}

/// How many rows each part has, and how many are gone; `None` for a part that is sealed whole.
fn sealed(operator: &mut dyn Operator, whole: bool) -> Vec<(usize, Option<usize>)> {
    let of = |part: &StatePart| match &part.extent {
        Extent::Whole => (part.rows.row_count(), None),
        Extent::Changes { gone, .. } => (part.rows.row_count(), Some(gone.num_rows())),
    };
    operator.seal(whole).unwrap().iter().map(of).collect()
}

#[test]
fn what_has_not_changed_is_not_sealed_again() {
    let names: Vec<String> = (0..100).map(|key| format!("{key}")).collect();
    let rows = |keys: std::ops::Range<usize>, value: i64, kind: RowKind| {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(names[keys.clone()].iter().map(Some).collect::<StringArray>()),
            Arc::new(Int64Array::from_value(value, keys.len())),
            Arc::new(Float64Array::from(vec![1.5; keys.len()])),
            Arc::new(StringArray::from(vec!["x"; keys.len()])),
            Arc::new(BooleanArray::from(vec![true; keys.len()])),
        ];
        let rows = RecordBatch::try_new(input_schema(), columns).unwrap();
        Batch { rows, kinds: Some(UInt8Array::from_value(kind as u8, keys.len())) }
    };
    let calls = vec![on(Sum, &[1], false, false), on(Count, &[1], true, false), on(Count, &[3], true, false)];
    let mut operator = whole(&aggregate(calls, 1, None), true).remove(0);
    let add = |operator: &mut dyn Operator, batch| {
        operator.process(0, batch, &mut Nobody).unwrap();
        operator.flush(&mut Nobody).unwrap();
    };
    add(&mut *operator, rows(0..100, 1, RowKind::Insert));
    // Groups, the values of two sets, counted rows.
    assert_eq!(sealed(&mut *operator, false), [(100, None); 4]);
    assert_eq!(sealed(&mut *operator, false), [(0, Some(0)); 4]);
    add(&mut *operator, rows(7..9, 2, RowKind::Insert));
    assert_eq!(sealed(&mut *operator, false), [(2, Some(0)); 4]);
    add(&mut *operator, rows(7..8, 2, RowKind::Delete));
    add(&mut *operator, rows(20..23, 1, RowKind::Delete));
    assert_eq!(sealed(&mut *operator, false), [(1, Some(3)), (0, Some(4)), (1, Some(3)), (0, Some(4))]);
    assert_eq!(sealed(&mut *operator, true), [(97, None), (98, None), (97, None), (98, None)]);
    assert_eq!(sealed(&mut *operator, false), [(0, Some(0)); 4]);
}

struct Nobody;

impl Output for Nobody {
    fn emit(&mut self, _: Batch) {}

    fn late(&mut self, _: LateRows<'_>) {}

    fn null_time(&mut self, _: u64) {}
}

#[test]
fn the_state_of_another_query_is_refused() {
    let definition = aggregate(common_calls(), 1, None);
    let mut sealed = whole(&definition, false);
    let mut out = Changes::default();
    sealed[0].flush(&mut out).unwrap();
    let parts = sealed[0].seal(true).unwrap();
    let other = aggregate(in_place(false), 1, None);
    let mut operator = whole(&other, false).remove(0);
    let refused = operator.restore(&parts[0].name, parts[0].rows.to_batch().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("another query's"), "{refused}");
    assert!(operator.restore("joined", parts[0].rows.to_batch().unwrap()).is_err());
}
