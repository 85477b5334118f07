//! A view that is computed as a whole, in the real program: what was computed is there after a kill, at once, as it was.

use std::io::Write;
use std::process::Stdio;

use crate::crash::Server;
use crate::program::{Folder, sorted_rows};

fn produce(project: &Folder, numbers: std::ops::Range<u64>) {
    let command = &mut project.command(&["log", "produce", "numbers"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    let mut lines = child.stdin.take().expect("a pipe");
    let text: String = numbers.map(|n| format!("{{\"n\": {n}}}\n")).collect();
    lines.write_all(text.as_bytes()).expect("it reads");
    drop(lines);
    assert!(child.wait().expect("it ends").success());
}

fn serve(project: &Folder) -> Server {
    let mut server = Server::start(&mut project.command(&["server", "--listen", "127.0.0.1:0"]));
    project.wait_for_server(&mut server.0);
    server
}

fn declare(project: &Folder, query: &str) {
    project.write("views/totals.sql", &format!("CREATE MATERIALIZED TABLE totals REFRESH_MODE = FULL AS {query};"));
}

fn answer(project: &Folder) -> String {
    let csv = project.succeed(&["sql", "--format", "csv", "-c", "SELECT c, s FROM totals"]);
    csv.lines().nth(1).expect("a row").to_owned()
}

#[test]
fn a_result_is_there_after_a_kill_and_never_as_that_of_another_definition() {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    let numbers = "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'log', 'topic' = 'numbers', 'format' = 'json');";
    project.write("sources/numbers.sql", numbers);
    declare(&project, "SELECT count(*) AS c, sum(n) AS s FROM numbers");
    produce(&project, 0..100);
    let server = serve(&project);
    project.succeed(&["view", "refresh", "totals"]);
    produce(&project, 100..200);
    // The server dies without a word.
    drop(server);

    let server = serve(&project);
    assert_eq!(answer(&project), "100,4950", "it shows what was computed, at once");
    let shown = project.succeed(&["view", "show", "totals", "--format", "json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!((&shown["state"], &shown["rows"]), (&"ready".into(), &1.into()));
    drop(server);

    declare(&project, "SELECT count(*) AS c, max(n) AS s FROM numbers");
    let _server = serve(&project);
    assert_eq!(answer(&project), "200,199", "the query of the new definition answers");
    project.succeed(&["view", "refresh", "totals"]);
    assert_eq!(answer(&project), "200,199");
}

/// By day of sales: how many, and their sum.
fn lay_out_sales() -> Folder {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    project.write(
        "sources/sales.sql",
        "CREATE TABLE sales (euros BIGINT, day DATE) PARTITIONED BY (day)
         WITH ('connector' = 'filesystem', 'path' = 'sales', 'format' = 'csv');",
    );
    project.write(
        "views/daily.sql",
        "CREATE MATERIALIZED TABLE daily PARTITIONED BY (day) FRESHNESS = INTERVAL '1' DAY REFRESH_MODE = FULL
         AS SELECT day, count(*) AS c, sum(euros) AS s FROM sales GROUP BY day;",
    );
    project
}

fn sell(project: &Folder, days: std::ops::RangeInclusive<u32>, euros: &[u32]) {
    let lines: String = euros.iter().map(|euros| format!("{euros}\n")).collect();
    days.for_each(|day| project.write(&format!("sales/day=2013-01-{day:02}/sales.csv"), &format!("euros\n{lines}")));
}

#[test]
fn a_view_is_backfilled_part_by_part_by_its_flow() {
    let project = lay_out_sales();
    sell(&project, 1..=9, &[1, 2]);
    let server = serve(&project);
    project.succeed(&["view", "refresh", "daily"]);
    sell(&project, 1..=9, &[10, 20, 30]);
    let answer = || sorted_rows(&project.succeed(&["sql", "--format", "csv", "-c", "SELECT day, c, s FROM daily"]));
    let truth = |new: std::ops::RangeInclusive<u32>| -> Vec<String> {
        (1..=9).map(|day| format!("2013-01-{day:02},{}", if new.contains(&day) { "3,60" } else { "2,3" })).collect()
    };
    assert_eq!(answer(), truth(0..=0));
    project.succeed(&["flow", "backfill", "view_daily", "--from", "2013-01-03", "--to", "2013-01-06"]);
    assert_eq!(answer(), truth(3..=6));
    drop(server);

    // Each was a run like any other, and is there after a kill; one of them is run again.
    sell(&project, 5..=5, &[4]);
    let _server = serve(&project);
    assert_eq!(answer(), truth(3..=6));
    project.succeed(&["flow", "rerun", "view_daily/2013-01-05T00:00+00:00", "--all"]);
    let mut expected = truth(3..=6);
    expected[4] = "2013-01-05,1,4".to_owned();
    assert_eq!(answer(), expected);
}
