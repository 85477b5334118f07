//! The kill matrix of runs: the real server dies by `kill -9` at each of the named points on the way of a run, again and again, over a history
//! in SQLite and over one in PostgreSQL, while a schedule fires, people ask for runs that call others, files arrive and a webhook is called.
//! In the end every run has ended, no schedule slot, file, delivery or call is missed or doubled, nobody who asked again got a second run, and
//! no lease ever began its task twice.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use mulgil_sched::run::LOSSES_MAX;
use mulgil_worker::crash::POINTS;
use serde_json::Value;
use sha2::Sha256;

use crate::cluster::{Cluster, PASSWORD};
use crate::kill::get;
use crate::program::Folder;

/// From one slot of the schedule to the next.
const EVERY: SignedDuration = SignedDuration::from_secs(3);
/// Slots that the schedule has.
const SLOTS: i32 = 40;
/// It dies so often in a row. Who is asked for just then may be at work at each of these deaths, and a task that was lost
/// [`LOSSES_MAX`] times is given up, rightly.
const DEATHS: usize = 8;
const _: () = assert!(DEATHS + 1 < LOSSES_MAX as usize);
/// What the webhook is signed with.
const SECRET: &str = "a secret of the sender";
/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(600);

struct House {
    folder: Folder,
    asked: u32,
    landed: u32,
    delivered: u32,
}

/// A server that ends with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl House {
    fn new(history: &str) -> Self {
        let folder = Folder::new();
        folder.write("mulgil.yaml", &format!("history: '{history}'\nsecrets: {{hook: file:hook.secret}}\n"));
        folder.write("hook.secret", SECRET);
        let place = folder.path("").display().to_string();
        // A lock goes with the process that holds it: two attempts of one task at once would be seen.
        let work = |more: &str| {
            format!(
                "\n      id=$(echo \"$MULGIL_RUN_ID\" | tr / _)\n      exec 9> {place}/lock.$id.$MULGIL_TASK\n      flock -n 9 || echo twice >> {place}/twice\n      echo $MULGIL_LEASE >> {place}/leases\n      sleep 0.05\n{more}"
            )
        };
        let marker = format!("{place}/failed.$id");
        let again = format!("      test -e {marker} || {{ touch {marker}; exit 1; }}\n");
        let result = "      echo '{\"go\": true}' > $MULGIL_RESULT\n";
        let tasks = format!(
            "tasks:\n  land:\n    shell: |{}  fails:\n    retries: {{limit: 50, delay: 100ms, backoff: 1}}\n    shell: |{}  last:\n    needs: [land, fails]\n    when: results.land.go\n    shell: |{}",
            work(result),
            work(&again),
            work("")
        );
        let start = Timestamp::now();
        let end = start + EVERY * SLOTS;
        let (start, end) = (start.strftime("%Y-%m-%dT%H:%M:%SZ"), end.strftime("%Y-%m-%dT%H:%M:%SZ"));
        let schedule = format!("{{every: 3s, start: '{start}', end: '{end}', catchup: all}}");
        folder.write("flows/clock.yaml", &format!("flow: clock\nschedule: {schedule}\n{tasks}"));
        let calls = "  calls:\n    needs: [land]\n    flow: called\n    params: {n: '{{ params.n }}'}\n";
        folder.write("flows/asked.yaml", &format!("flow: asked\nparams: {{n: 0}}\n{tasks}{calls}"));
        folder.write("flows/called.yaml", &format!("flow: called\nparams: {{n: 0}}\n{tasks}"));
        let of_file = "triggers: [{file: 'landing/*.txt'}]\nparams: {file: ''}";
        folder.write("flows/landed.yaml", &format!("flow: landed\n{of_file}\n{tasks}"));
        let hook = "triggers: [{webhook: {secret: hook}}]\nparams: {n: 0}";
        folder.write("flows/hooked.yaml", &format!("flow: hooked\n{hook}\n{tasks}"));
        Self { folder, asked: 0, landed: 0, delivered: 0 }
    }

    fn serve(&self, crash_at: Option<String>) -> Server {
        let mut command = self.folder.command(&["server", "--listen", "127.0.0.1:0"]);
        command.env("PGPASSWORD", PASSWORD).env("MULGIL_LEADER_LEASE", "2").env("MULGIL_FILES_EVERY", "0.1");
        if let Some(point) = crash_at {
            command.env("MULGIL_CRASH_AT", point);
        }
        Server(command.stdout(Stdio::null()).stderr(self.folder.saying()).spawn().expect("mulgil runs"))
    }

    fn address(&self) -> Option<String> {
        let place = std::fs::read(self.folder.path(".mulgil/server.json")).ok()?;
        let place: Value = serde_json::from_slice(&place).ok()?;
        Some(place["url"].as_str()?.trim_start_matches("http://").to_owned())
    }

    /// Asks for a run; whether it was heard. Asked again under the same number, it is the same run.
    fn ask(&self) -> bool {
        let number = format!("n={}", self.asked);
        let mut command = self.folder.command(&["flow", "run", "asked", "--detach", "--param", &number]);
        command.env("PGPASSWORD", PASSWORD).stdout(Stdio::null()).stderr(Stdio::null());
        // Without a server the command would bring one of its own, which has no crash point.
        self.address().is_some_and(|address| get(&address, "/project").is_ok())
            && command.status().expect("mulgil runs").success()
    }

    /// Calls the webhook; whether it was heard. What was not heard is sent again.
    fn deliver(&self) -> bool {
        let body = format!("{{\"n\": {}}}", self.delivered);
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key will do");
        mac.update(body.as_bytes());
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let (number, length) = (self.delivered, body.len());
        let post = |address: String| -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(
                stream,
                "POST /api/v1/hooks/hooked HTTP/1.0\r\nHost: elsewhere\r\nContent-Length: {length}\r\n\
                 X-Hub-Signature-256: sha256={signature}\r\nX-GitHub-Delivery: {number}\r\n\r\n{body}"
            )?;
            let mut said = String::new();
            stream.read_to_string(&mut said)?;
            Ok(said.lines().next().is_some_and(|line| line.contains(" 200 ")))
        };
        self.address().is_some_and(|address| post(address).unwrap_or(false))
    }

    /// Lives until it dies at the point, with people asking for runs meanwhile.
    fn live_and_die(&mut self, point: &str, nth: usize) {
        let mut server = self.serve(Some(format!("{point}:{nth}")));
        let began = Instant::now();
        while server.0.try_wait().expect("a child").is_none() {
            assert!(began.elapsed() < PATIENCE, "it never came to \"{point}\"");
            if self.ask() {
                self.asked += 1;
            }
            // Also while no server answers, but not ever more.
            if self.landed <= self.asked {
                self.folder.write(&format!("landing/{}.txt", self.landed), "a line\n");
                self.landed += 1;
            }
            self.delivered += u32::from(self.deliver());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lives until every run has ended, and dies then.
    fn rest(&self) {
        let mut server = self.serve(None);
        self.folder.wait_for_server(&mut server.0);
        let began = Instant::now();
        while !["clock", "asked", "called", "landed", "hooked"].iter().all(|flow| have_ended(&self.runs(flow))) {
            assert!(began.elapsed() < PATIENCE, "not every run ends");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn runs(&self, flow: &str) -> Vec<Value> {
        let Some(address) = self.address() else { return Vec::new() };
        let page = get(&address, &format!("/runs?flow={flow}&limit=500")).unwrap_or_default();
        let runs = page["runs"].as_array().cloned().unwrap_or_default();
        runs.iter().filter_map(|run| get(&address, &format!("/runs/{}", run["id"])).ok()).collect()
    }

    fn check(&self, flow: &str, expected: usize, key: impl Fn(&Value) -> String) {
        let runs = self.runs(flow);
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for run in &runs {
            *seen.entry(key(run)).or_default() += 1;
            assert_eq!(run["status"], "succeeded", "{run}");
            for task in run["tasks"].as_array().expect("tasks") {
                let attempts = task["attempts"].as_array().expect("attempts").iter();
                let succeeded = attempts.filter(|attempt| attempt["status"] == "succeeded").count();
                // A task that calls has no attempts of its own.
                assert_eq!(succeeded, usize::from(task["name"] != "calls"), "one success: {task}");
            }
        }
        assert!(seen.values().all(|count| *count == 1), "{flow}: no slot is doubled: {seen:?}");
        assert_eq!(seen.len(), expected, "{flow}: no slot is missing: {seen:?}");
    }
}

fn have_ended(runs: &[Value]) -> bool {
    runs.iter().all(|run| ["succeeded", "failed", "cancelled"].iter().any(|end| run["status"] == *end))
}

fn dies_everywhere(history: &str) {
    let mut house = House::new(history);
    let deaths = POINTS.iter().enumerate().flat_map(|(number, point)| {
        let second = if point.contains("recovered") { 1 } else { 2 + number % 5 };
        [(*point, 1), (*point, second)]
    });
    for row in deaths.collect::<Vec<_>>().chunks(DEATHS) {
        row.iter().for_each(|(point, nth)| house.live_and_die(point, *nth));
        house.rest();
    }
    let mut server = house.serve(None);
    house.folder.wait_for_server(&mut server.0);
    let began = Instant::now();
    // The one that was asked for last may not have been heard.
    while !house.ask() {
        assert!(began.elapsed() < PATIENCE, "the server takes no run");
    }
    while !house.deliver() {
        assert!(began.elapsed() < PATIENCE, "the webhook is not heard");
    }
    let [asked, landed, delivered] = [house.asked + 1, house.landed, house.delivered + 1].map(|count| count as usize);
    let is_over = || {
        let (clock, others) =
            (house.runs("clock"), ["asked", "landed", "hooked", "called"].map(|flow| house.runs(flow)));
        clock.len() >= SLOTS as usize
            && others[1].len() >= landed
            && have_ended(&clock)
            && others.iter().all(|runs| have_ended(runs))
    };
    while !is_over() {
        assert!(began.elapsed() < PATIENCE, "not every run ends");
        std::thread::sleep(Duration::from_millis(200));
    }
    house.check("clock", SLOTS as usize, |run| run["interval"]["start"].to_string());
    house.check("asked", asked, |run| run["params"].to_string());
    house.check("called", asked, |run| run["params"].to_string());
    house.check("landed", landed, |run| run["params"]["file"].to_string());
    house.check("hooked", delivered, |run| run["params"]["n"].to_string());
    let leases = std::fs::read_to_string(house.folder.path("leases")).expect("leases");
    let mut begun: BTreeMap<&str, usize> = BTreeMap::new();
    leases.lines().for_each(|lease| *begun.entry(lease).or_default() += 1);
    assert!(begun.values().all(|count| *count == 1), "a lease began its task twice: {begun:?}");
    assert!(!house.folder.path("twice").exists(), "two attempts of a task were at work together");
}

#[test]
fn whatever_point_of_a_run_it_dies_at_nothing_is_lost_or_doubled_in_sqlite() {
    dies_everywhere(".mulgil/history.db");
}

#[test]
fn whatever_point_of_a_run_it_dies_at_nothing_is_lost_or_doubled_in_postgresql() {
    let cluster = Cluster::shared();
    cluster.run("CREATE DATABASE crash_runs");
    dies_everywhere(&cluster.url().replace("/postgres", "/crash_runs").replace("h0rse%20battery", "wrong"));
}
