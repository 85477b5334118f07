//! Checkpoints in object storage, on a real server: each start is on a machine that knows nothing, or too much.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mulgil_connect::object_storage::ObjectFolder;
use mulgil_connect::sink::Sink;
use mulgil_connect::source::Source;
use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_engine::deterministic::Random;
use mulgil_engine::job::{Job, JobHandle, JobOptions};
use tokio::sync::Semaphore;

use crate::bucket::Storage;
use crate::checkpoints::{DatabaseHandle, added_up, covered, gated, ungated};
use crate::graphs::{event, per_key, rows};
use crate::memory::{MemorySink, MemorySource, Step, gate, options, start, wait_for_status, within};

fn remote(parallelism: usize, folder: &Path, remote: &ObjectFolder) -> JobOptions {
    let checkpoints = CheckpointOptions {
        interval: Duration::from_millis(1),
        remote: Some(remote.clone()),
        ..CheckpointOptions::new(folder.to_owned())
    };
    JobOptions { checkpoints: Some(checkpoints), ..options(parallelism) }
}

async fn begin(options: JobOptions, source: &Arc<MemorySource>, database: &DatabaseHandle) -> JobHandle {
    let source: Arc<dyn Source> = source.clone();
    let sources = HashMap::from([("events".to_owned(), source)]);
    let sink: Arc<dyn Sink> = Arc::new(database.clone());
    let sinks = HashMap::from([("results".to_owned(), sink)]);
    Job::start(per_key(8, 0), options, sources, sinks, &tokio::runtime::Handle::current()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_knows_nothing_goes_on() {
    for seed in 1..=6 {
        let mut random = Random::new(seed);
        let gate = gate();
        let (scripts, mut closed) = gated(&mut random, &gate);
        let undisturbed = Arc::new(MemorySink::default());
        let job = start(per_key(8, 0), options(2), &MemorySource::new(ungated(&scripts)), &undisturbed).await.unwrap();
        within("the end", job.join()).await.unwrap();

        let place = Storage::shared().folder(&format!("machines/{seed}"));
        let (database, source) = (DatabaseHandle::default(), MemorySource::new(scripts));
        while closed > 0 {
            let folder = tempfile::tempdir().unwrap();
            let job = begin(remote(1 + random.below(4), folder.path(), &place), &source, &database).await;
            let open = random.below(6).min(closed);
            gate.add_permits(open);
            closed -= open;
            let read = job.status().rows_in;
            covered(&job, read * random.below(2) as u64).await;
            job.cancel().await;
            gate.add_permits(4);
        }
        let folder = tempfile::tempdir().unwrap();
        let job = begin(remote(3, folder.path(), &place), &source, &database).await;
        gate.add_permits(1_000);
        within("the end", job.join()).await.unwrap();
        assert_eq!(added_up(&database.lines()), added_up(&undisturbed.lines()), "seed {seed}");
        let left = std::fs::read_dir(Storage::shared().on_disk(&format!("machines/{seed}"))).unwrap();
        let left: Vec<String> = left.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let manifests = left.iter().filter(|name| name.ends_with(".checkpoint")).count();
        assert!((1..=3).contains(&manifests), "old checkpoints are removed there too: {left:?}");
    }
}

/// Eight batches, each before the gate.
fn batches(gate: &Arc<Semaphore>) -> Arc<MemorySource> {
    let batch = |n: i64| [Step::Wait(gate.clone()), Step::Rows(rows(&[event("a", n * 3, n), event("b", n * 3, n)]))];
    MemorySource::new(vec![(0..8).flat_map(batch).collect()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_gone_stops_nothing() {
    let (storage, folder, database, gate) =
        (Storage::start(), tempfile::tempdir().unwrap(), DatabaseHandle::default(), gate());
    let source = batches(&gate);
    let job = begin(remote(2, folder.path(), &storage.folder("gone")), &source, &database).await;
    gate.add_permits(2);
    covered(&job, 4).await;
    storage.kill();
    gate.add_permits(2);
    wait_for_status(&job, "the failure", |status| {
        let made = status.checkpoints.as_ref();
        status.rows_in == 8 && made.is_some_and(|made| made.error.as_ref().is_some_and(|error| error.contains("s3://")))
    })
    .await;
    let error = job.status().checkpoints.unwrap().error.unwrap();
    assert!(!error.contains("h0rse"), "{error}");
    storage.restart();
    covered(&job, 8).await;
    job.cancel().await;
    let fresh = tempfile::tempdir().unwrap();
    let job = begin(remote(1, fresh.path(), &storage.folder("gone")), &source, &database).await;
    gate.add_permits(1_000);
    within("the end", job.join()).await.unwrap();
    assert_eq!(added_up(&database.lines()).into_iter().collect::<Vec<_>>(), result());
}

fn result() -> Vec<(String, i64)> {
    let lines = ["a 0 10 4 6", "a 10 20 3 15", "a 20 30 1 7", "b 0 10 4 6", "b 10 20 3 15", "b 20 30 1 7"];
    lines.map(|line| (line.to_owned(), 1)).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_cut_off_and_goes_on_is_stopped() {
    let (old, new, database) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), DatabaseHandle::default());
    let (gate, its_gate) = (gate(), gate());
    let (source, place) = (batches(&gate), Storage::shared().folder("twice"));
    let first = begin(remote(1, old.path(), &place), &source, &database).await;
    gate.add_permits(2);
    covered(&first, 4).await;
    // Somebody else believes that the first is dead. It reads by a gate of its own: the first would take its permits.
    let second = begin(remote(1, new.path(), &place), &batches(&its_gate), &database).await;
    its_gate.add_permits(2);
    covered(&second, 1).await;
    its_gate.add_permits(1_000);
    gate.add_permits(1_000);
    let stopped = within("the end of the first", first.join()).await;
    let ended = within("the end of the second", second.join()).await;
    let refusals = [stopped.is_err(), ended.is_err()];
    assert!(refusals.contains(&true), "one of them is stopped");
    for refused in [stopped.err(), ended.err()].into_iter().flatten() {
        let refused = refused.to_string();
        assert!(
            refused.contains("another process runs the same pipeline")
                || refused.contains("going on would write rows twice"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_moves_from_a_local_folder() {
    let (folder, database, gate) = (tempfile::tempdir().unwrap(), DatabaseHandle::default(), gate());
    let (source, place) = (batches(&gate), Storage::shared().folder("moved"));
    let here =
        CheckpointOptions { interval: Duration::from_millis(1), ..CheckpointOptions::new(folder.path().to_owned()) };
    let job = begin(JobOptions { checkpoints: Some(here), ..options(2) }, &source, &database).await;
    gate.add_permits(4);
    covered(&job, 8).await;
    job.cancel().await;
    // Once with the old folder, and then on a new machine.
    begin(remote(2, folder.path(), &place), &source, &database).await.cancel().await;
    let fresh = tempfile::tempdir().unwrap();
    let job = begin(remote(1, fresh.path(), &place), &source, &database).await;
    gate.add_permits(1_000);
    within("the end", job.join()).await.unwrap();
    assert_eq!(added_up(&database.lines()).into_iter().collect::<Vec<_>>(), result());
}
