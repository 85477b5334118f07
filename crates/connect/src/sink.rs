//! The contract of a sink: it takes batches of changes, and makes them visible when told to.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mulgil_dataflow::batch::{Batch, RowKind};
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

/// The rows of a batch, for sinks that can only append: a change would be written as if it were a new row.
pub(crate) fn inserts<'a>(table: &str, batch: &'a Batch) -> Result<&'a RecordBatch, ConnectError> {
    let is_insert = |kind: Option<u8>| kind == Some(RowKind::Insert as u8);
    match &batch.kinds {
        Some(kinds) if !kinds.iter().all(is_insert) => Err(ConnectError::Definition {
            table: table.to_owned(),
            reason: "it takes new rows only, but the query updates or deletes rows".to_owned(),
        }),
        _ => Ok(&batch.rows),
    }
}
