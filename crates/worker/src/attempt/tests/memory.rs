//! Real processes that eat more memory than their task allows.

use mulgil_sched::diagnosis::Bottleneck;

use super::bench::{Ended, House};
use crate::cgroup::OwnGroup;
use crate::memory::MemoryKeeper;

/// Eats memory, piece by piece, in a grandchild that has left the process group; then it waits to be found.
const EATER: &str = "import os, time
if os.fork() == 0:
    os.setsid()
    held = []
    for _ in range(30):
        held.append(b'x' * 10_000_000)
        time.sleep(0.02)
    time.sleep(600)
    os._exit(0)
os.wait()
";

fn check(ended: &Ended) {
    let error = ended.error();
    assert!(
        error.starts_with("out of memory: its processes used ") && error.contains(" of the 100 MB that"),
        "{error}"
    );
    assert_eq!(ended.fault().to_string().split(' ').next(), Some("out_of_memory"));
    let usage = ended.usage.as_ref().unwrap();
    let finding = usage.finding.as_ref().unwrap();
    assert_eq!(finding.bottleneck, Bottleneck::Memory);
    assert_eq!(finding.remedy, "raise `memory:` of the task, or work on smaller pieces");
    assert!(usage.wall_ms < 300_000, "it does not wait for its end: {usage:?}");
}

fn house(memory: MemoryKeeper) -> House {
    let mut house = House::new("{}");
    house.memory = memory;
    std::fs::write(house.path().join("eater.py"), EATER).unwrap();
    house
}

#[tokio::test]
async fn where_nobody_else_counts_a_tree_beyond_its_memory_is_seen_and_ended() {
    let house = house(MemoryKeeper::default());
    check(&house.run("{shell: python3 eater.py, memory: 100 MB}").await);
    house.run("{shell: echo small, memory: 100 MB}").await.result();
}

/// Pages that processes share are not counted for each of them.
#[tokio::test]
async fn processes_that_share_memory_have_it_once() {
    let house = house(MemoryKeeper::default());
    let script = "import os, time
held = b'x' * 60_000_000
for _ in range(4):
    if os.fork() == 0:
        time.sleep(1)
        os._exit(0)
time.sleep(1)
";
    std::fs::write(house.path().join("family.py"), script).unwrap();
    house.run("{shell: exec python3 family.py, memory: 150 MB}").await.result();
}

#[tokio::test]
async fn where_the_worker_may_the_kernel_keeps_the_limit() {
    let house = house(MemoryKeeper::find());
    let mut probe = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = probe.id().cast_signed();
    let group = OwnGroup::of_this_process().and_then(|own| own.limit(-1, 1 << 40, pid).ok());
    probe.kill().unwrap();
    probe.wait().unwrap();
    if group.is_none() {
        println!("not tested: this user may make no control groups with a limit of memory");
        return;
    }
    drop(group);
    let eats = "python3 -c \"x = b\\\"x\\\" * 300_000_000\"; echo goes on";
    let ended = house.run(&format!("{{shell: '{eats}', memory: 100 MB}}")).await;
    check(&ended);
    assert_eq!(ended.usage.unwrap().machine.container_oom_kills, 0, "its own limit is not the container's");
    house.run("{shell: echo small, memory: 100 MB}").await.result();
}
