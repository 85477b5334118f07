//! Bad files: every message names the file, the line, and what was expected. Each file in `bad/` is a case.

use std::fs;
use std::path::Path;

use super::project::{Project, table, text};

const COLUMNS: &str = "carrier STRING NOT NULL, dep_delay DOUBLE, flight INT, at TIMESTAMP";

#[tokio::test]
async fn every_problem_has_a_place() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/connect/bad");
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 10, "the cases are gone");
    let project = Project::new();
    let mut lines = Vec::new();
    for name in &names {
        project.file(&format!("landing/{name}"), fs::read(folder.join(name)).unwrap());
        let options = [("connector", "filesystem"), ("path", &*format!("landing/{name}")), ("format", format(name))];
        let null = [("csv.null-literal", "NA")];
        let null = if format(name) == "csv" { &null[..] } else { &[] };
        let options: Vec<(&str, &str)> = options.iter().chain(null).copied().collect();
        let error = match project.read(&table("landing", COLUMNS, &options)).await {
            Ok(rows) => panic!("{name} was read:\n{}", text(&rows)),
            Err(error) => error.to_string(),
        };
        lines.push(error.replace(&project.dir.path().display().to_string(), ""));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

fn format(name: &str) -> &'static str {
    if name.contains(".jsonl") { "json" } else { "csv" }
}

#[tokio::test]
async fn bad_rows_are_skipped_and_counted_if_asked_for() {
    let project = Project::new();
    project.file("a.csv", "x,y\n1,a\n2x,b\n3\n4,d\n,e\n");
    let skipping = [("csv.ignore-parse-errors", "true")];
    let options = [("connector", "filesystem"), ("path", "a.csv"), ("format", "csv")];
    let options: Vec<_> = options.into_iter().chain(skipping).collect();
    let table = table("t", "x INT NOT NULL, y STRING", &options);
    let source = project.connectors.source(&table).unwrap();
    let mut reader = source.open(0, 0, &[0, 1], false).await.unwrap();
    let (batches, position) = super::project::drain(reader.as_mut()).await.unwrap();
    assert_eq!(text(&batches[0]), "+---+---+\n| x | y |\n+---+---+\n| 1 | a |\n| 4 | d |\n+---+---+");
    assert_eq!((reader.skipped_rows(), position), (3, 5));
}
