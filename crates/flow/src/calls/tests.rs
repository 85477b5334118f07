//! What is found over a whole project.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::check_calls;
use crate::{Flow, Project};

fn found(texts: &[&str], broken: &[&str]) -> Vec<String> {
    let flows: Vec<Flow> = texts.iter().map(|text| Flow::parse("x.yaml", text, &Project::default()).unwrap()).collect();
    let found = check_calls(&flows.iter().collect::<Vec<_>>(), broken);
    let line = |(flow, one): (String, crate::Diagnostic)| format!("{flow}: {} | {}", one.message, one.remedy.unwrap());
    found.into_iter().map(line).collect()
}

const TAKES: &str =
    "flow: takes\nparams: {day: {type: date}, size: {default: 1, min: 1, max: 9}}\ntasks: {a: {shell: 'true'}}";

#[test]
fn what_is_called_has_to_be_there_and_to_take_what_it_is_given() {
    let cases: [(&str, &[&str]); 8] = [
        ("flow: takes, params: {day: 2026-01-01, size: 3}", &[]),
        ("flow: takes, params: {day: '{{ 1 }}', size: '{{ 99 }}'}", &[]),
        ("flow: takes", &["task t: flow takes needs a value for its parameter day | add params: {day: VALUE}"]),
        ("flow: take", &["task t runs flow take, which this project has not | did you mean takes?"]),
        ("flow: lost", &[]),
        (
            "flow: takes, params: {day: 2026-01-01, sizes: 3}",
            &["task t: flow takes has no parameter sizes | did you mean size?"],
        ),
        (
            "flow: takes, params: {day: soon}",
            &["task t: parameter day of flow takes takes a value of type date, not \"soon\" | write one of type date"],
        ),
        (
            "flow: takes, params: {day: 2026-01-01, size: 10}",
            &["task t: parameter size of flow takes cannot be 10 | it has to be from 1 to 9"],
        ),
    ];
    for (task, wanted) in cases {
        let text = format!("flow: asks\ntasks: {{t: {{{task}}}}}");
        let wanted: Vec<String> = wanted.iter().map(|line| format!("asks: {line}")).collect();
        assert_eq!(found(&[&text, TAKES], &["lost"]), wanted, "{task}");
    }
}

#[test]
fn a_circle_is_named_by_each_flow_in_it_and_by_no_other() {
    let calls = |name: &str, called: &[&str]| {
        let tasks = called.iter().enumerate().map(|(n, flow)| format!("  t{n}: {{flow: {flow}}}\n"));
        format!("flow: {name}\ntasks:\n  x: {{shell: 'true'}}\n{}", tasks.collect::<String>())
    };
    let itself = calls("a", &["a"]);
    let wanted = "a: task t0 runs the flow that it is in | take one of these tasks away";
    assert_eq!(found(&[&itself], &[]), [wanted]);
    let texts = [calls("a", &["d", "b"]), calls("b", &["c"]), calls("c", &["a"]), calls("d", &[]), calls("e", &["a"])];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let wanted = ["a: ... a -> b -> c -> a", "b: ... b -> c -> a -> b", "c: ... c -> a -> b -> c"];
    let wanted =
        wanted.map(|line| line.replace("...", "flows run each other in a circle:") + " | take one of these tasks away");
    assert_eq!(found(&texts, &[]), wanted);
    // A long chain is none, and two ways to one flow are none.
    let long: Vec<String> = (0..3_000).map(|n| calls(&format!("f{n}"), &[&format!("f{}", n + 1)])).collect();
    let last = calls("f3000", &[]);
    let mut texts: Vec<&str> = long.iter().map(String::as_str).collect();
    texts.push(&last);
    assert_eq!(found(&texts, &[]), Vec::<String>::new());
    let fork = [calls("a", &["b", "c"]), calls("b", &["d"]), calls("c", &["d"]), calls("d", &[])];
    assert_eq!(found(&fork.each_ref().map(String::as_str), &[]), Vec::<String>::new());
}
