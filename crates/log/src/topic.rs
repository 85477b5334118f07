//! A handle to a topic: append, read, watch.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{oneshot, watch};

use crate::{LogError, PartitionReader, Record, StartAt, TopicOptions};

/// A topic of an open log. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Topic {
    name: String,
    options: TopicOptions,
}

/// An append on its way: awaits its acknowledgement, the offsets it got.
#[derive(Debug)]
pub struct Appended(oneshot::Receiver<Result<Range<u64>, LogError>>);

impl Future for Appended {
    type Output = Result<Range<u64>, LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(LogError::Closed)))
    }
}

impl Topic {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &TopicOptions {
        &self.options
    }

    /// How many partitions it has; they are counted from 0.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.options.partitions
    }

    /// The partition of a key: the same for ever.
    #[must_use]
    pub fn partition_for(&self, key: &[u8]) -> u32 {
        let _ = key;
        0
    }

    /// Appends the records in order, side by side, and returns their offsets once they are as durable as the topic
    /// asks. On an error none of them is visible. Dropping the future does not take the append back.
    pub async fn append(&self, partition: u32, records: &[Record]) -> Result<Range<u64>, LogError> {
        self.send(partition, records).await?.await
    }

    /// Hands the append to the writer, waiting only for room in its queue; the acknowledgement comes through what is
    /// returned. Appends sent one after the other get ascending offsets.
    pub async fn send(&self, partition: u32, records: &[Record]) -> Result<Appended, LogError> {
        let _ = (partition, records);
        Err(LogError::Closed)
    }

    /// [`Topic::append`] for threads outside tokio. Panics within tokio's runtime, as every blocking call does there.
    pub fn append_blocking(&self, partition: u32, records: &[Record]) -> Result<Range<u64>, LogError> {
        let _ = (partition, records);
        Err(LogError::Closed)
    }

    /// A reader of a partition.
    pub fn reader(&self, partition: u32, from: StartAt) -> Result<PartitionReader, LogError> {
        let _ = (partition, from);
        Err(LogError::Closed)
    }

    /// The offsets that can be read: from the earliest to before the one that the next record gets.
    pub fn offsets(&self, partition: u32) -> Result<Range<u64>, LogError> {
        let _ = partition;
        Err(LogError::Closed)
    }

    /// The size of a partition's segments on disk.
    pub fn size_bytes(&self, partition: u32) -> Result<u64, LogError> {
        let _ = partition;
        Err(LogError::Closed)
    }

    /// Watches the offset that the next record of a partition gets; wakes up whenever records become visible.
    pub fn watch(&self, partition: u32) -> Result<watch::Receiver<u64>, LogError> {
        let _ = partition;
        Err(LogError::Closed)
    }
}
