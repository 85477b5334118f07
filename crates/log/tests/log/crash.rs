//! `kill -9` while appending: a child process appends and reports what was acknowledged; it is killed; everything it
//! had reported must be there. The child is this test program itself, running [`child`].

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIR: &str = "MULGIL_LOG_TEST_DIR";
const DURABILITY: &str = "MULGIL_LOG_TEST_DURABILITY";

#[test]
#[ignore = "runs in the child process only"]
fn child() {
    let durability = if std::env::var(DURABILITY).unwrap() == "Os" { Durability::Os } else { Durability::Fsync };
    let log = EventLog::open(std::env::var(DIR).unwrap(), small_segments()).unwrap();
    let topic = log.topic_or_create("t", options(durability)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut next = topic.offsets(0).unwrap().end;
        let mut on_their_way = std::collections::VecDeque::new();
        // Until killed. Several appends are on their way at any time, so that batches have several frames.
        loop {
            let size = 1 + next % 23;
            on_their_way.push_back(topic.send(0, &records(next..next + size)).await.unwrap());
            next += size;
            if on_their_way.len() > 8 {
                let acknowledged = on_their_way.pop_front().unwrap().await.unwrap();
                let mut out = std::io::stdout().lock();
                writeln!(out, "\nacknowledged {}", acknowledged.end).unwrap();
                out.flush().unwrap();
            }
        }
    });
}

#[test]
fn acknowledged_records_survive_kill_9() {
    let seed: usize = std::env::var("MULGIL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("MULGIL_SEED={seed}");
    for durability in ["Fsync", "Os"] {
        let dir = tempfile::tempdir().unwrap();
        let mut before = 0;
        for round in 0..6 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "crash::child", "--ignored", "--nocapture", "--test-threads=1"])
                .env(DIR, dir.path())
                .env(DURABILITY, durability)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            let mut reports = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
            // Kill at a moment that has nothing to do with what the writer is doing.
            let acknowledged_when_killed = reports.nth((seed * (round + 1)) % 97).unwrap();
            child.kill().unwrap();
            let acknowledged = reports.last().unwrap_or(acknowledged_when_killed);
            child.wait().unwrap();

            let log = EventLog::open(dir.path(), small_segments()).unwrap();
            let found = all(&log.topic("t").unwrap());
            let count = found.len() as u64;
            assert!(count >= acknowledged, "{durability}, round {round}: {acknowledged} acknowledged, {count} found");
            assert!(count > before, "{durability}, round {round}: nothing was appended");
            assert_intact(&found, count);
            before = count;
        }
    }
}
