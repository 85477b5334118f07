//! Every file of `flows/good` becomes a snapshot of its definition, every file of `flows/bad` one of its diagnostics.
//! Adding a case needs no Rust: `INSTA_UPDATE=always` writes its snapshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};

use mulgil_flow::{Flow, Project, Quote, SqlText, TaskKind, json_schema, lint, project_json_schema, template};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn project() -> Project {
    let text = "timezone: Asia/Seoul\npools: {heavy: 1}\nconnections: {ops_chat: http://chat}\n\
                secrets: {api_token: env:API_TOKEN}\n\
                calendars: {work: {weekdays: MON-FRI, skip: [2026-01-01]}}\n\
                notify: {ops: {slack: env:OPS}, team: {webhook: 'https://example.org/hook', on: success}}";
    Project::parse("mulgil.yaml", text).unwrap()
}

fn texts(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty());
    let name = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

fn snapshots(folder: &str) -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("flows/{folder}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn good_flows_become_definitions() {
    for (name, text) in texts("good") {
        let flow = match Flow::parse(&format!("{name}.yaml"), &text, &project()) {
            Ok(flow) => flow,
            Err(found) => panic!("{name}: {found:#?}"),
        };
        let warnings: Vec<String> = lint(&flow).iter().map(ToString::to_string).collect();
        snapshots("good").bind(|| insta::assert_yaml_snapshot!(name.as_str(), (&flow, warnings)));
    }
}

#[test]
fn bad_flows_become_diagnostics() {
    for (name, text) in texts("bad") {
        let found = Flow::parse(&format!("{name}.yaml"), &text, &project()).unwrap_err();
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        snapshots("bad").bind(|| insta::assert_snapshot!(name.as_str(), lines.join("\n")));
    }
}

#[test]
fn the_schema_knows_every_key_and_no_other() {
    insta::assert_json_snapshot!("flow_schema", json_schema());
    let project = project_json_schema();
    for schema in [&json_schema(), &project] {
        let defined = schema["$defs"].as_object().into_iter().flatten().map(|(_, definition)| definition);
        for definition in defined.chain([schema]).filter(|definition| definition["properties"].is_object()) {
            assert_eq!(definition["additionalProperties"], false, "{definition}");
        }
    }
    // What the schema allows, the checks read: every key of the example is known to it, and a misspelt one is not.
    let task = &json_schema()["$defs"]["RawTask"]["properties"];
    for key in ["needs", "shell", "sql", "transfer", "to", "write", "idempotent"] {
        assert!(task[key].is_object(), "{key}");
    }
    assert!(task["need"].is_null());
    assert_eq!(json_schema()["required"], serde_json::json!(["flow", "tasks"]));
}

#[test]
fn the_bundled_project_is_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights");
    let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
    let project = Project::parse("mulgil.yaml", &read("mulgil.yaml")).unwrap();
    let flow = Flow::parse("daily_delays.yaml", &read("flows/daily_delays.yaml"), &project).unwrap();
    for task in &flow.tasks {
        if let TaskKind::Sql { sql: SqlText::File(path), .. } = &task.kind {
            assert_eq!(template::check(path, &read(path), &flow, &project, Quote::None), []);
        }
    }
    let days = flow.schedule.as_ref().unwrap().intervals(jiff::Timestamp::MIN, jiff::Timestamp::MAX);
    assert_eq!(days.count(), 365);
}

#[test]
fn thousands_of_tasks_are_checked_in_a_moment() {
    // Each task needs the next, so that the file's order is the worst.
    let mut text = "flow: large\ntimeout: 1h\ntasks:\n".to_owned();
    for number in 0..5_000 {
        text += &format!("  t{number}: {{needs: [t{}], shell: 'echo {{{{ run_id }}}}'}}\n", number + 1);
    }
    text += "  t5000: {shell: 'true'}\n";
    let began = std::time::Instant::now();
    let flow = Flow::parse("large.yaml", &text, &project()).unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "took {:?}", began.elapsed());
    assert_eq!((flow.tasks[0].name.as_str(), flow.tasks[5_000].name.as_str()), ("t5000", "t0"));
    assert_eq!(flow.downstream("t10"), ["t9", "t8", "t7", "t6", "t5", "t4", "t3", "t2", "t1", "t0"]);
}

#[test]
fn versions_follow_meaning_not_spelling() {
    let version = |text: &str| Flow::parse("f.yaml", text, &project()).unwrap().version;
    let one = version("flow: f\ntasks: {a: {shell: 'x'}}");
    assert_eq!(one, version("# said otherwise\nflow: f\n\ntasks:\n  a:\n    shell: x\n    retries:\n"));
    assert_ne!(one, version("flow: f\ntasks: {a: {shell: 'y'}}"));
    assert_eq!(one.0.len(), 32);
}

#[test]
fn a_definition_from_a_script_is_the_same_as_in_yaml_and_its_faults_stand_at_its_lines() {
    let yaml = include_str!("flows/good/python.yaml");
    let of_yaml = Flow::parse("python.yaml", yaml, &project()).unwrap();
    let definition = serde_json::json!({
        "flow": "python",
        "schedule": {"cron": "@daily", "timezone": "UTC"},
        "params": {"limit": {"type": "integer", "default": 10}},
        "timeout": "1h",
        "tasks": {
            "short": {"python": {"script": "jobs/land.py"}},
            "script": {
                "python": {"script": "jobs/score.py", "args": ["--day", "{{ ds }}", 5], "venv": ".venv"},
                "env": {"LEVEL": "{{ params.limit }}"},
            },
            "module": {"python": {"module": "jobs.score", "args": ["{{ ds }}"], "requirements": "jobs/requirements.txt"}},
            "function": {
                "needs": ["script", "module"],
                "python": {
                    "function": "jobs/score.py:score",
                    "args": {"day": "{{ ds }}", "limit": "{{ params.limit }}", "weights": {"a": 0.5, "b": [1, 2]}},
                },
            },
            "positional": {"python": {"function": "jobs.score:Scorer.run", "args": [1, null, "text"]}},
        },
    });
    let lines = mulgil_flow::Lines::from([("tasks/script".to_owned(), 7)]);
    let of_script = Flow::from_json("flows/python.py", &definition, &lines, &project()).unwrap();
    assert_eq!(of_script.version, of_yaml.version);
    assert_eq!(of_script.task("script").unwrap().line, 7);
    // What the history keeps is this text; it means the same when it is read again.
    let kept = serde_json::to_string_pretty(&definition).unwrap();
    assert_eq!(Flow::parse("history", &kept, &project()).unwrap().version, of_yaml.version);

    let faulty = serde_json::json!({
        "flow": "f",
        "tasks": {"a": {"shell": "echo {{ nobody }}", "retries": {"limit": "2"}}, "b": {"needs": ["c"], "shell": "true"}},
    });
    let lines = [("", 3), ("tasks/a", 5), ("tasks/a/retries", 4), ("tasks/b", 9)];
    let lines = lines.map(|(path, line)| (path.to_owned(), line)).into();
    let found = Flow::from_json("flows/f.py", &faulty, &lines, &project()).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    flows/f.py:4:1: expected a whole number, found 2
    flows/f.py:5:1: unknown variable nobody (known: run_id, params, connections, results)
    flows/f.py:9:1: unknown task c (known: a, b)
    ");
}

#[test]
fn tasks_of_the_wrong_size_are_told_by_how_long_they_took() {
    let text: String = (0..30).map(|n| format!("  t{n}: {{shell: x}}\n")).collect();
    let flow = Flow::parse("f.yaml", &format!("flow: f\ntasks:\n{text}"), &project()).unwrap();
    let took = |seconds: [i64; 3]| seconds.map(jiff::SignedDuration::from_secs).to_vec();
    let mut durations: std::collections::BTreeMap<_, _> = (0..25).map(|n| (format!("t{n}"), took([0, 0, 9]))).collect();
    durations.insert("t28".to_owned(), took([7_200, 10_800, 60]));
    durations.insert("t29".to_owned(), took([3_600, 3_600, 90_000]));
    let found: Vec<String> = mulgil_flow::lint_sizes(&flow, &durations).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(found.join("\n"), @r"
    f.yaml:31:3: task t28 usually takes 2h: a failure near its end loses that much (cut it by partition, table or step, so that only what failed runs again)
    f.yaml:1:1: 25 tasks usually take less than a second each, which is mostly overhead (do several things in one task)
    ");
    durations.retain(|name, _| name.len() == 2);
    assert_eq!(mulgil_flow::lint_sizes(&flow, &durations), []);
}

#[test]
fn a_run_is_refused_with_what_its_parameters_have_to_be() {
    let text = include_str!("flows/good/limits.yaml");
    let flow = Flow::parse("f.yaml", text, &project()).unwrap();
    let refused = |name: &str, value: serde_json::Value| {
        flow.resolve_params(&[(name.to_owned(), value)].into()).map_err(|error| error.to_string())
    };
    for (name, value) in [("airport", "LGA"), ("limit", "100"), ("share", "-1"), ("since", "2013-01-01")] {
        assert!(refused(name, value.into()).is_ok(), "{name}={value}");
    }
    let wrong = [
        ("airport", "BOS"),
        ("airport", "jfk"),
        ("limit", "0"),
        ("limit", "101"),
        ("share", "1.01"),
        ("since", "2012-12-31"),
    ];
    let said: Vec<String> = wrong.iter().map(|(name, value)| refused(name, (*value).into()).unwrap_err()).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    parameter airport of flow limits has to be one of JFK, LGA, like [A-Z]{3}, and "BOS" is not
    parameter airport of flow limits has to be one of JFK, LGA, like [A-Z]{3}, and "jfk" is not
    parameter limit of flow limits has to be from 1 to 100, and 0 is not
    parameter limit of flow limits has to be from 1 to 100, and 101 is not
    parameter share of flow limits has to be at most 1, and 1.01 is not
    parameter since of flow limits has to be at least 2013-01-01, and "2012-12-31" is not
    "#);
}

#[test]
fn a_template_that_is_one_expression_keeps_its_type() {
    let flow = Flow::parse("f.yaml", "flow: f\nparams: {n: 3, s: x}\ntasks: {a: {shell: x}}", &project()).unwrap();
    let key = mulgil_flow::RunKey::new(&flow, None, &flow.default_params());
    let variables = mulgil_flow::Variables::new(&flow, &key, &flow.default_params(), &project());
    let value = |text: &str| template::value(text, &variables).unwrap().to_string();
    assert_eq!(value("{{ params.n }}"), "3");
    assert_eq!(value("{{ params.n + 1 }}"), "4");
    assert_eq!(value("{{ params }}"), r#"{"n":3,"s":"x"}"#);
    assert_eq!(value("{{ params.n }} "), r#""3 ""#);
    assert_eq!(value("{{ params.s }}{{ params.n }}"), r#""x3""#);
    assert!(template::value("{{ params.m }}", &variables).is_err());
}

#[test]
fn an_empty_project_is_a_project_and_a_bad_one_says_where() {
    let empty = Project::parse("mulgil.yaml", "# nothing\n").unwrap();
    assert_eq!(empty.pools["default"], 8);
    assert_eq!((empty.lake.as_str(), empty.history.as_str()), (".mulgil/lake", ".mulgil/history.db"));
    let text =
        "timezone: Mars/Olympus\npool: {a: 1}\npools: {a: 0, b: many}\nsecrets: {a: hunter2, b-c: env:B, d: 'env:'}\n";
    let found = Project::parse("mulgil.yaml", text).unwrap_err();
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_channel_leads_to_one_place_and_no_password_stands_in_the_file() {
    let text = "url: https://mulgil.example.org/
notify:
  ops: {slack: env:OPS_SLACK}
  hook: {webhook: 'https://example.org/hook', on: [success, failure]}
  team: {email: {to: [a@example.org, b@example.org], from: m@example.org, server: 'smtp.example.org:465', user: m, password: file:secrets/smtp}}
";
    let project = Project::parse("mulgil.yaml", text).unwrap();
    assert_eq!(project.url.as_deref(), Some("https://mulgil.example.org"));
    let kept = Project::parse("mulgil.yaml", "retention: {runs: 30d, logs: forever}").unwrap().retention;
    let days = |days: i64| Some(jiff::SignedDuration::from_hours(24 * days));
    assert_eq!((kept.runs, kept.logs, kept.notices), (days(30), None, days(30)));
    let found = Project::parse("mulgil.yaml", "retention: {runs: long}").unwrap_err();
    assert_eq!(found[0].to_string(), "mulgil.yaml:1:19: retention \"long\" is no duration (write 30s, 15m, 2h or 1d)");
    insta::assert_debug_snapshot!("channels", project.notify);
    let shown = serde_json::to_string(&project).unwrap();
    assert!(!shown.contains("OPS_SLACK") && !shown.contains("secrets/smtp"), "addresses are not shown: {shown}");

    let wrong = "url: example.org
notify:
  both: {slack: env:A, webhook: env:B}
  none: {on: failure}
  bad: {webhook: example.org, on: [failre]}
  mail: {email: {to: nobody, from: m@example.org, server: s, password: hunter2}}
  half: {email: {to: [], from: m@example.org}}
";
    let found = Project::parse("mulgil.yaml", wrong).unwrap_err();
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(!lines.join("\n").contains("hunter2"));
    insta::assert_snapshot!("bad_channels", lines.join("\n"));
}

/// Always the same cases, so that a change is judged by what it changes; `MULGIL_SEED` looks at others.
fn seeded(cases: u32) -> ProptestConfig {
    let seed = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(seeded(256))]

    /// Damage to a good file never panics, and whatever it does is either a flow or a reason with a place.
    #[test]
    fn damaged_files_are_flows_or_have_reasons(at in 0..900usize, cut in 0..40usize, junk in "[\\[\\]{}:,&*!|>'\"%@`#\\- \n\ta0é\u{0}]{0,6}") {
        let text = include_str!("flows/good/everything.yaml");
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        let end = (at + cut..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap_or(text.len());
        let damaged = format!("{}{junk}{}", &text[..at], &text[end..]);
        if let Err(found) = Flow::parse("f.yaml", &damaged, &project()) {
            prop_assert!(!found.is_empty());
            prop_assert!(found.iter().all(|d| d.line >= 1 && d.column >= 1 && d.line as usize <= damaged.lines().count() + 2));
        }
    }
}
