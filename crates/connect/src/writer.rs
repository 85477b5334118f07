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
    /// Whether nothing was written, since the rows of this append are in the table already.
    pub is_repeated: bool,
}

/// What appends: the same name is the same append, however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Its name, such as `flow/2013-01-01/task`.
    pub name: String,
    /// The number of the attempt at it. Later attempts have greater numbers.
    pub attempt: u64,
}

impl Append {
    /// A part of it that is written by itself, from 1.
    pub fn part(&self, number: usize) -> Self {
        Self { name: format!("{}#{number}", self.name), attempt: self.attempt }
    }
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
    /// Puts each row in place of those of the same key, and adds those of new keys. Of several of `rows` with one key the last
    /// counts; a NULL in a key is refused.
    async fn merge(&self, key: &[String], rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError>;
    /// Adds `rows`, in the name of `append`: however often that is done, also by two at once and after a crash, the rows of
    /// one of the attempts are there, once. Where the system knows which rows an append had added, a later attempt puts its
    /// own in their place; else what is there stays ([`WriteSummary::is_repeated`]).
    async fn append_once(&self, append: &Append, rows: SendableRecordBatchStream)
    -> Result<WriteSummary, ConnectError>;
    /// Adds `rows`.
    async fn append(&self, rows: SendableRecordBatchStream) -> Result<WriteSummary, ConnectError>;
}
