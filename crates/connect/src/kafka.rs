//! Topics of Apache Kafka: `'connector' = 'kafka'`. A partition of the topic is a partition of the source.
//!
//! A position is the offset of the next record plus one: 0 stays free for "where the start mode says", which is decided
//! once, with the first read, and is part of the position from then on.
//!
//! A broker that is away is waited for; the wait is said in the log and in [`crate::source::Progress`]. Only what will not pass by
//! itself is an error: a topic that is not there, a name or password that is refused, rows that the broker has deleted.

mod columns;
mod cursor;
mod encode;
mod link;
mod producer;
mod properties;
mod reader;
mod sink;
mod source;
mod span;
mod transaction;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use mulgil_log::EventLog;

use crate::bad_rows::{self, BadRows};
use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::records::RecordFormat;
use crate::options::{Options, refusal, suggestion};
use crate::sink::Sink;
use crate::source::Source;
use crate::wait::Waits;

use columns::Origin;
use properties::Properties;
use sink::{KafkaSink, SinkOptions};
use source::KafkaSource;
use span::{Start, Stop};

/// The options beside `properties.*` and those of the formats.
const OPTIONS: [&str; 19] = [
    "connector",
    "topic",
    "format",
    "value.format",
    "value.fields-include",
    "key.format",
    "key.fields",
    "password-file",
    "scan.startup.mode",
    "scan.startup.timestamp-millis",
    "scan.startup.specific-offsets",
    "scan.bounded.mode",
    "scan.bounded.timestamp-millis",
    "scan.bounded.specific-offsets",
    "scan.topic-partition-discovery.interval",
    "sink.partitioner",
    "sink.delivery-guarantee",
    "sink.transactional-id-prefix",
    "sink.epoch-topic",
];

/// How often new partitions are looked for, where the table does not say: as in Flink.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(300);

/// `'connector' = 'kafka'`.
pub(crate) struct KafkaConnector {
    project_dir: PathBuf,
    log: Option<EventLog>,
}

impl KafkaConnector {
    /// `'password-file'` is relative to `project_dir`; dead letters go to `log`.
    pub(crate) fn new(project_dir: PathBuf, log: Option<EventLog>) -> Self {
        Self { project_dir, log }
    }

    fn table(&self, table: &TableDefinition) -> Result<KafkaTable, ConnectError> {
        KafkaTable::new(table, &self.project_dir, self.log.as_ref())
    }
}

#[async_trait]
impl Connector for KafkaConnector {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn metadata(&self) -> &'static [&'static str] {
        &columns::METADATA
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        self.table(table).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        let topic = self.table(table)?;
        topic.check_readable().map_err(|reason| refusal(table, reason))?;
        Ok(Arc::new(KafkaSource::new(topic)))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        let topic = self.table(table)?;
        topic.value_format.check_writable().map_err(|reason| refusal(table, reason))?;
        Ok(Arc::new(KafkaSink::new(topic)))
    }
}

/// A table over one topic, as its definition says it.
#[derive(Clone)]
pub(crate) struct KafkaTable {
    name: String,
    topic: String,
    properties: Properties,
    schema: SchemaRef,
    /// Where each column of the schema comes from.
    origins: Vec<Origin>,
    /// The columns that an `INSERT` brings.
    writable: SchemaRef,
    value_format: RecordFormat,
    /// How the key of a record says the columns `key_fields`; without it there is no key.
    key_format: Option<RecordFormat>,
    key_fields: Vec<String>,
    /// What happens with records that cannot be read.
    bad_rows: BadRows,
    start: Start,
    stop: Option<Stop>,
    discovery_interval: Option<Duration>,
    sink: SinkOptions,
    /// What all its clients wait for.
    waits: Waits,
}

impl KafkaTable {
    fn new(table: &TableDefinition, project_dir: &Path, log: Option<&EventLog>) -> Result<Self, ConnectError> {
        let (properties, rest) = Properties::split(table, project_dir)?;
        let allowed: Vec<&str> = OPTIONS.into_iter().chain(RecordFormat::options()).chain(bad_rows::OPTIONS).collect();
        let options = Options::new(&rest, &allowed)?;
        if !table.partitioned_by.is_empty() {
            return Err(options.refusal("a topic cannot be PARTITIONED BY columns; its keys are 'key.fields' = 'a;b'"));
        }
        let format_name = if options.optional("value.format").is_some() { "value.format" } else { "format" };
        options.required(format_name, "json")?;
        let topic = options.required("topic", &table.name.name)?.to_owned();
        let value_format = RecordFormat::new(&options, format_name, &topic)?;
        let key_format = options.optional("key.format").map(|_| RecordFormat::new(&options, "key.format", &topic));
        let key_format = key_format.transpose()?;
        if let Some(RecordFormat::Avro(_) | RecordFormat::DebeziumJson { .. }) = key_format {
            return Err(options.refusal("'key.format' is 'json' or 'raw'"));
        }
        let key_fields = key_fields(&options, table)?;
        if key_fields.is_empty() != key_format.is_none() {
            return Err(options.refusal("'key.fields' and 'key.format' belong together; give both or none"));
        }
        let without_key = options.one_of("value.fields-include", &[("ALL", false), ("EXCEPT_KEY", true)], false)?;
        let origins = columns::origins(table, &options, if without_key { &key_fields } else { &[] })?;
        let bad_rows = BadRows::new(table, &options, value_format.ignores_parse_errors(&options)?, log)?;
        let made = Self {
            name: table.name.to_string(),
            topic,
            start: Start::new(&options, &properties)?,
            stop: Stop::new(&options)?,
            properties,
            schema: table.physical_schema(),
            origins,
            writable: table.writable_schema(),
            value_format,
            key_format,
            key_fields,
            bad_rows,
            discovery_interval: discovery_interval(&options)?,
            sink: SinkOptions::new(&options)?,
            waits: Waits::default(),
        };
        let value_schema = Schema::new(made.fields_of(Origin::Value));
        made.value_format.check(&value_schema).map_err(|reason| options.refusal(reason))?;
        if let Some(key_format) = &made.key_format {
            let key_schema = made.schema.project(&made.key_columns())?;
            key_format
                .check(&key_schema)
                .map_err(|reason| options.refusal(reason.replace("'format'", "'key.format'")))?;
        }
        Ok(made)
    }

    /// Why changes cannot be read into these columns. A row that is taken back has to be the row that was given, so all of it
    /// comes from what the change itself says.
    fn check_readable(&self) -> Result<(), String> {
        let other = self.origins.iter().position(|origin| *origin != Origin::Value);
        match other.filter(|_| self.value_format.has_changes()) {
            None => Ok(()),
            Some(column) => Err(format!(
                "column {}: a changelog is read from the values of records alone; remove METADATA columns and \
                 'value.fields-include' = 'EXCEPT_KEY', or declare another table to read",
                self.schema.field(column).name()
            )),
        }
    }

    /// The fields that come from one part of a record.
    fn fields_of(&self, origin: Origin) -> Vec<Arc<arrow::datatypes::Field>> {
        let fields = self.schema.fields().iter().zip(&self.origins);
        fields.filter(|(_, of)| **of == origin).map(|(field, _)| Arc::clone(field)).collect()
    }

    /// Where the columns of the key stand in the schema.
    fn key_columns(&self) -> Vec<usize> {
        self.key_fields.iter().filter_map(|name| self.schema.index_of(name).ok()).collect()
    }
}

/// `'key.fields' = 'a;b'`.
fn key_fields(options: &Options<'_>, table: &TableDefinition) -> Result<Vec<String>, ConnectError> {
    let Some(text) = options.optional("key.fields") else { return Ok(vec![]) };
    let is_row = |name: &str| {
        table.columns.iter().any(|column| column.name == name && column.computed.is_none() && column.metadata.is_none())
    };
    let names: Vec<String> = text.split(';').map(|name| name.trim().to_owned()).collect();
    if let Some(unknown) = names.iter().find(|name| !is_row(name)) {
        let known: Vec<&str> =
            table.columns.iter().map(|column| column.name.as_str()).filter(|name| is_row(name)).collect();
        let reason =
            format!("'key.fields' names '{unknown}', which is no column of the row{}", suggestion(unknown, &known));
        return Err(options.refusal(reason));
    }
    Ok(names)
}

/// `'scan.topic-partition-discovery.interval' = '5 min'`; zero is never, as in Flink.
fn discovery_interval(options: &Options<'_>) -> Result<Option<Duration>, ConnectError> {
    let interval = options.duration("scan.topic-partition-discovery.interval")?.unwrap_or(DISCOVERY_INTERVAL);
    Ok(Some(interval).filter(|interval| !interval.is_zero()))
}
