//! What an attempt used, as the API tells it.

use mulgil_sched::diagnosis::Bottleneck;
use mulgil_sched::usage as sched;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an attempt used, and what held it up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// How long it took.
    pub wall_ms: u64,
    /// What its processes used, those included that left its process group. Absent: it is no process (`sql`, `transfer`, `http`): see `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeUsage>,
    /// Of an attempt that is no process of its own: what the worker's process used while it did its work, everything else in it
    /// included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostUsage>,
    /// What the whole machine did meanwhile, others included.
    pub machine: MachineUsage,
    /// Some moments of it, in their order; none of an attempt of less than half a second.
    pub samples: Vec<UsageSample>,
    /// What broke it or held it up. Absent: nothing was found, or nothing was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

/// What the processes of an attempt used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TreeUsage {
    /// Time on processors, of all of them together.
    pub cpu_ms: u64,
    /// The most memory that was seen resident.
    pub memory_peak_bytes: u64,
    /// Read from disks.
    pub read_bytes: u64,
    /// Written to disks.
    pub written_bytes: u64,
}

/// What the worker's process used while it did the work of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HostUsage {
    /// Time on processors of all its threads.
    pub cpu_ms: u64,
    /// The most memory that was seen resident; much of it is not the attempt's.
    pub memory_peak_bytes: u64,
    /// By how much that grew.
    pub memory_grown_bytes: u64,
    /// Read from disks.
    pub read_bytes: u64,
    /// Written to disks.
    pub written_bytes: u64,
    /// The most attempts that it did at the same time beside this one; with none, nearly all of it is this one's.
    pub others: u32,
}

/// What the machine did while an attempt ran.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MachineUsage {
    /// Its processors.
    pub cores: u32,
    /// The share of their time that was used, 0 to 1.
    pub cpu_share: f64,
    /// Its memory.
    pub memory_bytes: u64,
    /// The least that was available of it.
    pub memory_available_min_bytes: u64,
    /// The share of the time in which its busiest disk was at work, 0 to 1.
    pub disk_share: f64,
    /// Received over the network, by everything on the machine: no system tells it for one process tree.
    pub received_bytes: u64,
    /// Sent over the network, likewise.
    pub sent_bytes: u64,
    /// The used share of the fastest link's speed, 0 to 1. Absent: the speed is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_share: Option<f64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Room on the project's disk at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
}

/// One moment of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageSample {
    /// Since its begin.
    pub at_ms: u64,
    /// Processors in use, of its processes; of the machine where it has none.
    pub cores: f64,
    /// Memory, likewise.
    pub memory_bytes: u64,
    /// Read and written, each second.
    pub disk_bytes_per_s: u64,
    /// Received and sent by the machine, each second.
    pub network_bytes_per_s: u64,
}

/// What broke an attempt or held it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// One word: `cpu`, `memory`, `disk_space`, `disk`, `network`, `timeout`, `refused`, `name`, `open_files`, `program`, `waiting`.
    pub bottleneck: String,
    /// What was seen.
    pub sentence: String,
    /// What helps.
    pub remedy: String,
}

impl From<sched::Usage> for Usage {
    fn from(usage: sched::Usage) -> Self {
        let machine = usage.machine;
        Self {
            wall_ms: usage.wall_ms,
            tree: usage.tree.map(|tree| TreeUsage {
                cpu_ms: tree.cpu_ms,
                memory_peak_bytes: tree.memory_peak_bytes,
                read_bytes: tree.read_bytes,
                written_bytes: tree.written_bytes,
            }),
            host: usage.host.map(|host| HostUsage {
                cpu_ms: host.cpu_ms,
                memory_peak_bytes: host.memory_peak_bytes,
                memory_grown_bytes: host.memory_grown_bytes,
                read_bytes: host.read_bytes,
                written_bytes: host.written_bytes,
                others: host.others,
            }),
            machine: MachineUsage {
                cores: machine.cores,
                cpu_share: machine.cpu_share,
                memory_bytes: machine.memory_bytes,
                memory_available_min_bytes: machine.memory_available_min_bytes,
                disk_share: machine.disk_share,
                received_bytes: machine.received_bytes,
                sent_bytes: machine.sent_bytes,
                network_share: machine.network_share,
                oom_kills: machine.oom_kills,
                disk_free_bytes: machine.disk_free_bytes,
            },
            samples: usage.samples.into_iter().map(Into::into).collect(),
            finding: usage.finding.map(|finding| Finding {
                bottleneck: word_of(finding.bottleneck).to_owned(),
                sentence: finding.sentence,
                remedy: finding.remedy,
            }),
        }
    }
}

impl From<sched::Sample> for UsageSample {
    fn from(sample: sched::Sample) -> Self {
        Self {
            at_ms: sample.at_ms,
            cores: sample.cores,
            memory_bytes: sample.memory_bytes,
            disk_bytes_per_s: sample.disk_bytes_per_s,
            network_bytes_per_s: sample.network_bytes_per_s,
        }
    }
}

fn word_of(bottleneck: Bottleneck) -> &'static str {
    match bottleneck {
        Bottleneck::Cpu => "cpu",
        Bottleneck::Memory => "memory",
        Bottleneck::DiskSpace => "disk_space",
        Bottleneck::Disk => "disk",
        Bottleneck::Network => "network",
        Bottleneck::Timeout => "timeout",
        Bottleneck::Refused => "refused",
        Bottleneck::Name => "name",
        Bottleneck::OpenFiles => "open_files",
        Bottleneck::Program => "program",
        Bottleneck::Waiting => "waiting",
    }
}
