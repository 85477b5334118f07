//! One row a case: how an attempt ended, the end of its log, what it used; and what is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::{Bottleneck as B, Ended as E, bytes, diagnose};
use crate::usage::{MachineUsage, SAMPLES_MAX, Sample, TreeUsage, Usage, keep};

const GB: u64 = 1 << 30;

/// A minute and a half on a machine with four processors and nothing to do.
fn quiet() -> Usage {
    let machine =
        MachineUsage { cores: 4, memory_bytes: 8 * GB, memory_available_min_bytes: 4 * GB, ..MachineUsage::default() };
    let tree = TreeUsage { cpu_ms: 40_000, memory_peak_bytes: GB, ..TreeUsage::default() };
    Usage { wall_ms: 90_000, tree: Some(tree), machine, ..Usage::default() }
}

fn used(change: impl FnOnce(&mut Usage)) -> Usage {
    let mut usage = quiet();
    change(&mut usage);
    usage
}

/// How it ended, what its log ends with, what it used, and what is found, with a part of the sentence.
type Case = (E, &'static str, Usage, Option<(B, &'static str)>);

fn beyond_limits() -> Vec<Case> {
    vec![
        (
            E::Failed(Some(137)),
            "",
            used(|usage| {
                usage.machine.container_oom_kills = 1;
                usage.machine.container_memory_bytes = Some(2 * GB);
            }),
            Some((B::Memory, "the memory of 2.0 GB of the worker's container was used up; its processes held 1.0 GB")),
        ),
        (
            E::OverMemory { used: 3 * GB / 2, allowed: GB },
            "Connection refused",
            quiet(),
            Some((B::Memory, "out of memory: its processes used 1.5 GB of the 1.0 GB that `memory:` allows")),
        ),
    ]
}

fn failures() -> Vec<Case> {
    vec![
        (
            E::Failed(Some(1)),
            "tar: x: No space left on device",
            quiet(),
            Some((B::DiskSpace, "its log ends with: tar: x: No space left on device")),
        ),
        (
            E::Failed(Some(1)),
            "begin\nOSError: [Errno 122] Disk quota exceeded\nend",
            quiet(),
            Some((B::DiskSpace, "Disk quota exceeded")),
        ),
        (
            E::Failed(Some(2)),
            "",
            used(|usage| usage.machine.disk_free_bytes = Some(4096)),
            Some((B::DiskSpace, "disk is full: 4.0 KB are left")),
        ),
        (E::Failed(Some(1)), "MemoryError", quiet(), Some((B::Memory, "MemoryError"))),
        (
            E::Failed(Some(1)),
            "java.lang.OutOfMemoryError: Java heap space",
            quiet(),
            Some((B::Memory, "Java heap space")),
        ),
        (E::Failed(Some(137)), "", quiet(), Some((B::Memory, "killed from outside (signal 9)"))),
        (
            E::Failed(Some(137)),
            "",
            used(|usage| usage.machine.oom_kills = 1),
            Some((B::Memory, "the memory was used up; its processes held 1.0 GB")),
        ),
        (
            E::Failed(Some(7)),
            "curl: (7) Failed to connect: Connection refused",
            quiet(),
            Some((B::Refused, "Connection refused")),
        ),
        (
            E::Failed(Some(1)),
            "ConnectionRefusedError: [Errno 111] Connection refused",
            quiet(),
            Some((B::Refused, "Errno 111")),
        ),
        (E::Failed(Some(6)), "curl: (6) Could not resolve host: nowhere", quiet(), Some((B::Name, "nowhere"))),
        (E::Failed(Some(28)), "curl: (28) Operation timed out", quiet(), Some((B::Timeout, "Operation timed out"))),
        (
            E::Failed(Some(1)),
            "Connection refused, trying again\nno space left on device",
            quiet(),
            Some((B::DiskSpace, "no space left")),
        ),
        (E::Failed(Some(1)), "socket: Too many open files", quiet(), Some((B::OpenFiles, "Too many open files"))),
        (E::Failed(Some(127)), "sh: 1: frob: not found", quiet(), Some((B::Program, "127"))),
        (E::Failed(Some(126)), "sh: 1: ./x: Permission denied", quiet(), Some((B::Program, "126"))),
        (E::Failed(Some(1)), "assertion failed", quiet(), None),
    ]
}

fn slow_ones() -> Vec<Case> {
    let tree = |usage: &mut Usage, cpu_ms| usage.tree.as_mut().unwrap().cpu_ms = cpu_ms;
    vec![
        (E::TimedOut, "psycopg2: deadline exceeded", quiet(), Some((B::Timeout, "deadline exceeded"))),
        (
            E::TimedOut,
            "",
            used(|usage| usage.machine.cpu_share = 0.97),
            Some((B::Cpu, "all 4 processors were busy, 0.4 by this attempt")),
        ),
        (
            E::TimedOut,
            "",
            used(|usage| tree(usage, 89_000)),
            Some((B::Cpu, "one processor busy all the time (1.0 of 4)")),
        ),
        (E::TimedOut, "", used(|usage| tree(usage, 2_000)), Some((B::Waiting, "it used 2 % of one processor"))),
        (
            E::TimedOut,
            "",
            used(|usage| usage.machine.memory_available_min_bytes = GB / 8),
            Some((B::Memory, "only 128 MB")),
        ),
        (E::Well, "", used(|usage| usage.machine.disk_share = 0.95), Some((B::Disk, "busy 95 % of the time"))),
        (E::Well, "", used(|usage| usage.machine.network_share = Some(0.93)), Some((B::Network, "used to 93 %"))),
        (E::Well, "Connection refused, but it went on", quiet(), None),
        (E::Well, "", used(|usage| (usage.wall_ms, usage.machine.cpu_share) = (2_000, 1.0)), None),
    ]
}

#[test]
fn every_cause_is_named_with_what_was_seen() {
    for (ended, log, usage, expected) in failures().into_iter().chain(beyond_limits()).chain(slow_ones()) {
        let found = diagnose(ended, log, &usage);
        let seen = found.as_ref().map(|finding| (finding.bottleneck, finding.sentence.as_str()));
        let fits = match (seen, expected) {
            (Some((bottleneck, sentence)), Some((wanted, part))) => bottleneck == wanted && sentence.contains(part),
            (seen, expected) => seen.is_none() && expected.is_none(),
        };
        assert!(fits, "{ended:?} {log:?}: {seen:?}, expected {expected:?}");
        assert!(found.is_none_or(|finding| !finding.remedy.is_empty()));
    }
}

#[test]
fn sizes_read_well() {
    let cases = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (10 << 20, "10 MB"), (3 * GB / 2, "1.5 GB")];
    cases.into_iter().for_each(|(size, text)| assert_eq!(bytes(size), text));
}

#[test]
fn samples_of_a_long_attempt_are_few_and_over_all_of_it() {
    let mut samples = Vec::new();
    (0..10_000).for_each(|at_ms| keep(&mut samples, Sample { at_ms, ..Sample::default() }));
    assert!(samples.len() <= SAMPLES_MAX && samples.len() > SAMPLES_MAX / 2, "{}", samples.len());
    assert_eq!((samples[0].at_ms, samples.last().unwrap().at_ms), (0, 9_999));
    assert!(samples.is_sorted_by_key(|sample| sample.at_ms));
}
