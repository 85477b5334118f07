//! What can be seen of a job from outside, as plain values that serialise: for the API, the UI and tests.

use serde::Serialize;

/// A job at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobStatus {
    /// The job's name.
    pub name: String,
    /// Where it is in its life.
    pub state: JobState,
    /// Why it failed.
    pub error: Option<String>,
    /// The event time that all results delivered to the sinks have come to; `None` before the first watermark.
    pub watermark_ms: Option<i64>,
    /// The partition that holds event time back: the answer to "why is there no output?".
    pub held_back_by: Option<HeldBackBy>,
    /// Rows read from sources.
    pub rows_in: u64,
    /// Rows written to sinks.
    pub rows_out: u64,
    /// Rows lost to the result because they came after their window had closed for good.
    pub late_dropped: u64,
    /// Rows that came after their window had fired and have updated its result.
    pub late_updated: u64,
    /// Rows left out because their event time was null.
    pub null_event_times: u64,
    /// Rows that sources skipped because they could not be decoded.
    pub skipped_rows: u64,
    /// The latest few late rows, each as JSON text.
    pub late_sample: Vec<String>,
    /// The partitions of all sources.
    pub partitions: Vec<PartitionStatus>,
    /// The subtasks of all stages.
    pub subtasks: Vec<SubtaskStatus>,
    /// The queues between reader tasks, stages and writer tasks.
    pub edges: Vec<EdgeStatus>,
}

/// Where a job is in its life. All but `Running` are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Rows are flowing, or awaited.
    Running,
    /// The bounded input has ended and the sinks have committed.
    Finished,
    /// Something went wrong: see [`JobStatus::error`].
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// The partition that holds event time back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldBackBy {
    /// The source's table.
    pub table: String,
    /// The partition, as its connector names it.
    pub partition: String,
    /// How far it has come; `None` if it has given no row yet.
    pub watermark_ms: Option<i64>,
}

/// A source partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionStatus {
    /// The source's table.
    pub table: String,
    /// The partition, as its connector names it.
    pub partition: String,
    /// Everything before this position has been taken into the dataflow.
    pub position: u64,
    /// How far its event time has come; `None` before its first row with an event time.
    pub watermark_ms: Option<i64>,
    /// Whether it counts for the watermark.
    pub state: PartitionState,
    /// Rows read from it.
    pub rows: u64,
    /// Rows skipped because they could not be decoded.
    pub skipped_rows: u64,
}

/// Whether a partition counts for the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// It does.
    Active,
    /// Nothing has come for a while: it does not until its next row.
    Idle,
    /// It has ended and never will again.
    Finished,
}

/// One parallel instance of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubtaskStatus {
    /// The stage, by number.
    pub stage: usize,
    /// The stage, as `explain --physical` names it.
    pub name: String,
    /// Which instance.
    pub subtask: usize,
    /// Rows taken in.
    pub rows_in: u64,
    /// Rows given out.
    pub rows_out: u64,
    /// Time spent computing.
    pub busy_ms: u64,
    /// Time spent waiting for room in a queue behind it.
    pub blocked_ms: u64,
    /// Time spent waiting for input.
    pub idle_ms: u64,
    /// Memory held as state.
    pub state_size_bytes: u64,
}

/// The queues of one edge, taken together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EdgeStatus {
    /// The stage or source that fills it.
    pub from: String,
    /// The stage or sink that empties it.
    pub to: String,
    /// How rows move: `read`, `forward`, `hash`, `broadcast`, `round-robin`, `write`.
    pub exchange: String,
    /// How full it is.
    pub queued_bytes: u64,
    /// How full it can be before whoever fills it has to wait.
    pub queue_bytes_max: u64,
}
