//! A handle to a topic: append, read, watch.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot, watch};
use xxhash_rust::xxh3::xxh3_64;

use crate::epochs::Epochs;
use crate::frame::{EncodedFrame, encode};
use crate::log::Shared;
use crate::once::AppendIds;
use crate::partition::PartitionHandle;
use crate::writer::{Command, EpochPart};
use crate::{LogError, PartitionReader, Record, StartAt, TopicOptions};

/// The topics of a log by name.
pub(crate) type Topics = BTreeMap<String, Arc<TopicState>>;

/// What all handles to a topic share.
#[derive(Debug)]
pub(crate) struct TopicState {
    pub(crate) name: String,
    pub(crate) options: TopicOptions,
    /// The index of partition 0 among all partitions of the writer; the others follow.
    pub(crate) first_partition: usize,
    pub(crate) partitions: Vec<PartitionHandle>,
    /// Which epochs are in. The writer changes it.
    pub(crate) epochs: Mutex<Epochs>,
    /// Which appends with an id are in.
    pub(crate) ids: AppendIds,
}

/// A topic of an open log. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Topic {
    pub(crate) state: Arc<TopicState>,
    log: Arc<Shared>,
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

/// An epoch on its way into a topic. Dropped before it is committed, nothing of it remains.
#[derive(Debug)]
pub struct EpochAppend {
    topic: Topic,
    parts: mpsc::Sender<EpochPart>,
    answer: oneshot::Receiver<Result<(), LogError>>,
}

impl EpochAppend {
    /// Adds records to a partition.
    pub async fn append(&mut self, partition: u32, records: &[Record]) -> Result<(), LogError> {
        self.topic.handle(partition)?;
        let frames = encode(records)?.into_iter().map(EncodedFrame::of_epoch).collect();
        let partition = self.topic.state.first_partition + partition as usize;
        self.send(EpochPart::Frames(partition, frames)).await
    }

    /// Makes all of it durable and visible, and returns when it is. Each partition shows its part at once, one partition after the
    /// other.
    pub async fn commit(mut self) -> Result<(), LogError> {
        self.send(EpochPart::End).await?;
        self.answer.await.unwrap_or(Err(LogError::Closed))
    }

    async fn send(&mut self, part: EpochPart) -> Result<(), LogError> {
        if self.parts.send(part).await.is_ok() {
            return Ok(());
        }
        // The writer has given up, and said why.
        match (&mut self.answer).await {
            Ok(Err(error)) => Err(error),
            _ => Err(LogError::Closed),
        }
    }
}

impl Topic {
    pub(crate) fn new(state: Arc<TopicState>, log: Arc<Shared>) -> Self {
        Self { state, log }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Its options.
    #[must_use]
    pub fn options(&self) -> &TopicOptions {
        &self.state.options
    }

    /// How many partitions it has; they are counted from 0.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.state.options.partitions
    }

    /// The partition of a key: the same for ever.
    #[must_use]
    pub fn partition_for(&self, key: &[u8]) -> u32 {
        let partition = xxh3_64(key) % u64::from(self.partitions().max(1));
        u32::try_from(partition).unwrap_or(0)
    }

    /// Appends the records in order, side by side, and returns their offsets once they are as durable as the topic
    /// asks. On an error none of them is visible. Dropping the future does not take the append back.
    pub async fn append(&self, partition: u32, records: &[Record]) -> Result<Range<u64>, LogError> {
        self.send(partition, records).await?.await
    }

    /// Hands the append to the writer, waiting only for room in its queue; the acknowledgement comes through what is
    /// returned. Appends sent one after the other get ascending offsets.
    pub async fn send(&self, partition: u32, records: &[Record]) -> Result<Appended, LogError> {
        let (command, answer) = self.append_command(partition, records)?;
        self.log.commands()?.send(command).await.map_err(|_| LogError::Closed)?;
        Ok(answer)
    }

    /// [`Topic::append`] for threads outside tokio. Panics within tokio's runtime, as every blocking call does there.
    pub fn append_blocking(&self, partition: u32, records: &[Record]) -> Result<Range<u64>, LogError> {
        let (command, answer) = self.append_command(partition, records)?;
        self.log.commands()?.blocking_send(command).map_err(|_| LogError::Closed)?;
        answer.0.blocking_recv().unwrap_or(Err(LogError::Closed))
    }

    /// Hands frames to the writer, and waits until they are in.
    pub(crate) async fn append_frames(
        &self,
        partition: u32,
        frames: Vec<EncodedFrame>,
    ) -> Result<Range<u64>, LogError> {
        self.handle(partition)?;
        let (answer, receiver) = oneshot::channel();
        let partition = self.state.first_partition + partition as usize;
        let command = Command::Append { partition, frames, answer };
        self.log.commands()?.send(command).await.map_err(|_| LogError::Closed)?;
        Appended(receiver).await
    }

    fn append_command(&self, partition: u32, records: &[Record]) -> Result<(Command, Appended), LogError> {
        self.handle(partition)?;
        let (answer, receiver) = oneshot::channel();
        let partition = self.state.first_partition + partition as usize;
        Ok((Command::Append { partition, frames: encode(records)?, answer }, Appended(receiver)))
    }

    /// The last epoch of `writer` that is in; `None` before the first.
    #[must_use]
    pub fn last_epoch(&self, writer: &str) -> Option<u64> {
        let epochs = self.state.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        epochs.last.get(writer).copied()
    }

    /// Begins an epoch of `writer`: what is appended to it, in any partitions, becomes durable and visible together with a
    /// note of it. Every other append to the log waits until it is committed or dropped, so give it what is at hand.
    pub async fn begin_epoch(&self, writer: &str, epoch: u64) -> Result<EpochAppend, LogError> {
        /// Parts that may wait for the writer.
        const PARTS_WAITING_MAX: usize = 4;
        let (parts, receiver) = mpsc::channel(PARTS_WAITING_MAX);
        let (sender, answer) = oneshot::channel();
        let (topic, writer) = (Arc::clone(&self.state), writer.to_owned());
        let command = Command::Epoch { topic, writer, epoch, parts: receiver, answer: sender };
        self.log.commands()?.send(command).await.map_err(|_| LogError::Closed)?;
        Ok(EpochAppend { topic: self.clone(), parts, answer })
    }

    /// A reader of a partition.
    pub fn reader(&self, partition: u32, from: StartAt) -> Result<PartitionReader, LogError> {
        PartitionReader::new(self.name(), partition, self.handle(partition)?.clone(), from)
    }

    /// The offsets that can be read: from the earliest to before the one that the next record gets.
    pub fn offsets(&self, partition: u32) -> Result<Range<u64>, LogError> {
        let view = self.handle(partition)?.view.borrow();
        Ok(view.earliest_offset()..view.next_offset())
    }

    /// The size of a partition's segments on disk.
    pub fn size_bytes(&self, partition: u32) -> Result<u64, LogError> {
        Ok(self.handle(partition)?.view.borrow().bytes())
    }

    /// Watches the offset that the next record of a partition gets; wakes up whenever records become visible.
    pub fn watch(&self, partition: u32) -> Result<watch::Receiver<u64>, LogError> {
        Ok(self.handle(partition)?.next_offset.clone())
    }

    fn handle(&self, partition: u32) -> Result<&PartitionHandle, LogError> {
        self.state.partitions.get(partition as usize).ok_or_else(|| LogError::UnknownPartition {
            topic: self.name().to_owned(),
            partition,
            partitions: self.partitions(),
        })
    }
}
