//! What each guarantee gives when the real program is killed: the same running counts, from a topic of the event log into
//! a sink, with `kill -9` at named points and at random moments. Rows in the sink are no more than the truth, no less, or
//! exactly the truth; and what a row says is true under all of them: the state counts each row once.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::program::{Folder, sorted_rows};

const ROWS: u64 = 120_000;
const SEED: u64 = 20_261_122;

/// How many rows of a key have come, and what they add up to, row by row.
const RUNNING_COUNTS: &str = "SELECT k, count(*) OVER so_far AS n, sum(x) OVER so_far AS total FROM numbers \
                              WINDOW so_far AS (PARTITION BY k ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)";

/// What has come into a sink, against the truth.
#[derive(Debug)]
struct Found {
    /// Rows of the truth that are not there.
    missing: usize,
    /// Rows that are there once more.
    surplus: usize,
}

/// A guarantee, where it is given, and what it lets happen.
struct Case {
    guarantee: &'static str,
    table: &'static str,
    /// Where a kill makes the difference: what it loses or doubles there is certain.
    decisive: &'static str,
    holds: fn(&Found) -> bool,
}

const CASES: [Case; 5] = [
    Case {
        guarantee: "at-most-once",
        table: "printed",
        decisive: "after the mark, before its rows",
        holds: |found| found.missing > 0 && found.surplus == 0,
    },
    Case {
        guarantee: "at-least-once",
        table: "at_least",
        decisive: "before the manifest's rename",
        holds: |found| found.missing == 0 && found.surplus > 0,
    },
    // Into a sink that cannot commit: the rows are true, and come twice.
    Case {
        guarantee: "exactly-once",
        table: "printed",
        decisive: "before the manifest's rename",
        holds: |found| found.missing == 0 && found.surplus > 0,
    },
    Case {
        guarantee: "exactly-once",
        table: "exactly",
        decisive: "before the sink's commit",
        holds: |found| found.missing == 0 && found.surplus == 0,
    },
    Case {
        guarantee: "end-to-end exactly-once",
        table: "end_to_end",
        decisive: "after the sink's commit",
        holds: |found| found.missing == 0 && found.surplus == 0,
    },
];

fn lay_out() -> Folder {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    let mut tables =
        "CREATE TABLE numbers (x BIGINT, k INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'log', \
                      'topic' = 'numbers', 'format' = 'json');\n"
            .to_owned();
    let columns = "(k INT, n BIGINT, total BIGINT)";
    let _ = writeln!(tables, "CREATE TABLE printed {columns} WITH ('connector' = 'print');");
    for topic in ["at_least", "exactly", "end_to_end"] {
        let options = format!("'connector' = 'log', 'topic' = '{topic}', 'topic.partitions' = '2', 'format' = 'json'");
        let _ = writeln!(tables, "CREATE TABLE {topic} {columns} WITH ({options});");
    }
    project.write("sources/tables.sql", &tables);
    let mut rows = String::new();
    for x in 0..ROWS {
        let (minute, second, ms) = (x / 60_000, x / 1_000 % 60, x % 1_000);
        let _ = writeln!(
            rows,
            "{{\"x\": {x}, \"k\": {}, \"ts\": \"2024-01-01T00:{minute:02}:{second:02}.{ms:03}\"}}",
            x % 7
        );
    }
    project.write("numbers.json", &rows);
    let file = project.path("numbers.json");
    project.succeed(&["log", "produce", "numbers", "--file", file.to_str().expect("a path")]);
    project
}

/// The lives of one case: all of them write into the same table.
struct Lives<'a> {
    project: &'a Folder,
    case: &'a Case,
    number: usize,
}

impl Lives<'_> {
    /// The next life. What it prints goes into a file of its own: the last line of one that is killed may be torn.
    fn next(&mut self) -> Command {
        self.number += 1;
        let Case { guarantee, table, .. } = self.case;
        let checkpoints = self.project.path(&format!("checkpoints-{guarantee}-{table}"));
        let insert = format!("INSERT INTO {table} {RUNNING_COUNTS}");
        let parallelism = (1 + self.number % 3).to_string();
        let mut command = self.project.command(&["sql", "--mode", "stream", "--checkpoint-interval-ms", "5"]);
        command.args(["--guarantee", guarantee, "--parallelism", &parallelism, "-c", &insert, "--checkpoints"]);
        let printed = File::create(self.project.path(&self.printed(self.number))).expect("a file");
        command.arg(checkpoints).stdin(Stdio::null()).stdout(printed).stderr(Stdio::piped());
        command
    }

    fn printed(&self, number: usize) -> String {
        format!("{}-{number}.txt", self.case.guarantee)
    }

    fn die_at(&mut self, point: &str, nth: u64) {
        let output = self.next().env("MULGIL_CRASH_AT", format!("{point}:{nth}")).output().expect("mulgil runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.signal().is_some(), "it has not come to \"{point}\" for the {nth}. time: {said}");
    }

    /// Whether it was still alive.
    fn die_after(&mut self, life: Duration) -> bool {
        let mut child = self.next().stderr(Stdio::null()).spawn().expect("mulgil runs");
        std::thread::sleep(life);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends").signal().is_some()
    }

    fn live_to_the_end(&mut self) {
        let output = self.next().output().expect("mulgil runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// All rows that the table has been given, sorted, as `k,n,total`.
    fn rows(&self) -> Vec<String> {
        if self.case.table != "printed" {
            let query = format!("SELECT k, n, total FROM {}", self.case.table);
            return sorted_rows(&self.project.succeed(&["sql", "--format", "csv", "-c", &query]));
        }
        let mut rows = Vec::new();
        for number in 1..=self.number {
            let text = std::fs::read_to_string(self.project.path(&self.printed(number))).expect("what it has printed");
            let whole = text.rsplit_once('\n').map_or("", |(whole, _torn)| whole);
            let row = |line: &str| Some(line.strip_prefix("+I[")?.strip_suffix(']')?.replace(", ", ","));
            rows.extend(whole.lines().filter_map(row));
        }
        rows.sort();
        rows
    }
}

fn compare(truth: &[String], rows: &[String]) -> Found {
    let found: HashSet<&String> = rows.iter().collect();
    let untrue = found.iter().find(|row| truth.binary_search(row).is_err());
    assert_eq!(untrue, None, "a row that is not true: some row has counted twice or never");
    Found { missing: truth.len() - found.len(), surplus: rows.len() - found.len() }
}

#[test]
fn each_guarantee_gives_no_more_no_less_or_exactly_the_truth_under_kills() {
    let project = lay_out();
    let truth = sorted_rows(&project.succeed(&["sql", "--format", "csv", "-c", RUNNING_COUNTS]));
    assert_eq!(truth.len() as u64, ROWS);
    println!("random kills of seed {SEED}");
    let mut random = SEED;
    for case in &CASES {
        let mut lives = Lives { project: &project, case, number: 0 };
        // From the second checkpoint on, each covers rows that came since the one before.
        lives.die_at("before the manifest's rename", 3);
        lives.die_at(case.decisive, 2);
        lives.die_at("sealed", 2);
        let mut killed = 0;
        for _ in 0..2 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            killed += usize::from(lives.die_after(Duration::from_millis(100 + (random >> 33) % 500)));
        }
        lives.live_to_the_end();
        let found = compare(&truth, &lives.rows());
        println!("{} into {}: {found:?}, 3 kills at points, {killed} at random moments", case.guarantee, case.table);
        assert!((case.holds)(&found), "{} into {}: {found:?}", case.guarantee, case.table);
    }
}
