//! A disk that is really full while a checkpoint is written: a file system of half a megabyte, in a namespace of the test's own,
//! filled to the last byte. The job goes on with the last good checkpoint, says so, and recovers when there is room.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::checkpoints::{Ledger, begin, checkpointed, covered};
use crate::graphs::{event, per_key, rows};
use crate::memory::{MemorySource, Step, gate, wait_for_status, within};

const DIR: &str = "MULGIL_TEST_DISK";

#[test]
fn a_checkpoint_that_meets_a_full_disk_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=512k none \"$MULGIL_TEST_DISK\" && exec \"$0\" \"$@\"";
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let namespace = if is_root { "-m" } else { "-rm" };
    let mut command = Command::new("unshare");
    command.args([namespace, "sh", "-c", script]).arg(std::env::current_exe().unwrap());
    command.args(["full_disk::child", "--exact", "--ignored", "--nocapture"]).env(DIR, dir.path());
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// Fills the disk to the last byte.
fn fill(ballast: &Path) {
    let mut file = File::create(ballast).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in the child process only"]
async fn child() {
    let disk = std::path::PathBuf::from(std::env::var(DIR).unwrap());
    let (folder, ballast) = (disk.join("checkpoints"), disk.join("ballast"));
    let (ledger, gate, graph) = (Ledger::default(), gate(), per_key(0, 0));
    let batch = |n: i64| [Step::Wait(gate.clone()), Step::Rows(rows(&[event("a", n * 3, n), event("b", n * 3, n)]))];
    let source = MemorySource::new(vec![(0..8).flat_map(batch).collect()]);
    let job = begin(&graph, checkpointed(2, &folder), &source, &ledger).await.unwrap();
    gate.add_permits(2);
    covered(&job, 4).await;
    fill(&ballast);
    let before = job.status().checkpoints.unwrap().completed;
    gate.add_permits(2);
    wait_for_status(&job, "the failure", |status| {
        let made = status.checkpoints.as_ref();
        status.rows_in == 8 && made.is_some_and(|made| made.failed > 1 && made.error.is_some())
    })
    .await;
    let made = job.status().checkpoints.unwrap();
    assert_eq!(made.completed, before, "{made:?}");
    assert!(made.error.as_ref().is_some_and(|error| error.contains("No space left")), "{made:?}");
    std::fs::remove_file(&ballast).unwrap();
    covered(&job, 8).await;
    // What was written when there was room again is what a restart goes on from.
    job.cancel().await;
    let job = begin(&graph, checkpointed(1, &folder), &source, &ledger).await.unwrap();
    gate.add_permits(1_000);
    within("the end", job.join()).await.unwrap();
    let expected = ["a 0 10 4 6", "a 10 20 3 15", "a 20 30 1 7", "b 0 10 4 6", "b 10 20 3 15", "b 20 30 1 7"];
    assert_eq!(ledger.published(), expected);
}
