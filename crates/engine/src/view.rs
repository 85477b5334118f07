//! What a job shows of itself: its counters, put together to a [`JobStatus`] when somebody asks.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use mulgil_dataflow::time::Watermark;
use mulgil_dataflow::watermark::{InputState, InputTime};

use crate::error::JobError;
use crate::job::{JobResult, JobSummary};
use crate::latency::Latency;
use crate::metrics::{EdgeQueues, InputMetrics, JobMetrics, PartitionMetrics, SubtaskMetrics, WriterMetrics};
use crate::outside::Outside;
use crate::status::{
    CheckpointStatus, EdgeStatus, GuaranteeStatus, HeldBackBy, InputStatus, JobState, JobStatus, LatencyStatus,
    PartitionState, PartitionStatus, SinkStatus, SubtaskStatus,
};
use crate::throughput::Rate;

/// The counters of a job.
pub(crate) struct JobView {
    pub(crate) name: String,
    pub(crate) guarantee: GuaranteeStatus,
    pub(crate) metrics: Arc<JobMetrics>,
    pub(crate) outside: Outside,
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
            Some(Err(JobError::Cancelled | JobError::NewPartitions { .. })) => JobState::Cancelled,
            Some(Err(_)) => JobState::Failed,
        };
        let error = result.and_then(|result| result.as_ref().err()).map(ToString::to_string);
        let elapsed_ns = self.metrics.elapsed_ns();
        // Time moves on while it is looked at, first at the partitions, last at the sinks: who looks at the sinks first
        // never finds them ahead. What holds time back is said of the partitions as they are shown.
        let watermark_ms = self.watermark_ms();
        let partitions: Vec<PartitionStatus> =
            self.partitions.iter().map(|partition| self.partition(partition, elapsed_ns)).collect();
        JobStatus {
            name: self.name.clone(),
            state,
            error,
            guarantee: self.guarantee.clone(),
            watermark_ms,
            held_back_by: if state == JobState::Running { held_back_by(&partitions) } else { None },
            rows_in: self.rows_in(),
            rows_out: self.rows_out(),
            late_dropped: self.metrics.late_dropped.load(Relaxed),
            late_updated: self.metrics.late_updated.load(Relaxed),
            null_event_times: self.metrics.null_event_times.load(Relaxed),
            skipped_rows: self.skipped_rows(),
            bad_rows: self.outside.bad_rows(),
            waits: if state == JobState::Running { self.outside.waits() } else { Vec::new() },
            late_sample: self.metrics.late_sample(),
            latency: latency_status(self.writers.iter()),
            checkpoints: self.checkpoints(),
            sinks: self.sinks(elapsed_ns),
            partitions,
            subtasks: self.subtasks.iter().map(|subtask| self.subtask(subtask, elapsed_ns)).collect(),
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

    fn checkpoints(&self) -> Option<CheckpointStatus> {
        self.metrics.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn rows_in(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.read.rows()).sum()
    }

    pub(crate) fn rows_out(&self) -> u64 {
        self.writers.iter().map(|writer| writer.written.rows()).sum()
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

    fn sinks(&self, elapsed_ns: u64) -> Vec<SinkStatus> {
        let mut tables: Vec<&str> = self.writers.iter().map(|writer| writer.table.as_str()).collect();
        tables.dedup();
        let sink = |table: &str| {
            let writers = || self.writers.iter().filter(|writer| writer.table == table);
            let rate = |of: fn(Rate) -> f64| writers().map(|writer| of(writer.written.rate(elapsed_ns))).sum();
            SinkStatus {
                table: table.to_owned(),
                rows: writers().map(|writer| writer.written.rows()).sum(),
                bytes: writers().map(|writer| writer.written.bytes()).sum(),
                rows_per_second: rate(|rate| rate.rows_per_second),
                bytes_per_second: rate(|rate| rate.bytes_per_second),
                latency: latency_status(writers()),
            }
        };
        tables.into_iter().map(sink).collect()
    }

    fn partition(&self, metrics: &PartitionMetrics, elapsed_ns: u64) -> PartitionStatus {
        let InputTime { watermark, state } = metrics.time.get();
        let rate = metrics.read.rate(elapsed_ns);
        PartitionStatus {
            table: metrics.table.clone(),
            partition: metrics.partition.clone(),
            position: metrics.position.load(Relaxed),
            watermark_ms: known_ms(watermark),
            watermark_since_ms: self.metrics.epoch_ms(metrics.time.moved_ns()),
            state: state.into(),
            waits_for_others: metrics.waits_for_others.load(Relaxed),
            rows: metrics.read.rows(),
            bytes: metrics.read.bytes(),
            rows_per_second: rate.rows_per_second,
            bytes_per_second: rate.bytes_per_second,
            skipped_rows: metrics.skipped_rows.load(Relaxed),
            lag_rows: metrics.progress.get().and_then(|progress| progress.lag()),
            waits_for: metrics.progress.get().and_then(|progress| Some(progress.waits_for()?.what)),
        }
    }

    fn subtask(&self, metrics: &SubtaskMetrics, elapsed_ns: u64) -> SubtaskStatus {
        const NS_PER_MS: u64 = 1_000_000;
        let busy_ns = metrics.busy_ns.load(Relaxed);
        let blocked_since_ns = metrics.blocked_since_ns.load(Relaxed);
        let blocked_now_ns = if blocked_since_ns > 0 { elapsed_ns.saturating_sub(blocked_since_ns) } else { 0 };
        let blocked_ns = metrics.blocked_ns.load(Relaxed) + blocked_now_ns;
        SubtaskStatus {
            stage: metrics.stage,
            name: metrics.name.clone(),
            subtask: metrics.subtask,
            rows_in: metrics.taken.rows(),
            rows_out: metrics.given.rows(),
            bytes_in: metrics.taken.bytes(),
            bytes_out: metrics.given.bytes(),
            rows_in_per_second: metrics.taken.rate(elapsed_ns).rows_per_second,
            rows_out_per_second: metrics.given.rate(elapsed_ns).rows_per_second,
            inputs: metrics.inputs.iter().map(|input| self.input(input)).collect(),
            busy_ms: busy_ns / NS_PER_MS,
            blocked_ms: blocked_ns / NS_PER_MS,
            idle_ms: elapsed_ns.saturating_sub(busy_ns + blocked_ns) / NS_PER_MS,
            state_size_bytes: metrics.state_size_bytes.load(Relaxed),
            stored_bytes: metrics.stored_bytes.load(Relaxed),
        }
    }

    fn input(&self, metrics: &InputMetrics) -> InputStatus {
        let InputTime { watermark, state } = metrics.time.get();
        InputStatus {
            from: metrics.from.clone(),
            watermark_ms: known_ms(watermark),
            since_ms: self.metrics.epoch_ms(metrics.time.moved_ns()),
            state: state.into(),
        }
    }
}

/// The active partition that has come least far. None has come less far than one that has given no row yet.
fn held_back_by(partitions: &[PartitionStatus]) -> Option<HeldBackBy> {
    let active = partitions.iter().filter(|partition| partition.state == PartitionState::Active);
    let slowest = active.min_by_key(|partition| partition.watermark_ms)?;
    Some(HeldBackBy {
        table: slowest.table.clone(),
        partition: slowest.partition.clone(),
        watermark_ms: slowest.watermark_ms,
        since_ms: slowest.watermark_since_ms,
    })
}

impl From<InputState> for PartitionState {
    fn from(state: InputState) -> Self {
        match state {
            InputState::Active => Self::Active,
            InputState::Idle => Self::Idle,
            InputState::Finished => Self::Finished,
        }
    }
}

fn latency_status<'a>(writers: impl Iterator<Item = &'a Arc<WriterMetrics>>) -> Option<LatencyStatus> {
    let ms = |us: u64| us as f64 / 1_000.0;
    Latency::percentiles(writers.map(|writer| &writer.latency)).map(|latency| LatencyStatus {
        p50_ms: ms(latency.p50_us),
        p95_ms: ms(latency.p95_us),
        p99_ms: ms(latency.p99_us),
        max_ms: ms(latency.max_us),
        rows: latency.count,
        sum_ms: ms(latency.sum_us),
    })
}

fn sum_of(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

fn known_ms(watermark: Watermark) -> Option<i64> {
    (watermark != Watermark::UNKNOWN).then_some(watermark.0)
}

fn edge_status(edge: &EdgeQueues) -> EdgeStatus {
    EdgeStatus {
        from: edge.from.clone(),
        to: edge.to.clone(),
        exchange: edge.exchange.to_owned(),
        queued_bytes: edge.queues.iter().map(|queue| queue.size_bytes() as u64).sum(),
        queue_bytes_max: (edge.size_bytes_max * edge.queues.len()) as u64,
        fullness: edge.queues.iter().map(|queue| queue.size_bytes()).max().unwrap_or(0) as f64
            / edge.size_bytes_max.max(1) as f64,
    }
}
