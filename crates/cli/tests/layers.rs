//! The house rules, checked by a machine: the layer table of `ARCHITECTURE.md` is what `cargo metadata` says, the pure
//! crates stay pure, and every room holds one thing and says which.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Outside crates that the pure layers must never name.
const IMPURE: [&str; 6] = ["tokio", "datafusion", "sqlx", "axum", "deltalake-core", "ureq"];
const FILE_LINES_MAX: usize = 500;
const DRAWER_NAMES: [&str; 6] = ["utils", "util", "helpers", "common", "misc", "manager"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace folder")
}

struct CrateRow {
    layer: u32,
    depends_on: BTreeSet<String>,
}

/// The table's rows: `| layer | crate | depends on | what it is |`.
fn documented() -> BTreeMap<String, CrateRow> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let layer = cells.first()?.parse().ok()?;
        let depends_on = cells.get(2)?.split(',').map(str::trim).filter(|name| *name != "–").map(str::to_owned);
        Some((cells.get(1)?.to_string(), CrateRow { layer, depends_on: depends_on.collect() }))
    });
    rows.collect()
}

/// Every workspace crate's direct, non-development dependencies, by name.
fn actual() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata gives JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            let names = dependencies
                .filter(|dependency| dependency["kind"].is_null())
                .map(|dependency| dependency["name"].as_str().expect("a name").to_owned());
            (package["name"].as_str().expect("a name").to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn layers_are_as_documented() {
    let documented = documented();
    let actual = actual();
    let crates: BTreeSet<String> = actual.keys().map(|name| name.replacen("mulgil-", "", 1)).collect();
    assert_eq!(
        crates,
        documented.keys().cloned().collect(),
        "ARCHITECTURE.md must list exactly the workspace's crates"
    );

    for (name, row) in &documented {
        let dependencies: BTreeSet<String> = actual[&format!("mulgil-{name}")]
            .iter()
            .filter_map(|dependency| dependency.strip_prefix("mulgil-"))
            .map(str::to_owned)
            .collect();
        if !row.depends_on.iter().any(|listed| listed.starts_with("all")) {
            assert_eq!(dependencies, row.depends_on, "{name}: Cargo.toml and ARCHITECTURE.md disagree");
        }
        for dependency in dependencies {
            let below = documented[&dependency].layer;
            assert!(below < row.layer, "{name} (layer {}) must not depend on {dependency} (layer {below})", row.layer);
        }
    }
}

#[test]
fn pure_crates_know_no_runtime() {
    let actual = actual();
    for name in ["flow", "sched", "import", "dataflow"] {
        for outside in IMPURE {
            assert!(!actual[&format!("mulgil-{name}")].contains(outside), "{name} is pure and must not know {outside}");
        }
        let sources = rust_files(&root().join("crates").join(name).join("src")).into_iter();
        for file in sources.filter(|file| file.file_name().is_some_and(|name| name != "tests.rs")) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for forbidden in [
                "std::fs",
                "std::thread",
                "std::env",
                "SystemTime::now",
                "Instant::now",
                "Timestamp::now",
                "Zoned::now",
            ] {
                assert!(!code.contains(forbidden), "{}: a pure crate must not use {forbidden}", file.display());
            }
        }
    }
}

#[test]
fn only_named_crates_know_heavy_things() {
    let allowed: [(&str, &[&str]); 5] = [
        ("sqlx", &["history"]),
        ("axum", &["server"]),
        ("deltalake-core", &["connect"]),
        ("datafusion", &["connect", "sql", "serving", "worker"]),
        ("ureq", &["server", "connect"]),
    ];
    for (package, dependencies) in actual() {
        for (outside, crates) in allowed {
            let name = package.trim_start_matches("mulgil-");
            assert!(!dependencies.contains(outside) || crates.contains(&name), "{name} must not know {outside}");
        }
    }
}

#[test]
fn only_cli_reads_the_environment() {
    for file in rust_files(&root().join("crates")) {
        let inside = file.strip_prefix(root().join("crates")).expect("below crates");
        let is_library = inside.components().nth(1).is_some_and(|part| part.as_os_str() == "src");
        if !is_library || inside.starts_with("cli") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a source file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_test_file = file.file_stem().is_some_and(|stem| stem == "tests")
            || inside.components().any(|c| c.as_os_str() == "tests");
        assert!(is_test_file || !code.contains("env::var"), "{}: only cli reads the environment", file.display());
    }
}

#[test]
fn every_room_holds_one_thing() {
    let mut faults = Vec::new();
    let files = ["crates", "bench", "fuzz"].into_iter().flat_map(|folder| rust_files(&root().join(folder)));
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let name = file.strip_prefix(root()).expect("below the root").display().to_string();
        if !text.starts_with("//!") {
            faults.push(format!("{name}: does not open with `//!` and its idea"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!(
                "{name}: {lines} lines, more than {FILE_LINES_MAX}: a room that holds more than one thing"
            ));
        }
        if file.file_stem().is_some_and(|stem| DRAWER_NAMES.iter().any(|drawer| stem == *drawer)) {
            faults.push(format!("{name}: a drawer's name; name the one noun or verb it holds"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `docs/pitfalls.md` promises by naming tests: a promise whose test is gone is found here.
#[test]
fn every_test_that_the_page_of_pitfalls_names_is_there() {
    let page = std::fs::read_to_string(root().join("docs/pitfalls.md")).unwrap();
    let named: BTreeSet<&str> =
        page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 3).collect();
    assert!(named.len() > 30, "the page names its tests in `code`: {named:?}");
    let mut gone = named;
    for file in rust_files(&root().join("crates")) {
        let text = std::fs::read_to_string(&file).unwrap();
        gone.retain(|name| !text.contains(&format!("fn {name}(")));
    }
    assert!(gone.is_empty(), "docs/pitfalls.md names tests that do not exist: {gone:?}");
}
