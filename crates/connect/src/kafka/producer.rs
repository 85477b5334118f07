//! A producer: takes records while there is room in its bounded queue, and knows when all of them have arrived.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;
use tokio::sync::Notify;

use super::KafkaTable;
use super::encode::Outgoing;
use super::link::{ANSWER_TIMEOUT, Link, LinkContext};
use crate::error::ConnectError;

/// See the module.
pub(super) struct Producer {
    pub(super) client: Arc<ThreadedProducer<Deliveries>>,
    pub(super) link: Arc<Link>,
    topic: String,
    count: Arc<Count>,
    sent: u64,
}

/// What has become of the records.
#[derive(Default)]
struct Count {
    done: AtomicU64,
    failure: Mutex<Option<KafkaError>>,
    moved: Notify,
}

/// Counts deliveries, and tells the link the rest.
pub(super) struct Deliveries {
    link: LinkContext,
    count: Arc<Count>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.link.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.link.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.link.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, delivered: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = delivered {
            self.count.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
        }
        self.count.done.fetch_add(1, Ordering::Release);
        self.count.moved.notify_waiters();
    }
}

impl Producer {
    /// A producer for a table; with an identity, one that writes transactions.
    pub(super) fn new(table: &KafkaTable, transactional_id: Option<&str>) -> Result<Self, ConnectError> {
        let link = Link::new(table);
        let count = Arc::new(Count::default());
        let config = table.properties.producer(transactional_id)?;
        let context = Deliveries { link: LinkContext(Arc::clone(&link)), count: Arc::clone(&count) };
        let client = config.create_with_context(context).map_err(|error| table.properties.refusal(&error))?;
        Ok(Self { client: Arc::new(client), link, topic: table.topic.clone(), count, sent: 0 })
    }

    /// How many partitions the topic has.
    pub(super) async fn partitions(&self) -> Result<i32, ConnectError> {
        let (client, topic) = (Arc::clone(&self.client), self.topic.clone());
        let asked = move || {
            let metadata = client.client().fetch_metadata(Some(&topic), ANSWER_TIMEOUT)?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
            let found = found.ok_or(unknown)?;
            match found.error() {
                Some(error) => Err(KafkaError::MetadataFetch(error.into())),
                None => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
            }
        };
        self.link.ask(asked).await
    }

    /// Puts a record of the table's topic into the queue, once there is room.
    pub(super) async fn send(&mut self, partition: Option<i32>, record: Outgoing) -> Result<(), ConnectError> {
        let topic = self.topic.clone();
        self.send_to(&topic, partition, record).await
    }

    /// Puts a record into the queue, once there is room.
    pub(super) async fn send_to(
        &mut self,
        topic: &str,
        partition: Option<i32>,
        record: Outgoing,
    ) -> Result<(), ConnectError> {
        let Outgoing { key, value, timestamp_ms, headers } = &record;
        let mut outgoing = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
        outgoing.key = key.as_deref();
        outgoing.partition = partition;
        outgoing.timestamp = *timestamp_ms;
        outgoing.headers.clone_from(headers);
        loop {
            match self.client.send(outgoing) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    outgoing = back;
                    let under_way = self.sent - self.count.done.load(Ordering::Acquire);
                    self.wait_for_less_than((under_way / 4 * 3).max(1)).await?;
                    self.check()?;
                }
                Err((error, _)) => return Err(self.failure(&error)),
            }
        }
    }

    /// Ends what an older producer of this identity has left open, and shuts it out.
    pub(super) async fn begin_transactions(&self) -> Result<(), ConnectError> {
        let client = Arc::clone(&self.client);
        self.link.ask(move || client.init_transactions(ANSWER_TIMEOUT)).await
    }

    /// What is sent from here on belongs to one transaction.
    pub(super) fn begin_transaction(&self) -> Result<(), ConnectError> {
        self.client.begin_transaction().map_err(|error| self.failure(&error))
    }

    /// Makes what was sent since visible. Asks until the brokers have decided.
    pub(super) async fn commit_transaction(&self) -> Result<(), ConnectError> {
        // The client would look for it ten times a second only. If a record has failed, it says why the transaction has.
        self.wait_for_less_than(1).await?;
        let client = Arc::clone(&self.client);
        self.link.ask(move || client.commit_transaction(ANSWER_TIMEOUT)).await
    }

    /// Whether anything has failed so far.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        match self.count.failure.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(error) => Err(self.failure(error)),
            None => Ok(()),
        }
    }

    /// Waits until every record has arrived where it must.
    pub(super) async fn delivered(&self) -> Result<(), ConnectError> {
        self.wait_for_less_than(1).await?;
        self.check()
    }

    /// Waits until fewer than so many records are under way.
    async fn wait_for_less_than(&self, records: u64) -> Result<(), ConnectError> {
        loop {
            let moved = self.count.moved.notified();
            tokio::pin!(moved);
            // From here on no delivery is missed.
            moved.as_mut().enable();
            let under_way = self.sent - self.count.done.load(Ordering::Acquire);
            if under_way < records {
                return Ok(());
            }
            tokio::select! {
                () = moved => {}
                refusal = self.link.refusal() => return Err(refusal),
            }
        }
    }

    /// What a record's failure says.
    pub(super) fn failure(&self, error: &KafkaError) -> ConnectError {
        // When the client as a whole has failed, its records say only that they were thrown away.
        let fatal = self.client.client().fatal_error().map(|(code, _)| KafkaError::Global(code));
        match self.link.judge(fatal.as_ref().unwrap_or(error)) {
            Err(judged) => judged,
            Ok(()) => self.link.failure(format!("a record was not written to topic '{}': {error}", self.topic)),
        }
    }
}
