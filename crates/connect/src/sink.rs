//! The contract of a sink: it takes batches of changes, and makes them visible when told to.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mulgil_dataflow::batch::{Batch, RowKind};
use mulgil_dataflow::state::StatePart;
use mulgil_dataflow::time::Watermark;

use crate::error::ConnectError;
use crate::transaction::Transaction;
use crate::wait::Waits;

/// How often a reader of a sink sees each row, whatever is killed when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// Once or more: what was written after the last checkpoint is written again.
    AtLeastOnce,
    /// Once: rows become visible with the checkpoint.
    ExactlyOnce,
}

/// A table or view that can be written.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Whether it takes updates and deletes, or inserts only.
    fn accepts_changes(&self) -> bool;
    /// How it takes part in exactly-once, end to end; `None` where the system cannot.
    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        None
    }
    /// The most that it can promise of the rows given to it, when the job makes checkpoints.
    fn delivery(&self) -> Delivery {
        if self.transaction().is_some() { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce }
    }
    /// Whether what has been written is gone with the process, so that a job without checkpoints writes nothing twice.
    fn is_forgotten(&self) -> bool {
        false
    }
    /// Where to see what it waits for that should be there and is not; `None` for a sink that waits for nobody.
    fn waits(&self) -> Option<Waits> {
        None
    }
    /// A writer for one subtask.
    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError>;
    /// At a cut, when every writer has sealed: what has to be kept so that the sink goes on from here, with `whole` all of
    /// it; `None` where nothing has changed since it was sealed or restored last, and for a sink that keeps nothing.
    async fn seal(&self, whole: bool) -> Result<Option<Vec<StatePart>>, ConnectError> {
        let _ = whole;
        Ok(None)
    }
    /// Takes back rows of the part `name` that was sealed. Comes before any writer is asked for.
    async fn restore(&self, name: &str, rows: RecordBatch) -> Result<(), ConnectError> {
        let _ = rows;
        Err(ConnectError::Definition { table: name.to_owned(), reason: "this sink keeps no state".to_owned() })
    }
    /// The job of that name begins, from its last checkpoint if there is one (its number, and what writers had staged for it):
    /// publishes that, where it is not published already. Whatever else has been staged is of no use. Refuses where rows are
    /// published already that the job would write again.
    async fn begin(&self, job: &str, last: Option<(u64, &[String])>) -> Result<(), ConnectError> {
        let _ = job;
        match last {
            Some((number, staged)) => self.publish(number, staged).await,
            None => Ok(()),
        }
    }
    /// The checkpoint of cut `number` is durable: publishes what its writers have staged up to there. After a crash that may
    /// come a second time for the last checkpoint, so what has been published already stays as it is.
    async fn publish(&self, number: u64, staged: &[String]) -> Result<(), ConnectError> {
        let _ = (number, staged);
        Ok(())
    }
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
    /// At cut `number`, and at the end: everything written before must outlive a crash from now on. What is not to be seen
    /// before the checkpoint is durable is staged; the names of what was staged come back to [`Sink::publish`]. A sink that
    /// stages nothing commits: then rows are delivered at least once.
    async fn seal(&mut self, number: u64) -> Result<Vec<String>, ConnectError> {
        let _ = number;
        self.commit().await?;
        Ok(Vec::new())
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
