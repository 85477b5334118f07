//! A stream into a webhook: ended as suddenly as a process while requests are under way, and begun again. A receiver that heeds keys
//! has each row once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mulgil_engine::checkpoint::CheckpointOptions;
use mulgil_log::{Record, TopicOptions};
use mulgil_serving::run::{Mode, RunOptions};
use tokio::runtime::Builder;

use crate::fixture::Project;
use crate::receiver::{Received, Receiver};

const PATIENCE: Duration = Duration::from_secs(120);
const ROUND: u64 = 500;

async fn append(project: &Project, round: u64) {
    let topic = project.log.topic_or_create("clicks", TopicOptions::default()).unwrap();
    let ids = round * ROUND..(round + 1) * ROUND;
    let record = |id: u64| Record { timestamp_ms: 0, key: None, value: format!("{{\"id\": {id}}}").into() };
    topic.append(0, &ids.map(record).collect::<Vec<Record>>()).await.unwrap();
}

/// The ids in what a receiver holds that takes each key once; the same key must always have come with the same rows.
fn ids(taken: &mut BTreeMap<String, String>, received: Vec<Received>) -> Vec<u64> {
    for request in received {
        let (key, text) = (request.header("idempotency-key").to_owned(), request.text());
        assert_eq!(taken.entry(key.clone()).or_insert_with(|| text.clone()), &text, "{key}");
    }
    let numbers = taken.values().flat_map(|text| text.split(|c: char| !c.is_ascii_digit())).filter(|n| !n.is_empty());
    let mut ids: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_heeds_keys_has_each_row_once() {
    let project = Arc::new(Project::new());
    let receiver = Arc::new(Receiver::start());
    append(&project, 0).await;
    let tables = format!(
        "CREATE TABLE clicks (id BIGINT) WITH ('connector' = 'log', 'topic' = 'clicks', 'format' = 'json');
         CREATE TABLE hook (id BIGINT) WITH ('connector' = 'http', 'url' = '{}', 'batch.size' = '40', 'body' = 'lines');",
        receiver.url()
    );
    let catalog = project.catalog(&tables);
    let mut taken = BTreeMap::new();
    let mut all = Vec::new();
    for round in 0..4_u64 {
        // Some answers are lost, at a place that differs from round to round: the job ends while it waits to send again.
        let is_cut_off = round % 2 == 0;
        if is_cut_off {
            receiver.answers(&vec![(200, ""); 3 + round as usize]);
            receiver.answers(&[(503, "retry-after: 600\r\n")]);
        }
        let wanted = if is_cut_off { 4 + round as usize } else { usize::MAX };
        let mut checkpoints = CheckpointOptions::new(project.dir.path().join("checkpoints"));
        checkpoints.interval = Duration::from_millis(50);
        let options =
            RunOptions { mode: Mode::Stream, follow: true, checkpoints: Some(checkpoints), ..RunOptions::default() };
        let (running, catalog, hearing) = (Arc::clone(&project), Arc::clone(&catalog), Arc::clone(&receiver));
        let (before, expected) = (taken.clone(), (round + 1) * ROUND);
        let job = std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let mut received = Vec::new();
            runtime.block_on(async {
                let come = async {
                    // Cut off in the middle, or when all rows have come.
                    while received.len() < wanted && ids(&mut before.clone(), received.clone()).len() < expected as usize {
                        received.extend(hearing.received());
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    ended = running.run(&catalog, "INSERT INTO hook SELECT id FROM clicks", &options) => panic!("{ended:?}"),
                    come = tokio::time::timeout(PATIENCE, come) => come.unwrap(),
                }
            });
            runtime.shutdown_timeout(PATIENCE);
            received
        });
        let received = tokio::task::block_in_place(|| job.join().unwrap());
        all = ids(&mut taken, received);
        append(&project, round + 1).await;
    }
    assert_eq!(all, (0..4 * ROUND).collect::<Vec<_>>(), "each once");
}
