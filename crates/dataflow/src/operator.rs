//! The contract of a physical operator: a plain synchronous struct that turns batches into batches.

use crate::batch::Batch;
use crate::expression::EvaluationError;
use crate::time::Watermark;

/// Where an operator puts what it makes.
pub trait Output {
    /// Passes a batch on. Empty batches are dropped.
    fn emit(&mut self, batch: Batch);
    /// Passes a sample of rows that came too late on, to be counted and shown. `behind_ms` is how far the oldest was
    /// behind the watermark; `dropped` says whether they are lost to the result.
    fn late(&mut self, rows: &arrow::array::RecordBatch, behind_ms: i64, dropped: bool);
}

/// What can go wrong inside an operator.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// An expression or aggregate failed on a row.
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    /// Arrow refused: mismatched types, overflowed offsets.
    #[error("columnar kernel failed: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// One parallel instance of an operator.
///
/// # Contract
/// Called by one thread at a time. Between `process` calls a watermark may come; watermarks never go back. An
/// operator that holds no rows back passes the watermark on unchanged by the runtime. At `Watermark::END` everything
/// still held is given out.
pub trait Operator: Send {
    /// Takes a batch from input `port`.
    fn process(&mut self, port: usize, batch: Batch, out: &mut dyn Output) -> Result<(), OperatorError>;
    /// Event time has come to `watermark` on all inputs.
    fn on_watermark(&mut self, watermark: Watermark, out: &mut dyn Output) -> Result<(), OperatorError> {
        let _ = (watermark, out);
        Ok(())
    }
    /// Heap memory held as state, in bytes.
    fn state_size_bytes(&self) -> usize {
        0
    }
}
