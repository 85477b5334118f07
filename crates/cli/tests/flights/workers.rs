//! Workers of their own: other processes, in other folders, that take work over the server's port. They are killed, held and come
//! back late; the server is killed while they work. Nothing is lost, nothing is done twice.

use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kill::{get, get_text};
use crate::program::Folder;

/// The longest that anything here may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// The lease on a task, in seconds.
const LEASE: &str = "5";
const TOKEN: &str = "the token of the workers";
const MASTER: &str = "the token of the people";

/// A process that ends with its test.
struct Program(Child);

impl Program {
    fn start(command: &mut Command, said: &std::path::Path) -> Self {
        let said = File::create(said).expect("a file");
        Self(command.stdout(Stdio::null()).stderr(said).spawn().expect("mulgil runs"))
    }

    fn signal(&self, signal: &str) {
        let told = Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]).status();
        assert!(told.expect("kill runs").success());
    }

    fn kill(&mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, and what its workers leave behind.
struct House {
    folder: Folder,
    port: u16,
    server: Program,
}

impl House {
    fn new(tasks: &str) -> Self {
        let folder = Folder::new();
        folder.write("mulgil.yaml", "");
        let done = folder.path("done").display().to_string();
        folder.write("flows/far.yaml", &format!("flow: far\ntags: [far]\ntasks:\n{}", tasks.replace("DONE", &done)));
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let server = Self::serve(&folder, port);
        let mut house = Self { folder, port, server };
        house.folder.wait_for_server(&mut house.server.0);
        house
    }

    fn serve(folder: &Folder, port: u16) -> Program {
        let mut command = folder.command(&["server", "--listen", &format!("127.0.0.1:{port}")]);
        Program::start(command.env("MULGIL_TASK_LEASE", LEASE), &folder.path("said.txt"))
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn worker(&self, name: &str) -> (Folder, Program) {
        let folder = Folder::new();
        let url = format!("http://{}", self.address());
        let mut command =
            folder.command(&["worker", "--server", &url, "--name", name, "--tags", "far,big", "--slots", "2"]);
        let worker = Program::start(command.env("MULGIL_LOG", "info"), &folder.path("said.txt"));
        self.wait("the worker joins", || self.workers().iter().any(|worker| worker["name"] == name));
        (folder, worker)
    }

    fn workers(&self) -> Vec<Value> {
        get(&self.address(), "/workers").ok().and_then(|found| found["workers"].as_array().cloned()).unwrap_or_default()
    }

    fn run(&self) {
        self.folder.succeed(&["flow", "run", "far", "--detach"]);
    }

    /// The attempts of a task of the only run, as status and error.
    fn attempts(&self, task: &str) -> Vec<String> {
        let run = get(&self.address(), "/runs/1").unwrap_or_default();
        let tasks = run["tasks"].as_array().cloned().unwrap_or_default();
        let found = tasks.into_iter().find(|found| found["name"] == task).unwrap_or_default();
        let attempts = found["attempts"].as_array().cloned().unwrap_or_default();
        attempts.iter().map(|attempt| attempt["status"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What the first attempt of a task of the only run used.
    fn used(&self, task: &str) -> Value {
        let run = get(&self.address(), "/runs/1").unwrap_or_default();
        let tasks = run["tasks"].as_array().cloned().unwrap_or_default();
        let found = tasks.into_iter().find(|found| found["name"] == task).unwrap_or_default();
        found["attempts"][0]["usage"].clone()
    }

    fn log(&self, task: &str, attempt: u32) -> String {
        let (mut text, mut offset) = (String::new(), 0);
        loop {
            let path = format!("/runs/1/tasks/{task}/attempts/{attempt}/log?offset={offset}");
            let piece = get(&self.address(), &path).expect("a log");
            text.push_str(piece["text"].as_str().expect("text"));
            if piece["complete"] == true || piece["next_offset"] == offset {
                return text;
            }
            offset = piece["next_offset"].as_u64().expect("an offset");
        }
    }

    fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            let said = std::fs::read_to_string(self.folder.path("said.txt")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{what}: it takes too long; the server said:\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn done(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path("done").with_extension(file)).unwrap_or_default()
    }
}

/// A task that holds a lock while it works, so that two of them at once would be seen, in a grandchild that outlives its parents.
fn locked(name: &str, seconds: u32) -> String {
    format!(
        "  {name}:\n    shell: |\n      echo begun >> DONE.begun\n      (flock -n 9 || echo twice >> DONE.twice; sleep {seconds}; echo \"$MULGIL_ATTEMPT\" >> DONE.{name}) 9> DONE.lock &\n      wait\n"
    )
}

#[test]
fn a_task_waits_for_a_worker_with_its_tags_runs_there_and_its_log_comes_back() {
    let house = House::new(
        "  far_away: {shell: 'pwd; seq 1 9000; echo the end'}\n  here: {tags: [], shell: pwd}\n  tables: {sql: 'SELECT 1 AS one', result: row}\n",
    );
    house.run();
    house.wait("the task without tags runs", || house.attempts("here") == ["succeeded"]);
    assert!(
        house.log("here", 1).contains(&house.folder.path("").display().to_string().trim_end_matches('/').to_owned())
    );
    let said = house.folder.command(&["workers"]).output().expect("mulgil runs");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("1 task waits for a worker with the tags far: none has joined"), "{said}");
    assert!(said.contains("a worker with the project's folder and the tags far"), "{said}");
    let (folder, mut worker) = house.worker("one");
    house.wait("the task runs", || house.attempts("far_away") == ["succeeded"]);
    let log = house.log("far_away", 1);
    assert!(log.contains(folder.path("").display().to_string().trim_end_matches('/')), "it ran there: {log}");
    assert!(
        log.contains(" 9000\n") && log.contains("the end") && log.contains("succeeded after"),
        "all of it: {}",
        log.len()
    );
    assert!(house.attempts("tables").is_empty(), "this worker has no project");
    let found = house.workers();
    assert_eq!((&found[0]["own"], &found[1]["name"]), (&true.into(), &"one".into()));
    assert_eq!((&found[1]["tags"], &found[1]["slots"]), (&serde_json::json!(["big", "far"]), &2.into()));
    let listed = house.folder.succeed(&["workers", "--format", "csv"]);
    assert!(listed.contains("one,\"big, far\",no,0,2,"), "{listed}");
    // One that has the project's folder takes its tables too.
    let mut second = house.folder.command(&["worker", "--tags", "far", "--name", "two"]);
    let second = Program::start(&mut second, &house.folder.path("said-two.txt"));
    house.wait("the run ends", || get(&house.address(), "/runs/1").is_ok_and(|run| run["status"] == "succeeded"));
    let (process, statement) = (house.used("far_away"), house.used("tables"));
    // It is over too soon for more than its time to be seen.
    assert!(process["tree"].is_object() && process["host"].is_null(), "{process}");
    assert!(statement["host"]["memory_peak_bytes"].as_u64() > Some(0) && statement["tree"].is_null(), "{statement}");
    assert_eq!(statement["host"]["others"], 0);
    assert_eq!(get(&house.address(), "/runs/1").expect("a run")["tasks"][2]["result"]["one"], 1);
    // One that is told to end says so, and leaves nothing.
    worker.signal("TERM");
    assert!(worker.0.wait().expect("it ends").success());
    assert!(
        !folder.path(".mulgil/workers").read_dir().is_ok_and(|mut left| left.next().is_some()),
        "logs were removed"
    );
    drop(second);
    house.wait("both are gone", || house.workers().len() == 1);
}

#[test]
fn what_a_killed_worker_ran_is_ended_with_it_and_run_by_another_after_the_lease() {
    let house = House::new(&locked("work", 4));
    let (_first, mut first) = house.worker("first");
    house.run();
    house.wait("it works", || !house.done("begun").is_empty());
    let (_second, _worker) = house.worker("second");
    first.kill();
    house.wait("the other does it", || house.attempts("work") == ["lost", "succeeded"]);
    assert_eq!(
        (house.done("work").as_str(), house.done("twice").as_str()),
        ("2\n", ""),
        "the first was ended with its worker"
    );
    assert!(house.log("work", 2).contains("succeeded after"));
}

#[test]
fn a_worker_that_comes_back_late_is_fenced_and_goes_on_working() {
    let house = House::new(&locked("work", 1));
    let (folder, first) = house.worker("first");
    house.run();
    house.wait("it works", || !house.done("begun").is_empty());
    first.signal("STOP");
    house.wait("its end is not told", || house.done("work") == "1\n");
    house.wait("its lease runs out", || house.attempts("work").first().is_some_and(|status| status == "lost"));
    let (_second, _worker) = house.worker("second");
    house.wait("the other does it", || house.attempts("work") == ["lost", "succeeded"]);
    first.signal("CONT");
    let said = || std::fs::read_to_string(folder.path("said.txt")).unwrap_or_default();
    house.wait("it hears so", || said().contains("the lease on"));
    assert_eq!(house.attempts("work"), ["lost", "succeeded"], "its report changed nothing");
    house.wait("it joins again", || house.workers().iter().any(|worker| worker["name"] == "first"));
}

#[test]
fn what_a_worker_runs_outlives_the_server() {
    let mut house = House::new(&locked("work", 8));
    let (_folder, _worker) = house.worker("one");
    house.run();
    house.wait("it works", || !house.done("begun").is_empty());
    house.server.kill();
    house.server = House::serve(&house.folder, house.port);
    house.folder.wait_for_server(&mut house.server.0);
    house.wait("it ends", || house.attempts("work") == ["succeeded"]);
    assert_eq!(
        (house.done("work").as_str(), house.done("begun").as_str()),
        ("1\n", "begun\n"),
        "it was never begun again"
    );
    assert!(house.log("work", 1).contains("succeeded after"));
}

#[test]
fn a_worker_with_the_wrong_token_is_refused_and_one_with_its_own_may_only_work() {
    let folder = Folder::new();
    folder.write("mulgil.yaml", "");
    folder.write("right.token", &format!("{TOKEN}\n"));
    folder.write("wrong.token", "the token of somebody else");
    let mut command = folder.command(&["server", "--listen", "127.0.0.1:0"]);
    command.env("MULGIL_TOKEN", MASTER).env("MULGIL_WORKER_TOKEN", TOKEN);
    let mut server = Program::start(&mut command, &folder.path("said.txt"));
    folder.wait_for_server(&mut server.0);
    let place: Value =
        serde_json::from_slice(&std::fs::read(folder.path(".mulgil/server.json")).expect("a place")).expect("JSON");
    let url = place["url"].as_str().expect("a URL");
    let wrong = folder.path("wrong.token").display().to_string();
    let refused = folder.command(&["worker", "--server", url, "--token-file", &wrong]).output().expect("mulgil runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("this is not the server's token") && !said.contains("somebody else"), "{said}");
    let right = folder.path("right.token").display().to_string();
    let mut command = folder.command(&["worker", "--server", url, "--token-file", &right, "--name", "one"]);
    let _worker = Program::start(&mut command, &folder.path("said-one.txt"));
    let listed = || folder.command(&["workers"]).env("MULGIL_TOKEN", MASTER).output().expect("mulgil runs");
    let began = Instant::now();
    while !String::from_utf8_lossy(&listed().stdout).contains("one") {
        assert!(began.elapsed() < PATIENCE, "it does not join");
    }
    let refused = folder.command(&["flow", "list"]).env("MULGIL_TOKEN", TOKEN).output().expect("mulgil runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("only workers come in"), "{said}");
    let address = url.trim_start_matches("http://");
    assert!(get_text(address, "/workers").contains("wants a token"));
}
