//! The contract of a batch writer: rows come as one stream, and become visible all at once or not at all.

use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;

use crate::error::ConnectError;

/// What a write did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSummary {
    /// Rows written.
    pub rows: u64,
    /// Files written.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// The version of the table that holds them, where the system numbers its versions.
    pub version: Option<u64>,
}

/// A table that batch tasks write.
///
/// # Contract
/// The columns of `rows` are the physical columns of the table by name, in any order; types are cast where that loses
/// nothing. A reader sees the table as it was before, or as it is after the call returned `Ok`; never anything between. An
/// error, of the system or of `rows`, leaves the table as it was. Calls at the same time do not disturb each other.
#[async_trait]
pub trait TableWriter: Send + Sync {
    /// Puts `rows` in place of everything that the partition held: writing the same rows again changes nothing.
    /// `partition` names a value (as text) for each column of `PARTITIONED BY`; a row of another partition is refused. No rows clear the
    /// partition.
    async fn replace_partition(
        &self,
        partition: &[(String, String)],
        rows: SendableRecordBatchStream,
    ) -> Result<WriteSummary, ConnectError>;
    /// Puts `rows` in place of everything that the table held.
    async fn replace_table(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError>;
    /// Adds `rows`.
    async fn append(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError>;
}
