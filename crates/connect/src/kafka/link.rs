//! The link to the brokers, as one client sees it: whether they answer, whether they refuse, how far readers are behind.
//!
//! librdkafka connects again by itself, for ever. What it says of failures comes here, and is kept as a state: waiting for
//! the brokers, or refused for good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use tokio::sync::watch;

use super::KafkaTable;
use crate::error::ConnectError;
use crate::source::Progress;
use crate::wait::{Shown, Waits};

/// How long one question may take before it is asked again.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing is asked after a question has failed.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Link {
    table: String,
    topic: String,
    servers: String,
    refused: watch::Sender<Option<String>>,
    waits: Waits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last failure of a connection: what will be told if all of them fail.
    last_failure: String,
    /// The wait that is not over.
    wait: Option<Shown>,
    /// The readers of each partition, as others see them.
    readers: BTreeMap<i32, Weak<Progress>>,
}

impl Link {
    /// Nothing is known yet.
    pub(super) fn new(table: &KafkaTable) -> Arc<Self> {
        Arc::new(Self {
            table: table.name.clone(),
            topic: table.topic.clone(),
            servers: table.properties.servers().to_owned(),
            refused: watch::Sender::new(None),
            waits: table.waits.clone(),
            state: Mutex::default(),
        })
    }

    /// An error of the table's.
    pub(super) fn failure(&self, reason: impl std::fmt::Display) -> ConnectError {
        ConnectError::Kafka { table: self.table.clone(), reason: reason.to_string() }
    }

    /// What shows the link's state, and from now on the lag of a partition.
    pub(super) fn show(&self, partition: i32) -> Arc<Progress> {
        let progress = Arc::new(Progress::new(self.waits.clone()));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.readers.insert(partition, Arc::downgrade(&progress));
        progress
    }

    /// Waits until the brokers refuse for good, and says why.
    pub(super) async fn refusal(&self) -> ConnectError {
        let mut refused = self.refused.subscribe();
        match refused.wait_for(Option::is_some).await.map(|reason| reason.clone().unwrap_or_default()) {
            Ok(reason) => self.failure(reason),
            Err(_) => std::future::pending().await,
        }
    }

    /// Asks the brokers until they answer. `question` blocks, up to [`ANSWER_TIMEOUT`].
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn() -> KafkaResult<T> + Clone + Send + 'static,
    ) -> Result<T, ConnectError> {
        loop {
            let asked = tokio::task::spawn_blocking(question.clone());
            let answer = tokio::select! {
                answer = asked => answer.map_err(|error| self.failure(error))?,
                refusal = self.refusal() => return Err(refusal),
            };
            match answer {
                Ok(answer) => {
                    self.set_waits_for(None);
                    return Ok(answer);
                }
                Err(error) => {
                    self.judge(&error)?;
                    self.set_waits_for(Some(error.to_string()));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY_AFTER) => {}
                refusal = self.refusal() => return Err(refusal),
            }
        }
    }

    /// Whether an error passes by itself; if not, what to tell.
    pub(super) fn judge(&self, error: &KafkaError) -> Result<(), ConnectError> {
        use RDKafkaErrorCode as Code;
        let Self { servers, topic, .. } = self;
        let ends = |error: &RDKafkaError| error.is_fatal() || error.txn_requires_abort();
        let reason = match error.rdkafka_error_code() {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                format!("there is no topic '{topic}' at {servers}; create it, or mend 'topic'")
            }
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
                format!(
                    "another writer of the same pipeline has taken over topic '{topic}' at {servers}; this one ends"
                )
            }
            _ if matches!(error, KafkaError::Transaction(error) if ends(error)) => {
                format!(
                    "the transaction on topic '{topic}' at {servers} has failed, and nothing of it is visible: {error}"
                )
            }
            Some(Code::InvalidTopic) => format!("'{topic}' is no name of a topic"),
            Some(code) if is_refusal(code) => format!("Kafka at {servers} refuses: {code}"),
            Some(Code::OffsetOutOfRange | Code::AutoOffsetReset) => format!(
                "Kafka at {servers} no longer has the rows of topic '{topic}' that come next: they were deleted, or the \
                 topic was made anew; start over, or keep rows longer (retention.ms)"
            ),
            Some(Code::NotImplemented | Code::BadCompression) => {
                format!("topic '{topic}' holds records that this version cannot unpack (zstd): {error}")
            }
            _ => return Ok(()),
        };
        Err(self.failure(reason))
    }

    /// Says what is waited for, or that the wait is over; in the log once each.
    fn set_waits_for(&self, failure: Option<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Self { table, servers, .. } = self;
        match (failure, &state.wait) {
            (Some(failure), None) => {
                tracing::warn!(table, servers, "waiting for Kafka: {failure}");
                state.wait = Some(self.waits.show(format!("Kafka at {servers}: {failure}")));
            }
            (None, Some(_)) => {
                tracing::info!(table, servers, "Kafka is back");
                state.wait = None;
            }
            _ => {}
        }
    }

    /// Keeps what the client counts every second.
    fn take_statistics(&self, statistics: &Statistics) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            self.set_waits_for(None);
        }
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.readers.retain(|_, progress| progress.strong_count() > 0);
        for (partition, progress) in &state.readers {
            let (Some(counted), Some(progress)) = (topic.partitions.get(partition), progress.upgrade()) else {
                continue;
            };
            let end = if counted.ls_offset >= 0 { counted.ls_offset } else { counted.hi_offset };
            // What ends a transaction has an offset too, and is no row: who was told of the end is not behind.
            let read_to = counted.app_offset.max(counted.eof_offset);
            if let (true, Ok(lag)) = (read_to >= 0, u64::try_from((end - read_to).max(0))) {
                progress.set_lag(lag);
            }
        }
    }
}

/// Whether the brokers will say the same again whoever asks like this.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::UnsupportedSASLMechanism
    )
}

/// Takes what a client says to its link.
pub(super) struct LinkContext(pub(super) Arc<Link>);

impl ClientContext for LinkContext {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(table = self.0.table, facility, "{message}");
    }

    fn stats(&self, statistics: Statistics) {
        self.0.take_statistics(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        let link = &self.0;
        match error.rdkafka_error_code() {
            Some(code) if is_refusal(code) || (code == Code::SSL && reason.contains("certificate")) => {
                link.refused.send_replace(Some(format!("Kafka at {} refuses: {reason}", link.servers)));
            }
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::SSL | Code::OperationTimedOut) => {
                reason.clone_into(&mut link.state.lock().unwrap_or_else(PoisonError::into_inner).last_failure);
            }
            Some(Code::AllBrokersDown) => {
                let last = link.state.lock().unwrap_or_else(PoisonError::into_inner).last_failure.clone();
                link.set_waits_for(Some(if last.is_empty() { reason.to_owned() } else { last }));
            }
            _ => tracing::debug!(table = link.table, "{error}: {reason}"),
        }
    }
}

impl ConsumerContext for LinkContext {}
