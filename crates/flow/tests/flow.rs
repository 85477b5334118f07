//! Every file of `flows/good` becomes a snapshot of its definition, every file of `flows/bad` one of its diagnostics.
//! Adding a case needs no Rust: `INSTA_UPDATE=always` writes its snapshot.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};

use mulgil_flow::{Flow, Project, lint};

fn project() -> Project {
    Project::parse("mulgil.yaml", "timezone: Asia/Seoul\npools: {heavy: 1}\nconnections: {ops_chat: http://chat}")
        .unwrap()
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
