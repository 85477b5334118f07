//! `kill -9` in the middle of the backfill, several times at random moments: all 365 runs end, every task having
//! succeeded exactly once.

use std::io::Write;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::oracle;
use crate::program::Project;

const KILLS: u32 = 5;
const DAYS: u64 = 365;
/// The longest that anything here may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

#[test]
fn killed_again_and_again_the_year_is_complete_and_nothing_is_doubled() {
    let seed: u64 = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("MULGIL_SEED={seed}");
    let mut random = Random(seed);
    let project = Project::new();
    project.mend();

    let mut server = Server::start(&project);
    project.succeed(&["flow", "backfill", "daily_delays", "--from", "2013-01-01", "--to", "2013-12-31", "--detach"]);
    for kill in 1..=KILLS {
        // Killed when a random number of further runs has succeeded, so that every kill is in the middle of the work.
        let target = server.succeeded() + random.below(DAYS / u64::from(KILLS + 1)) + 1;
        server.wait_until(|server| server.succeeded() >= target.min(DAYS - 1));
        std::thread::sleep(Duration::from_micros(random.below(300_000)));
        let done = server.kill();
        println!("kill {kill} after {done} runs");
        server = Server::start(&project);
    }
    server.wait_until(|server| server.succeeded() == DAYS);

    check_history(&server);
    assert_eq!(project.rows(oracle::DAILY_QUERY), oracle::daily(&oracle::departures(), "2013-12-31"));
    assert_eq!(project.rows("SELECT count(*) FROM raw.departures"), ["336776"]);
    assert_eq!(std::fs::read_dir(project.path().join("reports")).expect("reports").count() as u64, DAYS);
    server.kill();
}

/// Each of the 365 runs has three tasks, and each task exactly one attempt that succeeded.
fn check_history(server: &Server) {
    let mut runs = Vec::new();
    let mut before = String::new();
    loop {
        let page = server.get(&format!("/runs?flow=daily_delays&limit=100{before}"));
        runs.extend(page["runs"].as_array().expect("runs").iter().map(|run| run["id"].as_i64().expect("an id")));
        match page["next_before"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(runs.len() as u64, DAYS, "no run is missing or doubled");
    for id in runs {
        let run = server.get(&format!("/runs/{id}"));
        let tasks = run["tasks"].as_array().expect("tasks");
        assert_eq!(tasks.len(), 3, "{run}");
        for task in tasks {
            let attempts = task["attempts"].as_array().expect("attempts").iter();
            let succeeded = attempts.filter(|attempt| attempt["status"] == "succeeded").count();
            assert_eq!(succeeded, 1, "{} has one success: {task}", run["name"]);
        }
    }
}

/// A running `mulgil server`.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(project: &Project) -> Self {
        let place = project.path().join(".mulgil/server.json");
        // What a killed server has left must not be taken for the new one's.
        let _ = std::fs::remove_file(&place);
        let process = project.start(&["server", "--listen", "127.0.0.1:0"]);
        let mut server = Self { process, address: String::new() };
        let began = Instant::now();
        while server.address.is_empty() {
            assert!(began.elapsed() < PATIENCE, "the server does not start");
            assert!(server.process.try_wait().expect("a child").is_none(), "the server has ended");
            if let Ok(text) = std::fs::read(&place) {
                let place: Value = serde_json::from_slice(&text).expect("JSON");
                server.address = place["url"].as_str().expect("a URL").trim_start_matches("http://").to_owned();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Kills it as the kernel would, and says how many runs had succeeded shortly before.
    fn kill(mut self) -> u64 {
        let done = self.succeeded();
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
        done
    }

    fn succeeded(&self) -> u64 {
        self.get("/flows/daily_delays")["counts"]["succeeded"].as_u64().expect("a count")
    }

    fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < PATIENCE, "it takes too long: {} runs succeeded", self.succeeded());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn get(&self, path: &str) -> Value {
        get(&self.address, path).expect("an answer")
    }
}

/// A plain HTTP/1.0 request: the answer ends with the connection.
pub(crate) fn get(address: &str, path: &str) -> std::io::Result<Value> {
    Ok(serde_json::from_reader(ask(address, path)?)?)
}

/// The answer as it is, whatever it is.
pub(crate) fn get_text(address: &str, path: &str) -> String {
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut ask(address, path).expect("an answer"), &mut said).expect("an answer");
    String::from_utf8_lossy(&said).into_owned()
}

fn ask(address: &str, path: &str) -> std::io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET /api/v1{path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    Ok(reader)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough randomness for moments, and a seed to repeat them.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
