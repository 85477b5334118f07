//! Where the rows go that a subtask's operators give out: over its routes to the queues behind it, counted.

use std::sync::atomic::Ordering::Relaxed;

use arrow::error::ArrowError;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::chain::ChainError;
use mulgil_dataflow::operator::{LateRows, OperatorError, Output};

use crate::error::JobError;
use crate::metrics::{JobMetrics, SubtaskMetrics};
use crate::route::Route;

/// Rows on their way out of the chain.
pub(super) struct Outgoing<'a> {
    pub(super) routes: &'a mut [Route],
    pub(super) metrics: &'a SubtaskMetrics,
    pub(super) job: &'a JobMetrics,
    pub(super) read_ns: u64,
    pub(super) now_ns: u64,
    pub(super) failure: Option<ArrowError>,
}

impl Outgoing<'_> {
    pub(super) fn finish<T>(self, result: Result<T, ChainError>) -> Result<T, JobError> {
        let done = result.map_err(operator_failed)?;
        self.failure.map_or(Ok(done), |failure| Err(exchange_failed(failure)))
    }
}

impl Outgoing<'_> {
    fn send(&mut self, side: Option<usize>, batch: &Batch) {
        self.metrics.given.add(batch.num_rows() as u64, 0, self.now_ns);
        for route in self.routes.iter_mut().filter(|route| route.side == side) {
            if let Err(error) = route.send(batch.clone(), self.read_ns) {
                self.failure.get_or_insert(error);
            }
        }
    }
}

impl Output for Outgoing<'_> {
    fn emit(&mut self, batch: Batch) {
        self.send(None, &batch);
    }

    fn emit_aside(&mut self, side: usize, batch: Batch) {
        self.send(Some(side), &batch);
    }

    fn late(&mut self, late: LateRows<'_>) {
        self.job.note_late(&late);
    }

    fn null_time(&mut self, row_count: u64) {
        self.job.null_event_times.fetch_add(row_count, Relaxed);
    }
}

/// Rows that have gone through the projections before the watermark.
pub(super) struct Collected<'a> {
    pub(super) batches: Vec<Batch>,
    pub(super) job: &'a JobMetrics,
}

impl Output for Collected<'_> {
    fn emit(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    fn late(&mut self, late: LateRows<'_>) {
        self.job.note_late(&late);
    }

    fn null_time(&mut self, row_count: u64) {
        self.job.null_event_times.fetch_add(row_count, Relaxed);
    }
}

pub(crate) fn operator_failed(error: ChainError) -> JobError {
    let (operator, reason) = (error.operator, error.reason.to_string());
    match error.reason {
        OperatorError::Store(_) => JobError::State { operator, reason },
        _ => JobError::Operator { operator, reason },
    }
}

pub(super) fn exchange_failed(error: ArrowError) -> JobError {
    JobError::Operator { operator: "exchange".to_owned(), reason: error.to_string() }
}
