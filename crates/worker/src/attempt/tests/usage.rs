//! What real processes use is told, and what breaks them is named.

use mulgil_sched::diagnosis::Bottleneck;

use super::bench::House;

#[tokio::test]
async fn a_process_that_burns_a_processor_is_measured_with_its_children() {
    let house = House::new("{}");
    let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done\n";
    std::fs::write(house.path().join("burn.sh"), burn).unwrap();
    let ended = house.run("{shell: sh burn.sh; sh burn.sh; true}").await;
    ended.result();
    let usage = ended.usage.unwrap();
    let tree = usage.tree.unwrap();
    assert!(tree.cpu_ms > 20 && tree.cpu_ms <= usage.wall_ms * 2 + 20, "{usage:?}");
    assert!(
        usage.machine.cores > 0 && usage.machine.memory_bytes > 0 && usage.machine.disk_free_bytes.is_some(),
        "{usage:?}"
    );
}

#[tokio::test]
async fn what_a_process_holds_and_writes_is_seen_by_the_sampler() {
    let house = House::new("{}");
    // It holds what it has until the sampler has looked twice.
    let script = "import os, time\nheld = b'x' * 100_000_000\nfile = open('written', 'wb')\nfile.write(held[:20_000_000])\nfile.flush()\nos.fsync(file.fileno())\ntime.sleep(1.3)\n";
    std::fs::write(house.path().join("hold.py"), script).unwrap();
    let ended = house.run("{shell: python3 hold.py & wait}").await;
    ended.result();
    let usage = ended.usage.unwrap();
    let tree = usage.tree.unwrap();
    assert!(tree.memory_peak_bytes > 100_000_000, "{usage:?}");
    assert!(!usage.samples.is_empty(), "{usage:?}");
    // A file system in memory writes nothing to a disk.
    let in_memory = tree.written_bytes == 0;
    assert!(in_memory || tree.written_bytes >= 20_000_000, "{usage:?}");
}

#[tokio::test]
async fn a_process_beyond_its_memory_a_full_disk_and_a_closed_port_are_told_apart() {
    let house = House::new("{}");
    // A port that was open a moment ago, and that nobody has now.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connect = format!("python3 -c \"import socket; socket.create_connection((\\\"127.0.0.1\\\", {port}))\"");
    let cases = [
        (
            "ulimit -v 200000; exec python3 -c \"x = b\\\"x\\\" * 900_000_000\"".to_owned(),
            (Bottleneck::Memory, "out_of_memory (exit 1)"),
            "MemoryError",
        ),
        (
            "cat /proc/version > /dev/full".to_owned(),
            (Bottleneck::DiskSpace, "disk_full (exit 1)"),
            "No space left on device",
        ),
        (connect, (Bottleneck::Refused, "connection (exit 1)"), "Connection refused"),
        ("no-such-command-at-all".to_owned(), (Bottleneck::Program, "command_not_found (exit 127)"), "not found"),
        ("kill -9 $$".to_owned(), (Bottleneck::Memory, "out_of_memory (exit 137)"), "signal 9"),
    ];
    for (command, (bottleneck, fault), said) in cases {
        let quoted = command.replace('\'', "''");
        let ended = house.run(&format!("{{shell: '{quoted}'}}")).await;
        let finding = ended.usage.as_ref().and_then(|usage| usage.finding.clone());
        let finding = finding.unwrap_or_else(|| panic!("{command}: nothing found\n{}", ended.log));
        assert_eq!(finding.bottleneck, bottleneck, "{command}: {finding:?}");
        assert!(finding.sentence.contains(said), "{command}: {finding:?}");
        assert!(ended.log.contains(&finding.remedy), "{}", ended.log);
        assert_eq!(ended.fault().to_string(), fault, "{command}");
    }
}

#[tokio::test]
async fn a_failure_that_nothing_explains_is_its_exit_code() {
    let house = House::new("{}");
    assert_eq!(house.run("{shell: exit 75}").await.fault().to_string(), "exit 75");
    assert_eq!(house.run("{sql: SELECT 1}").await.fault().to_string(), "other");
}
