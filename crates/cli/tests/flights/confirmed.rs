//! A re-run that goes through a call: foretold, confirmed by a person, and not forgotten when the server is killed before the call.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, PASSWORD};
use crate::kill::get;
use crate::program::Folder;

const CALLER: &str = "
flow: caller
tasks:
  wait: {shell: 'until test -e go; do sleep 0.02; done'}
  sub: {needs: [wait], flow: called}
";
/// It fails until there is a file.
const CALLED: &str = "
flow: called
tasks:
  publish: {shell: 'echo x >> published; test -e there', idempotent: false}
  after: {needs: [publish], shell: 'true'}
";
/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

struct House {
    folder: Folder,
    server: Child,
}

impl House {
    fn new(history: &str) -> Self {
        let folder = Folder::new();
        folder.write("mulgil.yaml", &format!("history: '{history}'\n"));
        folder.write("flows/caller.yaml", CALLER);
        folder.write("flows/called.yaml", CALLED);
        let server = serve(&folder);
        Self { folder, server }
    }

    /// Kills the server as the kernel would, and starts another.
    fn killed(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        self.server = serve(&self.folder);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        with_password(self.folder.command(arguments))
    }

    /// Runs a command; what it says to programs and to people, and whether it ended well.
    fn say(&self, arguments: &[&str]) -> (String, String, bool) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.success())
    }

    /// Waits until the first run, the caller's, has ended so.
    fn wait_until(&self, status: &str) {
        let began = Instant::now();
        while asked(&self.folder, "/runs/1").is_none_or(|run| run["status"] != status) {
            assert!(began.elapsed() < PATIENCE, "run 1 is not {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs it again unconfirmed, until the server that has just started leads: it is refused, and says why.
    fn refused(&self) {
        let began = Instant::now();
        loop {
            let (_, said, well) = self.say(&["flow", "rerun", "1"]);
            assert!(!well && began.elapsed() < PATIENCE, "{said}");
            if said.contains("publish of called/manual would run again") {
                return;
            }
        }
    }

    fn published(&self) -> usize {
        std::fs::read_to_string(self.folder.path("published")).unwrap_or_default().lines().count()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn with_password(mut command: Command) -> Command {
    command.env("PGPASSWORD", PASSWORD).env("MULGIL_LEADER_LEASE", "2");
    command
}

fn serve(folder: &Folder) -> Child {
    let mut command = with_password(folder.command(&["server", "--listen", "127.0.0.1:0"]));
    let mut server = command.stdout(Stdio::null()).stderr(folder.saying()).spawn().unwrap();
    folder.wait_for_server(&mut server);
    let began = Instant::now();
    // A command that finds none that answers would bring one of its own.
    while asked(folder, "/project").is_none() {
        assert!(began.elapsed() < PATIENCE, "the server does not answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// What the server says, if it answers.
fn asked(folder: &Folder, path: &str) -> Option<Value> {
    let place: Value = serde_json::from_slice(&std::fs::read(folder.path(".mulgil/server.json")).ok()?).ok()?;
    get(place["url"].as_str()?.trim_start_matches("http://"), path).ok()
}

fn confirmed_and_killed(history: &str) {
    let mut house = House::new(history);
    house.folder.write("go", "");
    let began = Instant::now();
    // Asked again, because no server leads yet, it is the same run.
    while house.published() == 0 {
        let (_, said, well) = house.say(&["flow", "run", "caller"]);
        assert!(!well && began.elapsed() < PATIENCE, "{said}");
    }
    house.wait_until("failed");
    assert_eq!(house.published(), 1);

    let (planned, ..) = house.say(&["flow", "rerun", "1", "--dry-run", "--format", "csv"]);
    let rows: Vec<&str> = planned.lines().skip(1).collect();
    let expected = [
        "caller/manual,sub,failed,0,true",
        "called/manual,publish,failed,1,false",
        "called/manual,after,upstream failed,0,true",
    ];
    assert_eq!(rows, expected);
    house.refused();

    std::fs::remove_file(house.folder.path("go")).unwrap();
    let (_, said, well) = house.say(&["flow", "rerun", "1", "--all", "--confirm", "--detach"]);
    assert!(well, "{said}");
    house.killed();
    assert_eq!(house.published(), 1, "nothing was called before it was killed");
    house.folder.write("go", "");
    house.wait_until("failed");
    assert_eq!(house.published(), 2, "what was confirmed has run");
    house.killed();
    house.wait_until("failed");
    house.refused();
    house.folder.write("there", "");
    let (_, said, well) = house.say(&["flow", "rerun", "1", "--confirm"]);
    assert!(well, "{said}");
    assert_eq!(house.published(), 3);
}

#[test]
fn what_was_confirmed_for_a_called_run_outlives_the_server_in_sqlite() {
    confirmed_and_killed(".mulgil/history.db");
}

#[test]
fn what_was_confirmed_for_a_called_run_outlives_the_server_in_postgresql() {
    let cluster = Cluster::shared();
    cluster.run("CREATE DATABASE confirmed");
    confirmed_and_killed(&cluster.url().replace("/postgres", "/confirmed").replace("h0rse%20battery", "wrong"));
}
