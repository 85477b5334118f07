//! What a running job counts: written by its threads and tasks without locks, read by whoever asks for the status.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mulgil_connect::source::Progress;
use mulgil_dataflow::graph::NodeId;
use mulgil_dataflow::operator::LateRows;
use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};
use tokio::sync::Notify;

use crate::clock::now_ms;
use crate::cut::CutBoard;
use crate::latency::Latency;
use crate::queue::Queue;
use crate::status::CheckpointStatus;
use crate::throughput::Throughput;

/// How many late rows are shown.
const LATE_SAMPLE_ROWS: usize = 20;
/// How long a full sample stays before newer late rows replace older ones: rendering rows costs more than counting them.
const LATE_SAMPLE_REST: Duration = Duration::from_millis(100);

/// All that a job counts.
#[derive(Debug)]
pub(crate) struct JobMetrics {
    pub(crate) started: Instant,
    /// The same on the machine's clock, in milliseconds since the epoch.
    pub(crate) started_ms: i64,
    /// What the machine's clock said last, in milliseconds since the epoch; `i64::MIN` where no operator wants to know.
    pub(crate) clock_ms: AtomicI64,
    /// The latest time that rows were stamped with.
    pub(crate) stamp_ms: AtomicI64,
    /// Whether the machine's clock may be read, or `clock_ms` is all there is: a script.
    pub(crate) reads_clock: AtomicBool,
    /// Notified whenever something has changed.
    pub(crate) changed: Notify,
    pub(crate) late_dropped: AtomicU64,
    pub(crate) late_updated: AtomicU64,
    pub(crate) null_event_times: AtomicU64,
    late_sample: Mutex<LateSample>,
    /// Where its parts meet for a cut.
    pub(crate) cuts: CutBoard,
    /// How its checkpoints go; `None` before the first, and where there are none.
    pub(crate) checkpoints: Mutex<Option<CheckpointStatus>>,
}

#[derive(Debug, Default)]
struct LateSample {
    rows: VecDeque<String>,
    refreshed: Option<Instant>,
}

/// What is counted of a source partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionMetrics {
    /// The node of the logical graph that reads it.
    pub(crate) node: NodeId,
    pub(crate) table: String,
    pub(crate) partition: String,
    /// Its number among those of the table.
    pub(crate) index: usize,
    /// Whether it is read before the others of its table, and event time stands still until then.
    pub(crate) comes_first: bool,
    pub(crate) position: AtomicU64,
    pub(crate) read: Throughput,
    pub(crate) skipped_rows: AtomicU64,
    pub(crate) time: TimeMetrics,
    /// Whether it is too far ahead of others to be read on.
    pub(crate) waits_for_others: AtomicBool,
    /// How its reader is doing, where that says so.
    pub(crate) progress: OnceLock<Arc<Progress>>,
    /// Told when its time has moved, where others wait for it.
    pub(crate) moved: Option<Arc<Notify>>,
}

impl PartitionMetrics {
    /// Wakes the readers that wait for this partition.
    pub(crate) fn tell_others(&self) {
        if let Some(moved) = &self.moved {
            moved.notify_waiters();
        }
    }
}

/// What is counted of a subtask.
#[derive(Debug)]
pub(crate) struct SubtaskMetrics {
    pub(crate) stage: usize,
    pub(crate) name: String,
    pub(crate) subtask: usize,
    pub(crate) taken: Throughput,
    pub(crate) given: Throughput,
    pub(crate) busy_ns: AtomicU64,
    pub(crate) blocked_ns: AtomicU64,
    /// Since when it waits for room, in nanoseconds from the job's start; 0 when it does not.
    pub(crate) blocked_since_ns: AtomicU64,
    pub(crate) state_size_bytes: AtomicU64,
    /// What its operators have put away in files.
    pub(crate) stored_bytes: AtomicU64,
    /// Its inputs, each with the time of all its senders together.
    pub(crate) inputs: Vec<InputMetrics>,
}

/// What is noted of one input of a subtask.
#[derive(Debug)]
pub(crate) struct InputMetrics {
    /// The stage or table that it comes from.
    pub(crate) from: String,
    pub(crate) time: TimeMetrics,
}

/// What is counted of a writer task.
#[derive(Debug)]
pub(crate) struct WriterMetrics {
    pub(crate) table: String,
    pub(crate) written: Throughput,
    pub(crate) latency: Latency,
    pub(crate) time: TimeMetrics,
}

/// The queues of one edge.
#[derive(Debug)]
pub(crate) struct EdgeQueues {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) exchange: &'static str,
    pub(crate) size_bytes_max: usize,
    pub(crate) queues: Vec<Arc<Queue>>,
}

/// How far something's event time has come, the end of time not counted, and since when it stands there.
#[derive(Debug)]
pub(crate) struct TimeMetrics {
    watermark: AtomicI64,
    state: AtomicU8,
    moved_ns: AtomicU64,
}

impl Default for TimeMetrics {
    fn default() -> Self {
        Self { watermark: AtomicI64::new(Watermark::UNKNOWN.0), state: AtomicU8::new(0), moved_ns: AtomicU64::new(0) }
    }
}

impl TimeMetrics {
    /// Time has come so far, at `now_ns` from the job's start; whether that is news.
    pub(crate) fn set(&self, time: InputTime, now_ns: u64) -> bool {
        let mut news = false;
        if time.watermark != Watermark::END {
            news = self.watermark.swap(time.watermark.0, Relaxed) != time.watermark.0;
        }
        if news {
            self.moved_ns.store(now_ns, Relaxed);
        }
        let state = match time.state {
            InputState::Active => 0,
            InputState::Idle => 1,
            InputState::Finished => 2,
        };
        news | (self.state.swap(state, Relaxed) != state)
    }

    /// When the watermark moved last, in nanoseconds from the job's start.
    pub(crate) fn moved_ns(&self) -> u64 {
        self.moved_ns.load(Relaxed)
    }

    pub(crate) fn get(&self) -> InputTime {
        let state = match self.state.load(Relaxed) {
            0 => InputState::Active,
            1 => InputState::Idle,
            _ => InputState::Finished,
        };
        InputTime { watermark: Watermark(self.watermark.load(Relaxed)), state }
    }
}

impl JobMetrics {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            started_ms: now_ms(),
            clock_ms: AtomicI64::new(i64::MIN),
            stamp_ms: AtomicI64::new(0),
            reads_clock: AtomicBool::new(true),
            changed: Notify::new(),
            late_dropped: AtomicU64::new(0),
            late_updated: AtomicU64::new(0),
            null_event_times: AtomicU64::new(0),
            late_sample: Mutex::default(),
            cuts: CutBoard::default(),
            checkpoints: Mutex::default(),
        })
    }

    pub(crate) fn note_late(&self, late: &LateRows<'_>) {
        let count = if late.dropped { &self.late_dropped } else { &self.late_updated };
        count.fetch_add(late.row_count, Relaxed);
        let mut sample = self.late_sample.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = sample.refreshed.is_some_and(|refreshed| refreshed.elapsed() < LATE_SAMPLE_REST);
        if sample.rows.len() >= LATE_SAMPLE_ROWS && rests {
            return;
        }
        sample.rows.extend(rows_as_json(&late.sample));
        let surplus = sample.rows.len().saturating_sub(LATE_SAMPLE_ROWS);
        sample.rows.drain(..surplus);
        sample.refreshed = Some(Instant::now());
    }

    pub(crate) fn late_sample(&self) -> Vec<String> {
        let sample = self.late_sample.lock().unwrap_or_else(PoisonError::into_inner);
        sample.rows.iter().cloned().collect()
    }

    /// A moment of the job on the machine's clock, in milliseconds since the epoch.
    pub(crate) fn epoch_ms(&self, elapsed_ns: u64) -> i64 {
        self.started_ms.saturating_add_unsigned(elapsed_ns / 1_000_000)
    }

    pub(crate) fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Each row as a JSON object. Rows that JSON cannot say are left out: a sample need not be complete.
fn rows_as_json(rows: &arrow::array::RecordBatch) -> Vec<String> {
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    if writer.write(rows).and_then(|()| writer.finish()).is_err() {
        return Vec::new();
    }
    String::from_utf8_lossy(&writer.into_inner()).lines().map(str::to_owned).collect()
}
