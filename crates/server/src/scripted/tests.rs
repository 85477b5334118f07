//! Scripts with a real interpreter: the same definition as in YAML, faults with their lines, limits, and nothing run in vain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Duration;

use mulgil_flow::{Flow, Project};

use super::{Limits, Script, Scripts};
use crate::folder::Folder;

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "mulgil.yaml", "name: little\n");
    files.iter().for_each(|(name, text)| write(dir.path(), name, text));
    dir
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
    std::fs::write(dir.join(name), text).unwrap();
}

fn problems(dir: &Path) -> Vec<String> {
    let problems = Folder::read(dir).unwrap().problems;
    problems.iter().map(|one| format!("{}:{}: {}", one.file, one.line.unwrap(), one.message)).collect()
}

const SCRIPT: &str = r#"
from mulgil import data_interval_start, ds, flow, params, script, shell, sql, task, transfer

print("what a script prints is no answer")


@task(retries={"limit": 2, "delay": "5m"}, timeout="10m")
def score(day, city, weights=None):
    return {"rows": 1}


@flow(schedule={"cron": "0 6 * * *", "timezone": "Asia/Seoul", "start": "2024-01-01"}, timeout="1h")
def daily(city: str = "Seoul", limit: int = 10):
    """What happens every morning."""
    landed = transfer("land", "landing.departures", "raw.departures")
    ends = []
    for table in ["a", "b"]:
        counted = sql(f"count_{table}", f"SELECT count(*) AS n FROM {table} LIMIT {limit}", to=f"mart.{table}", needs=landed)
        if table == "b":
            counted.needs("land")
        ends.append(counted)
    scored = score(ds, city, weights={"x": 0.5})
    ends >> scored
    again = score.options(name="again", retries=None, idempotent=False)(day=data_interval_start, city="Busan").needs(scored)
    script("report", "jobs/report.py", ["--day", ds], needs=[scored, again], venv=".venv")
    shell("publish", f"./publish.sh {ds} {params.city}", needs="report", env={"N": 1})
"#;

const YAML: &str = r#"
flow: daily
description: What happens every morning.
schedule: {cron: "0 6 * * *", timezone: Asia/Seoul, start: 2024-01-01}
timeout: 1h
params: {city: {type: string, default: Seoul}, limit: 10}
tasks:
  land:
    transfer: {from: landing.departures, to: raw.departures}
  count_a:
    needs: land
    sql: SELECT count(*) AS n FROM a LIMIT {{ params.limit }}
    to: mart.a
  count_b:
    needs: land
    sql: SELECT count(*) AS n FROM b LIMIT {{ params.limit }}
    to: mart.b
  score:
    needs: [count_a, count_b]
    python:
      function: flows/daily.py:score
      args: {day: "{{ ds }}", city: "{{ params.city }}", weights: {x: 0.5}}
    retries: {limit: 2, delay: 5m}
    timeout: 10m
  again:
    needs: score
    python:
      function: flows/daily.py:score
      args: {day: "{{ data_interval_start }}", city: Busan}
    timeout: 10m
    idempotent: false
  report:
    needs: [score, again]
    python: {script: jobs/report.py, args: ["--day", "{{ ds }}"], venv: .venv}
  publish:
    needs: [report]
    shell: ./publish.sh {{ ds }} {{ params.city }}
    env: {N: 1}
"#;

#[test]
fn a_script_and_a_yaml_file_of_the_same_content_give_the_same_definition() {
    let dir = project(&[("flows/daily.py", SCRIPT)]);
    let folder = Folder::read(dir.path()).unwrap();
    assert_eq!(folder.problems, []);
    let of_script = &folder.flows[0];
    let of_yaml = Flow::parse("flows/daily.yaml", YAML, &Project::default()).unwrap();
    let plain = |flow: &Flow| serde_json::to_value(&flow.tasks).unwrap().to_string();
    let strip = |text: String| without_places(&text);
    assert_eq!(strip(plain(&of_script.flow)), strip(plain(&of_yaml)));
    assert_eq!(of_script.flow.version, of_yaml.version);
    assert_eq!(of_script.flow.file, "flows/daily.py");
    let line_of = |part: &str| SCRIPT.lines().position(|line| line.contains(part)).unwrap() as u32 + 1;
    assert_eq!(of_script.flow.task("publish").unwrap().line, line_of("shell(\"publish\""));
    // What the history keeps means the same when it is read again.
    assert_eq!(Flow::parse("history", &of_script.text, &folder.project).unwrap().version, of_yaml.version);
}

/// Without the places, which differ.
fn without_places(text: &str) -> String {
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    for task in value.as_array_mut().unwrap() {
        let fields = task.as_object_mut().unwrap();
        fields.remove("line");
        fields.remove("column");
    }
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn a_broken_script_stops_only_itself_and_says_where() {
    let good = "from mulgil import flow, shell\n\n@flow\ndef good():\n    shell('a', 'true')\n";
    let two = "from mulgil import *\n\n@flow\ndef first():\n    shell('a', 'true')\n\n@flow\ndef second():\n    shell('a', 'x')\n    shell('a', 'y')\n";
    let dir = project(&[
        ("flows/good.py", good),
        ("flows/two.py", two),
        ("flows/syntax.py", "from mulgil import flow\n\ndef f(:\n"),
        ("flows/raises.py", "import helper\nhelper.half(1)\nhelper.half(0)\n"),
        ("flows/helper.py", "def half(n):\n    return 1 / n\n"),
        ("flows/missing.py", "\nimport no_such_module\n"),
        (
            "flows/checked.py",
            "from mulgil import *\n\n@flow\ndef checked():\n    step(\n        'a',\n        shel='true',\n    )\n",
        ),
        ("flows/exits.py", "import sys\nsys.exit(3)\n"),
    ]);
    let folder = Folder::read(dir.path()).unwrap();
    let whole: Vec<&str> = folder.flows.iter().map(|source| source.flow.name.as_str()).collect();
    assert_eq!(whole, ["first", "good"]);
    let mut broken: Vec<&str> = folder.broken_flows().iter().map(|flow| flow.name.as_str()).collect();
    broken.sort_unstable();
    assert_eq!(broken, ["checked", "exits", "missing", "raises", "second", "syntax"]);
    let mut found = problems(dir.path());
    found.sort();
    assert_eq!(
        found,
        [
            "flows/checked.py:5: unknown key in the task: shel",
            "flows/exits.py:2: SystemExit: 3",
            "flows/missing.py:2: ModuleNotFoundError: No module named 'no_such_module'",
            "flows/raises.py:3: ZeroDivisionError: division by zero (in flows/helper.py, line 2)",
            "flows/syntax.py:3: SyntaxError: invalid syntax",
            "flows/two.py:10: ValueError: two tasks are named a; the other one is made in line 9: give one another name",
        ]
    );
}

#[test]
fn only_what_has_changed_is_run_again() {
    let counting = "import shared\nfrom mulgil import flow, shell\nopen('runs', 'a').write('x')\n\n@flow\ndef counted():\n    shell('a', shared.COMMAND)\n";
    let dir = project(&[("flows/counted.py", counting), ("flows/shared.py", "COMMAND = 'one'\n")]);
    let runs = || std::fs::read_to_string(dir.path().join("runs")).unwrap().len();
    let version = || Folder::read(dir.path()).unwrap().flows[0].flow.version.clone();
    let first = version();
    assert_eq!((version(), runs()), (first.clone(), 1));
    write(dir.path(), "flows/other.py", "OTHER = 1\n");
    assert_eq!((version(), runs()), (first.clone(), 1), "a file of no concern");
    write(dir.path(), "flows/shared.py", "COMMAND = 'two'\n");
    let second = version();
    assert_ne!(second, first, "what it imports has changed");
    write(dir.path(), "flows/counted.py", &format!("{counting}\n# said otherwise\n"));
    assert_eq!((version(), runs()), (second, 3));
}

#[test]
fn a_flow_whose_script_breaks_is_known_as_broken_by_its_name() {
    let script = "from mulgil import flow, shell\n\n@flow(name='nightly')\ndef f():\n    shell('a', 'true')\n";
    let dir = project(&[("flows/many.py", script)]);
    assert_eq!(Folder::read(dir.path()).unwrap().flows.len(), 1);
    write(dir.path(), "flows/many.py", &format!("{script}\nraise ValueError('x')\n"));
    let folder = Folder::read(dir.path()).unwrap();
    assert_eq!((folder.flows.len(), folder.broken_flows()[0].name.as_str()), (0, "nightly"));
}

fn read(dir: &Path, file: &str, python: &str, seconds: u64) -> Script {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    let scripts = Scripts { dir, python, limits: Limits { time: Duration::from_secs(seconds), bytes: 1 << 20 } };
    scripts.read(vec![(file.to_owned(), text)]).remove(0)
}

#[test]
fn a_script_that_runs_for_ever_or_takes_all_memory_is_ended() {
    let dir = project(&[
        ("flows/waits.py", "import threading\nthreading.Event().wait()\n"),
        ("flows/greedy.py", "x = bytearray(1 << 40)\n"),
        ("flows/kills.py", "import os\nos.kill(os.getpid(), 9)\n"),
    ]);
    let message = |file: &str, seconds| read(dir.path(), file, "python3", seconds).fault.unwrap().message;
    assert_eq!(message("flows/waits.py", 2), "reading the file took longer than 2 seconds and was ended");
    assert_eq!(
        message("flows/greedy.py", 60),
        "the file takes too much memory while it is read: build the graph only, and do the work in tasks"
    );
    assert!(message("flows/kills.py", 60).starts_with("the interpreter ended while it read the file"));
    let missing = read(dir.path(), "flows/kills.py", "/no/such/python", 60).fault.unwrap();
    assert!(missing.message.starts_with("cannot start /no/such/python"), "{missing}");
}
