//! Two servers over one history in PostgreSQL, one of them lost: nothing is lost with it, nothing is done twice.
//!
//! Each task holds a file lock while it works, which goes with its process however that ends: two attempts of one task that work at the
//! same time would be seen.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::kill::{Random, get, get_text};
use crate::program::Folder;

/// The days of the backfill.
const DAYS: usize = 31;
/// The longest that anything here may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// The lease of the server that leads, in seconds.
const LEASE: &str = "6";

#[test]
fn a_leader_killed_at_any_moment_is_replaced_and_nothing_is_lost_or_doubled() {
    let seed: u64 = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("MULGIL_SEED={seed}");
    let mut random = Random(seed);
    let pair = Pair::new();
    let mut servers = [pair.start(0), pair.start(1)];
    pair.backfill(&mut servers);
    for kill in 1..=3 {
        let done = pair.succeeded(&servers);
        pair.wait(&servers, |servers| pair.succeeded(servers) > done);
        std::thread::sleep(Duration::from_micros(random.below(1_000_000)));
        let (leader, other) = pair.leader(&servers);
        println!("kill {kill}: server {leader} after {} runs", pair.succeeded(&servers));
        servers[leader].process.kill().expect("it can be killed");
        servers[leader].process.wait().expect("it ends");
        let began = Instant::now();
        pair.wait(&servers, |_| pair.leading_name() == Some(other));
        println!("server {other} leads after {:?}", began.elapsed());
        servers[leader] = pair.start(leader);
    }
    pair.wait(&servers, |servers| pair.succeeded(servers) == DAYS);
    pair.check(&servers);
}

#[test]
fn a_leader_that_stood_still_for_longer_than_its_lease_is_fenced_and_stands_by() {
    let pair = Pair::new();
    let mut servers = [pair.start(0), pair.start(1)];
    pair.backfill(&mut servers);
    pair.wait(&servers, |servers| pair.succeeded(servers) > 0);
    let (leader, other) = pair.leader(&servers);
    servers[leader].signal("STOP");
    pair.wait(&servers, |_| pair.leading_name() == Some(other));
    let alone = std::slice::from_ref(&servers[other]);
    let done = pair.succeeded(alone);
    pair.wait(alone, |servers| pair.succeeded(servers) > done);
    servers[leader].signal("CONT");
    pair.wait(alone, |servers| pair.succeeded(servers) == DAYS);
    // It has not ended, and it has heard that it does not lead.
    pair.wait(&servers, |_| pair.said(leader).contains("this server stands by"));
    assert_eq!(pair.leading_name(), Some(other));
    pair.check(alone);
}

#[test]
fn a_server_that_is_told_to_end_hands_over_at_once() {
    let pair = Pair::new();
    let mut servers = [pair.start(0), pair.start(1)];
    pair.backfill(&mut servers);
    let (leader, other) = pair.leader(&servers);
    servers[leader].signal("TERM");
    assert!(servers[leader].process.wait().expect("it ends").success());
    pair.wait(&servers, |_| pair.leading_name() == Some(other));
    let alone = std::slice::from_ref(&servers[other]);
    pair.wait(alone, |servers| pair.succeeded(servers) == DAYS);
    pair.check(alone);
}

#[test]
fn a_database_that_cuts_every_connection_again_and_again_ends_nothing() {
    let pair = Pair::new();
    let mut servers = [pair.start(0), pair.start(1)];
    pair.backfill(&mut servers);
    let (leader, _) = pair.leader(&servers);
    let mut cut = 0;
    pair.wait(&servers, |servers| {
        let lost = pair.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        cut += lost.trim().parse::<usize>().expect("a number");
        // Some requests fail meanwhile; that none has succeeded is not said by those.
        pair.succeeded(servers) == DAYS
    });
    println!("{cut} connections were cut");
    assert!(cut > 20, "{cut}");
    assert_eq!(pair.leading_name(), Some(leader), "its lease was never lost");
    pair.wait(&servers, |servers| get(&servers[0].address, "/runs?flow=daily&limit=100").is_ok());
    pair.check(&servers);
    for (task, attempts) in pair.attempts(&servers) {
        assert_eq!(attempts, 1, "{task} was not lost with a connection");
    }
}

#[test]
fn a_password_in_the_url_is_said_by_nobody() {
    let pair = Pair::new();
    let servers = [pair.start(0), pair.start(1)];
    let paths = ["/project", "/problems", "/flows", "/flows/daily", "/runs", "/metrics", "/status"];
    for server in &servers {
        for path in paths {
            let said = get_text(&server.address, path);
            assert!(!said.contains("wrong") && !said.contains("h0rse"), "{path}: {said}");
        }
    }
    // The right one is not given, so that the one in the URL is tried, and refused.
    let mut refused = pair.copies[0].command(&["flow", "list"]);
    drop(servers);
    let refused = refused.env_remove("PGPASSWORD").env("MULGIL_LOG", "debug").output().expect("mulgil runs");
    let said = format!("{}{}", String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("password"), "it says what is amiss: {said}");
    assert!(!said.contains(":wrong"), "{said}");
    for copy in 0..2 {
        let said = pair.said(copy);
        assert!(!said.contains("h0rse") && !said.contains("wrong"), "{said}");
    }
}

/// Two copies of a project, one history.
struct Pair {
    url: String,
    copies: [Folder; 2],
    shared: tempfile::TempDir,
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let told = std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(told.expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pair {
    fn new() -> Self {
        let cluster = Cluster::shared();
        let shared = tempfile::tempdir().expect("a folder");
        let name = shared.path().file_name().expect("a name").to_string_lossy().to_lowercase().replace(['.', '-'], "_");
        cluster.run(&format!("CREATE DATABASE d{name}"));
        let url = cluster.url().replace("/postgres", &format!("/d{name}"));
        let copies = [Folder::new(), Folder::new()];
        for copy in &copies {
            copy.write("mulgil.yaml", &format!("history: '{}'\n", url.replace("h0rse%20battery", "wrong")));
            let work = |task: &str, rest: &str| {
                let file = format!("{}/$MULGIL_DS.{task}", shared.path().display());
                format!(
                    "  {task}:\n{rest}    shell: |\n      exec 9>{file}.lock\n      flock -n 9 || {{ echo twice >> {file}.twice; exit 1; }}\n      sleep 0.3\n      echo done >> {file}\n"
                )
            };
            let flow = format!(
                "flow: daily\nschedule: {{cron: '@daily', start: 2013-01-01, end: 2014-01-01, catchup: none}}\ntasks:\n{}{}",
                work("land", ""),
                work("publish", "    needs: [land]\n")
            );
            copy.write("flows/daily.yaml", &flow);
        }
        Self { url, copies, shared }
    }

    fn start(&self, copy: usize) -> Server {
        let folder = &self.copies[copy];
        let said = File::create(folder.path(&format!("said-{copy}.txt"))).expect("a file");
        let mut command = folder.command(&["server", "--listen", "127.0.0.1:0"]);
        command.env("PGPASSWORD", crate::cluster::PASSWORD).env("MULGIL_LEADER_LEASE", LEASE);
        let mut process = command.stdout(Stdio::null()).stderr(said).spawn().expect("mulgil runs");
        let place = folder.path(".mulgil/server.json");
        folder.wait_for_server(&mut process);
        let place: Value = serde_json::from_slice(&std::fs::read(place).expect("a place")).expect("JSON");
        let address = place["url"].as_str().expect("a URL").trim_start_matches("http://").to_owned();
        Server { process, address }
    }

    /// Asked of the one that stands by, which hands it on; asked again, as it says, where a slow machine has let the lease run out just then.
    fn backfill(&self, servers: &mut [Server; 2]) {
        let month = ["--from", "2013-01-01", "--to", "2013-01-31", "--concurrency", "6"];
        let arguments: Vec<&str> = ["flow", "backfill", "daily", "--detach"].into_iter().chain(month).collect();
        self.wait(servers, |servers| {
            let (_, other) = self.leader(servers);
            let output = self.copies[other].command(&arguments).output().expect("mulgil runs");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() || said.contains("no server leads at the moment"), "{said}");
            output.status.success()
        });
    }

    /// Which server leads, and which does not.
    fn leader(&self, servers: &[Server]) -> (usize, usize) {
        self.wait(servers, |_| self.leading_name().is_some());
        let leader = self.leading_name().expect("a leader");
        (leader, 1 - leader)
    }

    /// Which server the database says leads.
    fn leading_name(&self) -> Option<usize> {
        let pid: u32 = self.ask("SELECT pid FROM leader WHERE expires_at > clock_timestamp()").trim().parse().ok()?;
        (0..2).find(|copy| {
            let place = std::fs::read(self.copies[*copy].path(".mulgil/server.json")).unwrap_or_default();
            let place: Value = serde_json::from_slice(&place).unwrap_or_default();
            place["pid"] == pid
        })
    }

    fn ask(&self, query: &str) -> String {
        let output = std::process::Command::new("psql").args(["-X", "-A", "-t", "-c", query, &self.url]).output();
        String::from_utf8(output.expect("psql runs").stdout).expect("text")
    }

    /// Runs that have succeeded, as any server that answers says.
    fn succeeded(&self, servers: &[Server]) -> usize {
        let said = servers.iter().find_map(|server| get(&server.address, "/flows/daily").ok());
        said.and_then(|flow| flow["counts"]["succeeded"].as_u64()).unwrap_or(0) as usize
    }

    fn said(&self, copy: usize) -> String {
        std::fs::read_to_string(self.copies[copy].path(&format!("said-{copy}.txt"))).unwrap_or_default()
    }

    /// How many attempts each task has had.
    fn attempts(&self, servers: &[Server]) -> Vec<(String, usize)> {
        let page = get(&servers[0].address, "/runs?flow=daily&limit=100").expect("runs");
        let ids = page["runs"].as_array().expect("runs").iter().map(|run| run["id"].clone());
        let tasks = ids.flat_map(|id| {
            let run = get(&servers[0].address, &format!("/runs/{id}")).expect("a run");
            let tasks = run["tasks"].as_array().expect("tasks").clone();
            tasks.into_iter().map(move |task| {
                (format!("{}/{}", run["name"], task["name"]), task["attempts"].as_array().expect("attempts").len())
            })
        });
        tasks.collect()
    }

    fn wait(&self, servers: &[Server], mut condition: impl FnMut(&[Server]) -> bool) {
        let began = Instant::now();
        while !condition(servers) {
            let told = format!("{}\n--\n{}", self.said(0), self.said(1));
            assert!(
                began.elapsed() < PATIENCE,
                "it takes too long: {} runs succeeded\n{told}",
                self.succeeded(servers)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every task of every day has succeeded once, and no two attempts of one task were ever at work together.
    fn check(&self, servers: &[Server]) {
        let page = get(&servers[0].address, "/runs?flow=daily&limit=100").expect("runs");
        let runs = page["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), DAYS, "no run is missing or doubled");
        for run in runs {
            let run = get(&servers[0].address, &format!("/runs/{}", run["id"])).expect("a run");
            for task in run["tasks"].as_array().expect("tasks") {
                let attempts = task["attempts"].as_array().expect("attempts").iter();
                let succeeded = attempts.filter(|attempt| attempt["status"] == "succeeded").count();
                assert_eq!(succeeded, 1, "{} has one success: {task}", run["name"]);
            }
        }
        let files = std::fs::read_dir(self.shared.path()).expect("a folder");
        let names: Vec<String> =
            files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
        assert!(!names.iter().any(|name| name.ends_with(".twice")), "{names:?}");
        let done = names.iter().filter(|name| name.ends_with(".land") || name.ends_with(".publish")).count();
        assert_eq!(done, 2 * DAYS, "{names:?}");
    }
}
