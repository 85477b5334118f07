//! Plans: what runs, what is left alone and why, ten thousand intervals at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::civil::date;

use super::*;
use crate::Project;

fn flow(schedule: &str) -> Flow {
    let text = format!("flow: f\n{schedule}\nparams: {{n: 1}}\ntasks: {{a: {{shell: 'true'}}}}");
    Flow::parse("f.yaml", &text, &Project::default()).unwrap()
}

fn planned(flow: &Flow, which: Which, order: Order) -> Vec<String> {
    let existing = |key: &RunKey| match key.run_id() {
        "f/2013-01-02" => Some(Existing::Succeeded),
        "f/2013-01-03" => Some(Existing::Failed),
        "f/2013-01-04" => Some(Existing::Active),
        _ => None,
    };
    let plan = plan(flow, &flow.default_params(), date(2013, 1, 1), date(2013, 1, 4), existing, which, order).unwrap();
    plan.runs.iter().map(|run| format!("{} {:?}", run.key, run.action)).collect()
}

#[test]
fn what_runs_depends_on_what_there_is() {
    let flow = flow("schedule: {cron: '0 6 * * *', timezone: America/New_York}");
    let with = |which| planned(&flow, which, Order::OldestFirst).join("\n");
    let lines = [with(Which::Missing), with(Which::Failed), with(Which::All)];
    insta::assert_snapshot!(lines.join("\n"));
    let mut reversed = planned(&flow, Which::All, Order::NewestFirst);
    reversed.reverse();
    assert_eq!(reversed, planned(&flow, Which::All, Order::OldestFirst));
}

#[test]
fn ten_thousand_intervals_are_planned_in_a_moment() {
    let flow = flow("schedule: {cron: '0 6 * * *', timezone: America/New_York}");
    let began = Instant::now();
    let none = |_: &RunKey| None;
    let (from, to) = (date(1990, 1, 1), date(2017, 5, 18));
    let plan = plan(&flow, &flow.default_params(), from, to, none, Which::Missing, Order::OldestFirst).unwrap();
    assert_eq!(plan.runs.len(), 10_000);
    assert_eq!(plan.starts(), 10_000);
    // Two seconds are promised of what is released; a debug build on a busy machine only must not be quadratic.
    let allowed = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });
    assert!(began.elapsed() < allowed, "took {:?}", began.elapsed());
    let names: HashSet<&str> = plan.runs.iter().map(|run| run.key.run_id()).collect();
    assert_eq!(names.len(), 10_000);
}

#[test]
fn run_names_are_unique_where_clocks_are_set_back() {
    let flow = flow("schedule: {cron: '0 * * * *', timezone: America/New_York}");
    let none = |_: &RunKey| None;
    let day = date(2013, 11, 3);
    let plan = plan(&flow, &flow.default_params(), day, day, none, Which::All, Order::OldestFirst).unwrap();
    assert_eq!(plan.runs.len(), 25);
    let names: Vec<&str> = plan.runs.iter().map(|run| run.key.run_id()).collect();
    assert_eq!(names[1..3], ["f/2013-11-03T01:00-04:00", "f/2013-11-03T01:00-05:00"]);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 25);
}

#[test]
fn other_parameters_are_another_run() {
    let flow = flow("schedule: {cron: '@daily'}");
    let interval = flow.schedule.as_ref().unwrap().next_after("2013-01-02T12:00Z".parse().unwrap()).unwrap().interval;
    let default = RunKey::new(&flow, Some(interval), &flow.default_params());
    assert_eq!((default.text(), default.run_id()), ("2013-01-02T00:00:00Z/2013-01-03T00:00:00Z", "f/2013-01-02"));
    let given = [("n".to_owned(), serde_json::json!("2"))].into();
    let other = RunKey::new(&flow, Some(interval), &flow.resolve_params(&given).unwrap());
    insta::assert_snapshot!(format!("{} {}", other.text(), other.run_id()));
    let by_hand = RunKey::new(&flow, None, &flow.default_params());
    assert_eq!((by_hand.text(), by_hand.run_id()), ("manual", "f/manual"));
    // Written "1" or 1, it is the same parameter, so the same run.
    let same = [("n".to_owned(), serde_json::json!("1"))].into();
    assert_eq!(RunKey::new(&flow, Some(interval), &flow.resolve_params(&same).unwrap()), default);
}

#[test]
fn refuses_with_a_reason() {
    let without = flow("description: by hand");
    let daily = flow("schedule: {cron: '@daily', start: 2013-01-01}");
    let refused = |flow: &Flow, from: Date, to: Date| {
        let none = |_: &RunKey| None;
        let refused = plan(flow, &flow.default_params(), from, to, none, Which::All, Order::OldestFirst);
        refused.unwrap_err().to_string()
    };
    let lines = [
        refused(&without, date(2013, 1, 1), date(2013, 1, 2)),
        refused(&daily, date(2013, 1, 2), date(2013, 1, 1)),
        refused(&daily, date(2012, 1, 1), date(2012, 1, 2)),
        refused(&daily, Date::MAX, Date::MAX),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}
