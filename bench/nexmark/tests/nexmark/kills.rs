//! The kill matrix: the real program answers Nexmark's questions into every system that takes rows exactly once, and is killed
//! again and again: at the named points of a checkpoint, one after the other, and every fourth time at a random moment; with
//! another parallelism at every start. In the end each system holds what batch gives over all events, and nothing twice.
//! Questions that update their rows write a changelog into topics, and the reader folds it.
//!
//! `make test` kills each of a few cells three times. `make kill-matrix` goes over all of them with the release program, and
//! prints the table that stands in `docs/reliability.md`. Seeds are printed; `MULGIL_SEED` sets another.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mulgil_engine::crash::POINTS;
use mulgil_log::{Durability, EventLog, LogOptions, Record, TopicOptions};
use mulgil_nexmark::event::{Event, Generator};
use mulgil_nexmark::query::queries;

use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::target::{ANSWERS, Answer, System};

/// Where the process dies, where it is not killed at a random moment. Rows that are given exactly once have no mark, and
/// only transactions have a commit.
fn points(system: System) -> Vec<&'static str> {
    let is_met =
        |point: &&str| !point.contains("the mark") && (system.has_commit() || !point.contains("the sink's commit"));
    POINTS.into_iter().filter(is_met).collect()
}
const TABLES: [(&str, &str); 3] = [
    (
        "person",
        "id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR, state VARCHAR, date_time TIMESTAMP(3), \
         extra VARCHAR",
    ),
    (
        "auction",
        "id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), expires \
         TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR",
    ),
    (
        "bid",
        "auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP(3), extra VARCHAR",
    ),
];
/// Events between two kills: sixteen seconds of event time, so that windows end in each life.
const CHUNK: u64 = 4_000;
const EVENTS_PER_SECOND: u64 = 250;
/// A life in which it does not come to its point ends all the same.
const LIFE_MAX: Duration = Duration::from_secs(8);
/// Partitions of each topic.
const PARTITIONS: u32 = 2;
/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// A seeded source of choices (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % count
    }
}

/// A question, a system, and a project for them.
struct Cell {
    answer: &'static Answer,
    system: System,
    folder: tempfile::TempDir,
    /// The next event.
    next: u64,
}

/// A program that ends with the test, however that ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program under test.
fn program() -> PathBuf {
    if let Ok(program) = std::env::var("MULGIL_PROGRAM") {
        return fs::canonicalize(program).expect("MULGIL_PROGRAM is a program");
    }
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("mulgil");
    assert!(program.exists(), "{} is missing: run the tests of the whole workspace", program.display());
    program
}

impl Cell {
    fn new(answer: &'static Answer, system: System) -> Self {
        let cell = Self { answer, system, folder: tempfile::tempdir().unwrap(), next: 0 };
        cell.write("mulgil.yaml", "");
        let tables = TABLES.map(|(name, columns)| {
            format!(
                "CREATE TABLE {name} ({columns}, WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND) WITH ('connector' = \
                 'log', 'topic' = '{name}', 'format' = 'json');\n"
            )
        });
        cell.write("sources/events.sql", &tables.concat());
        if system != System::View {
            cell.write("sources/out.sql", &answer.table(system, &cell.options()));
            cell.write("insert.sql", &format!("INSERT INTO out {}", cell.question()));
        }
        cell
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn question(&self) -> &'static str {
        queries(&[self.answer.query.to_owned()]).unwrap()[0].text
    }

    /// The options of the table `out`; the system is made ready for it.
    fn options(&self) -> String {
        let name = format!("out_{}_{}", self.answer.query, std::process::id());
        let records = match self.answer.key {
            None => "'format' = 'json'".to_owned(),
            Some(key) if self.system == System::Kafka => {
                let fields = key.replace(", ", ";");
                format!("'format' = 'debezium-json', 'key.format' = 'json', 'key.fields' = '{fields}'")
            }
            Some(_) => "'format' = 'debezium-json'".to_owned(),
        };
        match self.system {
            System::View => unreachable!("a view has no table"),
            System::Log => format!("'connector' = 'log', 'topic' = 'out', 'topic.partitions' = '2', {records}"),
            System::Files => "'connector' = 'filesystem', 'path' = 'out', 'format' = 'json'".to_owned(),
            System::Lake => "'connector' = 'delta'".to_owned(),
            System::Postgres => {
                Cluster::shared().run(&self.answer.database_table(&name));
                format!("'connector' = 'postgres', 'table-name' = '{name}', 'url' = '{}'", Cluster::shared().url())
            }
            System::Kafka => {
                Broker::shared().topic(&name, 2);
                format!(
                    "'connector' = 'kafka', 'topic' = '{name}', {records}, 'properties.bootstrap.servers' = '{}', \
                     'sink.delivery-guarantee' = 'exactly-once', 'scan.startup.mode' = 'earliest-offset'",
                    Broker::shared().servers()
                )
            }
        }
    }

    /// Appends the next events to the topics, while the program does not run.
    fn append(&mut self) {
        let generator = Generator { events_per_second: EVENTS_PER_SECOND, ..Generator::default() };
        let log = EventLog::open(self.folder.path().join(".mulgil/log"), LogOptions::default()).unwrap();
        let options = || TopicOptions { partitions: PARTITIONS, durability: Durability::Os, ..TopicOptions::default() };
        let mut records: [[Vec<Record>; 2]; 3] = Default::default();
        for number in self.next..self.next + CHUNK {
            let (table, text) = json(&generator.event(number));
            let record = Record { timestamp_ms: 0, key: None, value: Bytes::from(text) };
            records[table][(number / 50 % 2) as usize].push(record);
        }
        self.next += CHUNK;
        for ((name, _), partitions) in TABLES.iter().zip(records) {
            let topic = log.topic_or_create(name, options()).unwrap();
            for (partition, records) in (0..PARTITIONS).zip(partitions) {
                topic.append_blocking(partition, &records).unwrap();
            }
        }
    }

    /// The program that keeps the answer up to date.
    fn command(&self, parallelism: u64, follow: bool) -> Command {
        let mut command = Command::new(program());
        command.arg("--project").arg(self.folder.path());
        if self.system == System::View {
            let options = format!("'checkpoint-interval' = '1 ms', 'parallelism' = '{parallelism}'");
            self.write(
                "views/answer.sql",
                &format!(
                    "CREATE MATERIALIZED TABLE answer WITH ({options}) REFRESH_MODE = CONTINUOUS AS {};",
                    self.question()
                ),
            );
            command.args(["server", "--listen", "127.0.0.1:0"]);
        } else {
            command.args(["sql", "--mode", "stream", "--checkpoint-interval-ms", "1", "--parallelism"]);
            command.arg(parallelism.to_string()).arg("--checkpoints").arg(self.folder.path().join("checkpoints"));
            command.args(follow.then_some("--follow")).arg(self.folder.path().join("insert.sql"));
        }
        let log = fs::File::options().append(true).create(true).open(self.folder.path().join("program.log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    /// Lives until it dies: at the named point, or at a random moment. Whether it came to the point; what it says if it ends by
    /// itself.
    fn live_and_die(&self, random: &mut Random, point: Option<&str>) -> Result<bool, String> {
        let mut command = self.command(1 + random.below(3), true);
        if let Some(point) = point {
            // A start recovers once, and what is published at once is not published again soon.
            let comes_often = !point.contains("recovery") && !point.contains("the sink's commit");
            let nth = if comes_often { 1 + random.below(2) } else { 1 };
            command.env("MULGIL_CRASH_AT", format!("{point}:{nth}"));
        }
        let mut program = Program(command.spawn().unwrap());
        let life = point.map_or_else(|| Duration::from_millis(150 + random.below(1_500)), |_| LIFE_MAX);
        let began = Instant::now();
        while began.elapsed() < life {
            match program.0.try_wait().unwrap() {
                Some(status) if status.signal().is_some() => return Ok(true),
                Some(status) => return Err(format!("it ends by itself, {status}: {}", self.said())),
                None => {}
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(false)
    }

    /// What the program has said.
    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("program.log")).unwrap_or_default()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(program()).arg("--project").arg(self.folder.path()).args(arguments).output().unwrap()
    }

    /// The rows of a query, sorted.
    fn rows(&self, sql: &str) -> Result<Vec<String>, String> {
        let output = self.run(&["sql", "--format", "csv", "-c", sql]);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let mut rows: Vec<String> =
            String::from_utf8_lossy(&output.stdout).lines().skip(1).map(str::to_owned).collect();
        rows.sort();
        Ok(rows)
    }

    /// Runs to the end of all events, and compares. How many rows there are.
    fn finish(&self) -> Result<usize, String> {
        let compared = self.answer.compared;
        let expected = self.rows(&format!("SELECT {compared} FROM ({})", self.question()))?;
        if self.system == System::View {
            return self.finish_view(&expected);
        }
        let status = self.command(2, false).status().unwrap();
        if !status.success() {
            return Err(format!("it fails in the end: {}", self.said()));
        }
        let found = self.rows(&format!("SELECT {compared} FROM out"))?;
        difference(&expected, &found).map_or(Ok(found.len()), Err)
    }

    /// A view never ends: windows that are still open are not in it.
    fn finish_view(&self, expected: &[String]) -> Result<usize, String> {
        let undisturbed = Self::new(self.answer, System::View);
        copy(&self.folder.path().join(".mulgil/log"), &undisturbed.folder.path().join(".mulgil/log"));
        let _servers = [self, &undisturbed].map(|cell| Program(cell.command(2, true).spawn().unwrap()));
        let (began, mut before) = (Instant::now(), None);
        let query = format!("SELECT {} FROM answer", self.answer.compared);
        loop {
            let rows = (self.rows(&query), undisturbed.rows(&query));
            if let (Ok(found), Ok(wanted)) = &rows
                && found == wanted
                && before.as_ref() == Some(found)
                && expected.len() <= 3 * found.len()
                && found.iter().all(|row| expected.binary_search(row).is_ok())
            {
                return Ok(found.len());
            }
            if began.elapsed() > PATIENCE {
                let (found, wanted) = (rows.0?, rows.1?);
                let fault = difference(&wanted, &found).or_else(|| difference(expected, &found));
                return Err(fault.unwrap_or_else(|| "it does not come to rest".to_owned()));
            }
            before = rows.0.ok();
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// In which table an event is, and its row as JSON.
fn json(event: &Event) -> (usize, String) {
    let time = |ms: i64| {
        let (days, ms) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
        // Day 0 of Nexmark here is 2015-07-14; no test is longer than two weeks.
        let day = 14 + days - 1_436_832_000_000_i64.div_euclid(86_400_000);
        let (h, m, s, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
        format!("2015-07-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}")
    };
    match event {
        Event::Person(p) => (
            0,
            serde_json::json!({"id": p.id, "name": p.name, "email_address": p.email_address, "credit_card": p.credit_card,
                "city": p.city, "state": p.state, "date_time": time(p.date_time_ms), "extra": p.extra})
            .to_string(),
        ),
        Event::Auction(a) => (
            1,
            serde_json::json!({"id": a.id, "item_name": a.item_name, "description": a.description,
                "initial_bid": a.initial_bid, "reserve": a.reserve, "date_time": time(a.date_time_ms),
                "expires": time(a.expires_ms), "seller": a.seller, "category": a.category, "extra": a.extra})
            .to_string(),
        ),
        Event::Bid(b) => (
            2,
            serde_json::json!({"auction": b.auction, "bidder": b.bidder, "price": b.price, "channel": b.channel,
                "url": b.url, "date_time": time(b.date_time_ms), "extra": b.extra})
            .to_string(),
        ),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

/// In what two sorted lists differ.
fn difference(expected: &[String], found: &[String]) -> Option<String> {
    if expected == found {
        return None;
    }
    let missing: Vec<&String> = expected.iter().filter(|row| found.binary_search(row).is_err()).take(3).collect();
    let surplus: Vec<&String> = found.iter().filter(|row| expected.binary_search(row).is_err()).take(3).collect();
    Some(format!("{} rows, {} expected; missing: {missing:?}; too many: {surplus:?}", found.len(), expected.len()))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// What came of a cell.
struct Filled {
    /// How many of the kills were to be at a named point.
    named: u64,
    /// The points to which it did not come.
    missed: Vec<&'static str>,
    /// The rows in the end.
    rows: usize,
}

/// Kills a cell again and again: from point to point, and every fourth time at a random moment.
fn fill(answer: &'static Answer, system: System, kills: u64, seed: u64) -> Result<Filled, String> {
    let mut random = Random(seed);
    let mut cell = Cell::new(answer, system);
    let points = points(system);
    // The last two are of recovery, and to recover there must be a checkpoint.
    let first = random.below(points.len() as u64 - 2);
    let (mut named, mut missed) = (0, Vec::new());
    for kill in 0..kills {
        cell.append();
        let point = (kill % 4 != 3).then(|| points[((first + named) % points.len() as u64) as usize]);
        let is_there = cell.live_and_die(&mut random, point)?;
        named += u64::from(point.is_some());
        missed.extend(point.filter(|_| !is_there));
    }
    cell.append();
    Ok(Filled { named, missed, rows: cell.finish()? })
}

#[test]
fn every_system_holds_each_row_once_whenever_the_program_is_killed() {
    let kills = number("MULGIL_KILLS");
    let seed = number("MULGIL_SEED").unwrap_or(20_261_122);
    let wanted = std::env::var("MULGIL_CELLS").unwrap_or_default();
    let (mut faults, mut number) = (Vec::new(), 0);
    for answer in &ANSWERS {
        for system in System::ALL {
            if answer.key.is_some() && !system.takes_changes() {
                continue;
            }
            number += 1;
            let name = format!("{} {system:?}", answer.query);
            // Without a wish, one cell of each system.
            let few = ["q4 View", "q20 Log", "q11 Files", "q7 Lake", "q17 Postgres", "q5 Kafka"];
            if kills.is_none() && !few.contains(&name.as_str()) || !name.contains(&wanted) {
                continue;
            }
            let began = Instant::now();
            let outcome = fill(answer, system, kills.unwrap_or(3), seed + number);
            match outcome {
                Ok(Filled { rows: 0, .. }) => faults.push(format!("{name}: no rows, which proves nothing")),
                Ok(Filled { named, missed, rows }) => println!(
                    "{name}: {} kills, {} of them at a named point (not come to: {missed:?}); {rows} rows, equal; {} s (seed {})",
                    kills.unwrap_or(3),
                    named - missed.len() as u64,
                    began.elapsed().as_secs(),
                    seed + number
                ),
                Err(fault) => faults.push(format!("{name} (seed {}): {fault}", seed + number)),
            }
            if let Some(fault) = faults.last() {
                println!("{fault}");
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
