//! `mulgil view subscribe`, by the real program: the rows of a view, and what changes of them, over a server that is killed and
//! comes back.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::crash::Server;
use crate::program::Folder;

/// Ends with the test, however that ends.
struct Subscriber(Child);

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(project: &Folder, listen: &str) -> Server {
    let mut server = Server::start(&mut project.command(&["server", "--listen", listen]));
    project.wait_for_server(&mut server.0);
    server
}

#[test]
fn a_subscriber_hears_what_changes_also_of_a_server_that_comes_back() {
    let project = Folder::new();
    project.write("mulgil.yaml", "");
    project.write(
        "sources/lines.sql",
        "CREATE TABLE lines (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'lines.csv', 'format' = 'csv');",
    );
    project.write(
        "views/all_lines.sql",
        "CREATE MATERIALIZED TABLE all_lines REFRESH_MODE = FULL AS SELECT n FROM lines;",
    );
    project.write("lines.csv", "n\n1\n");
    let server = serve(&project, "127.0.0.1:0");
    project.succeed(&["view", "refresh", "all_lines"]);
    let place: Value =
        serde_json::from_slice(&std::fs::read(project.path(".mulgil/server.json")).expect("a place")).expect("JSON");
    let address = place["url"].as_str().expect("an address").trim_start_matches("http://").to_owned();

    let mut command = project.command(&["view", "subscribe", "all_lines", "--format", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("mulgil runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let _subscriber = Subscriber(child);
    let mut next =
        || -> Value { serde_json::from_str(&lines.next().expect("it goes on").expect("text")).expect("JSON") };
    assert_eq!(next(), json!({"begin": "asked", "key": []}));
    assert_eq!(next(), json!({"op": "+I", "row": {"n": 1}}));
    assert!(next()["cut"].is_string());
    project.write("lines.csv", "n\n2\n");
    project.succeed(&["view", "refresh", "all_lines"]);
    assert_eq!(next(), json!({"op": "-D", "row": {"n": 1}}));
    assert_eq!(next(), json!({"op": "+I", "row": {"n": 2}}));
    assert!(next()["cut"].is_string());

    // The server that comes back does not know the cursor: it says so, and tells all rows, once there is a result again.
    drop(server);
    let server = serve(&project, &address);
    project.succeed(&["view", "refresh", "all_lines"]);
    assert_eq!(next(), json!({"begin": "unknown_cursor", "key": []}));
    assert_eq!(next(), json!({"op": "+I", "row": {"n": 2}}));
    assert!(next()["cut"].is_string());

    let table = project.succeed(&["view", "subscribe", "all_lines", "--cuts", "1", "--format", "csv"]);
    assert_eq!(table, "op,n\n+I,2\n");
    drop(server);
}
