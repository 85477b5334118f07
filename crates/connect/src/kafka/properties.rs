//! `properties.*`: what is passed through to the client, librdkafka, under its names; and what Mulgil sets where the table
//! does not.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::options::refusal;

const PREFIX: &str = "properties.";
/// What readers are, where the table does not say otherwise. A position lost is an error, not a jump; what is fetched ahead
/// of a partition stays within some megabytes.
const CONSUMER: [(&str, &str); 11] = [
    ("group.id", "mulgil"),
    ("enable.partition.eof", "true"),
    ("statistics.interval.ms", "1000"),
    ("queued.max.messages.kbytes", "8192"),
    ("fetch.queue.backoff.ms", "20"),
    // Questions wait behind a fetch that waits for records: they share a connection.
    ("fetch.wait.max.ms", "100"),
    ("socket.timeout.ms", "10000"),
    ("reconnect.backoff.max.ms", "2000"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
];
/// The last of [`CONSUMER`] are not the table's to choose: they are how Mulgil keeps track of positions.
const CONSUMER_FIXED: usize = 3;
/// What writers are, where the table does not say otherwise: nothing is given up, nothing is doubled by a retry, keys go where
/// Java's client would send them.
const PRODUCER: [(&str, &str); 6] = [
    ("enable.idempotence", "true"),
    ("message.timeout.ms", "0"),
    ("partitioner", "murmur2_random"),
    ("queue.buffering.max.kbytes", "32768"),
    ("linger.ms", "5"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// How long a transaction may stay open: readers of committed rows wait behind one that a crash has left, until it is begun
/// again or this is over.
const TRANSACTION_TIMEOUT_MS: &str = "120000";

/// The properties of one table.
#[derive(Clone)]
pub(super) struct Properties {
    table: String,
    values: BTreeMap<String, String>,
    password_file: Option<PathBuf>,
}

impl Properties {
    /// Takes the properties out of a definition; the rest are the connector's own options.
    pub(super) fn split<'a>(
        table: &'a TableDefinition,
        project_dir: &Path,
    ) -> Result<(Self, Cow<'a, TableDefinition>), ConnectError> {
        let mut rest = table.clone();
        rest.options.retain(|name, _| !name.starts_with(PREFIX));
        let mut values = BTreeMap::new();
        for (name, value) in &table.options {
            if let Some(name) = name.strip_prefix(PREFIX) {
                translate(name, value, &mut values).map_err(|reason| refusal(table, reason))?;
            }
        }
        if values.get("bootstrap.servers").is_none_or(String::is_empty) {
            let example = "'properties.bootstrap.servers' = 'localhost:9092'";
            let reason = format!("option 'properties.bootstrap.servers' is missing; add {example} to WITH (...)");
            return Err(refusal(table, reason));
        }
        let password_file = table.options.get("password-file").map(|path| project_dir.join(path));
        let properties = Self { table: table.name.to_string(), values, password_file };
        properties.check()?;
        Ok((properties, Cow::Owned(rest)))
    }

    /// Whether the client knows every property, asked without a connection.
    fn check(&self) -> Result<(), ConnectError> {
        self.with(&[], &[]).create_native_config().map(|_| ()).map_err(|error| self.refusal(&error))
    }

    /// The value of a property that the table gives.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The brokers to begin with, for people.
    pub(super) fn servers(&self) -> &str {
        self.get("bootstrap.servers").unwrap_or_default()
    }

    /// How a reader connects.
    pub(super) fn consumer(&self) -> Result<ClientConfig, ConnectError> {
        let (defaults, fixed) = CONSUMER.split_at(CONSUMER.len() - CONSUMER_FIXED);
        self.with_password(self.with(defaults, fixed))
    }

    /// How a writer connects; with an identity, one of transactions.
    pub(super) fn producer(&self, transactional_id: Option<&str>) -> Result<ClientConfig, ConnectError> {
        let mut config = self.with(&PRODUCER, &[]);
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
            if self.get("transaction.timeout.ms").is_none() {
                config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
            }
            // A record waits as long as its transaction may take.
            if self.get("message.timeout.ms").is_none() {
                config.remove("message.timeout.ms");
            }
        }
        self.with_password(config)
    }

    fn with(&self, defaults: &[(&str, &str)], fixed: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        // Where a group begins is decided here, not in the client.
        for (name, value) in self.values.iter().filter(|(name, _)| *name != "auto.offset.reset") {
            config.set(name, value);
        }
        for (name, value) in fixed {
            config.set(*name, *value);
        }
        config
    }

    fn with_password(&self, mut config: ClientConfig) -> Result<ClientConfig, ConnectError> {
        if let Some(path) = &self.password_file {
            let failed = |source| ConnectError::File { action: "read", path: path.clone(), source };
            let password = fs::read_to_string(path).map_err(failed)?;
            config.set("sasl.password", password.trim_end_matches(['\r', '\n']));
        }
        Ok(config)
    }

    /// A property that the client does not take, without its value: it may be a password.
    pub(super) fn refusal(&self, error: &KafkaError) -> ConnectError {
        let reason = match error {
            KafkaError::ClientConfig(_, said, name, value) => {
                let said = if value.is_empty() { said.clone() } else { said.replace(value.as_str(), "...") };
                format!("option 'properties.{name}': {said}; the names are librdkafka's")
            }
            other => other.to_string(),
        };
        ConnectError::Definition { table: self.table.clone(), reason }
    }
}

/// Puts a property under the name that the client knows. Java's `sasl.jaas.config` says a user and a password.
fn translate(name: &str, value: &str, values: &mut BTreeMap<String, String>) -> Result<(), String> {
    if name != "sasl.jaas.config" {
        values.insert(name.to_owned(), value.to_owned());
        return Ok(());
    }
    for (java, ours) in [("username=", "sasl.username"), ("password=", "sasl.password")] {
        let quoted = value.split_once(java).map(|(_, rest)| rest.trim_start());
        let between = |text: &str| {
            let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            text.get(1..)?.split_once(quote).map(|(inner, _)| inner.to_owned())
        };
        let Some(found) = quoted.and_then(between) else {
            return Err(format!(
                "'properties.sasl.jaas.config' has no {java}\"...\"; write 'properties.sasl.username' and 'password-file'"
            ));
        };
        values.insert(ours.to_owned(), found);
    }
    Ok(())
}
