//! A topic as a sink. A row is written by an idempotent producer, and counts as written when all brokers that must have it
//! say so: `commit` waits for that.

use std::sync::Arc;

use async_trait::async_trait;
use mulgil_dataflow::batch::Batch;

use super::KafkaTable;
use super::encode::Encoder;
use super::producer::Producer;
use crate::error::ConnectError;
use crate::options::Options;
use crate::sink::{Sink, SinkWriter, inserts};

/// `sink.*`.
#[derive(Clone)]
pub(super) struct SinkOptions {
    pub(super) partitioner: Partitioner,
    pub(super) guarantee: Guarantee,
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
}

impl SinkOptions {
    /// Reads `sink.*`.
    pub(super) fn new(options: &Options<'_>) -> Result<Self, ConnectError> {
        let partitioners = [
            ("default", Partitioner::Default),
            ("fixed", Partitioner::Fixed),
            ("round-robin", Partitioner::RoundRobin),
        ];
        let guarantees = [("at-least-once", Guarantee::AtLeastOnce), ("none", Guarantee::None)];
        let guarantee = options.one_of("sink.delivery-guarantee", &guarantees, Guarantee::AtLeastOnce)?;
        Ok(Self { partitioner: options.one_of("sink.partitioner", &partitioners, Partitioner::Default)?, guarantee })
    }
}

/// A table that is written.
pub(super) struct KafkaSink {
    table: Arc<KafkaTable>,
}

impl KafkaSink {
    /// Connects to nothing.
    pub(super) fn new(table: KafkaTable) -> Self {
        Self { table: Arc::new(table) }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn accepts_changes(&self) -> bool {
        false
    }

    async fn writer(&self, subtask: usize) -> Result<Box<dyn SinkWriter>, ConnectError> {
        let producer = Producer::new(&self.table, None)?;
        let route = Route::new(&self.table, &producer, subtask).await?;
        let encoder = Encoder::new(&self.table);
        Ok(Box::new(KafkaWriter { table: Arc::clone(&self.table), encoder, producer, route }))
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

struct KafkaWriter {
    table: Arc<KafkaTable>,
    encoder: Encoder,
    producer: Producer,
    route: Route,
}

#[async_trait]
impl SinkWriter for KafkaWriter {
    async fn write(&mut self, batch: Batch) -> Result<(), ConnectError> {
        for record in self.encoder.encode(inserts(&self.table.name, &batch)?)? {
            self.producer.send(self.route.next(), record).await?;
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), ConnectError> {
        match self.table.sink.guarantee {
            Guarantee::None => self.producer.check(),
            Guarantee::AtLeastOnce => self.producer.delivered().await,
        }
    }
}
