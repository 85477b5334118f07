//! A topic as a source: its partitions as they are now, each read from a position or from where the start mode says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaTable;
use super::link::{ANSWER_TIMEOUT, Link, LinkContext};
use super::reader::KafkaReader;
use super::span::{Extent, Start};
use crate::bad_rows::BadRowSample;
use crate::error::ConnectError;
use crate::source::{PartitionReader, Position, Source};
use crate::wait::Waits;

/// How long the thread that serves a client's events sleeps at most.
const EVENTS_EVERY: Duration = Duration::from_millis(100);

/// A table that is read.
pub(super) struct KafkaSource {
    table: Arc<KafkaTable>,
    /// The client of all readers, as far as each reads a partition of its own.
    client: Mutex<Option<Arc<Client>>>,
    /// How many partitions there were when they were asked for first: those after them are new.
    partitions_known: OnceLock<usize>,
}

/// One connection to the brokers, for many partitions.
pub(super) struct Client {
    pub(super) consumer: Arc<BaseConsumer<LinkContext>>,
    pub(super) link: Arc<Link>,
    /// Partitions that have been read here: a second reader of one would take rows from the first.
    taken: Mutex<BTreeSet<i32>>,
}

impl Client {
    fn new(table: &KafkaTable) -> Result<Arc<Self>, ConnectError> {
        let link = Link::new(table);
        let config = table.properties.consumer()?;
        let consumer: BaseConsumer<LinkContext> = config
            .create_with_context(LinkContext(Arc::clone(&link)))
            .map_err(|error| table.properties.refusal(&error))?;
        let consumer = Arc::new(consumer);
        let served = Arc::clone(&consumer);
        // It is the last to let go of the client: closing it takes a while, and must not hold up anybody else.
        let serve = move || {
            while Arc::strong_count(&served) > 1 {
                // Partitions have queues of their own; here come errors and statistics, for the context.
                let _ = served.poll(EVENTS_EVERY);
            }
        };
        std::thread::Builder::new()
            .name("kafka-events".to_owned())
            .spawn(serve)
            .map_err(|error| link.failure(format!("cannot start a thread: {error}")))?;
        Ok(Arc::new(Self { consumer, link, taken: Mutex::default() }))
    }

    /// Whether nobody has read the partition here; now somebody has.
    fn take(&self, partition: i32) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(partition)
    }
}

impl KafkaSource {
    /// Connects to nothing.
    pub(super) fn new(table: KafkaTable) -> Self {
        Self { table: Arc::new(table), client: Mutex::default(), partitions_known: OnceLock::new() }
    }

    fn client(&self) -> Result<Arc<Client>, ConnectError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref() {
            return Ok(Arc::clone(client));
        }
        Ok(Arc::clone(client.insert(Client::new(&self.table)?)))
    }

    /// A client for a reader of `partition`.
    fn client_for(&self, partition: i32) -> Result<Arc<Client>, ConnectError> {
        let client = self.client()?;
        if client.take(partition) {
            return Ok(client);
        }
        let another = Client::new(&self.table)?;
        another.take(partition);
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&another));
        Ok(another)
    }

    async fn extent(&self, client: &Client, partition: i32) -> Result<Extent, ConnectError> {
        let (consumer, topic) = (Arc::clone(&client.consumer), self.table.topic.clone());
        let asked = move || consumer.fetch_watermarks(&topic, partition, ANSWER_TIMEOUT);
        let (first, end) = client.link.ask(asked).await?;
        Ok(Extent { first, end })
    }

    /// The offset at which reading begins.
    async fn first_offset(
        &self,
        client: &Client,
        partition: i32,
        from: Position,
        extent: Extent,
    ) -> Result<i64, ConnectError> {
        if let Some(offset) = from.checked_sub(1) {
            let offset = i64::try_from(offset).unwrap_or(i64::MAX);
            if offset == 0 {
                // Offset 0 is the beginning, also where the first records are gone by now.
                return Ok(extent.first);
            }
            return if (extent.first..=extent.end).contains(&offset) {
                Ok(offset)
            } else {
                let lost = KafkaError::MessageConsumption(RDKafkaErrorCode::OffsetOutOfRange);
                client.link.judge(&lost).map(|()| offset)
            };
        }
        let is_new =
            self.partitions_known.get().is_some_and(|known| usize::try_from(partition).is_ok_and(|p| p >= *known));
        let start = if is_new { Start::Earliest } else { self.table.start.clone() };
        let (consumer, topic) = (Arc::clone(&client.consumer), self.table.topic.clone());
        let asked = move || start.resolve(&consumer, &topic, partition, extent);
        let offset = client.link.ask(asked).await?.ok_or_else(|| {
            let group = self.table.properties.get("group.id").unwrap_or_default();
            client.link.failure(format!(
                "group '{group}' has committed nothing for partition {partition}; give \
                 'properties.auto.offset.reset' = 'earliest', or another 'scan.startup.mode'"
            ))
        })?;
        // An offset given by hand may be of a record that is gone, or not there yet.
        Ok(offset.max(extent.first))
    }
}

#[async_trait]
impl Source for KafkaSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.table.schema)
    }

    fn is_bounded(&self) -> bool {
        self.table.stop.is_some()
    }

    fn has_changes(&self) -> bool {
        self.table.value_format.has_changes()
    }

    fn waits(&self) -> Option<Waits> {
        Some(self.table.waits.clone())
    }

    fn bad_rows(&self) -> Option<BadRowSample> {
        Some(self.table.bad_rows.sample())
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        let client = self.client()?;
        let (consumer, topic) = (Arc::clone(&client.consumer), self.table.topic.clone());
        let asked = move || {
            let metadata = consumer.fetch_metadata(Some(&topic), ANSWER_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
            let found = found.ok_or(unknown)?;
            match found.error() {
                Some(error) => Err(KafkaError::MetadataFetch(error.into())),
                None => Ok(found.partitions().len()),
            }
        };
        let partitions = client.link.ask(asked).await?;
        self.partitions_known.get_or_init(|| partitions);
        Ok((0..partitions).map(|partition| format!("{}-{partition}", self.table.topic)).collect())
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let client = self.client_for(partition)?;
        let extent = self.extent(&client, partition).await?;
        let first = self.first_offset(&client, partition, from, extent).await?;
        let end = match &self.table.stop {
            Some(stop) => {
                let (stop, consumer, topic) = (stop.clone(), Arc::clone(&client.consumer), self.table.topic.clone());
                let end = client.link.ask(move || stop.resolve(&consumer, &topic, partition, extent)).await?;
                Some(if follow { end } else { end.min(extent.end) })
            }
            None if follow => None,
            None => Some(extent.end),
        };
        let span = super::cursor::Span { partition, first, end, end_at_open: extent.end };
        Ok(Box::new(KafkaReader::open(&self.table, client, span, projection, from == 0 && follow)?))
    }

    async fn state(&self) -> Result<Option<String>, ConnectError> {
        let client = self.client()?;
        let mut ends = Vec::new();
        for partition in 0..self.partitions().await?.len() {
            let extent = self.extent(&client, i32::try_from(partition).unwrap_or(i32::MAX)).await?;
            ends.push(format!("{}-{}", extent.first, extent.end));
        }
        Ok(Some(ends.join(",")))
    }

    async fn position_at(&self, partition: usize, time_ms: i64) -> Result<Option<Position>, ConnectError> {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        let client = self.client()?;
        let extent = self.extent(&client, partition).await?;
        let (consumer, topic) = (Arc::clone(&client.consumer), self.table.topic.clone());
        let asked = move || Start::Time(time_ms).resolve(&consumer, &topic, partition, extent);
        let offset = client.link.ask(asked).await?.unwrap_or(extent.end);
        Ok(u64::try_from(offset).ok().map(|offset| offset + 1))
    }

    /// Position 1 is offset 0.
    fn beginning(&self) -> Position {
        1
    }

    fn discovery_interval(&self) -> Option<Duration> {
        self.table.discovery_interval
    }

    /// Commits the offsets for the group, where the table names one.
    async fn acknowledge(&self, positions: &[(usize, Position)]) -> Result<(), ConnectError> {
        if self.table.properties.get("group.id").is_none() {
            return Ok(());
        }
        let client = self.client()?;
        let mut offsets = TopicPartitionList::new();
        for (partition, position) in positions {
            let offset = position.checked_sub(1).and_then(|offset| i64::try_from(offset).ok());
            if let (Ok(partition), Some(offset)) = (i32::try_from(*partition), offset) {
                let added = offsets.add_partition_offset(&self.table.topic, partition, Offset::Offset(offset));
                added.map_err(|error| client.link.failure(error))?;
            }
        }
        let consumer = Arc::clone(&client.consumer);
        client.link.ask(move || consumer.commit(&offsets, CommitMode::Sync)).await
    }
}
