//! The contract of systems that can take part in exactly-once: the rows of one epoch become visible together with a note of the
//! epoch.

use async_trait::async_trait;
use futures::stream::BoxStream;
use mulgil_dataflow::batch::Batch;

use crate::error::ConnectError;

/// A version of a table, and which epochs it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochVersion {
    /// The number of the version.
    pub version: u64,
    /// The last epoch; `None` before the first.
    pub epoch: Option<u64>,
}

/// A system that takes the rows of one epoch (what came between two checkpoints) as one transaction, together with a note of
/// the epoch.
#[async_trait]
pub trait Transaction: Send + Sync {
    /// Whether the system remembers epochs. If not, [`Transaction::last_epoch`] says nothing, and an epoch may be applied again
    /// after a crash: rows are delivered at least once.
    fn remembers_epochs(&self) -> bool {
        true
    }
    /// The last epoch of `pipeline` whose rows are in; `None` before the first.
    async fn last_epoch(&self, pipeline: &str) -> Result<Option<u64>, ConnectError>;
    /// A version of the table that has the rows of all epochs of `pipeline` up to one, and of none behind it; `None` where the system
    /// keeps no versions.
    async fn version(&self, pipeline: &str) -> Result<Option<EpochVersion>, ConnectError> {
        let _ = pipeline;
        Ok(None)
    }
    /// Puts the rows of `epoch` in, with the note, at once or not at all. Called with epochs in order, again with the same one
    /// after a crash: the caller asks `last_epoch` first.
    async fn apply(
        &self,
        pipeline: &str,
        epoch: u64,
        rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError>;
}
