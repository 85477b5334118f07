//! Topics of the embedded event log: `'connector' = 'log'`. A partition of the topic is a partition of the source, an
//! offset is a position.

mod decode;
mod reader;
mod sink;
mod transaction;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use mulgil_log::{EventLog, LogError, StartAt, Topic, TopicOptions};

use crate::bad_rows::{self, BadRowSample, BadRows};
use crate::connector::Connector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::format::records::RecordFormat;
use crate::options::{Options, refusal};
use crate::sink::Sink;
use crate::source::{BEGUN_AT_0, PartitionReader, Position, Source};

/// The options beside those of the format.
const OPTIONS: [&str; 6] =
    ["connector", "topic", "topic.partitions", "format", "scan.startup.mode", "scan.startup.timestamp-millis"];

/// `'connector' = 'log'`.
pub(crate) struct TopicConnector {
    log: Option<EventLog>,
}

impl TopicConnector {
    /// Tables over the topics of a log.
    pub(crate) fn new(log: Option<EventLog>) -> Self {
        Self { log }
    }
}

#[async_trait]
impl Connector for TopicConnector {
    fn name(&self) -> &'static str {
        "log"
    }

    fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        TopicTable::new(table, None).map(|_| ())
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        Ok(Arc::new(TopicTable::new(table, self.log.clone())?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        let topic = TopicTable::new(table, self.log.clone())?;
        topic.format.check_writable().map_err(|reason| refusal(table, reason))?;
        Ok(Arc::new(topic))
    }
}

/// A table over one topic.
#[derive(Clone)]
pub(crate) struct TopicTable {
    table: String,
    log: Option<EventLog>,
    topic: String,
    /// How many partitions the topic gets if there is none yet.
    partitions: u32,
    format: RecordFormat,
    /// What happens with records that cannot be read.
    bad_rows: BadRows,
    start: StartAt,
    schema: SchemaRef,
}

impl TopicTable {
    fn new(table: &TableDefinition, log: Option<EventLog>) -> Result<Self, ConnectError> {
        let allowed: Vec<&str> = OPTIONS.into_iter().chain(RecordFormat::options()).chain(bad_rows::OPTIONS).collect();
        let options = Options::new(table, &allowed)?;
        options.required("format", "json")?;
        let topic = options.required("topic", &table.name.name)?.to_owned();
        let format = RecordFormat::new(&options, "format", &topic)?;
        let schema = table.physical_schema();
        format.check(&schema).map_err(|reason| options.refusal(reason))?;
        if !table.partitioned_by.is_empty() {
            return Err(options.refusal("a topic cannot be PARTITIONED BY columns; use 'topic.partitions' = '4'"));
        }
        Ok(Self {
            table: table.name.to_string(),
            topic,
            partitions: options.number("topic.partitions")?.unwrap_or(1),
            bad_rows: BadRows::new(table, &options, format.ignores_parse_errors(&options)?, log.as_ref())?,
            format,
            start: start(&options)?,
            schema,
            log,
        })
    }

    /// The topic, made with the first use.
    fn topic(&self) -> Result<Topic, ConnectError> {
        let Some(log) = &self.log else {
            return Err(ConnectError::Definition {
                table: self.table.clone(),
                reason: "there is no event log here; open the project with one".to_owned(),
            });
        };
        let options = TopicOptions { partitions: self.partitions, ..TopicOptions::default() };
        match log.topic_or_create(&self.topic, options) {
            // A command that only reads cannot make the topic.
            Err(LogError::ReadOnly { .. }) => Err(ConnectError::Definition {
                table: self.table.clone(),
                reason: format!(
                    "topic {0} is not there yet; `mulgil log produce {0}` or the project's server makes it",
                    self.topic
                ),
            }),
            made => Ok(made?),
        }
    }
}

/// Reads `scan.startup.*`.
fn start(options: &Options<'_>) -> Result<StartAt, ConnectError> {
    const MODES: [(&str, StartAt); 3] =
        [("earliest-offset", StartAt::Earliest), ("latest-offset", StartAt::Latest), ("timestamp", StartAt::Time(0))];
    match options.one_of("scan.startup.mode", &MODES, StartAt::Earliest)? {
        StartAt::Time(_) => {
            options.required("scan.startup.timestamp-millis", "1357016400000")?;
            Ok(StartAt::Time(options.number("scan.startup.timestamp-millis")?.unwrap_or_default()))
        }
        other => Ok(other),
    }
}

#[async_trait]
impl Source for TopicTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn has_changes(&self) -> bool {
        self.format.has_changes()
    }

    fn bad_rows(&self) -> Option<BadRowSample> {
        Some(self.bad_rows.sample())
    }

    async fn partitions(&self) -> Result<Vec<String>, ConnectError> {
        let partitions = self.topic()?.partitions();
        Ok((0..partitions).map(|partition| format!("{}-{partition}", self.topic)).collect())
    }

    async fn open(
        &self,
        partition: usize,
        from: Position,
        projection: &[usize],
        follow: bool,
    ) -> Result<Box<dyn PartitionReader>, ConnectError> {
        Ok(Box::new(reader::TopicReader::open(self, partition, from, projection, follow)?))
    }

    async fn position_at(&self, partition: usize, time_ms: i64) -> Result<Option<Position>, ConnectError> {
        let partition = u32::try_from(partition).unwrap_or(u32::MAX);
        let offset = self.topic()?.reader(partition, StartAt::Time(time_ms))?.offset();
        Ok(Some(if offset == 0 { BEGUN_AT_0 } else { offset }))
    }
}
