//! The contract of a source: partitions that can be read side by side, each from a position.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;

use crate::bad_rows::BadRowSample;
use crate::error::ConnectError;
use crate::lookup::Lookup;
use crate::time::TimeOptions;
use crate::wait::{Waited, Waits};

/// Where in a partition a reader stands: everything before it has been read. Its meaning is the connector's (an
/// offset, a byte, a row number); `0` is the beginning.
pub type Position = u64;

/// The position of one who has begun at the very beginning, and not for want of anything better: `0` would let a restart
/// decide again where to begin.
pub(crate) const BEGUN_AT_0: Position = 1 << 63;

/// The position behind all that a partition holds that has an end and has been read to it: nothing of it is needed any more, and it
/// may be gone.
pub const READ_TO_END: Position = BEGUN_AT_0 - 1;

/// Whether `position` is as far as `other`, both of one partition.
pub fn has_reached(position: Position, other: Position) -> bool {
    let rows_before = |position: Position| if position == BEGUN_AT_0 { 0 } else { position };
    rows_before(position) >= rows_before(other)
}

/// A table that can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// The physical columns.
    fn schema(&self) -> SchemaRef;
    /// Whether the rows end by themselves. An unbounded source can still be read up to now: see [`Source::open`].
    fn is_bounded(&self) -> bool;
    /// Whether its rows are a changelog, as [`Read::Changes`]: what the table holds is what they add up to.
    fn has_changes(&self) -> bool {
        false
    }
    /// Whether what has been read can be read again from its position; otherwise rows that came after the last checkpoint are
    /// lost with the process.
    fn replays(&self) -> bool {
        true
    }
    /// How its partitions are kept together in event time. The engine asks.
    fn time_options(&self) -> TimeOptions {
        TimeOptions::default()
    }
    /// Where to see what it waits for that should be there and is not; `None` for a source that waits for nobody.
    fn waits(&self) -> Option<Waits> {
        None
    }
    /// Where to see the last few of its rows that could not be decoded; `None` where all that comes is a row.
    fn bad_rows(&self) -> Option<BadRowSample> {
        None
    }
    /// The partitions there are, as names for people (`departures-0`, a file's path), in a stable order.
    async fn partitions(&self) -> Result<Vec<String>, ConnectError>;
    /// Whether a partition holds what came before all that the others hold, in no order of event time: the others are read when it has
    /// been read to its end, and event time stands still until then, so that nothing in it comes late.
    fn comes_first(&self, partition: usize) -> bool {
        let _ = partition;
        false
    }
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
    /// How often somebody who follows the table should ask for its partitions again. New ones come last, and are opened at 0;
    /// `None` where there never are any.
    fn discovery_interval(&self) -> Option<Duration> {
        None
    }
    /// The position before everything that a partition holds: where one is opened that has come while the table was followed.
    /// It is not `0` where that means what the table's options say of where reading starts.
    fn beginning(&self) -> Position {
        0
    }
    /// The position of the first row of a partition that is not older than `time_ms`, by the times that the system itself keeps
    /// (milliseconds since the epoch), or behind the last row where all are older; `None` where it keeps none.
    async fn position_at(&self, partition: usize, time_ms: i64) -> Result<Option<Position>, ConnectError> {
        let _ = (partition, time_ms);
        Ok(None)
    }
    /// A checkpoint that holds these positions (partition and position) is durable: the system may be told, so that its own
    /// tools show how far the table is read. Nothing depends on it.
    async fn acknowledge(&self, positions: &[(usize, Position)]) -> Result<(), ConnectError> {
        let _ = positions;
        Ok(())
    }
    /// The same table with the partitions that it has now; `None` where this one would do.
    fn renewed(&self) -> Option<Arc<dyn Source>> {
        None
    }
}

/// How a reader is doing, to be seen while it waits: the reader writes it, whoever shows the job reads it.
#[derive(Debug)]
pub struct Progress {
    lag: AtomicU64,
    waits: Waits,
}

/// A lag that nobody knows.
const UNKNOWN: u64 = u64::MAX;

impl Progress {
    /// Nothing is known yet but what is waited for.
    pub(crate) fn new(waits: Waits) -> Self {
        Self { lag: AtomicU64::new(UNKNOWN), waits }
    }

    /// Rows of the partition that are there and not read yet, as the system counts them; `None` where it does not say.
    pub fn lag(&self) -> Option<u64> {
        Some(self.lag.load(Relaxed)).filter(|lag| *lag != UNKNOWN)
    }

    /// What the reader waits for that should be there and is not.
    pub fn waits_for(&self) -> Option<Waited> {
        self.waits.longest()
    }

    /// Says how much is left to read.
    pub(crate) fn set_lag(&self, lag: u64) {
        self.lag.store(lag, Relaxed);
    }
}

/// What a reader has for its caller.
#[derive(Debug)]
pub enum Read {
    /// Rows, about 8k (more where they are narrow), or what has arrived within a few milliseconds; and the position behind them.
    Rows(RecordBatch, Position),
    /// Changes of the rows of a table that says them ([`Source::has_changes`]; such a table gives nothing else), about as many; and
    /// the position behind them. All changes of one row come from one partition, in order.
    Changes(Batch, Position),
    /// The reader knows that nothing will come for a while: the partition is idle and holds event time back no longer. (A
    /// table's idle time-out is the engine's.)
    Idle,
    /// The partition is finished.
    End,
}

impl Read {
    /// What has been read: rows, or changes where their kinds are said.
    pub(crate) fn of(batch: Batch, position: Position) -> Self {
        match batch.kinds {
            None => Self::Rows(batch.rows, position),
            Some(_) => Self::Changes(batch, position),
        }
    }
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
    /// How it is doing, for others to look at while `next` waits; `None` where there is nothing to say.
    fn progress(&self) -> Option<Arc<Progress>> {
        None
    }
}
