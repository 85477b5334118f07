//! What an attempt used: of its process tree, and of the machine beside it.
//!
//! What cannot be had is absent and never zero: a statement inside the server has no process of its own, and no system tells
//! the network traffic of a process tree that shares the machine's network.

use serde::{Deserialize, Serialize};

use crate::diagnosis::Finding;

/// What an attempt used, from its begin to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// How long it took.
    pub wall_ms: u64,
    /// Its process tree, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeUsage>,
    /// The process that did its work, where it is none itself: what that did meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostUsage>,
    /// The machine meanwhile: also what others did on it.
    pub machine: MachineUsage,
    /// A few moments of it, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// What held it up or broke it, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

/// What a process tree used: the shell, everything that it started, also what has left its process group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TreeUsage {
    /// Time on processors, of all its processes together.
    pub cpu_ms: u64,
    /// The most memory that was seen resident at one moment. What came and went between two looks is not in it.
    pub memory_peak_bytes: u64,
    /// Read from disks.
    pub read_bytes: u64,
    /// Written to disks.
    pub written_bytes: u64,
}

/// What the worker's own process used while it did an attempt's work: no system tells the share of a statement among the threads
/// of a process. Where nothing else was done in it, it is the attempt's, and what the server needs for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostUsage {
    /// Time on processors of all its threads, and not of processes that it has started.
    pub cpu_ms: u64,
    /// The most memory that was seen resident; much of it is not the attempt's.
    pub memory_peak_bytes: u64,
    /// By how much that grew.
    pub memory_grown_bytes: u64,
    /// Read from disks.
    pub read_bytes: u64,
    /// Written to disks.
    pub written_bytes: u64,
    /// The most attempts that it did at the same time beside this one.
    pub others: u32,
}

/// What the machine did meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineUsage {
    /// How many processors it has.
    pub cores: u32,
    /// The share of all processors' time that was used, 0 to 1.
    pub cpu_share: f64,
    /// Its memory.
    pub memory_bytes: u64,
    /// The least memory that was available at one moment.
    pub memory_available_min_bytes: u64,
    /// The share of the time in which its busiest disk was at work, 0 to 1.
    pub disk_share: f64,
    /// Received over all network interfaces but loopback.
    pub received_bytes: u64,
    /// Sent over them.
    pub sent_bytes: u64,
    /// The share of the fastest network link's speed that was used, 0 to 1; absent where the speed is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_share: Option<f64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Those of them that were killed since the worker's own control group, such as its container, had no more.
    pub container_oom_kills: u64,
    /// The memory that this group may have, where that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_memory_bytes: Option<u64>,
    /// What is free on the project's disk at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
}

/// One moment of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Since its begin.
    pub at_ms: u64,
    /// Processors in use by its tree, since the moment before; of the machine where it has no tree.
    pub cores: f64,
    /// Memory of its tree; of the machine where it has no tree.
    pub memory_bytes: u64,
    /// Read from and written to disks by its tree, each second.
    pub disk_bytes_per_s: u64,
    /// Received and sent by the machine, each second.
    pub network_bytes_per_s: u64,
}

/// Samples that are kept: beyond, every other one is dropped and the step doubled.
pub const SAMPLES_MAX: usize = 64;

/// Adds a sample; of a long attempt fewer and fewer are kept, over all of its time.
pub fn keep(samples: &mut Vec<Sample>, sample: Sample) {
    if samples.len() >= SAMPLES_MAX {
        let mut index = 0;
        samples.retain(|_| {
            index += 1;
            index % 2 == 1
        });
    }
    samples.push(sample);
}
