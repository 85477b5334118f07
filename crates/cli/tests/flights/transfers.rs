//! Kills in the middle of transfers: the real server dies by `kill -9` while rows are on their way, before they are committed and
//! after it, in every way of writing, into PostgreSQL and into the lake. The run goes on by itself, and in the end each target holds
//! what it should: no row is missing, and none is there twice.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mulgil_worker::crash::WRITING_POINTS;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::kill::get;
use crate::program::Folder;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Rows of each day: several batches.
const ROWS: u64 = 30_000;
/// The ways of writing, as tasks do it.
const WAYS: [(&str, &str); 4] = [
    ("replaced", "write: replace_table"),
    ("by_day", "write: replace_partition"),
    ("merged", "{write: merge, key: [id]}"),
    ("appended", "write: append"),
];

struct House {
    folder: Folder,
    cluster: &'static Cluster,
    url: String,
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
    fn new() -> Self {
        let cluster = Cluster::shared();
        cluster.run("CREATE DATABASE transfers");
        let url = cluster.url().replace("/postgres", "/transfers");
        let house = Self { folder: Folder::new(), cluster, url };
        house.prepare();
        house.declare();
        house
    }

    fn run(&self, statements: &str) {
        self.cluster.run_in(&self.url, statements);
    }

    /// The source has three days. The targets hold the day before, and of the day that is copied old rows of half of the keys.
    fn prepare(&self) {
        let rows = |days: &str, v: &str| {
            format!(
                "SELECT d * 1000000 + n AS id, '{v}' || n AS v, timestamp '2024-01-01' + d * interval '1 day' + n * interval '1 second' AS at,
                 date '2024-01-01' + d::int AS day FROM generate_series({days}) AS d, generate_series(1, {ROWS}) AS n"
            )
        };
        self.run(&format!("CREATE TABLE orders AS {}", rows("0, 2", "new")));
        for (name, _) in WAYS {
            self.run(&format!("CREATE TABLE {name} (id int8, v text, at timestamp, day date)"));
            self.run(&format!("INSERT INTO {name} {}", rows("0, 0", "new")));
        }
        self.run("CREATE UNIQUE INDEX ON merged (id)");
        for name in ["replaced", "by_day", "merged"] {
            self.run(&format!("INSERT INTO {name} SELECT * FROM ({}) AS old WHERE id % 2 = 0", rows("1, 1", "old")));
        }
    }

    fn declare(&self) {
        let columns = "id BIGINT, v STRING, at TIMESTAMP(6), day DATE";
        let database = format!("'connector' = 'postgres', 'url' = '{}'", self.url);
        let mut tables = format!("CREATE TABLE orders ({columns}, WATERMARK FOR at AS at) WITH ({database});\n");
        let mut tasks = String::new();
        let mut before = String::new();
        for (name, how) in WAYS {
            let by = if name == "by_day" { " PARTITIONED BY (day)" } else { "" };
            tables += &format!("CREATE TABLE pg.{name} ({columns}){by} WITH ({database}, 'table-name' = '{name}');\n");
            tables += &format!("CREATE TABLE lake.{name} ({columns}){by} WITH ('connector' = 'delta');\n");
            let how = how.trim_matches(['{', '}']).replace(", ", "\n    ");
            for store in ["pg", "lake"] {
                tasks += &format!(
                    "  {store}_{name}:\n    needs: [{before}]\n    transfer: {{from: orders, to: {store}.{name}}}\n    {how}\n"
                );
                before = format!("{store}_{name}");
            }
        }
        self.folder.write("mulgil.yaml", "name: copies\n");
        self.folder.write("sources/tables.sql", &tables);
        let schedule = "{cron: '0 0 * * *', timezone: UTC, start: 2024-01-01, end: 2024-01-04, catchup: none}";
        self.folder.write("flows/copy.yaml", &format!("flow: copy\nschedule: {schedule}\ntasks:\n{tasks}"));
        for (name, _) in WAYS {
            self.folder.succeed(&["sql", "-c", &format!("INSERT INTO lake.{name} SELECT * FROM pg.{name}")]);
        }
    }

    fn serve(&self, crash_at: Option<String>) -> Server {
        let mut command = self.folder.command(&["server", "--listen", "127.0.0.1:0"]);
        if let Some(point) = crash_at {
            command.env("MULGIL_CRASH_AT", point);
        }
        Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mulgil runs"))
    }

    /// Lives until it dies at the point.
    fn live_and_die(&self, point: &str, nth: usize) {
        let mut server = self.serve(Some(format!("{point}:{nth}")));
        let began = Instant::now();
        while server.0.try_wait().expect("a child").is_none() {
            assert!(began.elapsed() < PATIENCE, "it never came to \"{point}\" for time {nth}: {:?}", self.newest());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The latest run.
    fn newest(&self) -> Option<Value> {
        let place = std::fs::read(self.folder.path(".mulgil/server.json")).ok()?;
        let place: Value = serde_json::from_slice(&place).ok()?;
        let address = place["url"].as_str()?.trim_start_matches("http://").to_owned();
        let runs = get(&address, "/runs?flow=copy&limit=1").ok()?;
        get(&address, &format!("/runs/{}", runs["runs"][0]["id"])).ok()
    }

    /// Waits until the run has ended; how it has.
    fn wait(&self) -> Value {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "the run does not end: {:?}", self.newest());
            match self.newest() {
                Some(run) if ["succeeded", "failed"].iter().any(|end| run["status"] == *end) => return run,
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// `rows, different keys, sum of keys, rows of old content` of the first two days.
    fn content(&self, table: &str) -> String {
        let sums = "count(*), count(DISTINCT id), sum(id), count(*) FILTER (WHERE v LIKE 'old%')";
        let csv = self.folder.succeed(&["sql", "--format", "csv", "-c", &format!("SELECT {sums} FROM {table}")]);
        csv.lines().nth(1).unwrap_or_default().to_owned()
    }

    /// Each target holds what it should.
    fn check(&self) {
        let sum = |day: u64| (1..=ROWS).map(|n| day * 1_000_000 + n).sum::<u64>();
        for (name, _) in WAYS {
            let expected = match name {
                "replaced" => format!("{ROWS},{ROWS},{},0", sum(1)),
                _ => format!("{},{},{},0", 2 * ROWS, 2 * ROWS, sum(0) + sum(1)),
            };
            for store in ["pg", "lake"] {
                assert_eq!(self.content(&format!("{store}.{name}")), expected, "{store}.{name}");
            }
        }
    }
}

#[test]
fn killed_while_rows_are_written_each_target_equals_its_source() {
    let house = House::new();
    let mut server = house.serve(None);
    house.folder.wait_for_server(&mut server.0);
    drop(server);
    // The run is asked for in a life that ends with the first row of the first task.
    let mut server = house.serve(Some("while rows are written:1".to_owned()));
    house.folder.wait_for_server(&mut server.0);
    house.folder.command(&["flow", "run", "copy", "--date", "2024-01-02", "--detach"]).output().expect("mulgil runs");
    let began = Instant::now();
    while server.0.try_wait().expect("a child").is_none() {
        assert!(began.elapsed() < PATIENCE, "it never began to write");
        std::thread::sleep(Duration::from_millis(20));
    }
    let [midway, before, after] = WRITING_POINTS;
    for task in 0..2 * WAYS.len() {
        // The end of the task before it is passed first, unless that was the append into PostgreSQL, which finds its rows there already.
        let is_first = task == 0 || task == 2 * WAYS.len() - 1;
        house.live_and_die(before, if is_first { 1 } else { 2 });
        house.live_and_die(midway, 3);
        house.live_and_die(after, 1);
    }
    let mut server = house.serve(None);
    house.folder.wait_for_server(&mut server.0);
    let run = house.wait();
    assert_eq!(run["status"], "succeeded", "{run}");
    house.check();
    let deaths =
        run["tasks"].as_array().expect("tasks").iter().map(|task| task["attempts"].as_array().map_or(0, Vec::len) - 1);
    assert_eq!(deaths.sum::<usize>(), 1 + 3 * 2 * WAYS.len(), "each death cost one attempt: {run}");
    // Asked for again, the run leaves the same.
    house.folder.succeed(&["flow", "rerun", "copy/2024-01-02", "--all"]);
    assert_eq!(house.wait()["status"], "succeeded");
    house.check();
}
