//! The contract of a sink: it takes batches of changes, and makes them visible when told to.

use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;
use mulgil_dataflow::time::Watermark;

use crate::error::ConnectError;

/// A table or view that can be written.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Whether it takes updates and deletes, or inserts only.
    fn accepts_changes(&self) -> bool;
    /// A writer for one subtask.
    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError>;
}

/// Writes the rows of one subtask.
///
/// # Contract
/// Nothing written is visible to readers of an exactly-once system before `commit` returns.
#[async_trait]
pub trait SinkWriter: Send {
    /// Takes rows.
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError>;
    /// Event time has come to here.
    async fn on_watermark(&mut self, watermark: Watermark) -> Result<(), ConnectError> {
        let _ = watermark;
        Ok(())
    }
    /// Makes everything written so far visible and durable. Called at the end of a bounded input, and by checkpoints.
    async fn commit(&mut self) -> Result<(), ConnectError>;
}
