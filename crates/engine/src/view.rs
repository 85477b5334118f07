//! What a job shows of itself: its counters, put together to a [`JobStatus`] when somebody asks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};

use crate::error::JobError;
use crate::job::{JobResult, JobSummary};
use crate::metrics::{EdgeQueues, JobMetrics, PartitionMetrics, SubtaskMetrics, WriterMetrics};
use crate::status::{EdgeStatus, HeldBackBy, JobState, JobStatus, PartitionState, PartitionStatus, SubtaskStatus};

/// The counters of a job.
pub(crate) struct JobView {
    pub(crate) name: String,
    pub(crate) metrics: Arc<JobMetrics>,
    pub(crate) partitions: Vec<Arc<PartitionMetrics>>,
    pub(crate) subtasks: Vec<Arc<SubtaskMetrics>>,
    pub(crate) writers: Vec<Arc<WriterMetrics>>,
    pub(crate) edges: Vec<EdgeQueues>,
}

impl JobView {
    pub(crate) fn status(&self, result: Option<&JobResult>) -> JobStatus {
        let state = match result {
            None => JobState::Running,
            Some(Ok(_)) => JobState::Finished,
            Some(Err(JobError::Cancelled)) => JobState::Cancelled,
            Some(Err(_)) => JobState::Failed,
        };
        let error = result.and_then(|result| result.as_ref().err()).map(ToString::to_string);
        let elapsed_ns = self.metrics.elapsed_ns();
        JobStatus {
            name: self.name.clone(),
            state,
            error,
            watermark_ms: self.watermark_ms(),
            held_back_by: if state == JobState::Running { self.held_back_by() } else { None },
            rows_in: self.rows_in(),
            rows_out: self.rows_out(),
            late_dropped: self.metrics.late_dropped.load(Relaxed),
            late_updated: self.metrics.late_updated.load(Relaxed),
            null_event_times: self.metrics.null_event_times.load(Relaxed),
            skipped_rows: self.skipped_rows(),
            late_sample: self.metrics.late_sample(),
            partitions: self.partitions.iter().map(|partition| partition_status(partition)).collect(),
            subtasks: self.subtasks.iter().map(|subtask| subtask_status(subtask, elapsed_ns)).collect(),
            edges: self.edges.iter().map(edge_status).collect(),
        }
    }

    pub(crate) fn summary(&self) -> JobSummary {
        JobSummary {
            rows_in: self.rows_in(),
            rows_out: self.rows_out(),
            late_dropped: self.metrics.late_dropped.load(Relaxed),
            late_updated: self.metrics.late_updated.load(Relaxed),
            null_event_times: self.metrics.null_event_times.load(Relaxed),
            skipped_rows: self.skipped_rows(),
            elapsed: self.metrics.started.elapsed(),
        }
    }

    fn rows_in(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.rows.load(Relaxed)).sum()
    }

    fn rows_out(&self) -> u64 {
        self.writers.iter().map(|writer| writer.rows.load(Relaxed)).sum()
    }

    fn skipped_rows(&self) -> u64 {
        self.partitions.iter().map(|partition| sum_of(&partition.skipped_rows)).sum()
    }

    /// The least that any writer has been told; writers that have ended count only when all have.
    fn watermark_ms(&self) -> Option<i64> {
        let times = || self.writers.iter().map(|writer| writer.time.get());
        let running = times().filter(|time| time.state != InputState::Finished);
        let least = running.map(|time| time.watermark).min().or_else(|| times().map(|time| time.watermark).min());
        least.and_then(known_ms)
    }

    fn held_back_by(&self) -> Option<HeldBackBy> {
        let active = self.partitions.iter().filter(|partition| partition.time.get().state == InputState::Active);
        let slowest = active.min_by_key(|partition| partition.time.get().watermark)?;
        Some(HeldBackBy {
            table: slowest.table.clone(),
            partition: slowest.partition.clone(),
            watermark_ms: known_ms(slowest.time.get().watermark),
        })
    }
}

fn sum_of(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn known_ms(watermark: Watermark) -> Option<i64> {
    (watermark != Watermark::UNKNOWN).then_some(watermark.0)
}

fn partition_status(metrics: &PartitionMetrics) -> PartitionStatus {
    let InputTime { watermark, state } = metrics.time.get();
    PartitionStatus {
        table: metrics.table.clone(),
        partition: metrics.partition.clone(),
        position: metrics.position.load(Relaxed),
        watermark_ms: known_ms(watermark),
        state: match state {
            InputState::Active => PartitionState::Active,
            InputState::Idle => PartitionState::Idle,
            InputState::Finished => PartitionState::Finished,
        },
        rows: metrics.rows.load(Relaxed),
        skipped_rows: metrics.skipped_rows.load(Relaxed),
    }
}

fn subtask_status(metrics: &SubtaskMetrics, elapsed_ns: u64) -> SubtaskStatus {
    const NS_PER_MS: u64 = 1_000_000;
    let busy_ns = metrics.busy_ns.load(Relaxed);
    let blocked_since_ns = metrics.blocked_since_ns.load(Relaxed);
    let blocked_now_ns = if blocked_since_ns > 0 { elapsed_ns.saturating_sub(blocked_since_ns) } else { 0 };
    let blocked_ns = metrics.blocked_ns.load(Relaxed) + blocked_now_ns;
    SubtaskStatus {
        stage: metrics.stage,
        name: metrics.name.clone(),
        subtask: metrics.subtask,
        rows_in: metrics.rows_in.load(Relaxed),
        rows_out: metrics.rows_out.load(Relaxed),
        busy_ms: busy_ns / NS_PER_MS,
        blocked_ms: blocked_ns / NS_PER_MS,
        idle_ms: elapsed_ns.saturating_sub(busy_ns + blocked_ns) / NS_PER_MS,
        state_size_bytes: metrics.state_size_bytes.load(Relaxed),
    }
}

fn edge_status(edge: &EdgeQueues) -> EdgeStatus {
    EdgeStatus {
        from: edge.from.clone(),
        to: edge.to.clone(),
        exchange: edge.exchange.to_owned(),
        queued_bytes: edge.queues.iter().map(|queue| queue.size_bytes() as u64).sum(),
        queue_bytes_max: (edge.size_bytes_max * edge.queues.len()) as u64,
    }
}
