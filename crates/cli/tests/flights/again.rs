//! Running again, marking by hand, versions and advice, by the commands that people type.

use std::process::Stdio;

use crate::program::Folder;

const FLOW: &str = "
flow: report
params: {city: Seoul}
tasks:
  land: {shell: 'test -e landed', retries: {limit: 3, delay: 1ms, never: exit 1}}
  sum: {needs: [land], shell: 'echo sum >> done'}
  publish: {needs: [sum], shell: 'echo publish >> done', idempotent: false}
";

struct House {
    folder: Folder,
    server: std::process::Child,
}

impl House {
    fn new() -> Self {
        let folder = Folder::new();
        folder.write("mulgil.yaml", "");
        folder.write("flows/report.yaml", FLOW);
        let mut server = folder.command(&["server", "--listen", "127.0.0.1:0"]).stderr(Stdio::null()).spawn().unwrap();
        folder.wait_for_server(&mut server);
        Self { folder, server }
    }

    /// Runs a command; what it says to programs and to people, and whether it ended well.
    fn say(&self, arguments: &[&str]) -> (String, String, bool) {
        let output = self.folder.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.success())
    }

    fn done(&self) -> String {
        std::fs::read_to_string(self.folder.path("done")).unwrap_or_default()
    }

    /// Makes the one run, which fails, and gives its name.
    fn failed_run(&self) -> String {
        let (_, said, well) = self.say(&["flow", "run", "report"]);
        assert!(!well && said.contains("not tried again: its `retries:` say `never: exit 1`"), "{said}");
        let (found, ..) = self.say(&["flow", "usage", "1", "--format", "csv"]);
        assert_eq!(found.lines().filter(|line| line.starts_with("land,")).count(), 1, "{found}");
        "1".to_owned()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_rerun_says_what_it_would_run_and_runs_exactly_that() {
    let house = House::new();
    let run = house.failed_run();
    let (planned, ..) = house.say(&["flow", "rerun", &run, "--dry-run", "--format", "csv"]);
    let tasks: Vec<&str> = planned.lines().skip(1).filter_map(|line| line.split(',').nth(1)).collect();
    assert_eq!(tasks, ["land", "sum", "publish"], "{planned}");
    let (_, said, well) = house.say(&["flow", "rerun", &run, "--from", "lend"]);
    assert!(!well && said.contains("has no task lend; its tasks are land, sum, publish"), "{said}");
    let (_, said, well) = house.say(&["flow", "run", "report"]);
    assert!(!well && said.contains("`mulgil flow rerun report/manual` runs again what did not succeed"), "{said}");

    house.folder.write("landed", "");
    let (_, said, well) = house.say(&["flow", "rerun", "report", "--failed"]);
    assert!(well && said.contains("succeeded  publish"), "{said}");
    assert_eq!(house.done(), "sum\npublish\n");
    let (_, said, well) = house.say(&["flow", "rerun", &run]);
    assert!(!well && said.contains("nothing of run 1 failed"), "{said}");
    let (_, said, well) = house.say(&["flow", "run", "report"]);
    assert!(well && said.contains("`mulgil flow rerun report/manual --all` runs it again"), "{said}");
    let (_, said, well) = house.say(&["flow", "rerun", &run, "--from", "sum"]);
    assert!(!well && said.contains("idempotent: false"), "it has run before: {said}");
    let (_, said, well) = house.say(&["flow", "rerun", &run, "--from", "sum", "--confirm"]);
    assert!(well, "{said}");
    assert_eq!(house.done(), "sum\npublish\nsum\npublish\n");
}

#[test]
fn runs_are_listed_and_what_their_tasks_printed_is_read() {
    let house = House::new();
    let run = house.failed_run();
    let flow = "flow: loud\ntasks:\n  count: {shell: 'seq 100000', retries: {limit: 1, delay: 1ms}}\n  \
                each: {for_each: [a, b], shell: 'echo item {{ item }}'}\n  never: {needs: [each], when: 'false', shell: 'true'}\n";
    house.folder.write("flows/loud.yaml", flow);
    let began = std::time::Instant::now();
    while !house.say(&["flow", "run", "loud"]).2 {
        assert!(began.elapsed().as_secs() < 180, "the server reads the file by itself");
    }
    let list = |arguments: &[&str]| house.say(&[&["flow", "runs", "--format", "csv"], arguments].concat()).0;
    let names = |listed: String| {
        listed.lines().skip(1).filter_map(|line| line.split(',').nth(1).map(str::to_owned)).collect::<Vec<_>>()
    };
    let all = names(list(&[]));
    assert!(all[0].starts_with("loud/") && all[1].starts_with("report/"), "newest first: {all:?}");
    assert_eq!(names(list(&["report"])), all[1..]);
    assert_eq!(names(list(&["--status", "failed"])), all[1..]);
    assert_eq!(names(list(&["--count", "1"])), all[..1]);
    for wrong in [&["lend"][..], &["--status", "lost"], &["--count", "0"]] {
        assert!(!house.say(&[&["flow", "runs"], wrong].concat()).2, "{wrong:?}");
    }

    let log = |arguments: &[&str]| house.say(&[&["flow", "log"], arguments].concat());
    let printed = |arguments: &[&str]| {
        let lines = log(arguments).0;
        let texts = lines.lines().filter_map(|line| Some(line.split_once(' ')?.1.to_owned()));
        texts.filter(|text| !text.starts_with("[mulgil]")).collect::<Vec<_>>()
    };
    let counted: Vec<String> = (1..=100_000).map(|n| n.to_string()).collect();
    for more in [&[][..], &["--attempt", "1"], &["--follow"]] {
        let printed = printed(&[&[all[0].as_str(), "count"], more].concat());
        assert!(printed == counted, "more than a piece of a log holds: {} lines", printed.len());
    }
    assert_eq!(printed(&[&all[0], "each[1]"]), ["item b"]);
    assert_eq!(printed(&["loud", "each[1]"]), ["item b"], "the latest run of a flow");
    let (_, said, _) = log(&[&all[0]]);
    assert!(said.contains("── count, attempt 1, succeeded") && said.contains("each has 2 items"), "{said}");
    assert!(said.contains("── never never began, skipped: "), "{said}");
    let whole: serde_json::Value = serde_json::from_str(&log(&[&run, "--format", "json"]).0).unwrap();
    assert_eq!((&whole[0]["task"], &whole[0]["status"]), (&"land".into(), &"failed".into()));
    for (wrong, reason) in [
        (&[all[0].as_str(), "lend"][..], "its tasks are count, each, never"),
        (&[&all[0], "each[7]"], "no item 7"),
        (&["lend", "each"], "there is no run lend"),
        (&[&all[0], "count", "--attempt", "9"], "has no attempt 9: it has had 1"),
        (&[&all[0], "each"], "has 2 items: each[0] names the first"),
        (&[&all[0], "never"], "never began, skipped: "),
    ] {
        let (_, said, well) = log(wrong);
        assert!(!well && said.contains(reason), "{said}");
    }
}

#[test]
fn a_task_that_is_marked_lets_what_needs_it_run_and_nobody_marks_what_is_not_there() {
    let house = House::new();
    let run = house.failed_run();
    let (_, said, well) = house.say(&["flow", "mark", &run, "lend", "--succeeded"]);
    assert!(!well && said.contains("has no task lend"), "{said}");
    let (_, _, well) = house.say(&["flow", "mark", &run, "land"]);
    assert!(!well, "as what?");
    let (planned, ..) = house.say(&["flow", "mark", &run, "land", "--succeeded", "--dry-run", "--format", "csv"]);
    assert_eq!(planned.lines().count(), 3, "{planned}");
    assert_eq!(house.done(), "", "only shown");
    let (_, said, well) = house.say(&["flow", "mark", &run, "land", "--succeeded", "--why", "loaded by hand"]);
    assert!(well && said.contains("land of") && said.contains("counts as succeeded"), "{said}");
    assert!(said.contains("what never ran for it runs now: sum, publish"), "{said}");
}

#[test]
fn versions_and_their_difference_are_listed_and_pools_are_advised_on() {
    let house = House::new();
    house.failed_run();
    let (before, ..) = house.say(&["flow", "versions", "report", "--format", "csv"]);
    assert_eq!(before.lines().count(), 2, "{before}");
    let version = before.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(version.len(), 32, "{before}");
    let (_, said, well) = house.say(&["flow", "diff", "report", &version]);
    assert!(well && said.contains("the two are the same"), "{said}");

    house.folder.write("flows/report.yaml", &FLOW.replace("echo sum", "echo total"));
    let changed = || house.say(&["flow", "diff", "report", &version[..6]]).0;
    let began = std::time::Instant::now();
    // The server reads the file by itself.
    while !changed().contains("+ ") {
        assert!(began.elapsed().as_secs() < 180, "{}", changed());
        std::thread::yield_now();
    }
    let shown = changed();
    assert!(shown.lines().any(|line| line.starts_with('-') && line.contains("echo sum")), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with('+') && line.contains("echo total")), "{shown}");
    let (_, said, well) = house.say(&["flow", "diff", "report", "ffffffffffff"]);
    assert!(!well && !said.is_empty(), "{said}");

    let (pools, said, well) = house.say(&["flow", "advice", "--format", "csv"]);
    assert!(well && pools.contains("default,8,0,0,1,"), "{pools}{said}");
    assert!(said.contains("pool default: only 1 attempts so far, which says nothing yet"), "{said}");
    let (_, said, well) = house.say(&["flow", "advice", "nothing"]);
    assert!(!well && said.contains("there is no flow nothing"), "{said}");
}

#[test]
fn the_matrix_of_tables_is_turned_back_to_a_date_of_the_flow() {
    const TABLES: &str = "
flow: tables
schedule: {cron: '0 6 * * *', start: 2013-01-01, end: 2013-01-08, catchup: none, timezone: Asia/Seoul}
tasks: {land: {sql: \"SELECT 1 AS n, DATE '{{ ds }}' AS day\", to: raw.numbers}}
";
    const NUMBERS: &str =
        "CREATE TABLE raw.numbers (n BIGINT, day DATE) PARTITIONED BY (day) WITH ('connector' = 'delta');";
    let house = House::new();
    house.folder.write("sources/lake.sql", NUMBERS);
    house.folder.write("flows/tables.yaml", TABLES);
    let matrix = |more: &[&str]| house.say(&[&["flow", "matrix", "tables", "--format", "csv"], more].concat());
    let began = std::time::Instant::now();
    while !matrix(&[]).2 {
        assert!(began.elapsed().as_secs() < 180, "the server reads the file by itself: {}", matrix(&[]).1);
    }
    let row = |more: &[&str]| matrix(more).0.lines().nth(1).map(str::to_owned);
    assert_eq!(row(&[]).unwrap(), "tables,raw.numbers,2013-01-01,2013-01-07,.......");
    let january_4 = ["--until", "2013-01-04", "--count", "3"];
    assert_eq!(row(&january_4).unwrap(), "tables,raw.numbers,2013-01-02,2013-01-04,...");
    let (_, said, well) = house.say(&["flow", "matrix", "--until", "2013-01-04"]);
    assert!(!well && said.contains("FLOW"), "a date is one of a flow's: {said}");
}
