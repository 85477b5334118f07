//! What a log and its topics can be told.

use serde::{Deserialize, Serialize};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// A segment is closed, and a new one begun, when it has grown to this.
    pub segment_bytes: u64,
    /// How many appends may wait for the writer. Appenders beyond wait for their turn.
    pub queue_appends: usize,
}

impl Default for LogOptions {
    /// Segments of 128 MiB; 256 waiting appends, enough to share a sync, few enough to bound what waits in memory.
    fn default() -> Self {
        Self { segment_bytes: 128 << 20, queue_appends: 256 }
    }
}

/// What a topic is told when it is created; kept in its `topic.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicOptions {
    /// How many partitions, at least 1. Fixed for ever, since the key's hash chooses among them.
    pub partitions: u32,
    /// Segments whose latest record is older than this are removed; `None` keeps them.
    pub retention_ms: Option<i64>,
    /// The oldest segments are removed while a partition is larger than this; `None` keeps them.
    pub retention_bytes: Option<u64>,
    /// When an append is acknowledged.
    pub durability: Durability,
}

impl Default for TopicOptions {
    /// One partition, kept for ever, synced before it is acknowledged.
    fn default() -> Self {
        Self { partitions: 1, retention_ms: None, retention_bytes: None, durability: Durability::Fsync }
    }
}

/// When an append is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// When the operating system has it: survives the loss of the process, not of power.
    Os,
    /// When it is on disk: survives the loss of power.
    #[default]
    Fsync,
}
