//! A topic as a sink. A row is written by an idempotent producer, and counts as written when all brokers that must have it
//! say so: `commit` waits for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;

use super::KafkaTable;
use super::encode::Encoder;
use super::producer::Producer;
use super::transaction::{EPOCH_TOPIC, ID_PREFIX, KafkaTransaction};
use crate::error::ConnectError;
use crate::options::Options;
use crate::sink::{Sink, SinkWriter};
use crate::transaction::Transaction;
use crate::wait::Waits;

/// `sink.*`.
#[derive(Clone)]
pub(super) struct SinkOptions {
    pub(super) partitioner: Partitioner,
    pub(super) guarantee: Guarantee,
    /// What transactional ids begin with.
    pub(super) id_prefix: String,
    /// Where the markers of epochs are.
    pub(super) epoch_topic: String,
}

/// To which partition a row goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Partitioner {
    /// By its key, as Java's client does it; without a key, in batches over all of them.
    Default,
    /// Each writer to one.
    Fixed,
    /// Over all of them, row by row.
    RoundRobin,
}

/// What is promised about the rows of a writer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Guarantee {
    /// Nothing is waited for.
    None,
    /// Every row is there when `commit` returns.
    AtLeastOnce,
    /// And none of them is visible before.
    ExactlyOnce,
}

impl SinkOptions {
    /// Reads `sink.*`.
    pub(super) fn new(options: &Options<'_>) -> Result<Self, ConnectError> {
        let partitioners = [
            ("default", Partitioner::Default),
            ("fixed", Partitioner::Fixed),
            ("round-robin", Partitioner::RoundRobin),
        ];
        let guarantees = [
            ("at-least-once", Guarantee::AtLeastOnce),
            ("exactly-once", Guarantee::ExactlyOnce),
            ("none", Guarantee::None),
        ];
        let guarantee = options.one_of("sink.delivery-guarantee", &guarantees, Guarantee::AtLeastOnce)?;
        Ok(Self {
            partitioner: options.one_of("sink.partitioner", &partitioners, Partitioner::Default)?,
            guarantee,
            id_prefix: options.optional("sink.transactional-id-prefix").unwrap_or(ID_PREFIX).to_owned(),
            epoch_topic: options.optional("sink.epoch-topic").unwrap_or(EPOCH_TOPIC).to_owned(),
        })
    }
}

/// A table that is written.
pub(super) struct KafkaSink {
    table: Arc<KafkaTable>,
    transaction: Arc<KafkaTransaction>,
}

impl KafkaSink {
    /// Connects to nothing.
    pub(super) fn new(table: KafkaTable) -> Self {
        let table = Arc::new(table);
        Self { transaction: Arc::new(KafkaTransaction::new(Arc::clone(&table))), table }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn accepts_changes(&self) -> bool {
        self.table.value_format.has_changes()
    }

    fn transaction(&self) -> Option<Arc<dyn Transaction>> {
        Some(Arc::<KafkaTransaction>::clone(&self.transaction))
    }

    fn waits(&self) -> Option<Waits> {
        Some(self.table.waits.clone())
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        let is_exact = self.table.sink.guarantee == Guarantee::ExactlyOnce;
        // Nobody goes on with this writer's transaction: its identity is its own.
        let id = is_exact.then(|| format!("{}-{}-{}", self.table.sink.id_prefix, self.table.name, unique(subtask)));
        let producer = Producer::new(&self.table, id.as_deref())?;
        let route = Route::new(&self.table, &producer, subtask).await?;
        if is_exact {
            producer.begin_transactions().await?;
        }
        let encoder = Encoder::new(&self.table);
        Ok(Box::new(KafkaWriter { table: Arc::clone(&self.table), encoder, producer, route, is_open: false }))
    }
}

/// Chooses partitions.
pub(super) enum Route {
    /// The client chooses.
    Client,
    /// Always this one.
    Fixed(i32),
    /// The one after the last, of so many.
    Turns(i32, i32),
}

impl Route {
    /// As the table says. Asks how many partitions there are: a topic that is not there is said before anything is written.
    pub(super) async fn new(table: &KafkaTable, producer: &Producer, subtask: usize) -> Result<Self, ConnectError> {
        let partitions = producer.partitions().await?.max(1);
        let first = i32::try_from(subtask % usize::try_from(partitions).unwrap_or(1)).unwrap_or(0);
        Ok(match table.sink.partitioner {
            Partitioner::Default => Self::Client,
            Partitioner::Fixed => Self::Fixed(first),
            Partitioner::RoundRobin => Self::Turns(first, partitions),
        })
    }

    /// The partition of the next row; `None` leaves it to the client.
    pub(super) fn next(&mut self) -> Option<i32> {
        match self {
            Self::Client => None,
            Self::Fixed(partition) => Some(*partition),
            Self::Turns(turn, partitions) => {
                let partition = *turn;
                *turn = (partition + 1) % *partitions;
                Some(partition)
            }
        }
    }
}

/// A word that no other writer has, here or elsewhere.
fn unique(subtask: usize) -> String {
    static WRITERS: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{now:x}-{}-{}-{subtask}", std::process::id(), WRITERS.fetch_add(1, Relaxed))
}

struct KafkaWriter {
    table: Arc<KafkaTable>,
    encoder: Encoder,
    producer: Producer,
    route: Route,
    /// Whether a transaction is open.
    is_open: bool,
}

#[async_trait]
impl SinkWriter for KafkaWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        if self.table.sink.guarantee == Guarantee::ExactlyOnce && !self.is_open {
            self.producer.begin_transaction()?;
            self.is_open = true;
        }
        for record in self.encoder.encode(&batch)? {
            self.producer.send(self.route.next(), record).await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        match self.table.sink.guarantee {
            Guarantee::None => self.producer.check(),
            Guarantee::AtLeastOnce => self.producer.delivered().await,
            Guarantee::ExactlyOnce if !self.is_open => Ok(()),
            Guarantee::ExactlyOnce => {
                self.producer.commit_transaction().await?;
                self.is_open = false;
                Ok(())
            }
        }
    }
}
