//! Window aggregation, alone and behind a pre-aggregation, against a naive model.

use std::collections::BTreeMap;

use super::*;
use crate::chain::{Chain, Link};
use crate::expression::NamedExpression;
use crate::graph::{AggregateCall, Window};
use crate::native::{Binary, BinaryOperation, Count, Literal, Sum, column};
use crate::operators::aggregation::Aggregation;
use crate::operators::pre_aggregate::PreAggregate;
use crate::operators::slice_table::Form;
use crate::operators::sliced_aggregate::SlicedAggregate;
use crate::operators::window_aggregate::WindowAggregate;
use crate::trigger::{EarlyFire, Trigger};
use crate::window::Span;

const TEN: Window = Window::Tumbling { size_ms: 10, offset_ms: 0 };

/// `count(*)`, `sum(v)`, `count(v) FILTER (WHERE v > 10)` by key per window of 10 ms.
fn aggregation(allowed_lateness_ms: u64, keys: &[&str]) -> Arc<Aggregation> {
    aggregation_over(TEN, Trigger::allowing(allowed_lateness_ms), keys)
}

fn aggregation_over(window: Window, trigger: Trigger, keys: &[&str]) -> Arc<Aggregation> {
    let schema = input_schema();
    let named = |name: &str| column(&schema, name).unwrap();
    let value = || named("v").expression;
    let ten = Literal::new("10", Arc::new(Int64Array::from(vec![10])));
    let large = Binary::new(value(), BinaryOperation::Greater, ten);
    let call = |name: &str, function, arguments, filter| AggregateCall {
        name: String::from(name),
        function,
        arguments,
        filter,
    };
    let keys: Vec<NamedExpression> = keys.iter().map(|key| named(key)).collect();
    let mut fields: Vec<Field> =
        keys.iter().map(|key| Field::new(&key.name, key.expression.data_type(), true)).collect();
    fields.extend(["window_start", "window_end"].map(|name| Field::new(name, time_type(), false)));
    fields.extend(["n", "total", "large"].map(|name| Field::new(name, DataType::Int64, true)));
    Arc::new(Aggregation {
        column: 1,
        window,
        keys,
        aggregates: vec![
            call("n", Arc::new(Count), vec![], None),
            call("total", Arc::new(Sum), vec![value()], None),
            call("large", Arc::new(Count), vec![value()], Some(Arc::new(large))),
        ],
        trigger,
        schema: Arc::new(Schema::new(fields)),
    })
}

fn over_rows(allowed_lateness_ms: u64) -> WindowAggregate {
    WindowAggregate::new(aggregation(allowed_lateness_ms, &["key"]), Form::Rows).unwrap()
}

#[test]
fn windows_fire_in_order_when_the_watermark_passes_their_end() {
    let mut operator = over_rows(0);
    let rows = [
        (Some("a"), Some(12), Some(1)),
        (Some("b"), Some(3), Some(20)),
        (Some("a"), Some(-1), Some(5)),
        (None, Some(3), None),
        (Some("b"), Some(4), Some(2)),
    ];
    assert!(process(&mut operator, input(&rows)).batches.is_empty());
    assert!(advance(&mut operator, -1).batches.is_empty());
    assert_eq!(lines(&advance(&mut operator, 10).batches), ["a -10 0 1 5 0", "b 0 10 2 22 1", "null 0 10 1 null 0"]);
    assert!(operator.state_size_bytes() > 0);
    assert_eq!(lines(&advance(&mut operator, i64::MAX).batches), ["a 10 20 1 1 0"]);
    assert_eq!(operator.state_size_bytes(), 0);
}

#[test]
fn late_rows_are_dropped_and_counted_and_their_neighbours_are_not() {
    let mut operator = over_rows(0);
    advance(&mut operator, 20);
    let out = process(
        &mut operator,
        input(&[(Some("a"), Some(5), None), (Some("a"), Some(19), None), (Some("a"), Some(21), None)]),
    );
    assert_eq!((out.dropped, out.updated, out.behind_ms), (2, 0, vec![10, 0]));
    assert_eq!(lines(&advance(&mut operator, i64::MAX).batches), ["a 20 30 1 null 0"]);
}

#[test]
fn rows_without_a_time_are_left_out_and_counted() {
    let mut operator = over_rows(0);
    let out = process(&mut operator, input(&[(Some("a"), None, None), (Some("a"), Some(1), None)]));
    assert_eq!(out.null_times, 1);
    assert_eq!(lines(&advance(&mut operator, i64::MAX).batches), ["a 0 10 1 null 0"]);
}

#[test]
fn within_the_allowed_lateness_a_window_fires_again_with_what_has_changed() {
    let mut operator = over_rows(15);
    process(&mut operator, input(&[(Some("a"), Some(1), Some(1)), (Some("b"), Some(2), Some(2))]));
    assert_eq!(lines(&advance(&mut operator, 10).batches), ["+I a 0 10 1 1 0", "+I b 0 10 1 2 0"]);

    let out = process(
        &mut operator,
        input(&[(Some("b"), Some(3), Some(30)), (Some("c"), Some(4), None), (Some("b"), Some(11), None)]),
    );
    assert_eq!((out.dropped, out.updated), (0, 2));
    assert_eq!(lines(&out.batches), ["-U b 0 10 1 2 0", "+U b 0 10 2 32 1", "+I c 0 10 1 null 0"]);

    assert_eq!(lines(&advance(&mut operator, 24).batches), ["+I b 10 20 1 null 0"]);
    assert_eq!(lines(&process(&mut operator, input(&[(Some("c"), Some(5), Some(0))])).batches).len(), 2);
    advance(&mut operator, 25);
    let out = process(&mut operator, input(&[(Some("a"), Some(1), Some(1))]));
    assert_eq!((out.dropped, out.updated, out.batches.len()), (1, 0, 0));
    advance(&mut operator, i64::MAX);
    assert_eq!(operator.state_size_bytes(), 0);
}

/// By steps, in one phase and in two: rows, the turn's end, the watermark or the clock.
fn check_early(window: Window, early: EarlyFire, two_phases: bool, steps: &[(&[InputRow], Moment, &[&str])]) {
    let trigger = Trigger { early: Some(early), allowed_lateness_ms: 0 };
    let mut chain = chain(aggregation_over(window, trigger, &["key"]), two_phases);
    for (number, (rows, moment, expected)) in steps.iter().enumerate() {
        let mut out = Recorder::default();
        chain.process(0, input(rows), &mut out).unwrap();
        chain.flush(&mut out).unwrap();
        match moment {
            Moment::Watermark(watermark) => _ = chain.on_watermark(Watermark(*watermark), &mut out).unwrap(),
            Moment::Clock(now_ms) => chain.on_clock(*now_ms, &mut out).unwrap(),
        }
        assert_eq!(lines(&out.batches), *expected, "{window:?}, {early:?}, step {number}, two phases: {two_phases}");
    }
    assert_eq!(chain.state_size_bytes(), 0);
}

#[derive(Clone, Copy)]
enum Moment {
    Watermark(i64),
    Clock(i64),
}

#[test]
fn early_results_are_what_a_window_has_so_far_and_only_what_is_new() {
    use Moment::{Clock, Watermark};
    const HOP: Window = Window::Hopping { slide_ms: 5, size_ms: 10, offset_ms: 0 };
    const STEPS: Window = Window::Cumulating { step_ms: 5, size_ms: 10, offset_ms: 0 };
    for two_phases in [false, true] {
        check_early(
            TEN,
            EarlyFire::EventTime(2),
            two_phases,
            &[
                (
                    &[(Some("a"), Some(1), Some(1)), (Some("b"), Some(2), None)],
                    Watermark(0),
                    &["+I a 0 10 1 1 0", "+I b 0 10 1 null 0"],
                ),
                (&[(Some("a"), Some(2), Some(20))], Watermark(1), &[]),
                (&[], Watermark(2), &["-U a 0 10 1 1 0", "+U a 0 10 2 21 1"]),
                (&[], Watermark(4), &[]),
                (
                    &[(Some("c"), Some(9), None), (Some("a"), Some(11), None)],
                    Watermark(9),
                    &["+I c 0 10 1 null 0", "+I a 10 20 1 null 0"],
                ),
                (&[(Some("b"), Some(9), Some(3))], Watermark(10), &["-U b 0 10 1 null 0", "+U b 0 10 2 3 0"]),
                (&[(Some("b"), Some(9), Some(3))], Watermark(i64::MAX), &[]),
            ],
        );
        check_early(
            TEN,
            EarlyFire::ProcessingTime(1_000),
            two_phases,
            &[
                (&[(Some("a"), Some(1), None)], Clock(5_000), &["+I a 0 10 1 null 0"]),
                (&[(Some("a"), Some(1), None)], Clock(5_999), &[]),
                (&[], Watermark(9), &[]),
                (&[], Clock(6_000), &["-U a 0 10 1 null 0", "+U a 0 10 2 null 0"]),
                (&[(Some("a"), Some(3), None)], Watermark(10), &["-U a 0 10 2 null 0", "+U a 0 10 3 null 0"]),
                (&[], Watermark(i64::MAX), &[]),
            ],
        );
        check_early(
            HOP,
            EarlyFire::EventTime(5),
            two_phases,
            &[
                (&[(Some("a"), Some(1), None)], Watermark(0), &["+I a -5 5 1 null 0", "+I a 0 10 1 null 0"]),
                (&[(Some("a"), Some(6), None)], Watermark(4), &[]),
                (&[], Watermark(5), &["-U a 0 10 1 null 0", "+U a 0 10 2 null 0", "+I a 5 15 1 null 0"]),
                (&[(Some("a"), Some(7), None)], Watermark(9), &[]),
                (
                    &[],
                    Watermark(i64::MAX),
                    &["-U a 0 10 2 null 0", "+U a 0 10 3 null 0", "-U a 5 15 1 null 0", "+U a 5 15 2 null 0"],
                ),
            ],
        );
        check_early(
            STEPS,
            EarlyFire::ProcessingTime(10),
            two_phases,
            &[
                (&[(Some("a"), Some(1), None)], Clock(10), &["+I a 0 5 1 null 0", "+I a 0 10 1 null 0"]),
                (&[(Some("b"), Some(7), None)], Clock(20), &["+I b 0 10 1 null 0"]),
                (&[], Watermark(i64::MAX), &[]),
            ],
        );
    }
}

#[test]
fn an_update_that_changes_nothing_is_not_given_out() {
    let mut aggregation = Arc::unwrap_or_clone(aggregation(100, &["key"]));
    aggregation.aggregates.remove(0);
    let fields: Vec<_> = aggregation.schema.fields().iter().filter(|field| field.name() != "n").cloned().collect();
    aggregation.schema = Arc::new(Schema::new(fields));
    let mut operator = WindowAggregate::new(Arc::new(aggregation), Form::Rows).unwrap();
    process(&mut operator, input(&[(Some("a"), Some(1), Some(1))]));
    advance(&mut operator, 10);
    let out = process(&mut operator, input(&[(Some("a"), Some(1), Some(0))]));
    assert_eq!((out.updated, out.batches.len()), (1, 0));
}

#[test]
fn without_keys_there_is_one_row_a_window_and_without_aggregates_the_distinct_keys() {
    let mut operator = WindowAggregate::new(aggregation(0, &[]), Form::Rows).unwrap();
    process(&mut operator, input(&[(Some("a"), Some(1), None), (None, Some(2), None), (None, Some(12), None)]));
    assert_eq!(lines(&advance(&mut operator, i64::MAX).batches), ["0 10 2 null 0", "10 20 1 null 0"]);

    for allowed_lateness_ms in [0, 100] {
        let mut distinct = Arc::unwrap_or_clone(aggregation(allowed_lateness_ms, &["key"]));
        distinct.aggregates.clear();
        distinct.schema = Arc::new(distinct.schema.project(&[0, 1, 2]).unwrap());
        let mut operator = WindowAggregate::new(Arc::new(distinct), Form::Rows).unwrap();
        process(&mut operator, input(&[(Some("a"), Some(1), None), (None, Some(2), None), (None, Some(2), None)]));
        assert_eq!(advance(&mut operator, 10).batches[0].num_rows(), 2);
        let late = process(&mut operator, input(&[(Some("a"), Some(1), None), (Some("z"), Some(2), None)]));
        assert_eq!(lines(&late.batches), if allowed_lateness_ms == 0 { vec![] } else { vec!["+I z 0 10"] });
    }
}

#[test]
fn many_small_windows_come_out_in_large_batches_and_one_large_window_in_parts() {
    let mut operator = over_rows(0);
    let rows: Vec<InputRow> = (0..3_000).map(|n| (Some("a"), Some(n * 10), None)).collect();
    process(&mut operator, input(&rows));
    let out = advance(&mut operator, i64::MAX);
    assert_eq!((out.batches.len(), out.batches[0].num_rows()), (1, 3_000));

    let mut by_value = WindowAggregate::new(aggregation(0, &["v"]), Form::Rows).unwrap();
    let rows: Vec<InputRow> = (0..20_000).map(|n| (Some("a"), Some(1), Some(n))).collect();
    process(&mut by_value, input(&rows));
    let sizes: Vec<usize> = advance(&mut by_value, i64::MAX).batches.iter().map(Batch::num_rows).collect();
    assert_eq!(sizes, [8_192, 8_192, 3_616]);
}

/// The results that are left when all changes are applied.
pub(super) fn apply_changes(lines: Vec<String>) -> BTreeMap<String, i64> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for line in lines {
        let (kind, row) = match line.split_at_checked(3) {
            Some((kind @ ("+I " | "-U " | "+U " | "-D "), row)) => (kind, row),
            _ => ("+I ", line.as_str()),
        };
        *rows.entry(row.to_owned()).or_default() += if kind.starts_with('+') { 1 } else { -1 };
    }
    rows.retain(|_, count| *count != 0);
    assert!(
        rows.values().all(|count| *count == 1),
        "a result twice, or taken back without having been given: {rows:?}"
    );
    rows
}

/// A naive model: per key and window, all rows that were not too late.
struct Model {
    window: Window,
    windows: BTreeMap<(String, Span), Vec<Option<i64>>>,
    watermark: Option<i64>,
    dropped: u64,
    updated: u64,
    null_times: u64,
}

impl Model {
    fn new(window: Window) -> Self {
        Self { window, windows: BTreeMap::new(), watermark: None, dropped: 0, updated: 0, null_times: 0 }
    }

    fn add(&mut self, (key, time, value): InputRow, allowed_lateness_ms: i64) {
        let Some(time) = time else {
            self.null_times += 1;
            return;
        };
        let watermark = self.watermark.unwrap_or(i64::MIN);
        let windows: Vec<Span> = self.window.windows_of(time).collect();
        let Some(last) = windows.last() else { return };
        let is_gone = |window: &Span| window.end_ms + allowed_lateness_ms <= watermark;
        self.dropped += u64::from(is_gone(last));
        self.updated += u64::from(last.end_ms <= watermark && !is_gone(last));
        for window in windows.iter().filter(|window| !is_gone(window)) {
            self.windows.entry((key.unwrap_or("null").to_owned(), *window)).or_default().push(value);
        }
    }

    fn results(&self) -> BTreeMap<String, i64> {
        let result = |((key, window), values): (&(String, Span), &Vec<Option<i64>>)| {
            let known: Vec<i64> = values.iter().flatten().copied().collect();
            let total = if known.is_empty() { "null".to_owned() } else { known.iter().sum::<i64>().to_string() };
            let large = known.iter().filter(|value| **value > 10).count();
            let Span { start_ms, end_ms } = window;
            (format!("{key} {start_ms} {end_ms} {} {total} {large}", values.len()), 1)
        };
        self.windows.iter().map(result).collect()
    }
}

pub(in crate::operators) struct Random(pub(in crate::operators) u64);

impl Random {
    pub(in crate::operators) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Early results in every second case.
pub(super) fn random_early(random: &mut Random) -> Option<EarlyFire> {
    let interval_ms = 1 + random.below(20) as i64;
    match random.below(4) {
        0 => Some(EarlyFire::EventTime(interval_ms)),
        1 => Some(EarlyFire::ProcessingTime(interval_ms)),
        _ => None,
    }
}

pub(super) fn random_row(random: &mut Random, around: i64) -> InputRow {
    const KEYS: [Option<&str>; 5] = [Some("a"), Some("b"), Some("c"), Some(""), None];
    let key = KEYS[random.below(5) as usize];
    let time = (random.below(20) > 0).then(|| around + random.below(60) as i64 - 40);
    let value = (random.below(6) > 0).then(|| random.below(30) as i64 - 10);
    (key, time, value)
}

fn last_phase(aggregation: Arc<Aggregation>, form: Form) -> Box<dyn Operator> {
    if aggregation.window.is_tumbling() {
        Box::new(WindowAggregate::new(aggregation, form).unwrap())
    } else {
        Box::new(SlicedAggregate::new(aggregation, form).unwrap())
    }
}

fn chain(aggregation: Arc<Aggregation>, two_phases: bool) -> Chain {
    let mut operators: Vec<Box<dyn Operator>> = Vec::new();
    if two_phases {
        operators.push(Box::new(PreAggregate::new(Arc::clone(&aggregation)).unwrap()));
    }
    operators.push(last_phase(aggregation, if two_phases { Form::States } else { Form::Rows }));
    Chain::new(
        operators
            .into_iter()
            .map(|operator| Link { name: "window".to_owned(), node: None, operator, late_rows_to: Default::default() })
            .collect(),
    )
}

const WINDOWS: [Window; 7] = [
    TEN,
    Window::Hopping { slide_ms: 5, size_ms: 10, offset_ms: 0 },
    Window::Hopping { slide_ms: 2, size_ms: 20, offset_ms: 1 },
    Window::Hopping { slide_ms: 4, size_ms: 30, offset_ms: -1 },
    Window::Hopping { slide_ms: 10, size_ms: 4, offset_ms: 0 },
    Window::Cumulating { step_ms: 5, size_ms: 30, offset_ms: 3 },
    Window::Cumulating { step_ms: 1, size_ms: 12, offset_ms: 0 },
];

/// With any windows, batches, watermarks and lateness, in one phase or two: the changes add up to what the model says,
/// and every row is accounted for.
#[test]
pub(super) fn random_rows_give_what_the_model_says() {
    for seed in 0..800 {
        let mut random = Random(seed);
        let allowed_lateness_ms = [0, 0, 5, 25, 1_000][random.below(5) as usize];
        let window = WINDOWS[random.below(7) as usize];
        let trigger = Trigger { early: random_early(&mut random), allowed_lateness_ms };
        let mut chain = chain(aggregation_over(window, trigger, &["key"]), seed % 2 == 0);
        let mut model = Model::new(window);
        let mut out = Recorder::default();
        let mut around = random.below(200) as i64 - 100;
        for _ in 0..random.below(12) {
            let rows: Vec<InputRow> = (0..random.below(40)).map(|_| random_row(&mut random, around)).collect();
            rows.iter().for_each(|row| model.add(*row, allowed_lateness_ms as i64));
            chain.process(0, input(&rows), &mut out).unwrap();
            around += random.below(30) as i64;
            if random.below(3) == 0 {
                chain.flush(&mut out).unwrap();
                chain.on_clock(around, &mut out).unwrap();
            }
            if random.below(3) > 0 {
                let watermark = model.watermark.unwrap_or(i64::MIN).max(around - 10);
                model.watermark = Some(watermark);
                chain.on_watermark(Watermark(watermark), &mut out).unwrap();
            }
        }
        chain.on_watermark(Watermark::END, &mut out).unwrap();
        assert_eq!(apply_changes(lines(&out.batches)), model.results(), "seed {seed}, {window:?}");
        let counted = (out.dropped, out.updated, out.null_times);
        assert_eq!(counted, (model.dropped, model.updated, model.null_times), "seed {seed}, {window:?}");
        assert_eq!(chain.state_size_bytes(), 0, "seed {seed}, {window:?}");
    }
}

/// Windows that are the same windows give the same rows: a hop by the size is a tumble, and so is the last step of a
/// cumulation.
#[test]
fn windows_under_another_name_give_the_same_rows() {
    for seed in 0..50 {
        let mut random = Random(seed);
        let batches: Vec<Batch> = (0..8)
            .map(|n| input(&(0..30).map(|_| random_row(&mut random, n * 13)).collect::<Vec<InputRow>>()))
            .collect();
        let results = |window: Window| {
            let mut chain = chain(aggregation_over(window, Trigger::default(), &["key"]), seed % 2 == 0);
            let mut out = Recorder::default();
            for (n, batch) in batches.iter().enumerate() {
                chain.process(0, batch.clone(), &mut out).unwrap();
                chain.on_watermark(Watermark(n as i64 * 13 - 60), &mut out).unwrap();
            }
            chain.on_watermark(Watermark::END, &mut out).unwrap();
            apply_changes(lines(&out.batches))
        };
        let tumbling = results(Window::Tumbling { size_ms: 12, offset_ms: 5 });
        assert_eq!(results(Window::Hopping { slide_ms: 12, size_ms: 12, offset_ms: 5 }), tumbling, "seed {seed}");
        assert_eq!(results(Window::Cumulating { step_ms: 12, size_ms: 12, offset_ms: 5 }), tumbling, "seed {seed}");
        let mut steps = results(Window::Cumulating { step_ms: 3, size_ms: 12, offset_ms: 5 });
        steps.retain(|row, _| {
            let bounds: Vec<i64> = row.split(' ').skip(1).take(2).map(|bound| bound.parse().unwrap()).collect();
            bounds[1] - bounds[0] == 12
        });
        assert_eq!(steps, tumbling, "seed {seed}");
    }
}

#[test]
fn pre_aggregation_reduces_rows_and_rests_where_it_cannot() {
    let mut operator = PreAggregate::new(aggregation(0, &["v"])).unwrap();
    let batch = |distinct: i64| input(&(0..10_000).map(|n| (None, Some(1), Some(n % distinct))).collect::<Vec<_>>());
    for _ in 0..20 {
        assert!(process(&mut operator, batch(100)).batches.is_empty());
    }
    assert_eq!(advance(&mut operator, 10).batches[0].num_rows(), 100);

    let mut operator = PreAggregate::new(aggregation(0, &["v"])).unwrap();
    let unique = |part: i64| input(&(0..10_000).map(|n| (None, Some(1), Some(part * 10_000 + n))).collect::<Vec<_>>());
    let given: usize =
        (0..8).flat_map(|part| process(&mut operator, unique(part)).batches).map(|batch| batch.num_rows()).sum();
    assert_eq!(given, 80_000, "after the trial every row goes on at once");
    assert_eq!(operator.state_size_bytes(), 0);
}
