//! Count windows: full ones at once, the others at the end, and nothing kept of what is full.

use super::cut::{Event, Form, check_cuts};
use super::*;
use crate::definition::{Distribution, OperatorDefinition, Port};
use crate::operators::count_aggregate::CountAggregate;

fn windows_of_two() -> Box<dyn Operator> {
    let definition =
        CountAggregate { key_count: 1, calls: count_and_sum(), key_texts: vec!["key".to_owned()], size: 2 };
    assert_eq!(definition.describe(), "aggregate count(*), sum(v) by key per window of 2 rows");
    assert_eq!(definition.distribution(0), Distribution::Keyed(vec![0]));
    assert!(definition.check(&[true]).is_err());
    // The window's number stands where other tests have the time.
    let port = Port { schema: input_schema(), is_updating: false };
    let types = [("key", DataType::Utf8), ("w", time_type()), ("n", DataType::Int64), ("s", DataType::Int64)];
    let schema = Schema::new(types.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
    definition.instance(&[port], &Arc::new(schema)).unwrap()
}

#[test]
fn a_window_is_given_out_when_it_is_full_and_the_others_at_the_end() {
    let mut operator = windows_of_two();
    let rows = [
        (Some("a"), Some(0), Some(1)),
        (None, Some(0), Some(2)),
        (Some("a"), Some(0), None),
        (Some("a"), Some(1), Some(4)),
    ];
    assert_eq!(lines(&process(&mut *operator, input(&rows)).batches), ["a 0 2 1"]);
    assert_eq!(lines(&process(&mut *operator, input(&[(Some("a"), Some(1), Some(8))])).batches), ["a 1 2 12"]);
    assert!(advance(&mut *operator, 1_000).batches.is_empty());
    let full: Vec<InputRow> = (0..1_000).flat_map(|window| [(Some("b"), Some(window), Some(1)); 2]).collect();
    assert_eq!(process(&mut *operator, input(&full)).batches[0].num_rows(), 1_000);
    assert_eq!(lines(&advance(&mut *operator, i64::MAX).batches), ["null 0 1 2"]);
    assert_eq!(operator.state_size_bytes(), 0);
}

#[test]
fn windows_that_are_not_full_go_on_from_any_cut() {
    let (mut counts, mut events) = ([0; 3], Vec::new());
    for step in 0..12_usize {
        let rows = (0..1 + step % 3).map(|row| {
            let key = (step * 5 + row * row) % 3;
            counts[key] += 1;
            ([Some("a"), Some("b"), None][key], Some((counts[key] - 1) / 2), Some(step as i64).filter(|v| *v != 4))
        });
        events.push(Event::Rows(input(&rows.collect::<Vec<InputRow>>())));
    }
    events.push(Event::Watermark(i64::MAX));
    let form = Form { make: &|_| vec![windows_of_two()], keys: vec![0] };
    let row_count = check_cuts([&form, &form], &events);
    assert!(row_count > 8, "too little happens to see anything");
}
