//! What can be seen of a job from outside, as plain values that serialise: for the API, the UI and tests.

use mulgil_connect::bad_rows::SampledRow;
use mulgil_connect::guarantee::{Given, Reason};
use mulgil_connect::wait::Waited;
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
    /// What is promised of its rows.
    pub guarantee: GuaranteeStatus,
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
    /// The last few rows of each source that could not be decoded, skipped or not, the latest last.
    pub bad_rows: Vec<BadRowStatus>,
    /// What its sources and sinks wait for that should be there and is not.
    pub waits: Vec<WaitStatus>,
    /// The latest few late rows, each as JSON text.
    pub late_sample: Vec<String>,
    /// How long rows are under way from source to sink; `None` before the first row is written.
    pub latency: Option<LatencyStatus>,
    /// How its checkpoints go; `None` before the first, and where there are none.
    pub checkpoints: Option<CheckpointStatus>,
    /// The sinks.
    pub sinks: Vec<SinkStatus>,
    /// The partitions of all sources.
    pub partitions: Vec<PartitionStatus>,
    /// The subtasks of all stages.
    pub subtasks: Vec<SubtaskStatus>,
    /// The queues between reader tasks, stages and writer tasks.
    pub edges: Vec<EdgeStatus>,
}

/// What is promised of a job's rows, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuaranteeStatus {
    /// The guarantee, as it is written.
    pub given: &'static str,
    /// What its tables have to do with it.
    pub reasons: Vec<GuaranteeReason>,
}

/// What a table has to do with a guarantee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GuaranteeReason {
    /// Whether the table is read; otherwise it is written.
    pub is_source: bool,
    /// The table.
    pub table: String,
    /// What it can do.
    pub says: &'static str,
}

impl From<Given> for GuaranteeStatus {
    fn from(given: Given) -> Self {
        let reason = |Reason { is_source, table, says }| GuaranteeReason { is_source, table, says };
        Self { given: given.guarantee.name(), reasons: given.reasons.into_iter().map(reason).collect() }
    }
}

/// A row that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadRowStatus {
    /// The source's table.
    pub table: String,
    /// Where it is: `landing/b.csv:4`, or `topic t, partition 0, offset 7`.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
    /// How it begins, with escapes for what cannot be printed; `None` where it is not text of its own.
    pub raw: Option<String>,
    /// Whether it goes on behind `raw`.
    pub is_cut: bool,
    /// When it was read, in milliseconds since the epoch.
    pub read_ms: i64,
}

impl BadRowStatus {
    /// A row of a table.
    pub(crate) fn of(table: &str, row: SampledRow) -> Self {
        let SampledRow { place, reason, raw, is_cut, read_ms } = row;
        Self { table: table.to_owned(), place, reason, raw, is_cut, read_ms }
    }
}

/// What a table waits for that should be there and is not, such as a broker or a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitStatus {
    /// The table.
    pub table: String,
    /// Whether it is read; otherwise it is written.
    pub is_source: bool,
    /// The system and what it said last, for people.
    pub what: String,
    /// Since when, on the machine's clock, in milliseconds since the epoch.
    pub since_ms: i64,
}

impl WaitStatus {
    /// What a table waits for.
    pub(crate) fn of(table: &str, is_source: bool, waited: Waited) -> Self {
        Self { table: table.to_owned(), is_source, what: waited.what, since_ms: waited.since_ms }
    }
}

/// How long rows are under way, from being read to being written, over the last minute or two in which rows were written.
/// A result that waited for event time counts from the reading of the row that let it out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyStatus {
    /// Half of the rows took no longer.
    pub p50_ms: f64,
    /// 95 in 100 rows took no longer.
    pub p95_ms: f64,
    /// 99 in 100 rows took no longer.
    pub p99_ms: f64,
    /// The slowest row.
    pub max_ms: f64,
    /// How many rows have been written since the job's start.
    pub rows: u64,
    /// The latencies of all those, added up.
    pub sum_ms: f64,
}

/// How the checkpoints of a job go.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckpointStatus {
    /// How many have been made since the job's start.
    pub completed: u64,
    /// How many could not be written.
    pub failed: u64,
    /// How many were given up because their cut took too long to drain.
    pub given_up: u64,
    /// When the last one was made, on the machine's clock, in milliseconds since the epoch.
    pub completed_ms: Option<i64>,
    /// How many rows, read since the job's start, the last one covers.
    pub covered_rows: u64,
    /// How long rows stood still for the last cut.
    pub pause_ms: f64,
    /// How long it took to write and publish the last one, while rows went on.
    pub took_ms: f64,
    /// What the last one has written.
    pub written_bytes: u64,
    /// What the state takes on disk, changes included.
    pub state_bytes: u64,
    /// Why the last one could not be written.
    pub error: Option<String>,
}

/// A sink, its writers taken together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkStatus {
    /// Its table.
    pub table: String,
    /// Rows written.
    pub rows: u64,
    /// What they took in memory.
    pub bytes: u64,
    /// Rows a second, over the last few seconds.
    pub rows_per_second: f64,
    /// Bytes a second, likewise.
    pub bytes_per_second: f64,
    /// How long rows are under way to it.
    pub latency: Option<LatencyStatus>,
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
    /// Since when it stands there, on the machine's clock, in milliseconds since the epoch.
    pub since_ms: i64,
}

/// A source partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Whether it is so far ahead of others in event time that it is not read on (`scan.watermark.alignment.max-drift`).
    pub waits_for_others: bool,
    /// Since when its watermark stands there, on the machine's clock, in milliseconds since the epoch.
    pub watermark_since_ms: i64,
    /// Rows read from it.
    pub rows: u64,
    /// What they took in memory.
    pub bytes: u64,
    /// Rows a second, over the last few seconds.
    pub rows_per_second: f64,
    /// Bytes a second, likewise.
    pub bytes_per_second: f64,
    /// Rows skipped because they could not be decoded.
    pub skipped_rows: u64,
    /// Rows that are there and not read yet, as the system counts them; `None` where it does not say.
    pub lag_rows: Option<u64>,
    /// What is waited for that should be there and is not, such as a broker.
    pub waits_for: Option<String>,
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
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// What the rows taken in took in memory.
    pub bytes_in: u64,
    /// What the rows given out took in memory, once for each subtask or sink that got them.
    pub bytes_out: u64,
    /// Rows taken in a second, over the last few seconds.
    pub rows_in_per_second: f64,
    /// Rows given out a second, likewise.
    pub rows_out_per_second: f64,
    /// Its inputs, and how far event time has come on each.
    pub inputs: Vec<InputStatus>,
    /// Time spent computing.
    pub busy_ms: u64,
    /// Time spent waiting for room in a queue behind it.
    pub blocked_ms: u64,
    /// Time spent waiting for input.
    pub idle_ms: u64,
    /// Memory held as state.
    pub state_size_bytes: u64,
    /// What its operators have put away in files, for want of memory, in bytes.
    pub stored_bytes: u64,
}

/// One input of a subtask, its senders taken together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputStatus {
    /// The stage or table that it comes from.
    pub from: String,
    /// How far its event time has come; `None` before the first watermark.
    pub watermark_ms: Option<i64>,
    /// Since when it stands there, on the machine's clock, in milliseconds since the epoch.
    pub since_ms: i64,
    /// Whether it counts for the subtask's watermark.
    pub state: PartitionState,
}

/// The queues of one edge, taken together.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// How full the fullest of its queues is: 0 is empty; at 1 whoever fills it waits.
    pub fullness: f64,
}
