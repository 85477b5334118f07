//! Exactly once: a transaction a pipeline's epoch, with the rows and one marker record in a compacted side topic.
//!
//! The marker is committed with the rows or not at all, so it says what is in. A pipeline's transactional id is always the same:
//! whoever begins with it ends the transaction that a crash has left open, and shuts out an older instance that still runs.
//! Its rows come from a copy that the caller keeps, so a transaction that did not end well is written again as a whole.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use mulgil_dataflow::batch::Batch;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::Mutex;

use super::KafkaTable;
use super::encode::{Encoder, Outgoing};
use super::link::{ANSWER_TIMEOUT, Link};
use super::producer::Producer;
use super::sink::Route;
use crate::error::ConnectError;
use crate::transaction::Transaction;

/// The topic of the markers, where the table does not name one.
pub(super) const EPOCH_TOPIC: &str = "__mulgil_epochs";
/// What the transactional ids begin with, where the table does not say.
pub(super) const ID_PREFIX: &str = "mulgil";

/// A topic that takes epochs.
pub(super) struct KafkaTransaction {
    table: Arc<KafkaTable>,
    /// Nothing while no pipeline has begun, and after a failure: the next call begins anew.
    ready: Mutex<Option<Ready>>,
}

/// A producer that has shut out all others of its pipeline.
struct Ready {
    pipeline: String,
    producer: Producer,
    route: Route,
    last_epoch: Option<u64>,
}

impl KafkaTransaction {
    /// Connects to nothing.
    pub(super) fn new(table: Arc<KafkaTable>) -> Self {
        Self { table, ready: Mutex::default() }
    }

    /// The producer of a pipeline, taken over from whoever had it.
    async fn begin(&self, pipeline: &str) -> Result<Ready, ConnectError> {
        let id = format!("{}-{pipeline}-{}", self.table.sink.id_prefix, self.table.name);
        let producer = Producer::new(&self.table, Some(&id))?;
        let route = Route::new(&self.table, &producer, 0).await?;
        make_epoch_topic(&self.table, &producer.link).await?;
        producer.begin_transactions().await?;
        let last_epoch = self.read_marker(&producer.link, pipeline).await?;
        Ok(Ready { pipeline: pipeline.to_owned(), producer, route, last_epoch })
    }

    /// The key of a pipeline's markers: it may write several tables.
    fn marker_key(&self, pipeline: &str) -> String {
        serde_json::json!([pipeline, self.table.name, self.table.topic]).to_string()
    }

    async fn read_marker(&self, link: &Link, pipeline: &str) -> Result<Option<u64>, ConnectError> {
        let config = self.table.properties.consumer()?;
        let (topic, key) = (self.table.sink.epoch_topic.clone(), self.marker_key(pipeline));
        let marker = link.ask(move || last_marker(&config, &topic, &key)).await?;
        let Some(marker) = marker else { return Ok(None) };
        let epoch = serde_json::from_slice::<serde_json::Value>(&marker).ok();
        let epoch = epoch.as_ref().and_then(|marker| marker.get("epoch")?.as_u64());
        let topic = &self.table.sink.epoch_topic;
        epoch.map(Some).ok_or_else(|| link.failure(format!("a marker in topic '{topic}' cannot be read")))
    }

    /// Writes an epoch. An error or a drop leaves the transaction open, for the next one to end.
    async fn write(
        &self,
        ready: &mut Ready,
        epoch: u64,
        mut rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let Ready { pipeline, producer, route, .. } = ready;
        producer.begin_transaction()?;
        let encoder = Encoder::new(&self.table);
        while let Some(batch) = rows.next().await {
            for record in encoder.encode(&batch?)? {
                producer.send(route.next(), record).await?;
            }
        }
        let marker = Outgoing {
            key: Some(Bytes::from(self.marker_key(pipeline))),
            value: Bytes::from(serde_json::json!({ "epoch": epoch }).to_string()),
            timestamp_ms: None,
            headers: None,
        };
        producer.send_to(&self.table.sink.epoch_topic, Some(0), marker).await?;
        producer.commit_transaction().await
    }
}

#[async_trait]
impl Transaction for KafkaTransaction {
    async fn last_epoch(&self, pipeline: &str) -> Result<Option<u64>, ConnectError> {
        let mut ready = self.ready.lock().await;
        match ready.as_ref().filter(|ready| ready.pipeline == pipeline) {
            Some(ready) => Ok(ready.last_epoch),
            None => Ok(ready.insert(self.begin(pipeline).await?).last_epoch),
        }
    }

    async fn apply(
        &self,
        pipeline: &str,
        epoch: u64,
        rows: BoxStream<'_, Result<Batch, ConnectError>>,
    ) -> Result<(), ConnectError> {
        let mut slot = self.ready.lock().await;
        // While it is out of its place, an error or a drop leaves nothing there.
        let mut ready = match slot.take().filter(|ready| ready.pipeline == pipeline) {
            Some(ready) => ready,
            None => self.begin(pipeline).await?,
        };
        if ready.last_epoch.is_none_or(|last| last < epoch) {
            self.write(&mut ready, epoch, rows).await?;
            ready.last_epoch = Some(epoch);
        }
        *slot = Some(ready);
        Ok(())
    }
}

/// Makes the topic of the markers, unless it is there. It holds one record a pipeline and table: old ones are compacted away.
async fn make_epoch_topic(table: &KafkaTable, link: &Link) -> Result<(), ConnectError> {
    let admin: AdminClient<DefaultClientContext> =
        table.properties.consumer()?.create().map_err(|error| table.properties.refusal(&error))?;
    let (admin, topic) = (Arc::new(admin), table.sink.epoch_topic.clone());
    let asked = move || {
        let metadata = admin.inner().fetch_metadata(Some(&topic), ANSWER_TIMEOUT)?;
        if metadata.topics().iter().any(|found| found.name() == topic && found.error().is_none()) {
            return Ok(());
        }
        // The broker's own count of replicas.
        let wanted = NewTopic::new(&topic, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
        let options = AdminOptions::new().request_timeout(Some(ANSWER_TIMEOUT)).operation_timeout(Some(ANSWER_TIMEOUT));
        let made = futures::executor::block_on(admin.create_topics(&[wanted], &options))?;
        match made.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
            Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
        }
    };
    link.ask(asked).await
}

/// The last committed record of `key` in the topic of the markers. Blocks.
///
/// A transaction of another pipeline that is open hides what was committed after it began. So the end to be reached is that of all
/// records, open ones too, and not the end of what can be read now.
fn last_marker(config: &ClientConfig, topic: &str, key: &str) -> KafkaResult<Option<Vec<u8>>> {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    let consumer = |isolation: &str| -> KafkaResult<BaseConsumer<Quiet>> {
        let mut config = config.clone();
        config.set("isolation.level", isolation).remove("statistics.interval.ms").create_with_context(Quiet)
    };
    let (_, end) = consumer("read_uncommitted")?.fetch_watermarks(topic, 0, ANSWER_TIMEOUT)?;
    let committed = consumer("read_committed")?;
    let mut whole = TopicPartitionList::new();
    whole.add_partition_offset(topic, 0, Offset::Beginning)?;
    committed.assign(&whole)?;
    let mut last = None;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        match committed.poll(left) {
            Some(Ok(marker)) if marker.key() == Some(key.as_bytes()) => last = marker.payload().map(<[u8]>::to_vec),
            Some(Err(KafkaError::PartitionEOF(_))) => {
                let (_, readable) = committed.fetch_watermarks(topic, 0, ANSWER_TIMEOUT)?;
                if readable >= end {
                    return Ok(last);
                }
            }
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) | None => {}
        }
    }
    Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OperationTimedOut))
}

/// What such a short consumer says of itself, the end of the topic for one, is no news: its caller hears what matters.
struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("{error}: {reason}");
    }
}

impl ConsumerContext for Quiet {}
