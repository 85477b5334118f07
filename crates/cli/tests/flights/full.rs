//! A view that is computed as a whole, in the real program: what was computed is there after a kill, at once, as it was.

use std::io::Write;
use std::process::Stdio;

use crate::crash::Server;
use crate::program::Folder;

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
