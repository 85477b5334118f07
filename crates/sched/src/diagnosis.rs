//! What broke an attempt or held it up, and what to do: from how it ended, the end of its log, and what it used.
//!
//! A cause that says so itself (an error of the system in the log, a kill for want of memory) goes before one that is read from figures.

use mulgil_flow::ErrorKind;
use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// A share of a processor, a disk or a link from which on it is the bottleneck.
const SATURATED: f64 = 0.9;
/// Attempts that took less are not called slow.
const SLOW_MS: u64 = 60_000;
/// Below this share of one processor a tree mostly waits.
const IDLE: f64 = 0.1;
/// With less memory available the machine is short of it.
const MEMORY_SHORT: f64 = 0.05;
/// With less room a disk is full.
const DISK_FULL_BYTES: u64 = 16 << 20;

/// What stands between an attempt and its success, or its speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bottleneck {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
    /// Room on a disk.
    DiskSpace,
    /// The speed of a disk.
    Disk,
    /// The speed of the network.
    Network,
    /// Somebody who does not answer in time.
    Timeout,
    /// Somebody who does not take connections.
    Refused,
    /// A name that nobody knows.
    Name,
    /// Files open at once.
    OpenFiles,
    /// A program that is not there, or may not be run.
    Program,
    /// Something outside of it: it mostly waits.
    Waiting,
}

impl Bottleneck {
    /// The kind of error that it is where it broke an attempt.
    pub fn error_kind(self) -> ErrorKind {
        match self {
            Self::Memory => ErrorKind::OutOfMemory,
            Self::DiskSpace => ErrorKind::DiskFull,
            Self::Refused | Self::Name | Self::Timeout => ErrorKind::Connection,
            Self::OpenFiles => ErrorKind::OpenFiles,
            Self::Program => ErrorKind::CommandNotFound,
            Self::Cpu | Self::Disk | Self::Network | Self::Waiting => ErrorKind::Other,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The bottleneck.
    pub bottleneck: Bottleneck,
    /// What was seen, in one sentence.
    pub sentence: String,
    /// What to do about it.
    pub remedy: String,
}

/// How an attempt ended, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It did what it should.
    Well,
    /// It failed by itself, with this exit code where it is known; beyond 128 it is a signal's number.
    Failed(Option<i32>),
    /// It was ended since it took too long.
    TimedOut,
    /// It was ended since its processes used more memory than its task allows.
    OverMemory {
        /// How many bytes they used.
        used: u64,
        /// How many they may.
        allowed: u64,
    },
}

/// What errors look like in logs, in small letters. The first that is found counts.
const WORDS: &[(Bottleneck, &[&str], &str)] = &[
    (
        Bottleneck::DiskSpace,
        &["no space left on device", "enospc", "disk quota exceeded", "disk full", "not enough space on the disk"],
        "free space on the disk, or write somewhere else",
    ),
    (
        Bottleneck::Memory,
        &[
            "out of memory",
            "outofmemory",
            "memoryerror",
            "cannot allocate memory",
            "memory exhausted",
            "bad_alloc",
            "enomem",
            "resources exhausted",
            "memory allocation of",
        ],
        "work on smaller pieces, raise its limit, or put it into a pool with fewer slots so that less runs beside it",
    ),
    (
        Bottleneck::Refused,
        &["connection refused", "econnrefused", "connection reset by peer", "econnreset"],
        "see whether the service is up and takes connections at that address, and from here",
    ),
    (
        Bottleneck::Name,
        &[
            "name or service not known",
            "could not resolve host",
            "temporary failure in name resolution",
            "nodename nor servname",
        ],
        "check the host's name and the machine's name server",
    ),
    (Bottleneck::OpenFiles, &["too many open files", "emfile"], "close files, or raise `ulimit -n` for the worker"),
    (
        Bottleneck::Timeout,
        &["timed out", "etimedout", "time-out", "timeout exceeded", "deadline exceeded", "timeouterror"],
        "see whether the other side is slow or out of reach; give it fewer requests at once, or more time",
    ),
];

/// Looks for what broke or held up an attempt; nothing where it went well and was not slow, or where nothing tells.
pub fn diagnose(ended: Ended, log_end: &str, usage: &Usage) -> Option<Finding> {
    match ended {
        Ended::Failed(code) => {
            killed(code, usage).or_else(|| said(log_end)).or_else(|| full_disk(usage)).or_else(|| program(code))
        }
        Ended::OverMemory { used, allowed } => Some(over_memory(used, allowed)),
        Ended::TimedOut => said(log_end).or_else(|| held_up(usage)),
        Ended::Well if usage.wall_ms >= SLOW_MS => held_up(usage),
        Ended::Well => None,
    }
}

fn finding(bottleneck: Bottleneck, sentence: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { bottleneck, sentence: sentence.into(), remedy: remedy.into() }
}

fn over_memory(used: u64, allowed: u64) -> Finding {
    let sentence =
        format!("out of memory: its processes used {} of the {} that `memory:` allows", bytes(used), bytes(allowed));
    finding(Bottleneck::Memory, sentence, "raise `memory:` of the task, or work on smaller pieces")
}

/// A process that was killed without a word, and whether the kernel did it for want of memory.
fn killed(code: Option<i32>, usage: &Usage) -> Option<Finding> {
    if code != Some(137) {
        return None;
    }
    let peak = usage
        .tree
        .map_or_else(String::new, |tree| format!("; its processes held {} at the most", bytes(tree.memory_peak_bytes)));
    let remedy =
        "work on smaller pieces, raise the container's or machine's memory, or put it into a pool with fewer slots";
    let sentence = match (usage.machine.container_oom_kills, usage.machine.oom_kills) {
        (1.., _) => {
            let limit = usage.machine.container_memory_bytes;
            let limit = limit.map_or_else(String::new, |limit| format!(" of {}", bytes(limit)));
            format!("it was killed since the memory{limit} of the worker's container was used up{peak}")
        }
        (0, 0) => {
            format!("it was killed from outside (signal 9), as happens when a container runs out of memory{peak}")
        }
        (0, _) => format!("it was killed since the memory was used up{peak}"),
    };
    Some(finding(Bottleneck::Memory, sentence, remedy))
}

/// An error of the system in the log's end.
fn said(log_end: &str) -> Option<Finding> {
    let small = log_end.to_lowercase();
    // What was said last is nearest to the end.
    let said = |(bottleneck, words, remedy): &(Bottleneck, &[&str], &'static str)| {
        let at = words.iter().filter_map(|word| small.rfind(word)).max()?;
        Some((at, *bottleneck, *remedy))
    };
    let (at, bottleneck, remedy) = WORDS.iter().filter_map(said).max_by_key(|(at, ..)| *at)?;
    let line = line_at(&small, at).and_then(|number| log_end.lines().nth(number)).unwrap_or_default();
    let line: String = line.trim().chars().take(200).collect();
    Some(finding(bottleneck, format!("its log ends with: {line}"), remedy))
}

fn line_at(text: &str, at: usize) -> Option<usize> {
    text.get(..at).map(|before| before.matches('\n').count())
}

fn full_disk(usage: &Usage) -> Option<Finding> {
    let free = usage.machine.disk_free_bytes.filter(|free| *free < DISK_FULL_BYTES)?;
    let sentence = format!("the project's disk is full: {} are left", bytes(free));
    Some(finding(Bottleneck::DiskSpace, sentence, "free space on it"))
}

fn program(code: Option<i32>) -> Option<Finding> {
    match code {
        Some(127) => Some(finding(
            Bottleneck::Program,
            "a command was not found (exit code 127)",
            "install it on the worker, or write its whole path",
        )),
        Some(126) => Some(finding(
            Bottleneck::Program,
            "a command could not be run (exit code 126)",
            "make the file executable with `chmod +x`",
        )),
        _ => None,
    }
}

/// What was used to the full while it ran.
fn held_up(usage: &Usage) -> Option<Finding> {
    let machine = &usage.machine;
    let wall_ms = usage.wall_ms.max(1) as f64;
    // What a process did that did nothing else is the attempt's.
    let alone = usage.host.filter(|host| host.others == 0).map(|host| host.cpu_ms);
    let cores = usage.tree.map(|tree| tree.cpu_ms).or(alone).map(|cpu_ms| cpu_ms as f64 / wall_ms);
    let available = machine.memory_available_min_bytes as f64 / machine.memory_bytes.max(1) as f64;
    if machine.memory_bytes > 0 && available < MEMORY_SHORT {
        let sentence = format!("the machine had only {} of memory left", bytes(machine.memory_available_min_bytes));
        return Some(finding(
            Bottleneck::Memory,
            sentence,
            "run less at once (fewer slots in the pool), or work on smaller pieces",
        ));
    }
    if machine.cpu_share >= SATURATED {
        let own = cores.map_or_else(String::new, |cores| format!(", {cores:.1} by this attempt"));
        let sentence = format!("all {} processors were busy{own}", machine.cores);
        return Some(finding(
            Bottleneck::Cpu,
            sentence,
            "run less at once (fewer slots in the pool), or take a machine with more processors",
        ));
    }
    if let Some(cores) = cores.filter(|cores| (SATURATED..1.1).contains(cores)) {
        let sentence = format!("it kept one processor busy all the time ({cores:.1} of {})", machine.cores);
        return Some(finding(
            Bottleneck::Cpu,
            sentence,
            "let it use more processors, or split its work into several tasks (`for_each`)",
        ));
    }
    if machine.disk_share >= SATURATED {
        let sentence = format!("a disk was busy {:.0} % of the time", machine.disk_share * 100.0);
        return Some(finding(
            Bottleneck::Disk,
            sentence,
            "run fewer tasks that read and write at once, or use a faster disk",
        ));
    }
    if let Some(share) = machine.network_share.filter(|share| *share >= SATURATED) {
        let sentence = format!("the network link was used to {:.0} %", share * 100.0);
        return Some(finding(Bottleneck::Network, sentence, "run fewer transfers at once, or move less data"));
    }
    let cores = cores.filter(|cores| *cores < IDLE)?;
    let sentence = format!("it used {:.0} % of one processor: it mostly waited", cores * 100.0);
    Some(finding(
        Bottleneck::Waiting,
        sentence,
        "see what it waits for: a database, a service, a lock; more of it can run at once",
    ))
}

/// A number of bytes, for people.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while size >= 1024.0
        && let Some(next) = units.next()
    {
        size /= 1024.0;
        unit = Some(next);
    }
    let digits = usize::from(size < 10.0 && bytes >= 1024);
    format!("{size:.digits$} {}", unit.copied().unwrap_or("B"))
}

#[cfg(test)]
mod tests;
