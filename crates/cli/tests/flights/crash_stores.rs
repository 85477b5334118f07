//! The kill matrix of our own stores: the real program writes folders of files, a topic of the event log and a lake table, dies at each of
//! the named points of a checkpoint, and is started again with another parallelism; in the end each holds every row once.

use std::fmt::Write as _;
use std::process::Stdio;

use mulgil_engine::crash::POINTS;

use crate::program::Folder;

/// Where the process dies: rows that are given exactly once have no mark.
fn points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter().filter(|point| !point.contains("the mark"))
}

const FILES: u64 = 5;
const ROWS_PER_FILE: u64 = 60_000;

/// The stores: their options, and how they are partitioned.
const STORES: [(&str, &str, &str); 5] = [
    ("topic", "", "'connector' = 'log', 'topic' = 'out', 'topic.partitions' = '3', 'format' = 'json'"),
    ("lake", "PARTITIONED BY (day)", "'connector' = 'delta'"),
    ("parquets", "", "'connector' = 'filesystem', 'path' = 'parquets', 'format' = 'parquet'"),
    (
        "packed",
        "PARTITIONED BY (day)",
        "'connector' = 'filesystem', 'path' = 'packed', 'format' = 'csv', 'compression' = 'zstd', \
         'sink.rolling-policy.rollover-interval' = '1 h', 'sink.partition-commit.policy.kind' = 'success-file'",
    ),
    (
        "lines",
        "PARTITIONED BY (day)",
        "'connector' = 'filesystem', 'path' = 'lines', 'format' = 'json', 'sink.rolling-policy.file-size' = '64 kb'",
    ),
];

fn lay_out(project: &Folder) {
    project.write("mulgil.yaml", "");
    let mut sources =
        "CREATE TABLE numbers (x BIGINT, day STRING) WITH ('connector' = 'filesystem', 'path' = 'numbers', 'format' = 'csv');\n"
            .to_owned();
    for (name, partitioned_by, options) in STORES {
        let _ = writeln!(sources, "CREATE TABLE {name} (x BIGINT, day STRING) {partitioned_by} WITH ({options});");
    }
    project.write("sources/tables.sql", &sources);
    for file in 0..FILES {
        let mut text = "x,day\n".to_owned();
        for x in file * ROWS_PER_FILE..(file + 1) * ROWS_PER_FILE {
            let _ = writeln!(text, "{x},2024-01-0{}", 1 + x % 3);
        }
        project.write(&format!("numbers/{file}.csv"), &text);
    }
}

/// Writes the rows into a store; whether it came to the end.
fn write(project: &Folder, store: &str, parallelism: u64, crash_at: Option<String>) -> bool {
    let insert = format!("INSERT INTO {store} SELECT x, day FROM numbers WHERE x % 7 <> 3");
    let parallelism = parallelism.to_string();
    let checkpoints = project.path("checkpoints");
    let mut arguments =
        vec!["sql", "--mode", "stream", "--parallelism", &parallelism, "--checkpoint-interval-ms", "20"];
    arguments.extend(["--checkpoints", checkpoints.to_str().expect("a path"), "-c", &insert]);
    if crash_at.is_none() {
        project.succeed(&arguments);
        return true;
    }
    let mut command = project.command(&arguments);
    command.env("MULGIL_CRASH_AT", crash_at.unwrap_or_default()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("mulgil runs").success()
}

#[test]
fn whatever_point_it_dies_at_every_store_holds_every_row_once() {
    let project = Folder::new();
    lay_out(&project);
    for (number, (store, ..)) in (1_u64..).zip(STORES) {
        let mut died = Vec::new();
        for (turn, point) in (number..).zip(points()) {
            // A start recovers once, and a short job makes few checkpoints; at the first point it must not be over.
            let nth = if point.ends_with("recovery") { 1 } else { 1 + turn % 2 };
            if write(&project, store, 1 + turn % 3, Some(format!("{point}:{nth}"))) {
                break;
            }
            died.push(point);
        }
        assert!(died.len() > 4, "{store}: it died at {died:?} only");
        write(&project, store, 2, None);
        let sums = "count(*) AS n, count(DISTINCT x) AS d, sum(x) AS s, max(day) AS day";
        let found = project.succeed(&["sql", "--format", "csv", "-c", &format!("SELECT {sums} FROM {store}")]);
        let query = format!("SELECT {sums} FROM numbers WHERE x % 7 <> 3");
        let expected = project.succeed(&["sql", "--format", "csv", "-c", &query]);
        assert_eq!(found, expected, "{store}, which died at {died:?}");
    }
    for marker in ["packed/_SUCCESS", "packed/day=2024-01-02/_SUCCESS"] {
        assert!(project.path(marker).is_file(), "{marker}");
    }
}
