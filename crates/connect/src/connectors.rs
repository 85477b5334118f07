//! The registry of connectors: from what a `CREATE TABLE` says to something that can be read or written.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use mulgil_log::EventLog;

use crate::archived::ArchivedSource;
use crate::conform::Conform;
use crate::connector::Connector;
use crate::datagen::DatagenConnector;
use crate::definition::TableDefinition;
use crate::error::ConnectError;
use crate::filesystem::FilesystemConnector;
use crate::http::HttpConnector;
use crate::influx::InfluxConnector;
use crate::kafka::KafkaConnector;
use crate::lake::Lake;
use crate::lookup::LookupOptions;
use crate::object_storage::ObjectStorageOptions;
use crate::options::{refusal, suggestion};
use crate::partition::PartitionColumns;
use crate::postgres::PostgresConnector;
use crate::print::{BlackholeConnector, PrintConnector};
use crate::secret::{SecretLookup, resolved};
use crate::sink::Sink;
use crate::socket::SocketConnector;
use crate::source::Source;
use crate::stdin::StdinConnector;
use crate::time::{TimeOptions, TimedSource};
use crate::topic::TopicConnector;
use crate::writer::TableWriter;

/// Where the systems of a project are.
#[derive(Clone)]
pub struct ConnectorsOptions {
    /// The folder that relative paths are relative to.
    pub project_dir: PathBuf,
    /// The folder of the lake.
    pub lake_dir: PathBuf,
    /// The embedded event log, where there is one.
    pub log: Option<EventLog>,
    /// How `s3://` paths are reached.
    pub object_storage: ObjectStorageOptions,
}

/// Makes sources, sinks, providers and writers. One per process: it holds the lake's tables open.
pub struct Connectors {
    connectors: Vec<Box<dyn Connector>>,
    secrets: Option<SecretLookup>,
}

impl Connectors {
    /// Connectors for a project.
    pub fn new(options: ConnectorsOptions) -> Self {
        let lake = Lake::new(options.project_dir.clone(), options.lake_dir.clone());
        Self::with_lake(options, lake)
    }

    /// Connectors for a project, with a lake made elsewhere: on other storage, for example.
    pub fn with_lake(options: ConnectorsOptions, lake: Lake) -> Self {
        let ConnectorsOptions { project_dir, log, object_storage, .. } = options;
        Self {
            connectors: vec![
                Box::new(FilesystemConnector::new(project_dir.clone(), log.clone(), object_storage)),
                Box::new(TopicConnector::new(log.clone())),
                Box::new(lake),
                Box::new(PostgresConnector::new(project_dir.clone())),
                Box::new(HttpConnector::new(project_dir.clone(), log.clone())),
                Box::new(InfluxConnector::new(project_dir.clone())),
                Box::new(KafkaConnector::new(project_dir, log)),
                Box::new(SocketConnector),
                Box::new(StdinConnector),
                Box::new(DatagenConnector),
                Box::new(PrintConnector),
                Box::new(BlackholeConnector),
            ],
            secrets: None,
        }
    }

    /// With the project's secrets, for options such as `'password' = '{{ secrets.db }}'`.
    #[must_use]
    pub fn with_secrets(mut self, lookup: SecretLookup) -> Self {
        self.secrets = Some(lookup);
        self
    }

    /// Checks the connector, its options and the columns, and touches no system.
    pub fn check(&self, table: &TableDefinition) -> Result<(), ConnectError> {
        let (connector, _, table) = self.find(table)?;
        connector.check(&table)
    }

    /// The table as a stream or bounded input.
    pub fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>, ConnectError> {
        let (connector, time, table) = self.find(table)?;
        let source = connector.source(&table)?;
        Ok(if time == TimeOptions::default() { source } else { Arc::new(TimedSource { source, time }) })
    }

    /// The table with its past: first what its archive held at `version`, then the table. The archive is the first partition.
    pub fn archived_source(
        &self,
        table: &TableDefinition,
        (archive, version): (&TableDefinition, u64),
    ) -> Result<Arc<dyn Source>, ConnectError> {
        let (connector, _, definition) = self.find(archive)?;
        let archive = connector.source_at(&definition, version)?;
        Ok(Arc::new(ArchivedSource { archive, table: self.source(table)? }))
    }

    /// The physical columns of the table for DataFusion, as the table is now: ask again for each query. Conditions on
    /// partition columns are applied before anything is opened.
    pub async fn provider(&self, table: &TableDefinition) -> Result<Arc<dyn TableProvider>, ConnectError> {
        let (connector, _, table) = self.find(table)?;
        connector.provider(&table).await
    }

    /// The table as the end of a stream.
    pub fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>, ConnectError> {
        let (connector, _, table) = self.find(table)?;
        connector.sink(&table)
    }

    /// The table as the target of a batch write.
    pub fn writer(&self, table: &TableDefinition) -> Result<Arc<dyn TableWriter>, ConnectError> {
        let (connector, _, table) = self.find(table)?;
        connector.writer(&table)
    }

    /// Refuses rows with these columns where the table cannot take them: one is missing or unknown, or its type loses values.
    pub fn check_rows(&self, table: &TableDefinition, columns: &SchemaRef) -> Result<(), ConnectError> {
        let conform = Conform::new(table.name.to_string(), table.writable_schema());
        conform.rows(&RecordBatch::new_empty(Arc::clone(columns))).map(|_| ())
    }

    /// The connector of a table, the table's options of time, and the rest of its definition, which is the connector's.
    fn find<'a>(
        &self,
        table: &'a TableDefinition,
    ) -> Result<(&dyn Connector, TimeOptions, Cow<'a, TableDefinition>), ConnectError> {
        let name = table.options.get("connector").map_or("", String::as_str);
        let connector = self.connectors.iter().find(|connector| connector.name() == name);
        let Some(connector) = connector else {
            let names: Vec<&str> = self.connectors.iter().map(|connector| connector.name()).collect();
            return Err(refusal(table, format!("unknown connector '{name}'{}", suggestion(name, &names))));
        };
        if table.physical_schema().fields().is_empty() {
            return Err(refusal(table, "it has no physical column; add at least one"));
        }
        check_metadata(connector.as_ref(), table)?;
        PartitionColumns::new(table)?;
        let (time, rest) = TimeOptions::split(table)?;
        let (_, rest) = LookupOptions::split(rest)?;
        Ok((connector.as_ref(), time, resolved(rest, self.secrets.as_ref())?))
    }
}

/// Refuses metadata columns that the connector knows nothing about.
fn check_metadata(connector: &dyn Connector, table: &TableDefinition) -> Result<(), ConnectError> {
    let asked = table.columns.iter().filter_map(|column| Some((column, column.metadata.as_ref()?)));
    for (column, metadata) in asked {
        let known = connector.metadata();
        if known.is_empty() {
            let reason = format!("connector '{}' has no metadata; remove column {}", connector.name(), column.name);
            return Err(refusal(table, reason));
        }
        if !known.contains(&metadata.key.as_str()) {
            let suggestion = suggestion(&metadata.key, known);
            let reason = format!("column {}: unknown metadata '{}'{suggestion}", column.name, metadata.key);
            return Err(refusal(table, reason));
        }
    }
    Ok(())
}
