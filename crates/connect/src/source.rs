//! The contract of a source: partitions that can be read side by side, each from a position.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::error::ConnectError;
use crate::lookup::Lookup;
use crate::time::TimeOptions;

/// Where in a partition a reader stands: everything before it has been read. Its meaning is the connector's (an
/// offset, a byte, a row number); `0` is the beginning.
pub type Position = u64;

/// A table that can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// The physical columns.
    fn schema(&self) -> SchemaRef;
    /// Whether the rows end by themselves. An unbounded source can still be read up to now: see [`Source::open`].
    fn is_bounded(&self) -> bool;
    /// How its partitions are kept together in event time. The engine asks.
    fn time_options(&self) -> TimeOptions {
        TimeOptions::default()
    }
    /// The partitions there are, as names for people (`departures-0`, a file's path), in a stable order.
    async fn partitions(&self) -> Result<Vec<String>, ConnectError>;
    /// Reads the columns `projection` of partition `partition` from `from` on. With `follow` false an unbounded source ends at what was
    /// there when it was opened.
    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError>;
    /// A way to ask for the rows whose columns `keys` have some values, with the columns `projection`; `None` where the system
    /// can only be read as a whole.
    fn lookup(&self, keys: &[usize], projection: &[usize]) -> Option<Result<Arc<dyn Lookup>, ConnectError>> {
        let _ = (keys, projection);
        None
    }
    /// A word for what the table holds now: while it is the same, so are the rows. `None` where nobody can say.
    async fn state(&self) -> Result<Option<String>, ConnectError> {
        Ok(None)
    }
    /// The same table with the partitions that it has now; `None` where this one would do.
    fn renewed(&self) -> Option<Arc<dyn Source>> {
        None
    }
}

/// What a reader has for its caller.
#[derive(Debug)]
pub enum Read {
    /// Rows, about 8k (more where they are narrow), or what has arrived within a few milliseconds; and the position behind them.
    Rows(RecordBatch, Position),
    /// The reader knows that nothing will come for a while: the partition is idle and holds event time back no longer. (A
    /// table's idle time-out is the engine's.)
    Idle,
    /// The partition is finished.
    End,
}

/// Reads one partition, in order.
///
/// # Contract
/// `next` may be dropped while it waits, and then loses nothing. Rows that could not be decoded are handled as the
/// table's options say (fatal, skipped and counted): see [`PartitionReader::skipped_rows`].
#[async_trait]
pub trait PartitionReader: Send {
    /// Waits for what comes next.
    async fn next(&mut self) -> Result<Read, ConnectError>;
    /// Rows skipped so far because they could not be decoded.
    fn skipped_rows(&self) -> u64 {
        0
    }
}
