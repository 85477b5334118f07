//! Files of every format, each with every option that changes how it is read: the first byte chooses the table, the rest is
//! the file.

use std::fs;

use crate::project::{COLUMNS, Project};

thread_local! {
    static PROJECT: Project = Project::new(&tables());
}

/// The tables, by the first byte of an input.
fn tables() -> Vec<(&'static str, String)> {
    let file = |number: usize, name: &str, rest: &str| {
        format!(
            "'connector' = 'filesystem', 'path' = 'f{number}.{name}', 'format' = '{}'{rest}",
            name.split('.').next().unwrap_or_default()
        )
    };
    vec![
        (COLUMNS, file(0, "csv", "")),
        (COLUMNS, file(1, "csv", ", 'csv.ignore-parse-errors' = 'true', 'csv.field-delimiter' = ';'")),
        (COLUMNS, file(2, "json", "")),
        (COLUMNS, file(3, "json", ", 'json.ignore-parse-errors' = 'true'")),
        (COLUMNS, file(4, "parquet", "")),
        (COLUMNS, file(5, "csv.gz", ", 'csv.ignore-parse-errors' = 'true'")),
        (COLUMNS, file(6, "json.gz", "")),
        (COLUMNS, file(7, "json.zst", "")),
        (COLUMNS, file(8, "avro", "")),
        (COLUMNS, file(9, "avro", ", 'bad-rows' = 'skip'")),
        (COLUMNS, file(10, "csv.zst", ", 'bad-rows' = 'skip', 'csv.header' = 'false', 'csv.null-literal' = 'NA'")),
        (COLUMNS, file(11, "json.gz", ", 'bad-rows' = 'dead-letter', 'dead-letter.topic' = 'rejects'")),
        (COLUMNS, file(12, "csv", ", 'bad-rows' = 'dead-letter', 'dead-letter.topic' = 'rejects'")),
    ]
}

/// The names of the files, in the order of the tables.
const NAMES: [&str; 13] = [
    "f0.csv",
    "f1.csv",
    "f2.json",
    "f3.json",
    "f4.parquet",
    "f5.csv.gz",
    "f6.json.gz",
    "f7.json.zst",
    "f8.avro",
    "f9.avro",
    "f10.csv.zst",
    "f11.json.gz",
    "f12.csv",
];

/// Reads the file.
pub fn check(input: &[u8]) {
    let Some((choice, content)) = input.split_first() else { return };
    let number = usize::from(*choice) % NAMES.len();
    let Some(name) = NAMES.get(number) else { return };
    PROJECT.with(|project| {
        fs::write(project.dir.path().join(name), content).expect("a file");
        // A source lists its files once.
        let source = project.source(number);
        let _ = project.io.block_on(source.partitions());
        let _ = project.read(source.as_ref(), 0, 0);
    });
}
