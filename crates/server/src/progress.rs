//! How a view's dataflow is getting on: how long rows are under way, what every subtask does, how full every queue is.

use jiff::Timestamp;
use mulgil_engine::status as engine;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::time;

/// How long rows are under way, from being read to being in the result, over the last minute or two in which there were
/// any. A result that waited for event time counts from the reading of the row that let it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Half of the rows took no longer, in milliseconds.
    pub p50_ms: f64,
    /// 95 in 100 rows took no longer.
    pub p95_ms: f64,
    /// 99 in 100 rows took no longer.
    pub p99_ms: f64,
    /// The slowest row.
    pub max_ms: f64,
}

/// The parts of a running view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Dataflow {
    /// What is given to the view.
    pub sinks: Vec<SinkProgress>,
    /// The parallel instances of every stage.
    pub subtasks: Vec<SubtaskProgress>,
    /// The queues between sources, stages and the view.
    pub edges: Vec<EdgeProgress>,
}

/// What has been given to the view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SinkProgress {
    /// Its name in the dataflow.
    pub table: String,
    /// Rows and changes.
    pub rows: u64,
    /// What they took in memory.
    pub bytes: u64,
    /// Rows a second, over the last seconds.
    pub rows_per_second: f64,
    /// Bytes a second, over the last seconds.
    pub bytes_per_second: f64,
}

/// One parallel instance of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SubtaskProgress {
    /// The stage, as `explain --physical` names it.
    pub stage: String,
    /// Which instance.
    pub subtask: u64,
    /// Rows taken in.
    pub rows_in: u64,
    /// Rows given out.
    pub rows_out: u64,
    /// What the rows taken in took in memory.
    pub bytes_in: u64,
    /// What the rows given out took in memory.
    pub bytes_out: u64,
    /// Rows taken in a second, over the last seconds.
    pub rows_in_per_second: f64,
    /// Rows given out a second, over the last seconds.
    pub rows_out_per_second: f64,
    /// Time spent computing, in milliseconds.
    pub busy_ms: u64,
    /// Time spent waiting for room in a queue behind it.
    pub blocked_ms: u64,
    /// Time spent waiting for input.
    pub idle_ms: u64,
    /// Memory held as state.
    pub state_bytes: u64,
    /// State in local files, for want of memory.
    #[serde(default)]
    pub stored_bytes: u64,
    /// How far event time has come on each input.
    pub inputs: Vec<InputProgress>,
}

/// One input of a subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InputProgress {
    /// The table or stage that it comes from.
    pub from: String,
    /// How far its event time has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// Since when it stands there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// `active`, `idle` or `finished`.
    pub state: String,
}

/// The queues of one edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeProgress {
    /// The table or stage that fills it.
    pub from: String,
    /// The stage or view that empties it.
    pub to: String,
    /// `read`, `forward`, `hash`, `broadcast`, `round-robin` or `write`.
    pub exchange: String,
    /// How full it is.
    pub queued_bytes: u64,
    /// How full it can be before whoever fills it has to wait.
    pub queued_bytes_max: u64,
    /// How full its fullest queue is: 0 is empty; at 1 whoever fills it waits.
    pub fullness: f64,
}

/// The word for it.
pub(crate) fn state_word(state: engine::PartitionState) -> &'static str {
    match state {
        engine::PartitionState::Active => "active",
        engine::PartitionState::Idle => "idle",
        engine::PartitionState::Finished => "finished",
    }
}

impl From<engine::LatencyStatus> for Latency {
    fn from(latency: engine::LatencyStatus) -> Self {
        let engine::LatencyStatus { p50_ms, p95_ms, p99_ms, max_ms, .. } = latency;
        Self { p50_ms, p95_ms, p99_ms, max_ms }
    }
}

impl From<engine::JobStatus> for Dataflow {
    fn from(job: engine::JobStatus) -> Self {
        Self {
            sinks: job.sinks.into_iter().map(SinkProgress::from).collect(),
            subtasks: job.subtasks.into_iter().map(SubtaskProgress::from).collect(),
            edges: job.edges.into_iter().map(EdgeProgress::from).collect(),
        }
    }
}

impl From<engine::SinkStatus> for SinkProgress {
    fn from(sink: engine::SinkStatus) -> Self {
        let engine::SinkStatus { table, rows, bytes, rows_per_second, bytes_per_second, .. } = sink;
        Self { table, rows, bytes, rows_per_second, bytes_per_second }
    }
}

impl From<engine::SubtaskStatus> for SubtaskProgress {
    fn from(subtask: engine::SubtaskStatus) -> Self {
        Self {
            stage: subtask.name,
            subtask: subtask.subtask as u64,
            rows_in: subtask.rows_in,
            rows_out: subtask.rows_out,
            bytes_in: subtask.bytes_in,
            bytes_out: subtask.bytes_out,
            rows_in_per_second: subtask.rows_in_per_second,
            rows_out_per_second: subtask.rows_out_per_second,
            busy_ms: subtask.busy_ms,
            blocked_ms: subtask.blocked_ms,
            idle_ms: subtask.idle_ms,
            state_bytes: subtask.state_size_bytes,
            stored_bytes: subtask.stored_bytes,
            inputs: subtask.inputs.into_iter().map(InputProgress::from).collect(),
        }
    }
}

impl From<engine::InputStatus> for InputProgress {
    fn from(input: engine::InputStatus) -> Self {
        Self {
            from: input.from,
            watermark: time(input.watermark_ms),
            since: time(Some(input.since_ms)),
            state: state_word(input.state).to_owned(),
        }
    }
}

impl From<engine::EdgeStatus> for EdgeProgress {
    fn from(edge: engine::EdgeStatus) -> Self {
        let engine::EdgeStatus { from, to, exchange, queued_bytes, queue_bytes_max, fullness } = edge;
        Self { from, to, exchange, queued_bytes, queued_bytes_max: queue_bytes_max, fullness }
    }
}
