//! What can be seen of a view from outside, as plain values that serialise.

use mulgil_engine::status::{BadRowStatus, CheckpointStatus, GuaranteeStatus, HeldBackBy, PartitionStatus, WaitStatus};
use mulgil_sql::statement::RefreshMode;
use serde::Serialize;

use crate::views::Why;

/// How a view was last exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExportStatus {
    /// The table.
    pub table: String,
    /// How many rows it has since.
    pub rows: u64,
    /// When it was last replaced, in milliseconds since the epoch; `None` where it was not yet.
    pub made_ms: Option<i64>,
    /// Why the last try has failed.
    pub error: Option<String>,
}

/// A view at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewStatus {
    /// Its full name.
    pub name: String,
    /// How it is kept up to date.
    pub mode: RefreshMode,
    /// The `CREATE MATERIALIZED TABLE` statement.
    pub definition: String,
    /// The file that declares it, and the line.
    pub file: String,
    /// The line in `file`, from 1.
    pub line: u64,
    /// Its columns: name and type.
    pub columns: Vec<ViewColumn>,
    /// Where it is in its life.
    pub state: ViewState,
    /// Why it failed.
    pub error: Option<String>,
    /// The event time that its result has come to.
    pub watermark_ms: Option<i64>,
    /// How far the watermark is behind the newest event time read.
    pub lag_ms: Option<i64>,
    /// Rows in its result; of a `LAMBDA` view, in that of its stream.
    pub rows: u64,
    /// Rows read from its sources.
    pub rows_in: u64,
    /// Rows a second read from its sources, over the last few seconds.
    pub rows_per_second: f64,
    /// Late rows that have updated the result.
    pub late_updated: u64,
    /// Late rows that were lost to the result.
    pub late_dropped: u64,
    /// Rows left out because their event time was null.
    pub null_event_times: u64,
    /// Rows that sources skipped because they could not be decoded.
    pub skipped_rows: u64,
    /// The last few rows of each source that could not be decoded, skipped or not, the latest last.
    pub bad_rows: Vec<BadRowStatus>,
    /// What its sources and sinks wait for that should be there and is not: while it starts, and while it runs.
    pub waits: Vec<WaitStatus>,
    /// The latest few late rows, each as JSON text.
    pub late_sample: Vec<String>,
    /// How often its job has been started again, and when it will be.
    pub restarts: RestartStatus,
    /// The number of the generation that answers.
    pub generation: u64,
    /// `KAPPA`: the generation that is being built beside it.
    pub building: Option<BuildStatus>,
    /// `KAPPA`: the generation that it can be rolled back to.
    pub former: Option<FormerStatus>,
    /// How it was last exported; `None` where it never was since the program started.
    pub export: Option<ExportStatus>,
    /// `LAMBDA`: its layers.
    pub layers: Option<LayersStatus>,
    /// The archives in which the rows of its tables are kept, where it keeps some.
    pub archives: Vec<ArchiveStatus>,
    /// What is promised of its rows, and why; `None` before its job has been started.
    pub guarantee: Option<GuaranteeStatus>,
    /// How its checkpoints go; `None` before the first, and where there are none.
    pub checkpoints: Option<CheckpointStatus>,
    /// The partitions that it reads.
    pub partitions: Vec<PartitionStatus>,
    /// The partition that holds event time back: the answer to "why is there no output?".
    pub held_back_by: Option<HeldBackBy>,
    /// When a `FULL` view was refreshed last, in milliseconds since the epoch.
    pub refreshed_ms: Option<i64>,
    /// How often the result has changed: moves with every change of the result.
    pub version: u64,
}

/// The layers of a `LAMBDA` view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayersStatus {
    /// Windows that have ended then or before come from batch, in milliseconds since the epoch; `None` before the first batch view.
    pub boundary_ms: Option<i64>,
    /// The number of the batch view; 0 before the first.
    pub batch_version: u64,
    /// How many rows it has.
    pub batch_rows: u64,
    /// When it was computed, in milliseconds since the epoch.
    pub batch_made_ms: Option<i64>,
    /// The archives that it is computed from.
    pub archives: Vec<ArchiveStatus>,
}

/// An archive: a table in the lake to which a stream copies every row of a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArchiveStatus {
    /// The archive's table.
    pub table: String,
    /// Where its stream is in its life.
    pub state: ViewState,
    /// Why it failed.
    pub error: Option<String>,
    /// Up to when it is complete when its next checkpoint stands, late rows left out.
    pub watermark_ms: Option<i64>,
    /// Rows copied since its stream was started.
    pub rows_in: u64,
}

/// A generation of a view that is being built, and will take over when it has caught up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BuildStatus {
    /// Its number.
    pub number: u64,
    /// Why it is built.
    pub why: Why,
    /// The statement that it is built from.
    pub definition: String,
    /// When it was begun, in milliseconds since the epoch.
    pub begun_ms: i64,
    /// It reads its sources from this time on, in milliseconds since the epoch; from the beginning where nothing is said.
    pub from_ms: Option<i64>,
    /// The archives that it reads before its sources.
    pub archives: Vec<ArchiveReadStatus>,
    /// How fast it may read.
    pub rows_per_second_max: Option<u64>,
    /// Where it is in its life.
    pub state: ViewState,
    /// Why it failed.
    pub error: Option<String>,
    /// What it waits for that should be there and is not.
    pub waits: Vec<WaitStatus>,
    /// Rows that it has read since it was last started.
    pub rows_in: u64,
    /// Rows a second, over the last few seconds.
    pub rows_per_second: f64,
    /// How much of what the live generation has read it has read too: 0 to 1.
    pub done: f64,
    /// When it will have caught up if it goes on as it does; `None` where it does not come nearer.
    pub left_ms: Option<u64>,
}

/// An archive that is read before its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchiveReadStatus {
    /// The table.
    pub table: String,
    /// The archive's table in the lake.
    pub archive: String,
    /// The version of it that is read.
    pub version: u64,
    /// Whether it has been read: the table goes on where it ends.
    pub is_read: bool,
}

/// A generation of a view that has answered before, and is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormerStatus {
    /// Its number.
    pub number: u64,
    /// When it was begun, in milliseconds since the epoch.
    pub begun_ms: i64,
    /// The statement that it was built from.
    pub definition: String,
}

/// How often a view's job has been started again, and when it will be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RestartStatus {
    /// How often, since a person started it.
    pub count: u64,
    /// How often in a row without coming a row further.
    pub tries: u32,
    /// When it is started next, in milliseconds since the epoch; `None` unless it waits for that.
    pub next_try_ms: Option<i64>,
    /// Why it failed last.
    pub last_error: Option<String>,
    /// When that was, in milliseconds since the epoch.
    pub failed_ms: Option<i64>,
}

/// A column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as text.
    pub data_type: String,
}

/// Where a view is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// Nothing keeps it up to date.
    Stopped,
    /// `CONTINUOUS`: its job is being started, which takes as long as a system is away: see [`ViewStatus::waits`].
    Starting,
    /// `CONTINUOUS`: rows are flowing, or awaited.
    Running,
    /// `FULL`: its result is being computed.
    Refreshing,
    /// `FULL`: its result is there. `CONTINUOUS`: its bounded input has ended.
    Ready,
    /// `CONTINUOUS`: its job has failed, and is started again from its last checkpoint: see [`ViewStatus::restarts`].
    Restarting,
    /// Something went wrong, and it waits for a person: see [`ViewStatus::error`].
    Failed,
}

/// News of views: something of them has changed, ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewChange {
    /// The view's full name.
    pub name: String,
    /// [`ViewStatus::version`] at that time.
    pub version: u64,
}
