//! Session aggregation against islands found by looking at all rows at once.

use std::collections::BTreeMap;

use super::cut::{Event, Form, check_cuts};
use super::windowed::{Random, apply_changes, random_early, random_row};
use super::*;
use crate::definition::{OperatorDefinition, Port};
use crate::operators::session_aggregate::SessionAggregate;
use crate::operators::session_assign::SessionAssign;
use crate::trigger::{EarlyFire, Trigger};

fn sessions(gap_ms: i64, trigger: Trigger) -> Box<dyn Operator> {
    let definition =
        SessionAggregate { key_count: 1, calls: count_and_sum(), key_texts: vec!["key".to_owned()], gap_ms, trigger };
    assert!(definition.check(&[true]).is_err());
    let port = Port { schema: input_schema(), is_updating: false };
    let types = [
        ("key", DataType::Utf8),
        ("s", time_type()),
        ("e", time_type()),
        ("n", DataType::Int64),
        ("v", DataType::Int64),
    ];
    let schema = Schema::new(types.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
    definition.instance(&[port], &Arc::new(schema)).unwrap()
}

#[test]
fn sessions_that_touch_are_one_and_a_row_between_two_joins_them() {
    let mut operator = sessions(10, Trigger::default());
    process(
        &mut *operator,
        input(&[(Some("a"), Some(-5), Some(1)), (Some("a"), Some(5), Some(2)), (None, None, None)]),
    );
    process(
        &mut *operator,
        input(&[(Some("a"), Some(16), Some(4)), (Some("b"), Some(0), None), (None, Some(3), None)]),
    );
    assert!(advance(&mut *operator, 10).batches.is_empty(), "a row at the end would still touch");
    assert_eq!(lines(&advance(&mut *operator, 11).batches), ["b 0 10 1 null"]);
    assert_eq!(lines(&advance(&mut *operator, 14).batches), ["null 3 13 1 null"]);
    process(&mut *operator, input(&[(Some("a"), Some(15), Some(8)), (Some("a"), Some(40), Some(16))]));
    assert_eq!(lines(&advance(&mut *operator, i64::MAX).batches), ["a -5 26 4 15", "a 40 50 1 16"]);
    assert_eq!(operator.state_size_bytes(), 0);
}

#[test]
fn a_row_that_is_late_and_touches_nothing_is_dropped_and_counted() {
    let mut operator = sessions(10, Trigger::default());
    process(&mut *operator, input(&[(Some("a"), Some(30), Some(1))]));
    advance(&mut *operator, 25);
    let out = process(&mut *operator, input(&[(Some("b"), Some(14), None), (Some("a"), Some(21), None)]));
    assert_eq!((out.dropped, out.updated, out.behind_ms), (1, 0, vec![1]));
    assert_eq!(lines(&advance(&mut *operator, i64::MAX).batches), ["a 21 40 2 1"]);
}

#[test]
fn within_the_allowed_lateness_a_session_is_taken_back_and_given_anew() {
    let mut operator = sessions(10, Trigger::allowing(100));
    process(&mut *operator, input(&[(Some("a"), Some(0), Some(1)), (Some("a"), Some(20), Some(2))]));
    assert_eq!(lines(&advance(&mut *operator, 50).batches), ["+I a 0 10 1 1", "+I a 20 30 1 2"]);
    let out = process(&mut *operator, input(&[(Some("a"), Some(10), Some(4))]));
    let mut changes = lines(&out.batches);
    changes.sort();
    assert_eq!(
        (changes, out.updated),
        (vec!["+I a 0 30 3 7", "-D a 0 10 1 1", "-D a 20 30 1 2"].into_iter().map(String::from).collect(), 1)
    );
    assert_eq!(lines(&advance(&mut *operator, i64::MAX).batches), [] as [&str; 0]);
    assert_eq!(operator.state_size_bytes(), 0);
}

#[test]
fn early_results_follow_a_session_as_it_grows() {
    let early = Some(EarlyFire::EventTime(10));
    let mut operator = sessions(10, Trigger { early, allowed_lateness_ms: 100 });
    let mut step = |rows: &[InputRow], watermark: i64| {
        let mut out = process(&mut *operator, input(rows));
        out.batches.extend(advance(&mut *operator, watermark).batches);
        lines(&out.batches)
    };
    let none = [] as [&str; 0];
    let first = [(Some("a"), Some(0), Some(1)), (Some("a"), Some(20), Some(2)), (Some("b"), Some(0), None)];
    assert_eq!(step(&first, -10), ["+I a 0 10 1 1", "+I a 20 30 1 2", "+I b 0 10 1 null"]);
    assert_eq!(step(&[(Some("b"), Some(0), Some(3))], -1), none, "not due yet");
    assert_eq!(step(&[], 0), ["-U b 0 10 1 null", "+U b 0 10 2 3"]);
    assert_eq!(step(&[(Some("a"), Some(5), Some(0))], 10), ["-D a 0 10 1 1", "+I a 0 15 2 1"]);
    assert_eq!(step(&[(Some("a"), Some(12), Some(4))], 19), none, "what was given stands until it is replaced");
    assert_eq!(step(&[], 20), ["-D a 20 30 1 2", "-D a 0 15 2 1", "+I a 0 30 4 7"]);
    assert_eq!(step(&[], 35), none, "complete as it was given");
    assert_eq!(step(&[(Some("a"), Some(1), Some(1))], 36), ["-U a 0 30 4 7", "+U a 0 30 5 8"], "late");
    assert_eq!(step(&[], i64::MAX), none);
    assert_eq!(operator.state_size_bytes(), 0);
}

fn islands(rows: &[InputRow], gap_ms: i64) -> BTreeMap<String, i64> {
    let mut by_key: BTreeMap<&str, Vec<(i64, Option<i64>)>> = BTreeMap::new();
    for (key, time, value) in rows {
        if let Some(time) = time {
            by_key.entry(key.unwrap_or("null")).or_default().push((*time, *value));
        }
    }
    let mut results = BTreeMap::new();
    for (key, mut rows) in by_key {
        rows.sort_unstable();
        for island in rows.chunk_by(|before, after| after.0 - before.0 <= gap_ms) {
            let known: Vec<i64> = island.iter().filter_map(|row| row.1).collect();
            let total = if known.is_empty() { "null".to_owned() } else { known.iter().sum::<i64>().to_string() };
            let (start, end) = (island[0].0, island[island.len() - 1].0 + gap_ms);
            results.insert(format!("{key} {start} {end} {} {total}", island.len()), 1);
        }
    }
    results
}

/// Rows in any order within the allowed lateness, or on time without it, in any batches, give the islands.
#[test]
fn random_rows_give_their_islands() {
    for seed in 0..600 {
        let mut random = Random(seed);
        let allowed_lateness_ms = [0, 10_000][random.below(2) as usize];
        let gap_ms = 1 + random.below(12) as i64;
        let mut operator = sessions(gap_ms, Trigger { early: random_early(&mut random), allowed_lateness_ms });
        let (mut out, mut all) = (Recorder::default(), Vec::new());
        let mut around = random.below(200) as i64 - 100;
        let mut watermark = i64::MIN;
        for _ in 0..random.below(12) {
            let mut rows: Vec<InputRow> = (0..random.below(20)).map(|_| random_row(&mut random, around)).collect();
            rows.retain(|row| allowed_lateness_ms > 0 || row.1.is_none_or(|time| time >= watermark));
            all.extend(rows.iter().copied());
            operator.process(0, input(&rows), &mut out).unwrap();
            around += random.below(60) as i64;
            if random.below(3) == 0 {
                operator.on_clock(around, &mut out).unwrap();
            }
            if random.below(3) > 0 {
                watermark = watermark.max(around - random.below(60) as i64);
                operator.on_watermark(Watermark(watermark), &mut out).unwrap();
            }
        }
        operator.on_watermark(Watermark::END, &mut out).unwrap();
        assert_eq!(out.dropped, 0, "seed {seed}");
        assert_eq!(apply_changes(lines(&out.batches)), islands(&all, gap_ms), "seed {seed}");
        assert_eq!(operator.state_size_bytes(), 0, "seed {seed}");
    }
}

/// Rows near a moment that goes on, and the time that follows it.
fn script(random: &mut Random) -> Vec<Event> {
    let (mut around, mut watermark) = (0, -50);
    let event = |_| {
        around += random.below(25) as i64;
        if random.below(3) > 0 {
            return Event::Rows(input(
                &(0..1 + random.below(8)).map(|_| random_row(random, around)).collect::<Vec<InputRow>>(),
            ));
        }
        watermark = watermark.max(around - random.below(40) as i64);
        Event::Watermark(watermark)
    };
    (0..14).map(event).chain([Event::Watermark(i64::MAX)]).collect()
}

#[test]
fn sessions_go_on_from_any_cut() {
    let mut row_count = 0;
    for seed in 0..12 {
        let mut random = Random(seed);
        let early = [None, Some(EarlyFire::EventTime(7))][random.below(2) as usize];
        let allowed_lateness_ms = [0, 30, 10_000][random.below(3) as usize];
        let gap_ms = 1 + random.below(12) as i64;
        let events = script(&mut random);
        let trigger = Trigger { early, allowed_lateness_ms };
        let aggregate = Form { make: &|_| vec![sessions(gap_ms, trigger)], keys: vec![0] };
        row_count += check_cuts([&aggregate, &aggregate], &events);

        let definition = SessionAssign { input: input_schema(), keys: vec![0], column: 1, gap_ms, allowed_lateness_ms };
        let mut fields: Vec<Field> = input_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.extend(["start", "end", "time"].map(|name| Field::new(name, time_type(), true)));
        let schema = Arc::new(Schema::new(fields));
        let port = Port { schema: input_schema(), is_updating: false };
        let make = |_| vec![definition.instance(std::slice::from_ref(&port), &schema).unwrap()];
        let assign = Form { make: &make, keys: vec![0] };
        row_count += check_cuts([&assign, &assign], &events);
    }
    assert!(row_count > 100, "too little happens to see anything");
}
