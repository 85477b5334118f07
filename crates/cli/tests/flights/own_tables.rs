//! Mulgil's own history and state, asked for in SQL: over the SQL port and by `mulgil sql`, from SQLite and from PostgreSQL.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, PASSWORD};
use crate::program::{Folder, sorted_rows};
use crate::sql_house::House;

const SECRET: &str = "nobody may read this";
const FLOW: &str = "
tasks:
  load: {shell: 'echo $WORD', env: {WORD: '{{ secrets.word }}'}}
  publish: {needs: [load], shell: 'echo $WORD >&2; exit 3', env: {WORD: '{{ secrets.word }}'}}
";
const LIVE: &str = "CREATE MATERIALIZED TABLE live REFRESH_MODE = CONTINUOUS AS SELECT name, people FROM cities_raw";

const TABLES: [&str; 9] =
    ["attempts", "backfills", "checkpoints", "events", "flows", "runs", "tasks", "views", "watermarks"];

/// A server over a history, with one run behind it that has failed.
fn house(history: &str) -> House {
    let folder = Folder::new();
    folder.write("word.secret", SECRET);
    folder.write("flows/nightly.yaml", &format!("flow: nightly\n{FLOW}"));
    folder.write("views/live.sql", LIVE);
    let settings = format!("history: '{history}'\nsecrets: {{word: file:word.secret}}\n");
    let house = House::with(folder, &settings, &[("PGPASSWORD", PASSWORD)]);
    let began = Instant::now();
    loop {
        let failed = house.folder.command(&["flow", "run", "nightly"]).output().expect("mulgil runs");
        assert!(!failed.status.success(), "its last task fails");
        let said = String::from_utf8_lossy(&failed.stderr);
        if !said.contains("no server leads at the moment") {
            return house;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a query gives this.
fn wait_for(house: &House, query: &str, expected: &str) {
    let began = Instant::now();
    loop {
        let found = house.rows(query);
        if found == expected {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{query}: {found}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn answers_about_its_operation(history: &str) {
    let house = house(history);
    let cases = [
        ("SELECT flow, status, trigger, timed_out FROM mulgil.runs", "nightly|failed|manual|f\n"),
        (
            "SELECT task, status, attempts FROM mulgil.tasks WHERE flow = 'nightly' ORDER BY task_index",
            "load|succeeded|1\npublish|failed|1\n",
        ),
        (
            "SELECT r.flow, a.task, a.status, a.duration_ms >= 0, a.ended_at >= a.started_at
             FROM mulgil.attempts a JOIN mulgil.runs r ON r.run = a.run
             WHERE r.created_at > now() - INTERVAL '1' HOUR AND a.status = 'failed'",
            "nightly|publish|failed|t|t\n",
        ),
        ("SELECT count(*) FROM mulgil.runs WHERE created_at < now() - INTERVAL '1' HOUR", "0\n"),
        ("SELECT count(*) FROM mulgil.runs WHERE run = 99 OR flow = 'daily'", "0\n"),
        ("SELECT status FROM mulgil.tasks ORDER BY task DESC LIMIT 1", "failed\n"),
        ("SELECT flow, tasks, paused, failed, last_status FROM mulgil.flows", "nightly|2|f|1|failed\n"),
        ("SELECT count(*) > 5, count(DISTINCT seq) = count(*) FROM mulgil.events", "t|t\n"),
        ("SELECT view, mode FROM mulgil.views ORDER BY view", "cities|full\nlive|continuous\n"),
        ("SELECT c.name, r.status FROM cities c CROSS JOIN mulgil.runs r ORDER BY c.name LIMIT 1", "Bern|failed\n"),
        ("SELECT count(*) FROM mulgil.backfills", "0\n"),
    ];
    for (query, expected) in cases {
        assert_eq!(house.rows(query), expected, "{query}");
    }
    let read = "SELECT view, source, position > 0, rows FROM mulgil.watermarks WHERE view = 'live' AND rows = 4";
    wait_for(&house, read, "live|cities_raw|t|4\n");

    let by_server = house.folder.succeed(&["sql", "--format", "csv", "-c", "SELECT flow, status FROM mulgil.runs"]);
    assert_eq!(sorted_rows(&by_server), ["nightly,failed"]);
    let script = "SET 'allowed-lateness' = '0 s'; SELECT count(*) FROM mulgil.attempts";
    assert_eq!(sorted_rows(&house.folder.succeed(&["sql", "--format", "csv", "-c", script])), ["2"]);

    for table in TABLES {
        let all = house.rows(&format!("SELECT * FROM mulgil.{table}"));
        assert!(!all.contains(SECRET), "{table}: {all}");
    }
}

#[test]
fn runs_tasks_attempts_and_views_are_tables_over_sqlite() {
    answers_about_its_operation(".mulgil/history.db");
}

#[test]
fn runs_tasks_attempts_and_views_are_tables_over_postgres() {
    let cluster = Cluster::shared();
    cluster.run("CREATE DATABASE own_tables");
    answers_about_its_operation(&cluster.url().replace("/postgres", "/own_tables").replace("h0rse%20battery", "wrong"));
}

#[test]
fn own_tables_are_listed_with_their_types() {
    let house = House::open("");
    let expected: String = TABLES.iter().map(|table| format!("mulgil|{table}|table|tester\n")).collect();
    assert_eq!(house.rows("\\dt mulgil.*"), expected);
    assert_eq!(house.rows("\\dt"), "public|cities_raw|table|tester\n", "only what is found without its schema");
    assert_eq!(
        house.rows(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'mulgil' AND table_name = 'runs'
             AND column_name IN ('run', 'status', 'timed_out', 'created_at') ORDER BY ordinal_position"
        ),
        "run|bigint\nstatus|text\ntimed_out|boolean\ncreated_at|timestamp with time zone\n"
    );
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/system-tables.md"));
    let documented = documented.expect("docs/system-tables.md");
    let columns = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'mulgil'
                   ORDER BY table_name, ordinal_position";
    let mut missing = Vec::new();
    for line in house.rows(columns).lines() {
        let (table, column) = line.split_once('|').expect("two columns");
        let section = documented.split("\n## ").find(|section| section.starts_with(&format!("mulgil.{table}\n")));
        if !section.is_some_and(|section| section.contains(&format!("\n| {column} |"))) {
            missing.push(line.to_owned());
        }
    }
    assert!(missing.is_empty(), "docs/system-tables.md does not say: {missing:?}");
}
