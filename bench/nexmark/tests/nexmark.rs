//! Every question over a few events, as a stream and in batch; `mulgil-nexmark check` does the same over a million.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../../../crates/connect/tests/connect/broker.rs"]
#[allow(dead_code, reason = "passwords and pauses are for the tests of `connect`")]
mod broker;
#[path = "../../../crates/connect/tests/connect/cluster.rs"]
#[allow(dead_code, reason = "orders are for the tests of `connect`")]
mod cluster;
#[path = "nexmark/kills.rs"]
mod kills;
#[path = "nexmark/target.rs"]
mod target;

use mulgil_nexmark::check::Check;
use mulgil_nexmark::event::Generator;
use mulgil_nexmark::files::Files;
use mulgil_nexmark::query::QUERIES;

const EVENTS: u64 = 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_and_batch_give_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    // A millisecond an event: no two rows have the same time, so that rankings have one answer.
    let generator = Generator { events_per_second: 1_000, ..Generator::default() };
    let dir = folder.path().to_owned();
    Files { dir: dir.clone(), events: EVENTS, partitions: 3, generator }.write().unwrap();
    let mut faults = Vec::new();
    for query in QUERIES {
        let answer = Check { dir: dir.clone(), parallelism: 2 }.query(&query).await;
        match answer {
            Ok(0) => faults.push(format!("{}: no rows, which proves nothing", query.name)),
            Ok(_) => {}
            Err(error) => faults.push(format!("{}: {error:#}", query.name)),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
