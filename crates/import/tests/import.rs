//! Every fixture becomes a snapshot: the flows as they are written, which pass the checks, and the findings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;

use mulgil_flow::{Flow, Project};
use mulgil_import::{Import, Outcome, crontab, digdag, oozie, recorded};

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// Flows and findings as one text; each flow is checked like any other file.
fn shown(import: &Import) -> String {
    let mut text = String::new();
    for flow in &import.flows {
        let checked = Flow::parse("f.yaml", &flow.yaml, &Project::default());
        assert_eq!(checked.unwrap_or_else(|found| panic!("{found:?} in\n{}", flow.yaml)).name, flow.name);
        text += &format!("--- {}.yaml\n{}", flow.name, flow.yaml);
    }
    text += "--- findings\n";
    for finding in &import.findings {
        let how = match finding.outcome {
            Outcome::Imported => "imported",
            Outcome::Approximated => "approximated",
            Outcome::Missing => "missing",
        };
        let why = finding.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        text += &format!("{} {how}: {}{why}\n", finding.line, finding.construct);
    }
    text + &format!("--- {}", serde_json::to_string(&import.coverage()).unwrap())
}

#[test]
fn crontabs_of_users() {
    insta::assert_snapshot!(shown(&crontab::import("user.crontab", &fixture("user.crontab"), crontab::Kind::User)));
}

#[test]
fn crontabs_of_the_system() {
    insta::assert_snapshot!(shown(&crontab::import("/etc/crontab", &fixture("system.crontab"), crontab::Kind::System)));
}

#[test]
fn digdags_workflows() {
    insta::assert_snapshot!(shown(&digdag::import("daily.dig", &fixture("daily.dig"))));
}

#[test]
fn oozies_workflow_and_coordinator() {
    let (workflow, coordinator) = (fixture("workflow.xml"), fixture("coordinator.xml"));
    assert!(oozie::is_coordinator(&coordinator) && !oozie::is_coordinator(&workflow));
    insta::assert_snapshot!(shown(&oozie::import("workflow.xml", &workflow, Some(("coordinator.xml", &coordinator)))));
}

#[test]
fn recordings_of_airflow() {
    let recording = serde_json::from_str(&fixture("airflow_recording.json")).unwrap();
    insta::assert_snapshot!(shown(&recorded::import("dags/sales.py", &recording)));
}

#[test]
fn files_that_are_none_of_it_are_findings() {
    for text in ["", "a: [", "- 1", "+a: 1", "\u{0}", "+a:\n  loop>: 99999999999\n  _do: {+b: {sh>: x}}\n"] {
        let import = digdag::import("x.dig", text);
        assert!(!import.findings.is_empty(), "{text:?}");
        assert!(import.coverage().missing > 0, "{text:?}");
        shown(&import);
    }
    for text in
        ["", "<a", "<a/>", "<workflow-app/>", "<workflow-app name='x'><start to='y'/></workflow-app>", "<a>&x;</b>"]
    {
        let import = oozie::import("x.xml", text, Some(("y.xml", text)));
        assert!(import.coverage().missing > 0, "{text:?}");
        shown(&import);
    }
    for text in ["* * * *", "@never x", "= = =", "* * * * * \u{0}", "%", "*/0 * * * * x"] {
        shown(&crontab::import("x", text, crontab::Kind::System));
    }
}
