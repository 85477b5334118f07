//! Savepoints by the real commands: a view whose query has changed goes on from one where its operators are the same, and
//! its result is that of the new query, also of keys of which nothing comes any more; where they are not, that is refused
//! with the operator's name, and a replay does it.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::crash::Server;
use crate::program::{Folder, sorted_rows};

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);

const BEFORE: &str = "SELECT k, count(*) AS c, sum(n) AS s FROM events GROUP BY k";
/// The same aggregation: a column more, one that is computed otherwise, and a condition on the groups.
const COMPATIBLE: &str = "SELECT upper(k) AS k, count(*) AS c, sum(n) * 10 AS s, sum(n) + count(*) AS both FROM events GROUP BY k \
                          HAVING count(*) > 1";
/// A ranking, whose result is not made anew where other columns of it are wanted.
const HIGHEST: &str =
    "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY n DESC) AS place FROM events) WHERE place = 1";
/// Another aggregation.
const OTHER: &str = "SELECT k, max(n) AS most FROM events GROUP BY k";

/// Declares the view `per_key`, and `highest` with these columns.
fn declare(project: &Folder, query: &str, columns: &str) {
    let options = "'checkpoint-interval' = '20 ms', 'parallelism' = '2'";
    let highest = format!(
        "CREATE MATERIALIZED TABLE highest WITH ({options}) REFRESH_MODE = CONTINUOUS AS SELECT {columns} FROM ({HIGHEST});"
    );
    project.write("views/highest.sql", &highest);
    let view = format!("CREATE MATERIALIZED TABLE per_key WITH ({options}) REFRESH_MODE = CONTINUOUS AS {query};");
    project.write("views/per_key.sql", &view);
}

fn serve(project: &Folder) -> Server {
    let mut server = Server::start(&mut project.command(&["server", "--listen", "127.0.0.1:0"]));
    project.wait_for_server(&mut server.0);
    server
}

fn produce(project: &Folder, events: &[(&str, i64)]) {
    let command = &mut project.command(&["log", "produce", "events"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    let mut lines = child.stdin.take().expect("a pipe");
    for (k, n) in events {
        writeln!(lines, "{{\"k\": \"{k}\", \"n\": {n}}}").expect("it reads");
    }
    drop(lines);
    assert!(child.wait().expect("it ends").success());
}

fn rows(project: &Folder, query: &str) -> Vec<String> {
    sorted_rows(&project.succeed(&["sql", "--format", "csv", "-c", query]))
}

fn shown(project: &Folder, view: &str) -> serde_json::Value {
    serde_json::from_str(&project.succeed(&["view", "show", view, "--format", "json"])).expect("JSON")
}

/// Waits until the view runs and has the rows of the query over the whole topic. (One that has no result is computed.)
fn until_it_is(project: &Folder, query: &str) {
    let began = Instant::now();
    loop {
        let expected = rows(project, query);
        let output = project.command(&["sql", "--format", "csv", "-c", "SELECT * FROM per_key"]).output();
        let output = output.expect("mulgil runs");
        let found = sorted_rows(&String::from_utf8_lossy(&output.stdout));
        let view = shown(project, "per_key");
        if output.status.success() && found == expected && view["state"] == "running" {
            return;
        }
        assert!(began.elapsed() < PATIENCE && view["state"] != "failed", "{found:?}, not {expected:?}: {view}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_savepoint_is_restored_after_a_compatible_change_and_refused_after_another() {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    project.write(
        "sources/events.sql",
        "CREATE TABLE events (k STRING, n BIGINT) WITH ('connector' = 'log', 'topic' = 'events', 'format' = 'json');",
    );
    declare(&project, BEFORE, "k, n");
    produce(&project, &[("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 5)]);
    let server = serve(&project);
    until_it_is(&project, BEFORE);
    project.succeed(&["view", "savepoint", "per_key", "--name", "one"]);
    produce(&project, &[("a", 6), ("c", 7), ("d", 8)]);
    until_it_is(&project, BEFORE);
    drop(server);

    // From the last checkpoint, and from the savepoint; then only what came after it is read again.
    declare(&project, COMPATIBLE, "n * 2 AS n, k");
    let server = serve(&project);
    until_it_is(&project, COMPATIBLE);
    let highest = shown(&project, "highest");
    assert_eq!(highest["state"], "failed", "{highest}");
    assert!(highest["error"].to_string().contains("keep the first row by k"), "{highest}");
    project.succeed(&["view", "restore", "per_key", "--savepoint", "one"]);
    until_it_is(&project, COMPATIBLE);
    assert_eq!(shown(&project, "per_key")["rows_in"], 3);
    produce(&project, &[("d", 9), ("e", 10)]);
    until_it_is(&project, COMPATIBLE);
    drop(server);
    // Nothing is given again where nothing has changed.
    let server = serve(&project);
    until_it_is(&project, COMPATIBLE);
    drop(server);

    declare(&project, OTHER, "k, n");
    let _server = serve(&project);
    let refused = project.command(&["view", "restore", "per_key", "--savepoint", "one"]).output().expect("mulgil runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("aggregate count"), "{said}");
    assert!(said.contains("mulgil view replay per_key"), "{said}");
    assert_eq!(shown(&project, "per_key")["state"], "failed", "its own checkpoints are of the other query too");
    project.succeed(&["view", "replay", "per_key"]);
    until_it_is(&project, OTHER);
}
