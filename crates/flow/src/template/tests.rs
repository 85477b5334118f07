//! Templates: values, their quoting against a real shell, and mistakes with their places.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;

use super::*;

fn variables() -> Variables {
    let interval =
        DataInterval { start: "2013-01-01T05:00:00Z".parse().unwrap(), end: "2013-01-02T05:00:00Z".parse().unwrap() };
    Variables {
        interval: Some(interval),
        timezone: jiff::tz::TimeZoneDatabase::bundled().get("America/New_York").unwrap(),
        run_id: "daily_delays/2013-01-01".to_owned(),
        params: BTreeMap::from([("city".to_owned(), json!("New York")), ("limit".to_owned(), json!(10))]),
        secrets: None,
        connections: BTreeMap::from([("chat".to_owned(), "http://chat".to_owned())]),
        item: None,
        results: BTreeMap::from([
            ("check".to_owned(), json!({"rows": 3, "ok": true})),
            ("empty".to_owned(), json!([])),
        ]),
    }
}

#[test]
fn every_variable_has_its_value() {
    let template = "{{ ds }} {{ ds_nodash }} {{ data_interval_start }} {{ data_interval_end }} {{ run_id }} \
                    {{ params.city }} {{ params['limit'] + 1 }} {{ connections.chat }}";
    let lines =
        [render(template, &variables(), Quote::None).unwrap(), render(template, &variables(), Quote::Shell).unwrap()];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn lists_maps_and_nothing_are_written_as_json() {
    let mut variables = variables();
    variables.results.insert("found".to_owned(), json!({"names": ["a", "it's \"b\""], "none": null}));
    let lines = |quote| {
        render("{{ results.found.names }} {{ results.found.none }} {{ results.check }}", &variables, quote).unwrap()
    };
    assert_eq!(lines(Quote::None), r#"["a","it's \"b\""] null {"ok":true,"rows":3}"#.replace("\\\\", "\\"));
    assert!(lines(Quote::Shell).starts_with(r#"'["a","it'\''s"#));
}

#[test]
fn errors_name_the_place() {
    let error = |template: &str| render(template, &variables(), Quote::Shell).unwrap_err().to_string();
    let mut without = variables();
    without.interval = None;
    let lines = [
        error("a\nb {{ dz }}"),
        error("{{ params.town }}"),
        error("{{ ds | nofilter }}"),
        error("{{ params['town'] }}"),
        error("{% if %}"),
        error("'{{ ds }}'"),
        render("{{ ds }}", &without, Quote::None).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn statements_and_raw_text_work() {
    let template =
        "{% for n in range(params.limit) if n > 7 %}{{ n }},{% endfor %}{% raw %}{{ x }}{% endraw %}{# '{{ #}";
    assert_eq!(render(template, &variables(), Quote::None).unwrap(), "8,9,{{ x }}");
    assert_eq!(render(template, &variables(), Quote::Shell).unwrap(), "'8','9',{{ x }}");
}

/// Always the same cases, so that a change is judged by what it changes; `MULGIL_SEED` looks at others.
fn seeded(cases: u32) -> ProptestConfig {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(seeded(60))]

    /// What a real shell makes of a quoted value is the value.
    #[test]
    fn a_shell_reads_exactly_the_value(value in "[ -~\n\t가é'\"`$\\\\!;&|<>(){}*?#~]{0,40}") {
        let mut variables = variables();
        variables.params.insert("city".to_owned(), json!(value));
        let command = render("printf %s. {{ params.city }}", &variables, Quote::Shell).unwrap();
        let output = Command::new("sh").arg("-c").arg(&command).output().unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{value}."));
    }

    /// No text makes the checks panic, and whatever they let through keeps its values in one word.
    #[test]
    fn no_template_panics(template in "[ab '\"`$\\\\\\(\\){}%#<\n-]{0,30}") {
        let names = variables().names();
        for quote in [Quote::None, Quote::Shell] {
            let _ = errors_in(&template, &names, &BTreeMap::new(), quote);
            let _ = render(&template, &variables(), quote);
        }
    }
}

proptest! {
    #![proptest_config(seeded(150))]

    /// Whatever stands around an expression: if it is accepted, a hostile value runs nothing.
    #[test]
    fn a_hostile_value_never_runs(
        before in "[ a'\"`$\\\\\\(\\){}#<;\n]{0,8}",
        after in "[ a'\"`$\\\\\\(\\){}#<;\n]{0,8}",
    ) {
        let template = format!("{before}{{{{ params.city }}}}{after}");
        let marker = "$(echo PWNED >&2)`echo PWNED >&2`'$(echo PWNED >&2)\"\necho PWNED >&2\n";
        let mut variables = variables();
        variables.params.insert("city".to_owned(), json!(marker));
        if let Ok(command) = render(&template, &variables, Quote::Shell) {
            let output = Command::new("sh").arg("-c").arg(&command).stdin(std::process::Stdio::null()).output().unwrap();
            let heard = String::from_utf8_lossy(&output.stderr);
            let ran = heard.lines().any(|line| line == "PWNED");
            prop_assert!(!ran, "{command:?}: {heard}");
        }
    }
}

#[test]
fn conditions_are_expressions_with_or_without_braces() {
    let cases = [
        ("results.check.rows > 0", true),
        ("{{ results.check.rows > 3 }}", false),
        ("results.check.ok and params.city == 'New York'", true),
        ("not results.empty", true),
        ("results.empty", false),
        ("ds_nodash | int > 20130101", false),
        ("{{ {'a': 1}['a'] == 1 }}", true),
    ];
    for (condition, expected) in cases {
        assert_eq!(holds(condition, &variables()), Ok(expected), "{condition}");
    }
    let error = |condition: &str| holds(condition, &variables()).unwrap_err().to_string();
    let lines = [
        error("results.chek.rows > 0"),
        error("{{ results.chek.rows > 0 }}"),
        error("results.check.row > 0"),
        error("dz == 1"),
        error("1 +"),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_a_text_reads_of_results_is_known() {
    let of = |names: &[&str]| ResultsRead::Of(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(results_read("echo {{ ds }}"), of(&[]));
    assert_eq!(results_read("results.a.rows > results.b"), of(&["a", "b"]));
    assert_eq!(results_read("{% for x in results.a %}{{ x }}{% endfor %}"), of(&["a"]));
    assert_eq!(results_read("{{ results['my-task'] }}"), ResultsRead::All);
}
